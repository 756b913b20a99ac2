"""Entropy: how widely each query spreads its attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile


@dataclass(frozen=True)
class Entropy:
    """How widely each query spreads its attention: -Σ a·ln a over the keys, in nats, (B, H, N).

    0 when one key gets everything, ln M when M keys get the same, 0 for a query that sees nothing. With a
    sink, the keys' weights are taken as they are (their sum is below one) and the sink's own share is left
    out of the sum.

    State: one sum a query.    Neutral: 0.    Law: sums add.
    """

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Tensor:
        return frame.full(frame.B, frame.H, frame.N, dtype=frame.wide)

    def update(self, state: Tensor, tile: Tile) -> None:
        # Where the weight is 0 its log is -∞ and the term 0; the smallest finite number keeps it from NaN.
        smallest = torch.finfo(tile.scores.dtype).min
        logs = torch.clamp(tile.log_weights, min=smallest, out=tile.scratch)
        state[tile.rows] -= logs.mul_(tile.weights).sum(-1)

    def merge(self, state: Tensor, other: Tensor) -> Tensor:
        return state + other

    def finish(self, state: Tensor, stats: SoftmaxStats) -> Tensor:
        return state.to(stats.maximum.dtype).clamp(min=0.0)
