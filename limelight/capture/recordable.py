"""Whether a call's tensors can be read: not while tracing, exporting or capturing a CUDA graph.

Transforms of `torch.func` wrap tensors whose numbers are there. Gradients are unwrapped; the runs of `vmap` are laid
side by side, as texts of one batch. What is done with them then is done outside of the transform.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from limelight.matrix.memory import without_memory

_FUNCTIONS = torch._C._functorch


def why_unreadable(*given: Any) -> str | None:
    """Why what a call was given, or gave, cannot be kept; None where it can. What is no tensor is passed over."""
    if (recorded := _recorded()) is not None:
        return recorded
    for each in given:
        if isinstance(each, Tensor):
            if each.is_cuda and torch.cuda.is_current_stream_capturing():
                return "it ran while a CUDA graph was captured, in which nothing can be looked at"
            found = without_memory(each)
            if found is not None:
                return f"it was given {found.what}"
        elif type(each).__module__.startswith("torch.fx"):
            return f"it was given a torch.fx {type(each).__name__}, which stands for a tensor, as in symbolic_trace"
    return None


_TRACED = "it ran inside torch.jit.trace, where all that is computed becomes a part of the trace"
_IN_A_GRAPH = "it ran inside make_fx or torch.export, where all that is computed becomes a part of the graph"
_RECORDER_AWAY: ContextVar[str | None] = ContextVar("limelight_recorder_away", default=None)
"""What records the call, while `unrecorded` keeps it away."""


def _recorded() -> str | None:
    """How what is computed now is recorded; None where it is not."""
    if (away := _RECORDER_AWAY.get()) is not None:
        return away
    if torch._C._get_tracing_state() is not None:
        return _TRACED
    proxies = sys.modules.get("torch.fx.experimental.proxy_tensor")
    return None if proxies is None or proxies.get_proxy_mode() is None else _IN_A_GRAPH


def unrecorded() -> AbstractContextManager[None]:
    """Inside the block nothing that is computed becomes a part of a trace, or of a graph of make_fx or torch.export.

    What the call was given and gave is of that graph nevertheless, and `why_unreadable` says so.
    """
    if _RECORDER_AWAY.get() is not None or (recorded := _recorded()) is None:
        return nullcontext()
    return _recorder_away(recorded)


@contextmanager
def _recorder_away(recorded: str) -> Iterator[None]:
    token = _RECORDER_AWAY.set(recorded)
    state = torch._C._get_tracing_state()
    try:
        if state is not None:
            torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
            yield
        else:
            from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing

            with disable_proxy_modes_tracing():
                yield
    finally:
        if state is not None:
            torch._C._set_tracing_state(state)  # type: ignore[attr-defined]
        _RECORDER_AWAY.reset(token)


@contextmanager
def outside_of_transforms() -> Iterator[None]:
    """Inside the block no transform of `torch.func` takes part in what is computed, and nothing records it."""
    with unrecorded():
        if _FUNCTIONS.peek_interpreter_stack() is None:
            yield
            return
        from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

        with temporarily_clear_interpreter_stack():
            yield


def is_in_transform() -> bool:
    """Whether a transform of `torch.func` runs."""
    return _FUNCTIONS.peek_interpreter_stack() is not None


def is_vmapped(given: Any) -> bool:
    """Whether it is a tensor of several runs of `vmap`."""
    return isinstance(given, Tensor) and bool(_peeled(given)[1])


def memory_of(tensor: Tensor) -> int | None:
    """Where a tensor's numbers lie, inside of a transform too; None where they lie nowhere."""
    inside = _peeled(tensor)[0]
    return None if without_memory(inside) is not None else inside.data_ptr()


def side_by_side(given: Sequence[Any]) -> list[Any]:
    """Tensors without the wrappers of `torch.func`, with the runs of `vmap` in their first axis.

    The first one given says how many axes there are, and how long the first is: others are broadcast to that. Where
    it has only two axes, the runs are an axis before them. Call it outside of the transforms.
    """
    peeled = [_peeled(each) if isinstance(each, Tensor) else (each, []) for each in given]
    levels = sorted({level for _, own in peeled for level in own})
    if not levels:
        return [each for each, _ in peeled]
    sizes = {level: each.shape[place] for each, own in peeled for place, level in enumerate(own)}
    first, own = peeled[0]
    axes, length = first.dim() - len(own), first.shape[len(own)]

    def laid_out(each: Tensor, own: list[int]) -> Tensor:
        order = sorted(range(len(own)), key=lambda place: own[place])
        each = each.permute(*order, *range(len(own), each.dim()))
        for place, level in enumerate(levels):
            if level not in own:
                each = each.unsqueeze(place)
        logical = each.shape[len(levels) :]
        each = each.expand(*(sizes[level] for level in levels), *logical).flatten(0, len(levels) - 1)
        if axes == 2:
            return each
        each = each.reshape(each.shape[0], *(1,) * (axes - len(logical)), *logical)
        if each.shape[1] == 1:
            each = each.expand(-1, length, *each.shape[2:])
        return each.flatten(0, 1)

    return [laid_out(each, own) if isinstance(each, Tensor) else each for each, own in peeled]


def _peeled(tensor: Tensor) -> tuple[Tensor, list[int]]:
    """The tensor inside the wrappers, with an axis in front for every `vmap` that it is of, and their levels."""
    if _FUNCTIONS.is_batchedtensor(tensor):
        inside, levels = _peeled(_FUNCTIONS.get_unwrapped(tensor))
        place = len(levels) + _FUNCTIONS.maybe_get_bdim(tensor)
        return inside.movedim(place, 0), [_FUNCTIONS.maybe_get_level(tensor), *levels]
    if _FUNCTIONS.is_gradtrackingtensor(tensor):
        return _peeled(_FUNCTIONS.get_unwrapped(tensor))
    return tensor, []
