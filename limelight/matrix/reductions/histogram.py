"""Histogram: how the weights of each head are distributed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.errors import InputError
from limelight.matrix.checks import a_number, whole_number
from limelight.matrix.reductions.base import maybe_hidden
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile

MOST_BINS = 2**24


class HistogramResult(NamedTuple):
    """How many weights fall into each bin."""

    counts: Tensor
    """Whole numbers, (B, H, bins); together as many as there are places where a query sees a key."""
    edges: Tensor
    """Where the bins begin and end, natural logs of weights, (bins + 1,)."""


@dataclass(frozen=True)
class Histogram:
    """How many of a head's weights are of which size: `HistogramResult`, in bins of equal width of ln a.

    The bins divide `low` to `high`, natural logs of weights (for powers of ten, n · ln 10). Whatever is
    smaller counts in the first bin, a weight too small for its float among it, and whatever is larger in the
    last. Keys that a query may not see are not counted, nor is a query whose weights are no numbers.

    State: a count a bin.    Neutral: 0.    Law: counts add.
    """

    bins: int = 64
    low: float = -24.0
    high: float = 0.0

    def __post_init__(self) -> None:
        bins = whole_number(self.bins, "Histogram(bins) must be a whole number of bins")
        object.__setattr__(self, "bins", bins)
        if self.bins > MOST_BINS:
            raise InputError(f"Histogram(bins) must have at most {MOST_BINS:,} bins; got {self.bins}.")
        if self.bins < 1:
            raise InputError(f"Histogram(bins) must have at least one bin; got {self.bins}.")
        for name in ("low", "high"):
            object.__setattr__(self, name, a_number(f"Histogram({name})", getattr(self, name)))
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(
                f"Histogram(low, high) must be a range of natural logs of weights; got {self.low} to {self.high}."
            )

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Tensor:
        return frame.full(frame.B, frame.H, self.bins, dtype=torch.int64)

    def update(self, state: Tensor, tile: Tile) -> None:
        assert tile.stats is not None, "weights need the row stats, which the loop finds first"
        logs = tile.stats.subtract_from(tile.scores, tile.scratch)
        lost = tile.stats.has_nan
        some_lost = bool(lost.any())
        if some_lost:
            logs.masked_fill_(lost[..., None], self.low)  # into the first bin, and out of it again
        logs.sub_(self.low).mul_(self.bins / (self.high - self.low)).clamp_(0, self.bins - 1)
        B, H = logs.shape[:2]
        bins = logs.to(torch.int32).view(B * H, -1)  # rounds down, as none is below 0
        bins += torch.arange(B * H, device=bins.device, dtype=torch.int32)[:, None] * self.bins
        counts = torch.bincount(bins.flatten(), minlength=B * H * self.bins).view(B, H, self.bins)
        for start, stop in maybe_hidden(tile):  # hidden keys have fallen into the first bin
            hidden = tile.scores[..., start - tile.j0 : stop - tile.j0] == -torch.inf
            if some_lost:
                hidden &= ~lost[..., None]
            counts[..., 0] -= hidden.sum((-2, -1))
        counts[..., 0] -= lost.sum(-1) * tile.scores.shape[-1]
        state[tile.batches.start : tile.batches.stop, tile.heads.start : tile.heads.stop] += counts

    def merge(self, state: Tensor, other: Tensor) -> Tensor:
        return state + other

    def finish(self, state: Tensor, stats: SoftmaxStats) -> HistogramResult:
        edges = torch.linspace(self.low, self.high, self.bins + 1, dtype=torch.float64, device=state.device)
        return HistogramResult(state, edges.to(stats.maximum.dtype))
