"""Whatever ends a watch, and in whichever order and thread: everything in the process is as it was before."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as torch_module

import limelight as ll
from limelight.errors import CaptureError
from tests.capture import foreign

B, N, E, H = 2, 5, 12, 2


def state() -> dict[str, Any]:
    """All that a watch changes in the process."""
    from torch.overrides import _get_current_function_mode_stack

    interface = __import__("transformers").modeling_utils.AttentionInterface
    return {
        "sdpa": functional.scaled_dot_product_attention,
        "mha": functional.multi_head_attention_forward,
        "has": torch.overrides.has_torch_function,
        "modes": len(_get_current_function_mode_stack()),
        "hooks": len(torch_module._global_forward_hooks) + len(torch_module._global_forward_pre_hooks),
        "copies": nn.Module.__dict__.get("__getstate__"),
        "interface": interface.get_interface,
        "gradients": torch.is_grad_enabled(),
        "stance": torch._dynamo.eval_frame._stance.stance,
    }


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = state()
    yield
    assert state() == before


def models() -> list[tuple[nn.Module, dict[str, Any]]]:
    llama = foreign.llama()
    return [
        (llama, foreign.inputs(llama)),
        (nn.TransformerEncoderLayer(E, H, 13, batch_first=True).eval(), {"src": torch.randn(B, N, E)}),
        (ll.MultiHeadAttention(E, H), {"query": torch.randn(B, N, E)}),
    ]


class Stop(BaseException):
    """As KeyboardInterrupt, which pytest takes for itself."""


@pytest.mark.parametrize("error", [ValueError, Stop])
@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("inside", [True, False], ids=["in the model", "in the block"])
def test_errors_pass_and_leave_nothing(error: type[BaseException], which: int, inside: bool) -> None:
    model, given = models()[which]

    def fail(*_: Any) -> None:
        raise error("on purpose")

    hooks = [module.register_forward_hook(fail) for module in list(model.modules())[-1:] if inside]

    def watch_and_fail() -> None:
        with torch.no_grad(), ll.watch(model):
            model(*given.values()) if which == 2 else model(**given)
            fail()

    with pytest.raises(error, match="on purpose"):
        watch_and_fail()
    for hook in hooks:
        hook.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert "keep" not in model.__dict__


def watched(model: nn.Module, given: dict[str, Any]) -> Iterator[int]:
    with ll.watch(model) as seen:
        model(**given)
        yield len(seen)
        yield len(seen)


def test_a_generator_that_is_abandoned_inside_a_watch() -> None:
    model, given = models()[0]
    steps = watched(model, given)
    assert next(steps) == 2
    del steps
    gc.collect()
    with torch.no_grad(), ll.watch(model) as seen:
        model(**given)
    assert len(seen) == 2


def test_watches_that_end_in_the_order_in_which_they_began() -> None:
    (one, for_one), (other, for_other), _ = models()
    first, second = watched(one, for_one), watched(other, for_other)
    assert next(first) == 2 and next(second) == 1
    assert list(first) == [2]
    assert list(second) == [1]


def test_a_watch_of_a_model_within_one_of_it() -> None:
    model, given = models()[1]
    with torch.no_grad(), ll.watch(model) as outer:
        model(**given)
        with ll.watch(model) as inner:
            plain = model(**given)
        model(**given)
    assert (len(outer), len(inner)) == (3, 1)
    with torch.no_grad():
        assert torch.equal(model(**given), plain)


def test_two_models_in_two_threads() -> None:
    gate = threading.Barrier(2, timeout=60)
    found: dict[int, Any] = {}

    def run(which: int) -> None:
        model, given = models()[which]
        with torch.no_grad():
            plain = model(**given)
            for _ in range(3):
                gate.wait()
                with ll.watch(model, verify=True) as seen:
                    gate.wait()
                    again = model(**given)
                    if which:
                        gate.wait()
                if not which:
                    gate.wait()
        same = torch.equal(plain.logits, again.logits) if which == 0 else torch.equal(plain, again)
        found[which] = (len(seen), same)

    threads = [threading.Thread(target=run, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: (2, True), 1: (1, True)}


def test_a_model_that_changes_its_dtype_inside_the_block() -> None:
    model = nn.MultiheadAttention(E, H, batch_first=True)
    x = torch.randn(B, N, E)
    with torch.no_grad(), ll.watch(model, verify=True) as seen:
        model(x, x, x)
        model.double()
        model(x.double(), x.double(), x.double())
    assert [matrix.dtype for matrix in seen[:]] == [torch.float32, torch.float64]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_script_is_made_inside_as_outside() -> None:
    class Scripted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.nn.functional.scaled_dot_product_attention(x, x, x)

    model, x = foreign.llama(), torch.randn(1, H, N, 3)
    plain = torch.jit.script(Scripted())(x)
    with ll.watch(model), torch.no_grad():
        model(**foreign.inputs(model))
        made = torch.jit.script(Scripted())
        assert torch.equal(made(x), plain)
    assert torch.equal(made(x), plain)


def test_inference_mode_and_hooks_of_others() -> None:
    model, given = models()[1]
    calls: list[str] = []
    model.register_forward_pre_hook(lambda *_: calls.append("before"))
    model.register_forward_hook(lambda *_: calls.append("after"))
    with torch.inference_mode():
        plain = model(**given)
        with ll.watch(model, verify=True) as seen:
            assert torch.equal(model(**given), plain)
    assert calls == ["before", "after"] * 2 and len(seen) == 1
    with pytest.raises(CaptureError, match="the model did not run"), ll.watch(model):
        pass
