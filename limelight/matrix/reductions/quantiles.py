"""Quantiles: how many keys hold a share of the attention, exactly, without sorting a row.

A weight is a float between 0 and 1, and such floats are in the order of their bits read as whole numbers. So
the weight at which the largest ones together reach a share of the row can be spelled digit by digit, one a
pass over the matrix: of the weights that begin with the digits found so far, add up the mass by the next
digit, and see at which digit the share is reached. Only the first pass looks at all weights; to the others
those matter that begin right, which are few. Masses are whole numbers of grains, so their sums do not depend
on their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.errors import InputError, TooLargeError
from limelight.matrix.checks import a_number, whole_bytes
from limelight.matrix.reductions.base import NextPass
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile

BITS = 6  # of a digit
DIGITS = 2**BITS
GRAINS = 2.0**60  # in a weight of 1; a row's sum of whole numbers is far from overflowing
ENTRIES = 2**16  # of a tile, looked at together


class QuantileResult(NamedTuple):
    """(B, H, N, shares) each; 0 for a query that sees nothing, or whose sink leaves less than a grain.

    A query whose weights are no numbers has -1 keys, and NaN for their weight.
    """

    keys: Tensor
    """The least number of keys that together hold the share."""
    weights: Tensor
    """The smallest weight among them."""


class Spelled(NamedTuple):
    """What is known of the weight at which each share is reached, (B, H, N, P) each."""

    digits: Tensor
    """Its first digits, as one whole number."""
    above: Tensor
    """The mass of all weights that are larger by these digits alone, in grains."""
    target: Tensor
    """The share, in grains."""


class Masses(NamedTuple):
    grains: Tensor
    """The mass of the weights that begin right, by their next digit, (B, H, N, P, DIGITS)."""
    larger: Tensor
    """How many weights are larger by the digits known, (B, H, N, P); counted in the last pass."""
    known: Spelled | None
    left: int
    """How many digits are to be found after the one of this pass."""


@dataclass(frozen=True, init=False)
class Quantiles:
    """How many keys hold a share of each query's attention, and down to which weight: `QuantileResult`.

    `Quantiles(0.5, 0.9)` gives for each query the least number of keys that together hold half, and nine
    tenths, of what all its keys get, and the smallest weight among those: quantiles of the weights, each
    weight counted by its own size. A sink's share is left out. Shares are above 0 and below 1.

    Exact, at the price of several passes over the matrix: five for float32 and eleven for float64, the first
    of them shared with the other reductions of a `read`. The state is a whole number for each query, share and value
    of a digit, and that of a pass is let go once the next has its own: above `limit` bytes it is refused.

    State: the mass by next digit.    Neutral: 0.    Law: masses add, to the bit in any order.
    """

    shares: tuple[float, ...]
    limit: int

    def __init__(self, *shares: float, limit: int = 2**31) -> None:
        numbers = tuple(a_number("A share of Quantiles(0.5, 0.9)", share) for share in shares)
        if not numbers or not all(0 < share < 1 for share in numbers):
            raise InputError(
                f"Quantiles(shares…) takes shares of the attention above 0 and below 1; got {shares}. "
                "Write Quantiles(0.5, 0.9)."
            )
        object.__setattr__(self, "shares", numbers)
        object.__setattr__(self, "limit", whole_bytes(limit, "Quantiles"))

    independent_heads = True
    multi_pass = True

    def init(self, frame: MatrixSpec) -> Masses:
        P = len(self.shares)
        a_query = (1 + 2 * P) * DIGITS + 2 * P * len(
            Spelled._fields
        )  # the first pass's, and those of two more
        needed = frame.B * frame.H * frame.N * a_query * 8
        if needed > self.limit:
            raise TooLargeError(
                f"Quantiles would keep {needed} bytes, and may keep {self.limit}. Ask for fewer shares, or "
                f"raise it: Quantiles(…, limit={needed})."
            )
        bits = 62 if frame.dtype == torch.float64 else 30  # of a weight of 1; those above are never set
        return _start(frame.full(frame.B, frame.H, frame.N, 1, dtype=torch.int64), None, -(-bits // BITS) - 1)

    def update(self, state: Masses, tile: Tile) -> None:
        _absorb(state, tile)

    def merge(self, state: Masses, other: Masses) -> Masses:
        return _merge(state, other)

    def finish(self, state: Masses, stats: SoftmaxStats) -> NextPass[QuantileResult] | QuantileResult:
        return _finish(state, stats, self.shares)


@dataclass(frozen=True, eq=False)
class NextDigit:
    """The further passes of `Quantiles`."""

    shares: tuple[float, ...]
    known: Spelled
    left: int

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Masses:
        return _start(self.known.digits, self.known, self.left)

    def update(self, state: Masses, tile: Tile) -> None:
        _absorb(state, tile)

    def merge(self, state: Masses, other: Masses) -> Masses:
        return _merge(state, other)

    def finish(self, state: Masses, stats: SoftmaxStats) -> NextPass[QuantileResult] | QuantileResult:
        return _finish(state, stats, self.shares)


def _start(like: Tensor, known: Spelled | None, left: int) -> Masses:
    return Masses(like.new_zeros(*like.shape, DIGITS), torch.zeros_like(like), known, left)


def _absorb(state: Masses, tile: Tile) -> None:
    assert tile.stats is not None, "weights need the row stats, which the loop finds first"
    # Not tile.weights, which in a first pass may differ in the last bit from those of the next.
    weights = tile.stats.subtract_from(tile.scores, tile.scratch).exp_()
    lost = tile.stats.has_nan
    if bool(lost.any()):
        weights.masked_fill_(lost[..., None], 0.0)
    B, H, R, C = weights.shape
    for rows in _row_blocks(B * H * C, R):
        _absorb_rows(state, tile, weights[:, :, rows], rows)


def _absorb_rows(state: Masses, tile: Tile, weights: Tensor, rows: slice) -> None:
    grains = state.grains[tile.rows][:, :, rows]
    codes = weights.view(_whole(weights.dtype)) >> (BITS * state.left)
    if state.known is None:
        grains[..., 0, :].scatter_add_(-1, codes.long(), (weights * GRAINS).long())
        return
    begins = codes >> BITS
    digits = state.known.digits[tile.rows][:, :, rows].to(codes.dtype)
    for p in range(digits.shape[-1]):
        b, h, r, c = (begins == digits[..., p, None]).nonzero(as_tuple=True)
        digit = codes[b, h, r, c].long() & (DIGITS - 1)
        mass = (weights[b, h, r, c] * GRAINS).long()
        grains[..., p, :].index_put_((b, h, r, digit), mass, accumulate=True)
        if state.left == 0:
            state.larger[tile.rows][:, :, rows, p] += (begins > digits[..., p, None]).sum(-1)


def _merge(state: Masses, other: Masses) -> Masses:
    return state._replace(grains=state.grains + other.grains, larger=state.larger + other.larger)


def _finish(
    state: Masses, stats: SoftmaxStats, shares: tuple[float, ...]
) -> NextPass[QuantileResult] | QuantileResult:
    known = state.known
    if known is None:
        wanted = torch.tensor(shares, dtype=torch.float64, device=state.grains.device)
        target = (wanted * state.grains.sum(-1)).ceil().long()
        known = Spelled(torch.zeros_like(target), torch.zeros_like(target), target)
    B, H, N, P = known.target.shape
    found = [
        _next_digit(state, known, rows, stats.maximum.dtype) for rows in _row_blocks(B * H * P * DIGITS, N)
    ]
    digits, above = (torch.cat(parts, dim=2) for parts in zip(*found, strict=True))
    if state.left:
        return NextPass(NextDigit(shares, Spelled(digits, above, known.target), state.left - 1))
    nothing, lost = known.target == 0, stats.has_nan[..., None]
    weights = _as_float(digits, stats.maximum.dtype).masked_fill(nothing, 0.0).masked_fill(lost, torch.nan)
    return QuantileResult(above.masked_fill(nothing, 0).masked_fill(lost, -1), weights)


def _next_digit(state: Masses, known: Spelled, rows: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Some rows' digits with the next one, and the mass above them; after the last, the number of keys."""
    grains = state.grains[:, :, rows]
    known = Spelled(*(each[:, :, rows] for each in known))
    reached = grains.flip(-1).cumsum(-1).flip(-1)  # by a digit and all larger ones
    missing = (known.target - known.above)[..., None]
    # The largest digit that reaches what is missing. Should none do, since two loops differ in the last bit of
    # a score, the lowest is as near as it gets.
    digit = ((reached >= missing).sum(-1, keepdim=True) - 1).clamp_(min=0)
    beyond = torch.nn.functional.pad(reached, (0, 1))[..., 1:].expand(*digit.shape[:-1], -1).gather(-1, digit)
    digits = (known.digits << BITS) + digit[..., 0]
    if state.left:
        return digits, known.above + beyond[..., 0]
    # The last digit makes a weight whole, so mass over weight is the number of keys.
    next_digits = torch.arange(DIGITS, device=digit.device)
    unit = (_as_float((known.digits[..., None] << BITS) + next_digits, dtype) * GRAINS).long().clamp_(min=1)
    above = ((grains // unit) * (next_digits > digit)).sum(-1)
    of_this = -(-(missing - beyond).clamp_(min=0) // unit.gather(-1, digit))[..., 0]
    return digits, state.larger[:, :, rows] + above + of_this


def _row_blocks(across: int, rows: int) -> Iterator[slice]:
    """Rows of so many entries, few enough to be looked at together; one block of none where there are none."""
    step = max(1, ENTRIES // max(1, across))
    return (slice(start, min(start + step, rows)) for start in range(0, max(rows, 1), step))


def _whole(dtype: torch.dtype) -> torch.dtype:
    return torch.int64 if dtype == torch.float64 else torch.int32


def _as_float(bits: Tensor, dtype: torch.dtype) -> Tensor:
    return bits.to(_whole(dtype)).view(dtype)
