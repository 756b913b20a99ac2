"""Received: column sums, how much attention each key receives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile


class ReceivedResult(NamedTuple):
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

    independent_heads = True

    def init(self, frame: MatrixSpec) -> KeySums:
        shape = (frame.B, frame.H, frame.M)
        return KeySums(frame.full(*shape, dtype=frame.wide), frame.full(*shape, dtype=torch.int64))

    def update(self, state: KeySums, tile: Tile) -> None:
        state.raw[tile.columns] += tile.weights.sum(-2)
        state.queries[tile.columns] += tile.queries_a_key()

    def merge(self, state: KeySums, other: KeySums) -> KeySums:
        return KeySums(state.raw + other.raw, state.queries + other.queries)

    def finish(self, state: KeySums, stats: SoftmaxStats) -> ReceivedResult:
        dtype = stats.maximum.dtype
        per_query = state.raw / state.queries.clamp(min=1)
        return ReceivedResult(state.raw.to(dtype), per_query.to(dtype), state.queries)
