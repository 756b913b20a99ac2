"""Attention by hand in modules of any name, in functions, scripts and threads: exact, or missed with the reason."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import limelight as ll
from limelight.errors import CaptureError
from tests.capture.handwritten import EXACT, MISSED, NONE, B, Block, D, E, H, N, scores_of
from tests.tolerance import check


class Beside(nn.Module):
    """A part, and nn.MultiheadAttention after it, so that the part is not all that there is."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part, self.mha = part, nn.MultiheadAttention(E, H, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        self.part(x)
        return self.mha(x, x, x)[0]


def x_of(*sizes: int) -> Tensor:
    return torch.randn(*(sizes or (B, N)), E)


@pytest.mark.parametrize("way", EXACT)
def test_whatever_the_module_is_called_its_weights_are_told(way: str) -> None:
    block, x = Block(EXACT[way]).eval(), x_of()
    with torch.no_grad():
        alone = block(x)
        with ll.watch(block, verify=True) as seen:
            assert torch.equal(block(x), alone)
    assert not seen.missed
    assert len(seen) == len(block.weights)
    for call, weights in zip(seen, block.weights, strict=True):
        check("weights", call.matrix.dense(), weights)
    mixed = way in ("talking heads after", "content and positions", "differential")
    assert ("mixes" in str(seen.why())) == mixed


@pytest.mark.parametrize("way", MISSED)
def test_what_is_no_matrix_is_missed_with_its_reason(way: str) -> None:
    how, reason = MISSED[way]
    with torch.no_grad(), ll.watch(Beside(Block(how)).eval()) as seen:
        seen._model().__call__(x_of())  # type: ignore[misc]
    assert seen.names() == ["mha"]
    assert list(seen.missed) == ["part"]
    assert reason in seen.missed["part"]
    assert f"part was not captured: {seen.missed['part']}" in seen.why()


