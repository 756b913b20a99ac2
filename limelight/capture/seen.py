"""Seen: what a watch has kept, in the order of execution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from limelight.capture.inputs import Kind
from limelight.errors import CaptureError, KindError
from limelight.matrix import AttentionMatrix


@dataclass(frozen=True, eq=False)
class Call:
    """One attention computation: its matrix, and where in the model it stands."""

    name: str
    """That of the module, as in `model.named_modules()`; its second call in one forward has `#2` after it."""
    kind: Kind
    """ "self", or "cross" where the keys come from another sequence."""
    layer: int
    matrix: AttentionMatrix
    backend: str


class Seen:
    """The attention matrices of a model, by number or by the name of the module."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __len__(self) -> int:
        return len(self.calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self.calls)

    def items(self) -> Iterator[tuple[str, AttentionMatrix]]:
        return ((call.name, call.matrix) for call in self.calls)

    def __getitem__(self, which: int | str) -> Any:
        if isinstance(which, int):
            return self.calls[which].matrix
        if not isinstance(which, str):
            raise KindError(f"seen[…] takes a number or the name of a module; got {which!r}.")
        for call in reversed(self.calls):
            if call.name == which:
                return call.matrix
        raise CaptureError(
            f"No attention of {which!r} was seen; there are: {', '.join(c.name for c in self)}."
        )
