"""What is read from the matrix, one small frozen class a reading.

A fold walks over the tiles in any order, and keeps a state that grows with N or M, never with N × M:

    start(frame)             the neutral element: the state before any tile
    absorb(state, tile)      take one tile in; changes the state
    merge(state, other)      join two states that took in different tiles; gives a state
    finish(state, stats)     the reading, or `Again` with the fold that is to walk next

Its law: however the matrix is cut into tiles, and in whatever order they are absorbed and merged, the reading
is the same, and merging with a neutral element changes nothing. "The same" means up to rounding for sums, and
exactly for largest entries and the places where they stand (of equals, the lowest key).

Where every batch and head has its own part of the state, as in all folds here, `panels_apart = True` says so, and
threads absorb tiles of different heads at the same time. Without it one thread reads everything. `walks_again = True`
tells `why()` of a fold whose `finish` asks for further walks.

Heads are never averaged. Readings are float32 (float64 for float64 inputs), without gradient. Here are the
simplest folds; the package's docstring says where the others are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from limelight.errors import KindError
from limelight.matrix.tile import Frame, Stats, Tile, finite

Result = TypeVar("Result", covariant=True)


class Fold(Protocol[Result]):
    """What every fold must give. A state belongs to its fold: nothing else looks into it."""

    def start(self, frame: Frame) -> Any:
        """The neutral element, for a matrix of these sizes."""

    def absorb(self, state: Any, tile: Tile) -> None:
        """Take one tile into the state, in place. Tiles come once each, in any order, NONE tiles never."""

    def merge(self, state: Any, other: Any) -> Any:
        """One state in place of two that took in different tiles."""

    def finish(self, state: Any, stats: Stats) -> Result | Again[Result]:
        """The reading, once all tiles are in; or the fold to go on with, where one walk is not enough."""


@dataclass(frozen=True, eq=False)
class Again(Generic[Result]):
    """What `finish` gives in place of a reading when the matrix must be walked over once more."""

    fold: Fold[Result]


def finish(
    folds: Sequence[Fold[Any]],
    states: Sequence[Any],
    stats: Stats,
    walk: Callable[[list[Fold[Any]]], list[Any]],
) -> list[Any]:
    """The readings of all folds; `walk` gives the states of those that ask for another walk."""
    readings = [fold.finish(state, stats) for fold, state in zip(folds, states, strict=True)]
    while unfinished := {place: each.fold for place, each in enumerate(readings) if isinstance(each, Again)}:
        further = walk(list(unfinished.values()))
        for (place, fold), state in zip(unfinished.items(), further, strict=True):
            readings[place] = fold.finish(state, stats)
    return readings


def demand_folds(door: str, given: Sequence[object]) -> None:
    """Raise KindError unless all are folds: not their classes, nor anything else."""
    for each in given:
        if isinstance(each, type) or not hasattr(each, "absorb"):
            raise KindError(f"{door} takes folds, such as Received() or Top(8); got {each!r}.")


def maybe_hidden(tile: Tile) -> tuple[tuple[int, int], ...]:
    """The runs of columns in which a tile's queries may not all look; everywhere else they do."""
    return ((tile.j0, tile.j1),) if tile.all_seen_but is None else tile.all_seen_but


# ---- row statistics -----------------------------------------------------------------------------------


class RowSums(NamedTuple):
    maximum: Tensor
    total: Tensor
    sink_H: Tensor | None


