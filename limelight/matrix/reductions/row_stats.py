"""RowStats: two numbers a query, from which every weight follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile, finite


class RowSums(NamedTuple):
    maximum: Tensor
    total: Tensor
    sink_H: Tensor | None


@dataclass(frozen=True)
class RowStats:
    """The row maximum m and the log-sum l of every query: `SoftmaxStats(maximum, log_sum)`, each (B, H, N).

    State: (m, t), t = Σ exp(s - m).    Neutral: (-∞, 0).
    Law: (m, t) ∘ (m', t') = (M, t·exp(m - M) + t'·exp(m' - M)) with M = max(m, m').
    """

    independent_heads = True

    def init(self, frame: MatrixSpec) -> RowSums:
        shape = (frame.B, frame.H, frame.N)
        return RowSums(
            frame.full(*shape, value=-torch.inf), frame.full(*shape, dtype=frame.wide), frame.sink_H
        )

    def of(self, tile: Tile) -> RowSums:
        """The state of one tile alone, for its own rows."""
        return RowSums(tile.maximum, tile.exp_scores.sum(-1), None)

    def update(self, state: RowSums, tile: Tile) -> None:
        here = RowSums(state.maximum[tile.rows], state.total[tile.rows], None)
        state.maximum[tile.rows], state.total[tile.rows], _ = self.merge(here, self.of(tile))

    def merge(self, state: RowSums, other: RowSums) -> RowSums:
        maximum = torch.maximum(state.maximum, other.maximum)
        ours, others = (each.total * torch.exp(each.maximum - finite(maximum)) for each in (state, other))
        return RowSums(maximum, ours + others, state.sink_H)

    def finish(self, state: RowSums, stats: SoftmaxStats | None = None) -> SoftmaxStats:
        log_sum = state.total.log()
        if state.sink_H is not None:
            log_sum = torch.logaddexp(log_sum, state.sink_H[:, None].to(log_sum) - finite(state.maximum))
        empty = state.maximum == -torch.inf
        return SoftmaxStats(state.maximum, log_sum.to(state.maximum.dtype).masked_fill(empty, 0.0))
