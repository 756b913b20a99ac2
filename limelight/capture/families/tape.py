"""The tape: what happens between Q·Kᵀ and softmax, noted while a module computes its attention by hand.

Inside one module's forward every torch function passes by. A product of two batches of matrices is taken for Q·Kᵀ
until shown otherwise, and what is then done to it is noted beside it (`steps.py`): numbers that scale it, tensors
that are added, places that are filled. When softmax comes and its result multiplies another matrix, that one was V,
and the AttentionMatrix is complete. It holds Q, K, V and what was added as references; the scores themselves are
never kept. Scores that go through anything else are lost, and `missed` is told by which operation; so are those
into whose memory something is written that is not followed.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from limelight.capture.families.matrices import inputs_of
from limelight.capture.families.products import PRODUCTS, WEIGHINGS
from limelight.capture.families.scores import Scores
from limelight.capture.families.steps import AFTER_SOFTMAX, STEPS
from limelight.capture.hooks import hooked
from limelight.capture.inputs import Kind
from limelight.capture.listening import Missed, Record
from limelight.capture.places import kind_of
from limelight.capture.pytorch import MHA
from limelight.capture.readable import why_unreadable


@contextmanager
def follow(
    module: nn.Module,
    record: Record,
    missed: Missed,
    unless: Callable[[nn.Module], str | None] = lambda _: None,
) -> Iterator[None]:
    """Watch one module by tape, in whatever thread it runs; not in calls where `unless` names a reason."""
    running = threading.local()

    def before(_: nn.Module, args: Any, kwargs: Any) -> None:
        tape = Tape(module, record, _kind(module, args, kwargs))
        tape.refused = unless(module) or why_unreadable(*args, *kwargs.values())
        running.tapes = [*getattr(running, "tapes", []), tape]
        tape.__enter__()

    def after(_: nn.Module, args: Any, output: Any) -> None:
        tape = running.tapes.pop()
        tape.__exit__(None, None, None)
        if not tape.seen and output is not None:
            missed(module, tape.reason())

    with hooked(module, before, after):
        yield


class Tape(TorchFunctionMode):
    """Notes the scores of one call of `module`, and records the matrix when the values are weighed."""

    def __init__(self, module: nn.Module, record: Record, kind: Kind) -> None:
        super().__init__()
        self.module, self.record, self.kind = module, record, kind
        self.scores: Any = WeakIdKeyDictionary()
        self.seen = 0
        self.lost: str | None = None
        self.refused: str | None = None

    def reason(self) -> str:
        """Why no attention was recorded."""
        if self.refused is not None:
            return self.refused
        if self.lost is None:
            return "no softmax of a product of queries and keys was computed in it"
        return (
            f"its scores go through {self.lost}, which is no change of attention scores that can be followed"
        )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        func = MHA.as_handed_to_modes(func)
        name = getattr(func, "__name__", "").strip("_")
        if self.refused is not None:
            return func(*args, **kwargs)
        before = self._known((*args, *kwargs.values()))
        result = func(*args, **kwargs)
        if (written := _written(func, args, kwargs)) is not None:
            self._forget_others(written, result)
        if name == "scaled_dot_product_attention":  # recorded where that function is watched
            self.seen += 1
        elif isinstance(result, Tensor) and result.is_floating_point():
            try:
                self._follow(name, before, result, args, kwargs)
            except (TypeError, ValueError, IndexError) as error:  # a call in a form that is not known here
                self._note(result, None)
                self.lost = f"{name} ({error})"
        return result

    def _follow(self, name: str, before: Scores | None, result: Tensor, args: Any, kwargs: Any) -> None:
        if before is None:
            if name in PRODUCTS:
                self._note(result, PRODUCTS[name](result, *args, **kwargs))
        elif not before.weights:
            step = STEPS.get(name)
            after = None if step is None else step(before, result, self.scores, *args, **kwargs)
            self._note(result, after)
            if after is None:
                self.lost = name
        elif name in WEIGHINGS:
            weighed = WEIGHINGS[name](before, self.scores, *args, **kwargs)
            if weighed is not None:
                self._complete(before, *weighed(result))
        elif name in AFTER_SOFTMAX:
            self._note(result, AFTER_SOFTMAX[name](before, result, self.scores, *args, **kwargs))
        else:
            self._note(result, None)
            self.lost = f"{name} after softmax"

    def _known(self, args: Any) -> Scores | None:
        """The scores among the operands; of two, the first."""
        for each in args:
            for one in each if isinstance(each, (tuple, list)) else (each,):
                if isinstance(one, Tensor) and one in self.scores:
                    return self.scores[one]
        return None

    def _forget_others(self, written: Tensor, result: Any) -> None:
        """Nothing is known any more of scores in memory that was written into, but of what the writing gave."""
        for tensor in list(self.scores):
            if tensor is not result and _share_memory(tensor, written):
                self._note(tensor, None)
                self.lost = "a write into their memory"

    def _note(self, tensor: Tensor, scores: Scores | None) -> None:
        if scores is None:
            self.scores.pop(tensor, None)
        else:
            self.scores[tensor] = scores

    def _complete(self, scores: Scores, value: Tensor, output: Tensor) -> None:
        if (why := why_unreadable(scores.q, scores.k, value, output)) is not None:
            self.refused = why
            return
        inputs = inputs_of(scores, value, output, self.module, self.kind)
        if inputs is None:
            self.lost = "filling places with numbers that hide nothing"
            return
        self.seen += 1
        self.record(self.module, inputs)


def _written(func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """The tensor that a torch function writes into; None for one that makes a new one."""
    name = getattr(func, "__name__", "")
    in_place = (
        name == "__setitem__"
        or (name.endswith("_") and not name.endswith("__"))
        or (name.startswith("__i") and name not in ("__index__", "__int__", "__invert__"))
    )
    target = args[0] if in_place and args else kwargs.get("out")
    return target if isinstance(target, Tensor) else None


def _share_memory(one: Tensor, other: Tensor) -> bool:
    if one is other:
        return True
    where = one.untyped_storage().data_ptr()
    return where != 0 and where == other.untyped_storage().data_ptr()


def _kind(module: nn.Module, args: Any, kwargs: Any) -> Kind:
    """ "cross" where the call was given something else to make the keys of."""
    try:
        given = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
    except TypeError:
        given = {}
    return kind_of(module, {**given, **given.get("kwargs", {})})
