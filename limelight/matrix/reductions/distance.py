"""MeanDistance: the mean distance between a query and the keys it attends to.

Distances are whole positions, and sums of weight × distance are taken over keys behind and keys ahead apart.
Within either no term is negative, so no digit is lost where a query at position 100,000 looks next to itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.matrix.checks import maybe_whole
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile


class DistanceResult(NamedTuple):
    """How far each query looks, (B, H, N) each, in positions."""

    mean: Tensor
    """Σ a·|j - p|: 0 for a query that looks at its own position only."""
    signed: Tensor
    """Σ a·(j - p): below 0 looks back, above 0 ahead."""


class Reach(NamedTuple):
    behind: Tensor
    ahead: Tensor
    offset: int


@dataclass(frozen=True)
class MeanDistance:
    """The mean distance that each query looks, without and with its direction: `DistanceResult`.

    Query i stands at key position p = i + offset. Without an offset the last query stands beside the last
    key, offset = M - N, as in the masks. The weights are taken as they are: a sink's share counts as no
    distance (divide by 1 - `SinkMass` for the mean over the keys alone), and a query that sees nothing has 0.

    State: two sums a query, Σ a·max(p - j, 0) and Σ a·max(j - p, 0).    Neutral: 0.    Law: sums add.
    """

    offset: int | None = None

    def __post_init__(self) -> None:
        offset = maybe_whole(self.offset, "MeanDistance(offset) must be a whole number of positions")
        object.__setattr__(self, "offset", offset)

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Reach:
        shape = (frame.B, frame.H, frame.N)
        offset = frame.M - frame.N if self.offset is None else self.offset
        return Reach(frame.full(*shape, dtype=frame.wide), frame.full(*shape, dtype=frame.wide), offset)

    def update(self, state: Reach, tile: Tile) -> None:
        # Where the tile's first and last query stand.
        first, last = tile.i0 + state.offset, tile.i1 - 1 + state.offset
        own_R = torch.arange(first, last + 1, device=tile.weights.device)
        # Columns before every query, columns after every query, and the few between.
        left, right = (min(max(edge, tile.j0), tile.j1) for edge in (first, last + 1))
        if tile.j0 < left:
            mass, reach = _moments(tile.weights[..., : left - tile.j0], from_first=False)
            state.behind[tile.rows] += mass * (own_R - (left - 1)) + reach
        if right < tile.j1:
            mass, reach = _moments(tile.weights[..., right - tile.j0 :], from_first=True)
            state.ahead[tile.rows] += mass * (right - own_R) + reach
        if left < right:
            between = tile.weights[..., left - tile.j0 : right - tile.j0]
            ahead_RC = torch.arange(left, right, device=own_R.device) - own_R[:, None]
            state.behind[tile.rows] += (between * (-ahead_RC).clamp(min=0)).sum(-1)
            state.ahead[tile.rows] += (between * ahead_RC.clamp(min=0)).sum(-1)

    def merge(self, state: Reach, other: Reach) -> Reach:
        return Reach(state.behind + other.behind, state.ahead + other.ahead, state.offset)

    def finish(self, state: Reach, stats: SoftmaxStats) -> DistanceResult:
        dtype = stats.maximum.dtype
        mean, signed = state.ahead + state.behind, state.ahead - state.behind
        return DistanceResult(mean.to(dtype), signed.to(dtype))


def _moments(weights: Tensor, from_first: bool) -> tuple[Tensor, Tensor]:
    """Σ a, and Σ a·(columns from the first, or up to the last)."""
    steps = torch.arange(weights.shape[-1], device=weights.device, dtype=weights.dtype)
    return weights.sum(-1), weights @ (steps if from_first else steps.flip(0))
