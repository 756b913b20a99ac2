"""A watched model runs as it is: under torch.func, traced, exported, without a device; a copy has nothing of ours."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap

import limelight as ll
from limelight.capture import CapturedAttention
from limelight.errors import CaptureError
from tests.capture import foreign, tiny
from tests.examples import mostly_slow

B, N, E, H = 3, 5, 12, 2
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop", "ignore::DeprecationWarning")


class ByHand(nn.Module):
    """Attention in plain operations, in a class that speaks of it."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(E, 3 * E)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (H, E // H)).transpose(-3, -2) for part in self.qkv(x).chunk(3, dim=-1))
        hidden = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool, device=x.device).triu(1)
        scores = (q @ k.transpose(-2, -1) / 2).masked_fill(hidden, float("-inf"))
        return (scores.softmax(-1) @ v).transpose(-3, -2).flatten(-2)


class SelfAttention(ByHand):
    """Found by its name."""


def layer(**more: Any) -> nn.TransformerEncoderLayer:
    given = {"dim_feedforward": 13, "batch_first": True, "dropout": 0.0} | more
    return nn.TransformerEncoderLayer(E, H, **given)


# ---- torch.func ---------------------------------------------------------------------------------------

X = torch.randn(B, N, E)
PADDING = torch.zeros(B, N, dtype=torch.bool)
PADDING[0, 3:] = True


def parameters(model: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach() for name, each in model.named_parameters()}


def per_sample(model: nn.Module) -> Any:
    def loss(p: Any, x: Tensor, pad: Tensor) -> Tensor:
        return functional_call(model, p, (x[None],), {"src_key_padding_mask": pad[None]}).sum()

    return vmap(grad(loss), (None, 0, 0))(parameters(model), X, PADDING)


def of_each_text(model: nn.Module) -> Any:
    return vmap(lambda x, pad: model(x[None], src_key_padding_mask=pad[None]))(X, PADDING)


def ensemble(model: nn.Module) -> Any:
    stacked, _ = stack_module_state([model, copy.deepcopy(model)])
    return vmap(lambda p: functional_call(model, p, (X,)))(stacked)


def by_maths(run: Callable[[nn.Module], Any]) -> Callable[[nn.Module], Any]:
    """With the kernel that has forward derivatives."""

    def inside(model: nn.Module) -> Any:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return run(model)

    return inside


