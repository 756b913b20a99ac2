"""TensorMemo: facts computed once for a tensor, valid while it lives and is not written to.

Models share masks and tables among their layers: each is looked at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import ref

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

T = TypeVar("T")


def version(tensor: Tensor) -> int | None:
    """How often a tensor was written to; None for those of inference mode, which do not count."""
    return None if tensor.is_inference() else tensor._version


@dataclass(frozen=True, eq=False)
class _Mark:
    """How a tensor was: the number of its writes, or a copy where nobody counts them."""

    version: int | None
    copy: Tensor | None

    @classmethod
    def of(cls, tensor: Tensor) -> _Mark:
        counted = version(tensor)
        return cls(counted, _once(tensor).clone() if counted is None else None)

    def holds(self, tensor: Tensor) -> bool:
        if self.copy is None:
            return self.version == version(tensor)
        return torch.equal(self.copy, _once(tensor))


def _once(tensor: Tensor) -> Tensor:
    """Without the repetitions along expanded axes."""
    return tensor[tuple(slice(1) if stride == 0 else slice(None) for stride in tensor.stride())]


class TensorMemo(Generic[T]):
    """A memory of what was found, by tensors and a key."""

    def __init__(self) -> None:
        self._found: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def of(self, first: Tensor, *others: Tensor, key: object = None, find: Callable[[], T]) -> T:
        """What `find()` gave for these tensors and this key, or gives now."""
        known = self._found.get(first)
        tensors = (first, *others)
        if known is not None:
            found: T
            asked, refs, marks, found = known
            same = asked == key and [id(other()) for other in refs] == [id(other) for other in others]
            if same and all(mark.holds(tensor) for mark, tensor in zip(marks, tensors, strict=True)):
                return found
        found = find()
        # Weakly, too: who is known together with itself would be kept for ever.
        self._found[first] = (
            key,
            [ref(other) for other in others],
            [_Mark.of(each) for each in tensors],
            found,
        )
        return found