@dataclass(frozen=True)
class RowStats:
    """The row maximum m and the log-sum l of every query: `Stats(maximum, log_sum)`, each (B, H, N).

    State: (m, t), t = Σ exp(s - m).    Neutral: (-∞, 0).
    Law: (m, t) ∘ (m', t') = (M, t·exp(m - M) + t'·exp(m' - M)) with M = max(m, m').
    """

    panels_apart = True

    def start(self, frame: Frame) -> RowSums:
        shape = (frame.B, frame.H, frame.N)
        return RowSums(
            frame.full(*shape, value=-torch.inf), frame.full(*shape, dtype=frame.wide), frame.sink_H
        )

    def of(self, tile: Tile) -> RowSums:
        """The state of one tile alone, for its own rows."""
        return RowSums(tile.maximum, tile.raised.sum(-1), None)

    def absorb(self, state: RowSums, tile: Tile) -> None:
        here = RowSums(state.maximum[tile.rows], state.total[tile.rows], None)
        state.maximum[tile.rows], state.total[tile.rows], _ = self.merge(here, self.of(tile))

    def merge(self, state: RowSums, other: RowSums) -> RowSums:
        maximum = torch.maximum(state.maximum, other.maximum)
        ours, others = (each.total * torch.exp(each.maximum - finite(maximum)) for each in (state, other))
        return RowSums(maximum, ours + others, state.sink_H)

    def finish(self, state: RowSums, stats: Stats | None = None) -> Stats:
        log_sum = state.total.log()
        if state.sink_H is not None:
            log_sum = torch.logaddexp(log_sum, state.sink_H[:, None].to(log_sum) - finite(state.maximum))
        empty = state.maximum == -torch.inf
        return Stats(state.maximum, log_sum.to(state.maximum.dtype).masked_fill(empty, 0.0))


# ---- what a key receives ------------------------------------------------------------------------------


class ReceivedReading(NamedTuple):
    """What each key receives, every tensor (B, H, M)."""

    raw: Tensor
    """Σ over the queries of their weight on this key, in queries: all keys together receive N."""
    per_query: Tensor
    """`raw` divided by `queries`: the mean weight among those that could see the key; 0 where none could."""
    queries: Tensor
    """How many queries could see the key."""


class KeySums(NamedTuple):
    raw: Tensor
    queries: Tensor


@dataclass(frozen=True)
class Received:
    """Column sums: how much attention each key receives, raw and per query that could see the key.

    Under a causal mask the first key is seen by all queries and the last by one, so raw sums fall with the
    position whatever the model does; `per_query` takes that out.

    State: two sums a key.    Neutral: 0.    Law: sums add.
    """

    panels_apart = True

    def start(self, frame: Frame) -> KeySums:
        shape = (frame.B, frame.H, frame.M)
        return KeySums(frame.full(*shape, dtype=frame.wide), frame.full(*shape, dtype=torch.int64))

    def absorb(self, state: KeySums, tile: Tile) -> None:
        state.raw[tile.columns] += tile.weights.sum(-2)
        state.queries[tile.columns] += tile.queries_a_key()

    def merge(self, state: KeySums, other: KeySums) -> KeySums:
        return KeySums(state.raw + other.raw, state.queries + other.queries)

    def finish(self, state: KeySums, stats: Stats) -> ReceivedReading:
        dtype = stats.maximum.dtype
        per_query = state.raw / state.queries.clamp(min=1)
        return ReceivedReading(state.raw.to(dtype), per_query.to(dtype), state.queries)


# ---- how a query spreads ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entropy:
    """How widely each query spreads its attention: -Σ a·ln a over the keys, in nats, (B, H, N).

    0 when one key gets everything, ln M when M keys get the same, 0 for a query that sees nothing. With a
    sink, the keys' weights are taken as they are (their sum is below one) and the sink's own share is left
    out of the sum.

    State: one sum a query.    Neutral: 0.    Law: sums add.
    """

    panels_apart = True

    def start(self, frame: Frame) -> Tensor:
        return frame.full(frame.B, frame.H, frame.N, dtype=frame.wide)

    def absorb(self, state: Tensor, tile: Tile) -> None:
        # Where the weight is 0 its log is -∞ and the term 0; the smallest finite number keeps it from NaN.
        smallest = torch.finfo(tile.scores.dtype).min
        logs = torch.clamp(tile.log_weights, min=smallest, out=tile.scratch)
        state[tile.rows] -= logs.mul_(tile.weights).sum(-1)

    def merge(self, state: Tensor, other: Tensor) -> Tensor:
        return state + other

    def finish(self, state: Tensor, stats: Stats) -> Tensor:
        return state.to(stats.maximum.dtype).clamp(min=0.0)