TRANSFORMS: dict[str, Callable[[nn.Module], Any]] = {
    "vmap(grad)": per_sample,
    "vmap": of_each_text,
    "vmap of vmap": lambda model: vmap(vmap(lambda x: model(x[None])))(torch.stack([X, 2 * X])),
    "grad": lambda model: grad(lambda x: model(x).sum())(X),
    "grad(vmap)": lambda model: grad(lambda x: vmap(model)(x[:, None]).sum())(X),
    "jvp": by_maths(lambda model: jvp(lambda x: model(x).sum(), (X,), (X,))),
    "jacrev": lambda model: jacrev(lambda x: model(x)[:, 0, 0])(X),
    "jacfwd": by_maths(lambda model: jacfwd(lambda x: model(x)[:, 0, 0])(X[:, :2])),
    "hessian": by_maths(lambda model: hessian(lambda x: model(x)[0, 0, 0])(X[:1, :2])),
    "functional_call": lambda model: functional_call(model, parameters(model), (X,)),
    "ensemble": ensemble,
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("training", mostly_slow([True, False], False), ids=["training", "eval"])
def test_transforms_run_as_without_the_watch(transform: str, training: bool) -> None:
    model, run = layer().train(training), TRANSFORMS[transform]
    plain = torch.utils._pytree.tree_leaves(run(model))
    with ll.watch(model, verify=True) as seen:
        watched = torch.utils._pytree.tree_leaves(run(model))
    assert all(torch.equal(one, other) for one, other in zip(plain, watched, strict=True))
    for matrix in seen[:]:
        dense = matrix.dense()
        torch.testing.assert_close(dense.sum(-1), torch.ones(dense.shape[:3]))
    with ll.watch(model, read=[ll.Received()]) as folded:
        run(model)
    for received, matrix in zip(folded[:], seen[:], strict=True):
        torch.testing.assert_close(received.raw, matrix.read(ll.Received()).raw)


def test_the_runs_of_vmap_are_texts_of_one_batch() -> None:
    model = layer().train()
    with ll.watch(model) as expected:
        model(X, src_key_padding_mask=PADDING)
    with ll.watch(model, verify=True) as seen:
        of_each_text(model)
    assert seen[0].shape == (B, H, N, N)
    torch.testing.assert_close(seen[0].dense(), expected[0].dense(), atol=1e-6, rtol=0)
    with ll.watch(model, verify=True) as seen:
        per_sample(model)
    torch.testing.assert_close(seen[0].dense(), expected[0].dense(), atol=1e-6, rtol=0)


def test_asked_for_weights_inside_vmap() -> None:
    model = nn.MultiheadAttention(E, H, batch_first=True)

    def run(x: Tensor, pad: Tensor) -> Any:
        return model(x[None], x[None], x[None], key_padding_mask=pad[None], average_attn_weights=False)

    _, plain = vmap(run)(X, PADDING)
    with ll.watch(model, verify=True) as seen:
        _, watched = vmap(run)(X, PADDING)
    assert torch.equal(plain, watched)
    torch.testing.assert_close(seen[0].dense(), plain[:, 0], atol=1e-6, rtol=0)


def test_a_model_of_transformers_inside_vmap() -> None:
    model = foreign.llama().eval()
    embedded = model.get_input_embeddings()(torch.randint(3, foreign.VOCABULARY, (B, N))).detach()
    stock, _ = stack_module_state([model, copy.deepcopy(model)])

    def run(p: Any) -> Tensor:
        return functional_call(model, p, (), {"inputs_embeds": embedded, "use_cache": False}).logits

    with torch.no_grad(), ll.watch(model, verify=True) as expected:
        model(inputs_embeds=embedded)
    plain = vmap(run)(stock)
    with ll.watch(model, verify=True) as seen:
        assert torch.equal(vmap(run)(stock), plain)
    assert seen[0].shape[0] == 2 * B
    torch.testing.assert_close(seen[1].dense()[B:], expected[1].dense(), atol=1e-6, rtol=0)


# ---- what has no numbers ------------------------------------------------------------------------------


def traced(model: nn.Module, x: Tensor) -> Any:
    return torch.jit.trace(model, (x,), check_trace=False)


def exported(model: nn.Module, x: Tensor) -> Any:
    return torch.export.export(model, (x,)).module()


def symbolic(model: nn.Module, x: Tensor) -> Any:
    return torch.fx.symbolic_trace(model)


def graph(model: nn.Module, x: Tensor) -> Any:
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(model)(x)


def nodes(made: Any) -> list[Any]:
    """All that a graph computes, in order."""
    if isinstance(made, torch.jit.ScriptModule):
        return [node.kind() for node in made.inlined_graph.nodes()]
    return [(node.op, str(node.target)) for node in made.graph.nodes]


class Fused(ByHand):
    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).unflatten(-1, (3, H, E // H))
        q, k, v = (parts[..., which, :, :].transpose(-3, -2) for which in range(3))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(-3, -2).flatten(-2)


class Flexible(ByHand):
    def forward(self, x: Tensor) -> Tensor:
        from torch.nn.attention.flex_attention import flex_attention

        parts = self.qkv(x).unflatten(-1, (3, H, E // H))
        y: Tensor = flex_attention(*(parts[..., which, :, :].transpose(-3, -2) for which in range(3)))
        return y.transpose(-3, -2).flatten(-2)


def weights_of(q: Tensor, k: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(-1, -2) / 2.0, -1)


class Scripted(ByHand):
    def __init__(self) -> None:
        super().__init__()
        self.weights_of = torch.jit.script(weights_of)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        weighed: Tensor = self.weights_of(q, k) @ v
        return weighed


def before_dispatch(model: nn.Module, x: Tensor) -> Any:
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(model, pre_dispatch=True)(x)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (traced, Fused),
        (traced, layer),
        (traced, SelfAttention),
        (symbolic, Fused),  # torch.fx itself cannot follow the sizes of the other
        *(
            pytest.param(make, kind, marks=pytest.mark.slow)
            for make in (exported, graph)
            for kind in (Fused, SelfAttention, layer, Flexible)
        ),
        pytest.param(before_dispatch, Scripted, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_graph_is_made_as_without_the_watch(make: Any, kind: Any) -> None:
    model = kind().eval()
    for each in model.parameters():
        each.requires_grad_(False)
    plain = make(model, X)
    with (
        pytest.raises(CaptureError, match=r"torch\.jit\.trace|make_fx|torch\.fx|FakeTensor|TorchScript"),
        ll.watch(model),
    ):
        watched = make(model, X)
    assert torch.equal(watched(2 * X), plain(2 * X)) and torch.equal(watched(X), plain(X))
    rounding = (
        1e-6 if kind is layer else 0.0
    )  # the layer itself runs as one fused function, its graph does not
    torch.testing.assert_close(watched(X), model(X), atol=rounding, rtol=0)
    assert nodes(watched) == nodes(plain)


class Scriptable(nn.Module):
    """What TorchScript can compile, with a part that others have hooked."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(E, E), nn.MultiheadAttention(E, H, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.softmax(self.one(x) @ x.transpose(-1, -2) / 3.0, -1) @ x
        y = nn.functional.scaled_dot_product_attention(y[:, None], x[:, None], x[:, None])[:, 0]
        return self.two(y, y, y)[0]


@pytest.mark.parametrize("make", [Scriptable, layer])
def test_a_watched_model_is_scripted_as_it_is(make: Any) -> None:
    model = make().eval()
    plain = torch.jit.script(model)
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        with ll.watch(model) as inner:
            scripted = torch.jit.script(model)
            model(X)
        watched, expected = scripted(X), plain(X)
        calls = len(seen)
        model(X)
    assert len(inner) == calls and len(seen) == 2 * calls and calls in (1, 3)
    assert scripted.code == plain.code and torch.equal(watched, expected)
    assert not scripted._forward_hooks and not scripted._forward_pre_hooks and not ours(model)


@pytest.mark.parametrize(
    "make", [Fused, SelfAttention, layer, foreign.llama, foreign.bert], ids=lambda make: make.__name__
)
def test_meta_tensors_pass_or_are_refused_in_words(make: Any) -> None:
    model = make().to("meta").eval()
    ids = torch.ones(B, N, dtype=torch.int64, device="meta")
    given = ids if hasattr(model, "config") else X.to("meta")
    plain = model(given)
    with pytest.raises(CaptureError, match="on the device 'meta'"), ll.watch(model):
        watched = model(given)
    out = [getattr(each, "last_hidden_state", getattr(each, "logits", each)) for each in (plain, watched)]
    assert out[0].shape == out[1].shape


@pytest.mark.parametrize("grad_mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_checkpoints_and_autocast(grad_mode: Any) -> None:
    model = layer().train(grad_mode is torch.enable_grad)
    for inside in (model, lambda x: torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False)):
        with grad_mode(), torch.autocast("cpu", torch.bfloat16):
            plain = inside(X)
            with ll.watch(model, verify=True) as seen:
                watched = inside(X)
        assert torch.equal(plain, watched) and len(seen) == 1


# ---- copies -------------------------------------------------------------------------------------------


def saved(model: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),  # noqa: S301
    "torch.save": saved,
}


def ours(model: nn.Module) -> list[Any]:
    """Whatever in a model is of Limelight's capture."""
    found = []
    for module in model.modules():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        found += [
            each for each in (*hooks, *vars(module).values()) if "limelight.capture" in type(each).__module__
        ]
        numbers = {*module._forward_hooks, *module._forward_pre_hooks}
        marked = {
            *module._forward_hooks_with_kwargs,
            *module._forward_hooks_always_called,
            *module._forward_pre_hooks_with_kwargs,
        }
        found += sorted(marked - numbers)
    return found


def hooked_already() -> nn.Module:
    model = nn.Sequential(SelfAttention())
    model.register_forward_hook(a_hook_of_others, always_call=True)
    model[0].register_forward_pre_hook(another_hook, with_kwargs=True)
    return model


def a_hook_of_others(module: Any, args: Any, output: Any) -> None: ...


def another_hook(module: Any, args: Any, kwargs: Any) -> None: ...


MODELS = {
    "encoder layer": layer,
    "by hand": SelfAttention,
    "of others' hooks": hooked_already,
    "ours": lambda: ll.MultiHeadAttention(E, H),
    "transformers": foreign.gpt2,
    "a family": lambda: tiny.FAMILIES["deberta"]() if "deberta" in tiny.FAMILIES else tiny.albert(),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", MODELS)
def test_a_copy_of_a_watched_model_is_the_model_alone(how: str, name: str) -> None:
    model = MODELS[name]().eval()
    given = foreign.inputs(model) if hasattr(model, "config") else {"": X}
    state_of = nn.Module.__getstate__  # type: ignore[attr-defined]
    before = {
        module: (list(module._forward_hooks), list(module._forward_pre_hooks)) for module in model.modules()
    }
    text, keys = repr(model), list(model.state_dict())

    def run(one: nn.Module) -> Tensor:
        with torch.no_grad():
            found = one(*given.values()) if "" in given else one(**given)
        return found if isinstance(found, Tensor) else tiny.main_output(found)

    with ll.watch(model) as seen:
        plain = run(model)
        calls = len(seen)
        assert repr(model) == text and list(model.state_dict()) == keys
        twin = COPIES[how](model)
        assert not ours(twin) or how == "copy"  # which shares its parts
        if how != "copy":
            assert torch.equal(run(twin), plain) and len(seen) == calls
    if how != "copy":
        assert not ours(twin) and torch.equal(run(twin), plain)
        with ll.watch(twin) as again:
            run(twin)
        assert len(again) == calls
    assert not ours(model)
    for module, hooks in before.items():
        assert (list(module._forward_hooks), list(module._forward_pre_hooks)) == hooks
    assert nn.Module.__getstate__ is state_of  # type: ignore[attr-defined]


def test_a_copy_keeps_what_was_kept_before() -> None:
    model = ll.MultiHeadAttention(E, H)
    kept: list[Any] = []
    model.keep = kept.append
    with ll.watch(model):
        model(X)
        twin = copy.deepcopy(model)
    assert len(kept) == 1 and not ours(twin)
    twin(X)
    assert len(twin.keep.__self__) == 2  # type: ignore[union-attr]


# ---- what was seen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(
    "read",
    mostly_slow([(), (ll.Received(), ll.Entropy())], (ll.Received(), ll.Entropy())),
    ids=["matrices", "read"],
)
def test_what_was_seen_can_be_kept_for_later(how: str, read: Any) -> None:
    model = foreign.t5()
    given = foreign.inputs(model)
    given.pop("decoder_input_ids")
    with torch.no_grad(), ll.watch(model, read=read, verify=True) as seen:
        model.generate(**given, max_new_tokens=4, do_sample=False)
    later: CapturedAttention = COPIES[how](seen)
    names, why = seen.names(), str(seen.why())
    table = [(row.name, row.kind, row.shape, row.mask) for row in seen.summary().rows]
    kept = seen[:]
    del model, seen
    assert later.names() == names and str(later.why()) == why
    assert [(row.name, row.kind, row.shape, row.mask) for row in later.summary().rows] == table
    for found, expected in zip(later[:], kept, strict=True):
        if read:
            assert torch.equal(found[0].raw, expected[0].raw) and torch.equal(found[1], expected[1])
        else:
            assert torch.equal(found.dense(), expected.dense())


def test_saved_while_the_block_is_open() -> None:
    model = foreign.gpt2()
    given = foreign.inputs(model)
    with torch.no_grad(), ll.watch(model) as seen:
        model(**given)
        later = COPIES["pickle"](seen)
        model(**given)
    assert len(later) == 2 and len(seen) == 4
    assert torch.equal(later[1].dense(), seen[1].dense())


def test_lazy_weights_are_lent_by_a_model_whose_copy_lends_none() -> None:
    model = foreign.llama()
    given = foreign.inputs(model)
    with torch.no_grad(), ll.lazy_attentions(model):
        model(**given, output_attentions=True)
        assert not ours(copy.deepcopy(model))
