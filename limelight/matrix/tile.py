"""What a reduction sees: one tile of the matrix, and the frame that it stands in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor


class SoftmaxStats(NamedTuple):
    """Two numbers a query: with them every weight is exp((s - maximum) - log_sum), exactly.

    One log-sum-exp in place of the two would round the log of the sum away beside a large maximum: a row at
    `finfo.min`, or logits of ten thousand. Both are float32 (float64 for float64 inputs), (B, H, N).
    """

    maximum: Tensor
    """The largest score of the row; -∞ where the query may look at nothing."""
    log_sum: Tensor
    """ln Σ exp(s - maximum), the sink included; 0 where the query may look at nothing."""

    @property
    def empty(self) -> Tensor:
        """Which queries may look at nothing, bool (B, H, N)."""
        return self.maximum == -torch.inf

    @property
    def has_nan(self) -> Tensor:
        """Which queries have a score that is no number, so that none of their weights is one, bool (B, H, N)."""
        return (self.maximum + self.log_sum).isnan()

    def weigh(self, scores: Tensor, room: Tensor | None = None) -> Tensor:
        """The weights of scores whose last axis are keys and whose other axes are those of these stats.

        As a product, exp(s - maximum) · exp(-log_sum): the logarithm of a small weight is a large number, and to
        round it once more would cost the weight as many digits. Written into `room` where it is given.
        """
        exponentials = torch.sub(scores, finite(self.maximum)[..., None], out=room).exp_()
        return exponentials.mul_(torch.exp(-self.log_sum)[..., None])

    def subtract_from(self, scores: Tensor, room: Tensor | None = None) -> Tensor:
        """The natural logs of the weights, written into `room` where it is given."""
        return torch.sub(scores, finite(self.maximum)[..., None], out=room).sub_(self.log_sum[..., None])

    def share_of(self, sink_H: Tensor) -> Tensor:
        """What each query gives to the sink, exp(sink - maximum - log_sum), (B, H, N); nothing where it is empty."""
        share = (sink_H[:, None].to(self.maximum) - finite(self.maximum) - self.log_sum).exp()
        # A sink beyond all measure takes everything, where ∞ - ∞ would be no number.
        return share.masked_fill(self.log_sum == torch.inf, 1.0).masked_fill(self.empty, 0.0)

    def part(self, place: tuple[slice, slice, slice]) -> SoftmaxStats:
        return SoftmaxStats(self.maximum[place], self.log_sum[place])


def finite(maximum: Tensor) -> Tensor:
    """Row maxima, with 0 for rows that see nothing: -∞ - -∞ would be no number."""
    return maximum.masked_fill(maximum == -torch.inf, 0.0)


@dataclass(frozen=True)
class MatrixSpec:
    """The whole matrix that a reduction will read: its sizes, its device, and the values if there are any."""

    B: int
    H: int
    G: int
    N: int
    M: int
    dtype: torch.dtype
    device: torch.device
    v_BGMD: Tensor | None = None
    sink_H: Tensor | None = None

    @property
    def wide(self) -> torch.dtype:
        """The dtype of sums over many tiles: float64 where the device has it; one number a row is cheap."""
        return torch.float64 if self.device.type != "mps" else self.dtype

    def full(self, *shape: int, value: float = 0.0, dtype: torch.dtype | None = None) -> Tensor:
        return torch.full(shape, value, dtype=dtype or self.dtype, device=self.device)


class Arena:
    """Memory for tiles that is used again, row block after row block.

    Asking the system for fresh memory costs about as much as the sums that a tile is made of. `take` gives an
    uninitialised tensor; `clear` takes all of them back, so nothing may be kept beyond it. An arena that is
    full, or has no entries, gives fresh memory.
    """

    def __init__(self, entries: int, dtype: torch.dtype, device: torch.device) -> None:
        self._memory = torch.empty(entries, dtype=dtype, device=device)
        self._taken = 0

    def take(self, *shape: int) -> Tensor:
        start, stop = self._taken, self._taken + math.prod(shape)
        if stop > len(self._memory):
            return self._memory.new_empty(shape)
        self._taken = stop
        return self._memory[start:stop].view(shape)

    def clear(self) -> None:
        self._taken = 0


@dataclass
class Tile:
    """Rows i0:i1 and columns j0:j1 of some batches and heads: scores, and weights once stats are known.

    Every quantity is computed once and shared by all reductions; a reduction writes into nothing but `scratch`.
    """

    batches: range
    heads: range
    i0: int
    i1: int
    j0: int
    j1: int
    scores: Tensor
    """Masked logits, (B, H, R, C), -∞ where the query may not look."""
    all_seen_but: tuple[tuple[int, int], ...] | None
    """Outside these columns every score is visible; None where only the scores themselves can tell."""
    arena: Arena
    """Where the tile takes memory of its own size from."""
    stats: SoftmaxStats | None = field(default=None)
    """Those of the tile's rows, (B, H, R)."""
    given_weights: Tensor | None = field(default=None)
    """Weights that are known already, (B, H, R, C); None where they follow from the scores and the stats."""
    _exp_scores: Tensor | None = field(default=None, init=False, repr=False)

    @property
    def rows(self) -> tuple[slice, slice, slice]:
        """Where this tile's rows stand in a (B, H, N) tensor."""
        return (*self._panel, slice(self.i0, self.i1))

    @property
    def columns(self) -> tuple[slice, slice, slice]:
        """Where this tile's columns stand in a (B, H, M) tensor."""
        return (*self._panel, slice(self.j0, self.j1))

    @cached_property
    def maximum(self) -> Tensor:
        """The largest score of each row within this tile, (B, H, R)."""
        return self.scores.amax(-1)

    @property
    def exp_scores(self) -> Tensor:
        """exp(score - maximum), (B, H, R, C): what the row stats are made of. The weights are made in their place."""
        if self._exp_scores is None:
            room = self.arena.take(*self.scores.shape)
            self._exp_scores = torch.sub(self.scores, finite(self.maximum)[..., None], out=room).exp_()
        return self._exp_scores

    @cached_property
    def weights(self) -> Tensor:
        """The shares of attention, (B, H, R, C)."""
        if self.given_weights is not None:
            return self.given_weights
        assert self.stats is not None, "weights need the row stats, which the loop finds first"
        exponentials, self._exp_scores = self._exp_scores, None
        if exponentials is None:
            return self.stats.weigh(self.scores, self.arena.take(*self.scores.shape))
        # The exponentials are there already: turn them into weights in place. (A row that sees nothing in this
        # tile has the share 0, however low the scores are that it sees elsewhere.)
        share = torch.exp(self.maximum - finite(self.stats.maximum) - self.stats.log_sum)
        return exponentials.mul_(share[..., None])

    @cached_property
    def log_weights(self) -> Tensor:
        """Their natural logs, (B, H, R, C), -∞ where the query may not look."""
        assert self.stats is not None, "weights need the row stats, which the loop finds first"
        return self.stats.subtract_from(self.scores, self.arena.take(*self.scores.shape))

    @cached_property
    def scratch(self) -> Tensor:
        """Memory of the tile's size, (B, H, R, C), for a reduction to work in; the next reduction writes over it."""
        return self.arena.take(*self.scores.shape)

    def queries_a_key(self) -> Tensor:
        """How many of the tile's queries may look at each key, whole numbers that broadcast to (B, H, C)."""
        if self.all_seen_but is None:
            return (self.scores != -torch.inf).sum(-2)
        count = torch.full_like(self.scores[:, :, 0], self.i1 - self.i0, dtype=torch.int64)
        for start, stop in self.all_seen_but:
            here = slice(start - self.j0, stop - self.j0)
            count[..., here] = (self.scores[..., here] != -torch.inf).sum(-2)
        return count

    @property
    def _panel(self) -> tuple[slice, slice]:
        return (
            slice(self.batches.start, self.batches.stop),
            slice(self.heads.start, self.heads.stop),
        )
