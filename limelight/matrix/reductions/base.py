"""What every reduction is: a small frozen class, computed from the weights tile by tile.

A reduction takes the tiles in any order, and keeps a state that grows with N or M, never with N × M:

    init(frame)              the neutral element: the state before any tile
    update(state, tile)      take one tile in; changes the state
    merge(state, other)      join two states that took in different tiles; gives a state
    finish(state, stats)     the reading, or `NextPass` with the reduction for the next pass

Its law: however the matrix is cut into tiles, and in whatever order they are taken in and merged, the reading
is the same, and merging with a neutral element changes nothing. "The same" means up to rounding for sums, and
exactly for largest entries and the places where they stand (of equals, the lowest key).

Where every batch and head has its own part of the state, as in all reductions here, `independent_heads = True` says
so, and threads take in tiles of different heads at the same time. Without it one thread reads everything.
`multi_pass = True` tells `why()` of a reduction whose `finish` asks for further passes.

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
    """What every reduction must give. A state belongs to its reduction: nothing else looks into it."""

    def init(self, frame: MatrixSpec) -> Any:
        """The neutral element, for a matrix of these sizes."""

    def update(self, state: Any, tile: Tile) -> None:
        """Take one tile into the state, in place. Tiles come once each, in any order, EMPTY tiles never."""

    def merge(self, state: Any, other: Any) -> Any:
        """One state in place of two that took in different tiles."""

    def finish(self, state: Any, stats: SoftmaxStats) -> Result | NextPass[Result]:
        """The reading, once all tiles are in; or the reduction to go on with, where one pass is not enough."""


@dataclass(frozen=True, eq=False)
class NextPass(Generic[Result]):
    """What `finish` gives in place of a reading when the matrix must be passed over once more."""

    reduction: Reduction[Result]


def finish(
    reductions: Sequence[Reduction[Any]],
    states: Sequence[Any],
    stats: SoftmaxStats,
    run_pass: Callable[[list[Reduction[Any]]], list[Any]],
) -> list[Any]:
    """The readings of all reductions; `run_pass` gives the states of those that ask for another pass."""
    readings = [reduction.finish(state, stats) for reduction, state in zip(reductions, states, strict=True)]
    while unfinished := {
        place: each.reduction for place, each in enumerate(readings) if isinstance(each, NextPass)
    }:
        further = run_pass(list(unfinished.values()))
        for (place, reduction), state in zip(unfinished.items(), further, strict=True):
            readings[place] = reduction.finish(state, stats)
    return readings


def is_reduction(value: object) -> bool:
    """Whether a value has what a reduction must have; its class has not, nor has a dictionary, which has `update`."""
    parts = ("init", "update", "merge", "finish")
    return not isinstance(value, type) and all(hasattr(value, name) for name in parts)


def require_reductions(door: str, given: Sequence[object]) -> None:
    """Raise ArgumentTypeError unless all are reductions: not their classes, nor anything else."""
    for each in given:
        if not is_reduction(each):
            raise ArgumentTypeError(f"{door} takes reductions, such as Received() or TopK(8); got {each!r}.")


def maybe_hidden(tile: Tile) -> tuple[tuple[int, int], ...]:
    """The runs of columns in which a tile's queries may not all look; everywhere else they do."""
    return ((tile.j0, tile.j1),) if tile.all_seen_but is None else tile.all_seen_but