class Nested(nn.Module):
    """Attention of texts of several lengths in one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(E, 2 * E)

    def forward(self, x: Tensor) -> Tensor:
        texts = torch.nested.nested_tensor([each[: N - at] for at, each in enumerate(x)])
        q, k = self.project(texts).chunk(2, dim=-1)
        weights = torch.matmul(q, k.transpose(-1, -2)).softmax(-1)
        return torch.nested.to_padded_tensor(torch.matmul(weights, k), 0.0)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_products_of_nested_tensors_are_missed() -> None:
    with torch.no_grad(), ll.watch(model := Beside(Nested()).eval()) as seen:
        model(x_of())
    assert seen.names() == ["mha"] and list(seen.missed) == ["part"]
    assert "a product of nested tensors" in seen.missed["part"]


def test_weights_that_are_expanded_to_their_own_shape_are_the_same() -> None:
    """As torch.export writes a product of three axes, once it is decomposed."""

    def expanded(_: Any, q: Tensor, k: Tensor, v: Tensor) -> Any:
        weights = scores_of(q, k).softmax(-1)
        flat = weights.expand(B, H, N, N).reshape(B * H, N, N)
        return torch.bmm(flat, v.flatten(0, 1)).unflatten(0, (B, H)), [weights]

    block = Block(expanded).eval()
    with torch.no_grad(), ll.watch(block, verify=True) as seen:
        block(x_of())
    check("weights", seen[0].dense(), block.weights[0])


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_attention_is_not_told(name: str) -> None:
    model = Beside(NONE[name]()).eval()
    with torch.no_grad(), ll.watch(model) as seen:
        model(x_of())
    assert seen.names() == ["mha"]
    assert not seen.missed


def test_a_second_attention_of_a_module_is_missed_though_its_first_is_told() -> None:
    def both(_: Any, q: Tensor, k: Tensor, v: Tensor) -> Any:
        w = scores_of(q, k).softmax(-1)
        return w @ v + scores_of(q, k).sigmoid() @ v + torch.nn.functional.scaled_dot_product_attention(
            q, k, v
        ), [w]

    block = Block(both)
    with torch.no_grad(), ll.watch(block) as seen:
        block(x_of())
    assert seen.names() == ["", "#3"]
    assert list(seen.missed) == ["#2"] and "sigmoid" in seen.missed["#2"]


def test_an_attention_over_trained_keys() -> None:
    """Prompts that a layer attends to besides (Zhang et al. 2023), whose gate hides nothing."""

    class Prompted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k = nn.Linear(E, E), nn.Linear(E, E)
            self.prompt, self.gate = nn.Parameter(torch.randn(1, 3, E)), nn.Parameter(torch.rand(1))

        def forward(self, x: Tensor, gated: bool) -> Tensor:
            q = self.q(x).unflatten(-1, (H, D)).transpose(1, 2)
            k = self.k(self.prompt).unflatten(-1, (H, D)).transpose(1, 2).expand(len(x), -1, -1, -1)
            self.weights = scores_of(q, k).softmax(-1)
            return (self.weights * self.gate if gated else self.weights) @ k

    model = Prompted()
    with torch.no_grad(), ll.watch(model) as seen:
        model(x_of(), False)
        model(x_of(), True)
    assert len(seen) == 1 and seen[0].shape == (B, H, N, 3)
    assert "mul after softmax" in seen.missed[""]


def test_attention_in_pieces_is_told_as_such() -> None:
    def sliced(_: Any, q: Tensor, k: Tensor, v: Tensor) -> Any:
        weights = [scores_of(part, k).softmax(-1) for part in q.split(2, dim=-2)]
        return torch.cat([w @ v for w in weights], -2), weights

    block = Block(sliced)
    with torch.no_grad(), ll.watch(block, verify=True) as seen:
        block(x_of())
    for matrix, weights in zip(seen[:], block.weights, strict=True):
        check("weights", matrix.dense(), weights)
    assert "computes its attention in pieces" in str(seen.why())


def test_a_kernel_of_somebodys_own_is_missed() -> None:
    @torch.library.custom_op("limelight_tests::flash_attention", mutates_args=())
    def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return scores_of(q, k).softmax(-1) @ v

    model = Beside(Block(lambda _, q, k, v: (kernel(q, k, v), [])))
    with torch.no_grad(), ll.watch(model) as seen:
        model(x_of())
    assert seen.names() == ["mha"]
    assert "limelight_tests.flash_attention.default" in seen.missed["part"]


def test_gradients_of_each_text_are_those_without_a_watch() -> None:
    block, x = Block(EXACT["functional.softmax"]), x_of()
    block.weights = ()
    parameters = dict(block.named_parameters())

    def loss(given: dict[str, Tensor], text: Tensor) -> Tensor:
        found = torch.func.functional_call(block, given, text[None]).square().mean()
        block.weights = ()
        return found

    run = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))
    alone = run(parameters, x)
    with pytest.raises(CaptureError, match="transform of torch.func"), ll.watch(block):
        watched = run(parameters, x)
    assert all(torch.equal(watched[name], alone[name]) for name in alone)


def test_a_wrapped_model_that_writes_has_its_steps_joined() -> None:
    from tests.capture import foreign

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = foreign.llama()

        def write(self, ids: Tensor) -> Tensor:
            return self.model.generate(ids, max_new_tokens=3, do_sample=True, top_k=5, pad_token_id=0)

    model = Wrapped()
    with ll.watch(model) as seen:
        model.write(torch.arange(3, 10)[None])
    assert seen.names() == ["model.model.layers.0.self_attn", "model.model.layers.1.self_attn"]
    assert [matrix.shape[-2:] for matrix in seen[:]] == [(9, 9), (9, 9)] and not seen.missed


# ── Where it is written ──


def attend(x: Tensor) -> Tensor:
    return torch.softmax(x @ x.mT, -1) @ x


def test_in_functions_closures_sequences_and_modules_that_nobody_registered() -> None:
    class Softmax(nn.Module):
        def forward(self, s: Tensor) -> Tensor:
            return s.softmax(-1)

    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weigh = nn.Sequential(nn.Identity(), Softmax())
            self.kept_in_a_list = [Block(EXACT["functional.softmax"])]

        def forward(self, x: Tensor) -> Tensor:
            inner = lambda: attend(x)  # noqa: E731
            x = x + inner()
            x = x + self.weigh(x @ x.mT) @ x
            return self.kept_in_a_list[0](x)

    model = nn.Sequential(Parts(), nn.Linear(E, E))
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        model(x_of())
    assert seen.names() == ["0", "0#2", "0#3"] and not seen.missed


def test_one_text_without_a_batch() -> None:
    class Single(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.weights = torch.mm(x, x.T).softmax(-1)
            return torch.mm(self.weights, x)

    model = Single()
    with torch.no_grad(), ll.watch(model) as seen:
        model(torch.randn(N, D))
    check("weights", seen[0].dense()[0, 0], model.weights)


def test_a_method_that_somebody_put_in_the_place_of_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.capture import foreign

    model = foreign.llama(num_hidden_layers=1)

    def mine(self: Any, hidden_states: Tensor, **_: Any) -> Any:
        return attend(hidden_states), None

    monkeypatch.setattr(type(model.model.layers[0].self_attn), "forward", mine)
    with torch.no_grad(), ll.watch(model) as seen:
        model(torch.arange(3, 10)[None])
    assert seen.names() == ["model.layers.0.self_attn"]


# ── Flex attention, TorchScript, exported graphs ──


class Flexible(nn.Module):
    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.qkv, self.how = nn.Linear(E, 3 * E), how

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (H, D)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        scores = scores_of(q, k)
        places = torch.arange(N)
        if "score_mod" in self.how:
            scores = self.how["score_mod"](scores, 0, 0, places[:, None], places)
        if "block_mask" in self.how:
            scores = scores.masked_fill(places > places[:, None], -torch.inf)
        self.weights = scores.softmax(-1)
        return flex_attention(q, k, v, **self.how).transpose(1, 2).flatten(2)  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("how", ["plain", "added", "capped", "masked"])
def test_flex_attention_called_by_a_name_that_was_imported_before(how: str) -> None:
    ways: dict[str, dict[str, Any]] = {
        "plain": {},
        "added": {"score_mod": lambda s, b, h, i, j: s + (j - i) * 0.1},
        "capped": {"score_mod": lambda s, b, h, i, j: 2 * torch.tanh(s / 2)},
        "masked": {
            "block_mask": create_block_mask(lambda b, h, i, j: i >= j, None, None, N, N, device="cpu")
        },
    }
    model, code = Flexible(**ways[how]), flex_attention.__code__
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        model(x_of())
    assert flex_attention.__code__ is code
    check("weights", seen[0].dense(), model.weights)


def capped(s: Tensor, most: float) -> Tensor:
    return (s / most).tanh() * most


def whole(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2)).softmax(-1) @ v


class InScript(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x @ x.transpose(-1, -2)).softmax(-1) @ x


class PlainScript(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(E, E)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).softmax(-1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript() -> None:
    cap, all_of_it = torch.jit.script(capped), torch.jit.script(whole)
    block = Block(lambda _, q, k, v: ((w := cap(scores_of(q, k), 3.0).softmax(-1)) @ v, [w]))
    with torch.no_grad(), ll.watch(block) as seen:
        block(x_of())
    check("weights", seen[0].dense(), block.weights[0])
    for part, told in (
        (Block(lambda _, q, k, v: (all_of_it(q, k, v), [])), True),
        (torch.jit.script(InScript()), True),
        (torch.jit.trace(InScript(), x_of()), True),
        (torch.jit.script(PlainScript()), False),
    ):
        model = Beside(part)
        with torch.no_grad(), ll.watch(model) as seen:
            model(x_of())
        assert seen.names() == ["mha"]
        assert list(seen.missed) == (["part"] if told else [])
        assert not told or "outside of Python" in seen.missed["part"]


def test_an_exported_graph_is_heard() -> None:
    class Fused(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], scale=1.0)

    x = x_of()
    for made in (InScript(), Fused()):
        graph = torch.export.export(made, (x,)).module()
        with torch.no_grad(), ll.watch(graph, verify=True) as seen:
            graph(x)
        assert len(seen) == 1 and not seen.missed
        check("weights", seen[0].dense()[:, 0], (x @ x.mT).softmax(-1))


# ── Threads ──


def in_a_thread(run: Callable[[], Any]) -> None:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def in_a_pool(run: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result()


THREADS: dict[str, Callable[[Callable[[], Any]], None]] = {
    "thread": in_a_thread,
    "pool": in_a_pool,
    "asyncio": lambda run: asyncio.run(asyncio.to_thread(run)),
}


@pytest.mark.parametrize("by", THREADS)
@pytest.mark.parametrize("kind", ["by hand", "fused", "transformers"])
def test_a_model_that_runs_in_another_thread_is_heard_there(by: str, kind: str) -> None:
    from tests.capture import foreign

    if kind == "transformers":
        model, given = foreign.gpt2(), torch.arange(3, 10)[None]
    else:
        model, given = Block(EXACT["functional.softmax"]).eval(), x_of()
        model = Beside(model).eval() if kind == "fused" else model

    def run() -> None:
        with torch.no_grad():
            model(given)

    with ll.watch(model) as here:
        run()
    with ll.watch(model) as seen:
        THREADS[by](run)
        run()
    assert seen.names() == here.names() * 2
    for there, matrix in zip(seen[: len(here)], here[:], strict=True):
        check("weights", there.dense(), matrix.dense())
    assert "also ran in another thread" in str(seen.why())
    assert torch.overrides._get_current_function_mode() is None


def test_a_part_that_runs_in_another_thread_within_a_forward() -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(Block(EXACT["functional.softmax"]) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            with ThreadPoolExecutor(2) as pool:
                return sum(pool.map(lambda part: part(x), self.parts))  # type: ignore[return-value]

    model = Split()
    with ll.watch(model) as seen:
        model(x_of())
    assert sorted(seen.names()) == ["parts.0", "parts.1"]


def test_a_thread_that_watches_for_itself_is_its_own() -> None:
    model, found = Block(EXACT["functional.softmax"]), []

    def run() -> None:
        with ll.watch(model) as own:
            model(x_of())
        found.append(len(own))

    with ll.watch(model) as seen:
        in_a_thread(run)
        model(x_of())
    assert found == [1] and len(seen) == 1
    assert "another thread" not in str(seen.why())


# ── Nothing seen ──


def test_a_refusal_names_what_lost_the_scores_and_no_way_that_was_taken() -> None:
    from tests.capture import foreign

    block = Block(MISSED["clipped, then moved"][0])
    with torch.no_grad(), pytest.raises(CaptureError, match="its scores go through clamp"), ll.watch(block):
        block(x_of())
    model = foreign.gpt2(attn_implementation="eager", reorder_and_upcast_attn=True)
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        official = model(ids, output_attentions=True).attentions
        with ll.watch(model, verify=True) as seen:
            model(ids)
    for matrix, weights in zip(seen[:], official, strict=True):
        check("weights", matrix.dense(), weights)
