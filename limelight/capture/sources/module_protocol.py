"""The `keep` protocol: modules that hand over their AttentionMatrix themselves, as ours do.

The protocol: a module whose attribute `keep` is None promises to call `self.keep(matrix)` with the `AttentionMatrix`
of each forward, once it is a function. That way rules stay rules: a causal mask does not become a table first.
"""

from __future__ import annotations

import sys
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from limelight.capture.hooks import Ours, copies_left_alone
from limelight.capture.inputs.attention_inputs import AttentionInputs, Kind
from limelight.capture.listeners import Listener, RefCountedPatch, listeners, notify
from limelight.matrix import AttentionMatrix

Keep = Callable[[AttentionMatrix], None]

_KEEPERS: WeakKeyDictionary[nn.Module, RefCountedPatch] = WeakKeyDictionary()


@contextmanager
def own(modules: Sequence[nn.Module], listener: Listener) -> Iterator[None]:
    """The source: hears every module that tells of itself."""
    with ExitStack() as stack:
        stack.enter_context(copies_left_alone())
        for module in modules:
            if tells_of_itself(module):
                shared = _KEEPERS.setdefault(module, RefCountedPatch(partial(_put_keeper, module)))
                stack.enter_context(shared.held())
        yield


def tells_of_itself(module: nn.Module) -> bool:
    """Whether it has the attribute of the protocol; a number or a method of that name is another matter."""
    if "keep" in module.__dict__:
        return module.__dict__["keep"] is None or callable(module.__dict__["keep"])
    return getattr(type(module), "keep", 0) is None


class Keeper(Ours):
    """What a module hands its matrices to while somebody listens; a copy of the module has what was there before."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.before: Any = module.keep
        self.was_there = "keep" in module.__dict__

    def __call__(self, matrix: AttentionMatrix) -> None:
        if self.before is not None:
            self.before(matrix)
        if listeners(self.module):
            notify(self.module, inputs_of(matrix, _kind(_method(sys._getframe(1)))))

    def __reduce__(self) -> Any:
        return _itself, (self.before,)


def _itself(before: Any) -> Any:
    return before


def _put_keeper(module: nn.Module) -> Callable[[], None]:
    keeper = Keeper(module)
    module.__dict__["keep"] = keeper

    def undo() -> None:
        if module.__dict__.get("keep") is keeper:
            module.__dict__.pop("keep")
        if keeper.was_there:
            module.__dict__["keep"] = keeper.before

    return undo


def _method(frame: FrameType | None) -> Mapping[str, Any]:
    """The variables of the innermost method that runs."""
    while frame is not None and frame.f_code.co_varnames[:1] != ("self",):
        frame = frame.f_back
    return {} if frame is None else frame.f_locals


def _kind(variables: Mapping[str, Any]) -> Kind:
    """ "cross" where whoever hands over the matrix holds a memory that it looks into."""
    holder = variables.get("self")
    held = {} if isinstance(holder, nn.Module) or not hasattr(holder, "__dict__") else vars(holder)
    given = ChainMap(dict(variables), held)
    other = any(name.startswith("memory") and isinstance(one, Tensor) for name, one in given.items())
    return "cross" if other else "self"


def inputs_of(matrix: AttentionMatrix, kind: Kind) -> AttentionInputs:
    """A matrix taken apart again, for steps of a decoder to be joined."""
    scores = matrix.logits
    return AttentionInputs(
        query=scores.q_BHND,
        key=scores.k_BGMD,
        value=matrix.value,
        mask=scores.mask,
        bias=scores.bias,
        scale=scores.scale,
        softcap=scores.softcap,
        sink=scores.sink_H,
        backend="limelight",
        kind=kind,
    )
