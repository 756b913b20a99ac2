"""What every reduction is: a small frozen class, computed from the weights tile by tile.

A fold takes the tiles in any order, and keeps a state that grows with N or M, never with N × M:

    start(frame)             the neutral element: the state before any tile
    absorb(state, tile)      take one tile in; changes the state
    merge(state, other)      join two states that took in different tiles; gives a state
    finish(state, stats)     the reading, or `NextPass` with the fold that is to walk next

Its law: however the matrix is cut into tiles, and in whatever order they are absorbed and merged, the reading
is the same, and merging with a neutral element changes nothing. "The same" means up to rounding for sums, and
exactly for largest entries and the places where they stand (of equals, the lowest key).

Where every batch and head has its own part of the state, as in all folds here, `panels_apart = True` says so, and
threads absorb tiles of different heads at the same time. Without it one thread reads everything. `walks_again = True`
tells `why()` of a fold whose `finish` asks for further walks.

Heads are never averaged. Readings are float32 (float64 for float64 inputs), without gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from limelight.errors import ArgumentTypeError
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile

Result = TypeVar("Result", covariant=True)


class Reduction(Protocol[Result]):
    """What every fold must give. A state belongs to its fold: nothing else looks into it."""

    def start(self, frame: MatrixSpec) -> Any:
        """The neutral element, for a matrix of these sizes."""

    def absorb(self, state: Any, tile: Tile) -> None:
        """Take one tile into the state, in place. Tiles come once each, in any order, NONE tiles never."""

    def merge(self, state: Any, other: Any) -> Any:
        """One state in place of two that took in different tiles."""

    def finish(self, state: Any, stats: SoftmaxStats) -> Result | NextPass[Result]:
        """The reading, once all tiles are in; or the fold to go on with, where one walk is not enough."""


@dataclass(frozen=True, eq=False)
class NextPass(Generic[Result]):
    """What `finish` gives in place of a reading when the matrix must be walked over once more."""

    fold: Reduction[Result]


def finish(
    folds: Sequence[Reduction[Any]],
    states: Sequence[Any],
    stats: SoftmaxStats,
    walk: Callable[[list[Reduction[Any]]], list[Any]],
) -> list[Any]:
    """The readings of all folds; `walk` gives the states of those that ask for another walk."""
    readings = [fold.finish(state, stats) for fold, state in zip(folds, states, strict=True)]
    while unfinished := {
        place: each.fold for place, each in enumerate(readings) if isinstance(each, NextPass)
    }:
        further = walk(list(unfinished.values()))
        for (place, fold), state in zip(unfinished.items(), further, strict=True):
            readings[place] = fold.finish(state, stats)
    return readings


def require_reductions(door: str, given: Sequence[object]) -> None:
    """Raise ArgumentTypeError unless all are folds: not their classes, nor anything else."""
    for each in given:
        if isinstance(each, type) or not hasattr(each, "absorb"):
            raise ArgumentTypeError(f"{door} takes folds, such as Received() or Top(8); got {each!r}.")


def maybe_hidden(tile: Tile) -> tuple[tuple[int, int], ...]:
    """The runs of columns in which a tile's queries may not all look; everywhere else they do."""
    return ((tile.j0, tile.j1),) if tile.all_seen_but is None else tile.all_seen_but
