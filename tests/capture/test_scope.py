"""Who is heard and who is not; and after the block everything is as before, however it ended."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack

import limelight as ll
from limelight.capture.listeners import anyone_listens
from limelight.errors import CaptureError
from tests.capture import foreign
from tests.capture.foreign import transformers

IDS = torch.arange(3, 17).view(2, 7)


def traces(model: nn.Module) -> tuple[Any, ...]:
    """Everything that a watch might leave behind in the process, the thread and the model."""
    from torch._dynamo.eval_frame import _stance

    interface = transformers.modeling_utils.AttentionInterface.get_interface
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    modes = len(_get_current_function_mode_stack())
    kept = [m.__dict__.get("keep", 0) for m in model.modules()]
    function = functional.scaled_dot_product_attention
    return interface, _stance.stance, hooks, fast, modes, kept, function, anyone_listens()


@pytest.fixture
def model() -> Any:
    return foreign.llama()


class Mixed(nn.Module):
    """Attention of every kind in one model."""

    def __init__(self) -> None:
        super().__init__()
        self.theirs, self.ours = nn.MultiheadAttention(12, 3, batch_first=True), ll.MultiHeadAttention(12, 3)
        self.hugging = foreign.llama(num_hidden_layers=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.hugging(IDS)
        return self.ours(self.theirs(x, x, x)[0])


def _fail_inside(model: nn.Module, before: tuple[Any, ...]) -> None:
    assert traces(model) != before
    model(torch.randn(2, 5, 12))
    raise KeyError("mine")


def test_after_the_block_everything_is_as_before() -> None:
    model = Mixed().eval()
    before = traces(model)
    with torch.no_grad():
        with ll.watch(model) as seen:
            model(torch.randn(2, 5, 12))
        assert seen.names() == ["hugging.model.layers.0.self_attn", "theirs", "ours"]
        assert traces(model) == before
        with pytest.raises(KeyError, match="mine"), ll.watch(model):
            _fail_inside(model, before)
        assert traces(model) == before
        with pytest.raises(CaptureError), ll.watch(model):
            pass
        assert traces(model) == before
        model(torch.randn(2, 5, 12))
    assert len(seen) == 3


def test_nested_watches_hear_what_is_theirs(model: Any) -> None:
    with torch.no_grad(), ll.watch(model) as outer:
        model(IDS)
        with ll.watch(model.model.layers[1]) as inner, ll.watch(model) as again:
            model(IDS)
    assert (len(outer), len(again), inner.names()) == (4, 2, ["self_attn"])
    assert torch.equal(inner[0].dense(), outer[3].dense())


def test_watches_may_end_in_any_order(model: Any) -> None:
    other = foreign.gpt2()
    before = traces(model)
    first, second = ll.watch(model), ll.watch(other)
    with torch.no_grad():
        one, two = first.__enter__(), second.__enter__()
        model(IDS)
        other(IDS)
        first.__exit__(None, None, None)
        model(IDS)
        other(IDS)
        second.__exit__(None, None, None)
    assert (len(one), len(two)) == (2, 4)
    assert traces(model) == before


def test_a_thread_hears_itself_alone(model: Any) -> None:
    other, before, found = foreign.gpt2(), traces(model), {}

    def run(name: int, mine: Any) -> None:
        with torch.no_grad(), ll.watch(mine) as seen:
            for _ in range(3):
                mine(IDS)
        found[name] = len(seen)

    threads = [threading.Thread(target=run, args=(i, (model, other)[i % 2])) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), 6)
    assert traces(model) == before


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_is_kept_once(model: Any, reentrant: bool) -> None:
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = model.model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            run = lambda x: self.layer(inputs_embeds=x).last_hidden_state  # noqa: E731
            return checkpoint(run, x, use_reentrant=reentrant)

    whole = Checkpointed().train()
    with ll.watch(whole) as seen:
        whole(torch.randn(1, 5, 24, requires_grad=True)).sum().backward()
    assert len(seen) == 2
    assert "Gradient checkpointing computed attention again" in seen.why()


@pytest.mark.parametrize(
    "how", ["inside", *(pytest.param(how, marks=pytest.mark.slow) for how in ("function", "method", "inner"))]
)
def test_a_compiled_model_is_heard(model: Any, how: str) -> None:
    with torch.no_grad():
        expected = model(IDS).logits
        watched, run = model, model
        if how == "method":
            model.compile(backend="eager")
            model(IDS)
        elif how != "inside":
            run = torch.compile(model, backend="eager")
            run(IDS)
            watched = run if how == "function" else model
        with ll.watch(watched) as seen:
            if how == "inside":
                run = torch.compile(model, backend="eager")
            found = run(IDS).logits
    assert seen.names() == ["model.layers.0.self_attn", "model.layers.1.self_attn"]
    torch.testing.assert_close(found, expected)
    assert ("compiled" in seen.why()) == (how in ("function", "method"))
    torch._dynamo.reset()


# ── An empty result never happens ──


class Arithmetic(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


class HandmadeAttention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ x.mT).sigmoid() @ x


def in_another_thread(run: Callable[[], Any]) -> None:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_nothing_seen_is_an_error_that_names_the_cause(model: Any) -> None:
    x = torch.randn(1, 5, 4)
    cases: list[tuple[nn.Module, Callable[[], Any], str]] = [
        (model, lambda: None, "the model did not run. Call it inside"),
        (model, lambda: foreign.gpt2()(IDS), "the model did not run"),
        (arithmetic := Arithmetic(), lambda: arithmetic(x), "no module that looks like attention"),
        (
            hand := HandmadeAttention(),
            lambda: hand(x),
            "HandmadeAttention.* computes it in a way .* its scores go through sigmoid",
        ),
    ]
    for watched, run, cause in cases:
        with torch.no_grad(), pytest.raises(CaptureError, match=cause), ll.watch(watched):
            run()
    assert not anyone_listens()


class Doubled(nn.Module):
    """Somebody's own module, which all hooks of the process must hear."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(2 * x)
        return found


@pytest.mark.parametrize("own", [False, True], ids=["of torch", "of somebody"])
@pytest.mark.parametrize("when", ["before", "inside"])
def test_a_compiled_model_warns_of_no_hook_of_ours(own: bool, when: str) -> None:
    layer = nn.TransformerEncoderLayer(12, 3, 17, batch_first=True).eval()
    model = Doubled(layer).eval() if own else layer
    x = torch.randn(2, 5, 12)
    before = traces(model)
    compiled = torch.compile(model, backend="eager") if when == "before" else None
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        if compiled is None:
            compiled = torch.compile(model, backend="eager")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = compiled(x)
    with torch.no_grad(), ll.watch(compiled) as again:
        compiled(x)
    assert len(seen) == len(again) == 1 and torch.equal(seen[0].dense(), again[0].dense())
    assert torch.equal(found, model(x)) and traces(model) == before
    torch._dynamo.reset()


def test_a_compiled_model_still_warns_of_somebodys_hooks() -> None:
    model = nn.TransformerEncoderLayer(12, 3, 17, batch_first=True).eval()
    compiled, x = torch.compile(model, backend="eager"), torch.randn(2, 5, 12)
    with torch.no_grad(), ll.watch(model):
        compiled(x)
        theirs = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
        try:
            with pytest.warns(UserWarning, match="global hooks"):
                compiled(x)
        finally:
            theirs.remove()
    torch._dynamo.reset()
