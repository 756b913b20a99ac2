"""Attention that tells of itself: modules with an attribute `keep`, Limelight's own among them.

The protocol: a module that sets `self.keep = None` promises to call `self.keep(matrix)` with the `AttentionMatrix` of
each forward, once it is a function. That way rules stay rules: a causal mask does not become a table first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from weakref import WeakKeyDictionary

from torch import nn

from limelight.capture.inputs import Inputs, Kind
from limelight.capture.listening import Listener, Shared, tell
from limelight.capture.places import kind_of, running
from limelight.matrix import AttentionMatrix

Keep = Callable[[AttentionMatrix], None]

_KEEPERS: WeakKeyDictionary[nn.Module, Shared] = WeakKeyDictionary()


@contextmanager
def own(model: nn.Module, listener: Listener) -> Iterator[None]:
    """The source: hears every module that tells of itself."""
    with ExitStack() as stack:
        for module in model.modules():
            if tells_of_itself(module):
                shared = _KEEPERS.setdefault(module, Shared(partial(_put_keeper, module)))
                stack.enter_context(shared.held())
        yield


def tells_of_itself(module: nn.Module) -> bool:
    """Whether it has the attribute of the protocol; a number of that name is another matter."""
    keep = module.__dict__.get("keep", 0)
    return keep is None or callable(keep)


def _put_keeper(module: nn.Module) -> Callable[[], None]:
    before: Keep | None = module.__dict__["keep"]

    def keep(matrix: AttentionMatrix) -> None:
        if before is not None:
            before(matrix)
        place = running(sys._getframe(1))
        if place is not None:
            tell(module, inputs_of(matrix, kind_of(*place)))

    object.__setattr__(module, "keep", keep)
    return partial(object.__setattr__, module, "keep", before)


def inputs_of(matrix: AttentionMatrix, kind: Kind) -> Inputs:
    """A matrix taken apart again, for steps of a decoder to be joined."""
    scores = matrix._scores
    return Inputs(
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
