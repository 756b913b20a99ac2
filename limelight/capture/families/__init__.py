"""Model families that compute attention in plain operations, outside transformers' attention interface.

A family is a row of `rows.py`: which module computes the attention, and how it is followed there. Most are followed
by the tape (`tape.py`), which notes what happens between Q·Kᵀ and softmax; those whose scores are no plain product
have a small file of their own. Nothing of the model is changed.

    products.py   Q·Kᵀ and weights·V, as torch functions say them     scores.py    what is known of a tensor of scores
    steps.py      what may be done to scores; moves.py: their shapes   lookups.py   DeBERTa's additions, by distance
    mixing.py     heads that are mixed     after.py   after softmax    origins.py   what the axes of tensors count
    matrices.py   scores in the words of AttentionMatrix               about.py     what is known without running it
    reasons.py    why something was missed, in words
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache

from torch import nn

from limelight.capture.hooks import hooked
from limelight.capture.listening import Listener, Missed, Record, reporting

Watch = Callable[[nn.Module, Record, Missed], AbstractContextManager[None]]


@dataclass(frozen=True)
class Family:
    """How the attention of one class of modules is captured, or why it is not.

    how     one line for people: what is captured and what it holds in memory, or the reason of the refusal
    watch   hooks one module and calls `record` or `missed`; None where the family is refused
    """

    how: str
    watch: Watch | None


def family_of(module: nn.Module) -> Family | None:
    """The family that this module's class, or one that it derives from, belongs to."""
    return _family_of_class(type(module))  # type: ignore[arg-type]


@cache
def _family_of_class(kind: type[nn.Module]) -> Family | None:
    from limelight.capture.families.rows import FAMILIES

    for each in kind.__mro__:
        folder = each.__module__.rpartition(".")[0].rpartition(".")[2]
        found = FAMILIES.get(f"{folder}.{each.__name__}")
        if found is not None:
            return found
    return None


@contextmanager
def families(modules: Sequence[nn.Module], listener: Listener) -> Iterator[None]:
    """The source: hears every module of a known family.

    Of a module that ran without its attention being followed, or whose family is refused, the listener is told by
    `listener.missed(module, why)`, where it has such a method.
    """
    record, missed = reporting(listener)
    with ExitStack() as stack:
        for module in modules:
            family = family_of(module)
            if family is not None:
                watch = family.watch or _refusing(family.how)
                stack.enter_context(watch(module, record, missed))
        yield


def _refusing(why: str) -> Watch:
    @contextmanager
    def watch(module: nn.Module, record: Record, missed: Missed) -> Iterator[None]:
        with hooked(module, after=lambda *_: missed(module, why)):
            yield

    return watch
