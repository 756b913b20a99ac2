"""How many keys hold most of the attention, exactly, without sorting or storing a row.

A weight is a float between 0 and 1, and such floats are in the order of their bits read as whole numbers. So
the weight at which the largest ones together reach a share of the row can be spelled digit by digit, one a
walk over the matrix: of the weights that begin with the digits found so far, add up the mass by the next
digit, and see at which digit the share is reached. Masses are whole numbers of grains, so their sums do not
depend on their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.errors import InputError, TooLargeError
from limelight.matrix.folds import Again
from limelight.matrix.tile import Frame, Stats, Tile

BITS = 6  # of a digit
DIGITS = 2**BITS
GRAINS = 2.0**60  # in a weight of 1; a row's sum of whole numbers is far from overflowing
ENTRIES = 2**16  # of a tile, looked at together


class QuantileReading(NamedTuple):
    """(B, H, N, shares) each; 0 for a query that sees nothing, or whose sink leaves less than a grain."""

    keys: Tensor
    """The least number of keys that together hold the share."""
    weights: Tensor
    """The smallest weight among them."""


class Masses(NamedTuple):
    grains: Tensor
    """(B, H, N, P, DIGITS + 2): by next digit, and before and after these what is smaller and larger."""
    larger: Tensor
    """How many weights are larger than all that is spelled, (B, H, N, P); counted in the last walk."""
    prefix: Tensor
    """The digits found so far, as one whole number, (B, H, N, P)."""
    left: int
    """How many digits are to be found after the one of this walk."""


@dataclass(frozen=True, init=False)
class Quantiles:
    """How many keys hold a share of each query's attention, and down to which weight: `QuantileReading`.

    `Quantiles(0.5, 0.9)` gives for each query the least number of keys that together hold half, and nine
    tenths, of what all its keys get, and the smallest weight among those: quantiles of the weights, each
    weight counted by its own size. A sink's share is left out. Shares are above 0 and below 1.

    Exact, at the price of several walks over the matrix: five for float32 and eleven for float64, the first
    of them shared with the other folds of a `read`. The state is some 70 whole numbers for each query and
    share: above `limit` bytes it is refused.

    State: the mass by next digit.    Neutral: 0.    Law: masses add, to the bit in any order.
    """

    shares: tuple[float, ...]
    limit: int

    def __init__(self, *shares: float, limit: int = 2**31) -> None:
        if not shares or not all(0 < share < 1 for share in shares):
            raise InputError(
                f"Quantiles(shares…) takes shares of the attention above 0 and below 1; got {shares}. "
                "Write Quantiles(0.5, 0.9)."
            )
        object.__setattr__(self, "shares", tuple(float(share) for share in shares))
        object.__setattr__(self, "limit", limit)

    def start(self, frame: Frame) -> Masses:
        needed = frame.B * frame.H * frame.N * len(self.shares) * (DIGITS + 4) * 8
        if needed > self.limit:
            raise TooLargeError(
                f"Quantiles would keep {needed} bytes, and may keep {self.limit}. Ask for fewer shares, or "
                f"raise it: Quantiles(…, limit={needed})."
            )
        bits = 62 if frame.dtype == torch.float64 else 30  # of a weight of 1; those above are never set
        return _start(frame.full(frame.B, frame.H, frame.N, 1, dtype=torch.int64), -(-bits // BITS) - 1)

    def absorb(self, state: Masses, tile: Tile) -> None:
        _absorb(state, tile)

    def merge(self, state: Masses, other: Masses) -> Masses:
        return _merge(state, other)

    def finish(self, state: Masses, stats: Stats) -> Again[QuantileReading] | QuantileReading:
        return _finish(state, stats, self.shares)


@dataclass(frozen=True, eq=False)
class Spelled:
    """The further walks of `Quantiles`: one more digit of weights that begin with `prefix`, (B, H, N, P)."""

    shares: tuple[float, ...]
    prefix: Tensor
    left: int

    def start(self, frame: Frame) -> Masses:
        return _start(self.prefix, self.left)

    def absorb(self, state: Masses, tile: Tile) -> None:
        _absorb(state, tile)

    def merge(self, state: Masses, other: Masses) -> Masses:
        return _merge(state, other)

    def finish(self, state: Masses, stats: Stats) -> Again[QuantileReading] | QuantileReading:
        return _finish(state, stats, self.shares)


def _start(prefix: Tensor, left: int) -> Masses:
    grains = prefix.new_zeros(*prefix.shape, DIGITS + 2)
    return Masses(grains, torch.zeros_like(prefix), prefix, left)


def _absorb(state: Masses, tile: Tile) -> None:
    grains, larger, prefix = (each[tile.rows] for each in (state.grains, state.larger, state.prefix))
    for rows in _row_blocks(tile):
        weights = tile.weights[:, :, rows]
        mass = (weights * GRAINS).long()
        digits = weights.view(_whole(weights.dtype)) >> (BITS * state.left)
        for p in range(prefix.shape[-1]):
            digit = digits - (prefix[:, :, rows, p, None] << BITS)
            slot = digit.clamp_(-1, DIGITS) + 1
            grains[:, :, rows, p].scatter_add_(-1, slot, mass)
            if state.left == 0:
                larger[:, :, rows, p] += (slot == DIGITS + 1).sum(-1)


def _merge(state: Masses, other: Masses) -> Masses:
    return state._replace(grains=state.grains + other.grains, larger=state.larger + other.larger)


def _finish(
    state: Masses, stats: Stats, shares: tuple[float, ...]
) -> Again[QuantileReading] | QuantileReading:
    wanted = torch.tensor(shares, dtype=torch.float64, device=state.grains.device)
    target = (wanted * state.grains.sum(-1)).ceil().long()[..., None]  # (B, H, N, P, 1)
    reached = state.grains.flip(-1).cumsum(-1).flip(-1)  # by this digit and all larger ones
    # Weights may differ in their last bit from walk to walk. A share that is reached above or below what is
    # spelled is therefore taken at the nearest end.
    digit = ((reached[..., 1:-1] >= target).sum(-1, keepdim=True) - 1).clamp_(min=0)
    prefix = (state.prefix[..., None] << BITS) + digit
    if state.left:
        return Again(Spelled(shares, prefix[..., 0], state.left - 1))
    # The last digit makes a weight whole, so mass over weight is the number of keys.
    dtype = stats.maximum.dtype
    every = (state.prefix[..., None] << BITS) + torch.arange(DIGITS, device=digit.device)
    unit = (_as_float(every, dtype) * GRAINS).long().clamp_(min=1)
    keys_above = (state.grains[..., 1:-1] // unit) * (torch.arange(DIGITS, device=digit.device) > digit)
    missing = (target - reached.gather(-1, digit + 2)).clamp_(min=0)
    of_this = -(-missing // unit.gather(-1, digit))
    keys = state.larger + keys_above.sum(-1) + of_this[..., 0]
    nothing = target[..., 0] == 0
    weights = _as_float(prefix[..., 0], dtype)
    return QuantileReading(keys.masked_fill(nothing, 0), weights.masked_fill(nothing, 0.0))


def _row_blocks(tile: Tile) -> Iterator[slice]:
    B, H, R, C = tile.weights.shape
    step = max(1, ENTRIES // max(1, B * H * C))
    return (slice(start, min(start + step, R)) for start in range(0, R, step))


def _whole(dtype: torch.dtype) -> torch.dtype:
    return torch.int64 if dtype == torch.float64 else torch.int32


def _as_float(bits: Tensor, dtype: torch.dtype) -> Tensor:
    return bits.to(_whole(dtype)).view(dtype)
