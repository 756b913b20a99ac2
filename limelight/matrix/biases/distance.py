"""Biases of distance alone: ALiBi, and T5's relative positions.

Distances run between the key and the query's own position i + offset; without an offset the last query stands
beside the last key (bottom-right, M - N), as in the masks.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.matrix.biases.base import Bias
from limelight.matrix.checks import maybe_whole, whole_number
from limelight.matrix.index_functions import TileIndex, part
from limelight.matrix.memory import demand_memory

_HEADS = "alibi(heads) must be a whole number of heads"


def alibi(heads: int | Sequence[float] | Tensor, offset: int | None = None) -> Bias:
    """ALiBi: -slope·|j - i|, for so many `heads`, or with the slope of each given.

    Source: Press et al. 2022, "Train Short, Test Long" (arXiv:2108.12409), section 3, where keys are behind;
    keys ahead are penalised alike.
    """
    try:
        slopes_H = heads if isinstance(heads, Tensor) else torch.as_tensor(heads, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        slopes_H = torch.empty(0, 0)
    if slopes_H.dim() == 0 and not slopes_H.is_floating_point():
        slopes_H = alibi_slopes(whole_number(heads, _HEADS))
    if slopes_H.dim() != 1:
        raise ArgumentTypeError(f"{_HEADS}, or hold a slope for each, (H,); got {heads!r}.")
    return Alibi(slopes_H, maybe_whole(offset, "alibi(…, offset) must be a whole number of positions"))


def alibi_slopes(heads: int) -> Tensor:
    """One slope a head: the geometric row 2^(-8/H), 2^(-16/H), …; (H,). For H that is no power of two, the
    row of the next smaller power is filled up with every second slope of the doubled row, as the authors do."""

    def row(count: int) -> list[float]:
        return [2.0 ** (-8.0 * (head + 1) / count) for head in range(count)]

    heads = whole_number(heads, _HEADS)
    if heads < 0:
        raise InputError(f"{_HEADS}, 0 or more; got {heads}.")
    power = 2 ** int(math.log2(max(heads, 1)))
    slopes = row(power) + row(2 * power)[0::2][: heads - power]
    return torch.tensor(slopes[:heads], device="cpu")


def relative(
    table: Tensor, bidirectional: bool = True, max_distance: int = 128, offset: int | None = None
) -> Bias:
    """T5's relative positions: `table` (buckets, heads) holds a trained number for each bucket of distances.

    Near distances have a bucket each, farther ones share buckets that grow with the logarithm, and all beyond
    `max_distance` share the last. `bidirectional` (encoders) keeps keys ahead apart from keys behind;
    otherwise (decoders) keys ahead count as distance 0. T5 does not scale its scores: give scale=1.

    Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning" (arXiv:1910.10683), section 2.1.
    """
    if not isinstance(table, Tensor) or not table.is_floating_point():
        came = table.dtype if isinstance(table, Tensor) else type(table).__name__
        raise ArgumentTypeError(f"relative(table) must be a float tensor (buckets, heads); got {came}.")
    demand_memory("relative(table)", table)
    least = 4 if bidirectional else 2
    if table.dim() != 2 or len(table) < least:
        raise ShapeError(
            f"relative(table) must have the axes (buckets, heads), at least {least} buckets; "
            f"got shape {tuple(table.shape)}."
        )
    max_distance = whole_number(max_distance, "relative(…, max_distance) must be a whole number of positions")
    if max_distance <= len(table) // least:
        raise InputError(
            f"relative(…, max_distance) must be beyond the distances that have a bucket each, "
            f"{len(table) // least}; got {max_distance}."
        )
    offset = maybe_whole(offset, "relative(…, offset) must be a whole number of positions")
    return Relative(table, bidirectional, max_distance, offset)


class DistanceBias(Bias):
    """A number for each distance and head: a tile has few distances, and the same along each diagonal."""

    offset: int | None

    @abstractmethod
    def heads_of(self) -> int:
        """How many heads it has numbers for."""

    @abstractmethod
    def of(self, ahead_X: Tensor, heads: range, dtype: torch.dtype) -> Tensor:
        """The numbers of keys so many positions ahead of their query (below 0: behind), (H, X)."""

    def apply(self, s_BHRC: Tensor, place: TileIndex) -> Tensor:
        shift = place.M - place.N if self.offset is None else self.offset
        nearest = place.columns.start - (place.rows.stop - 1 + shift)
        R, C = s_BHRC.shape[2:]
        if R == 0 or C == 0:
            return s_BHRC
        ahead_X = torch.arange(nearest, nearest + R + C - 1, device=s_BHRC.device)
        by_distance_HX = self.of(ahead_X, place.heads, s_BHRC.dtype)
        return s_BHRC.add_(by_distance_HX.unfold(-1, C, 1).flip(-2))  # each row begins one distance earlier

    def fit(self, B: int, H: int, N: int, M: int) -> Bias:
        if self.heads_of() not in (1, H):
            raise ShapeError(
                f"bias must have numbers for 1 or {H} heads, as the queries; got {self.heads_of()}."
            )
        return self


@dataclass(frozen=True, eq=False)
class Alibi(DistanceBias):
    """-slope·|distance|."""

    slopes_H: Tensor
    offset: int | None = None

    @property
    def requires_grad(self) -> bool:
        return self.slopes_H.requires_grad

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.slopes_H,)

    def heads_of(self) -> int:
        return len(self.slopes_H)

    def of(self, ahead_X: Tensor, heads: range, dtype: torch.dtype) -> Tensor:
        slopes_H = part(self.slopes_H.detach(), heads.start, heads.stop).to(ahead_X.device, dtype)
        return -slopes_H[:, None] * ahead_X.abs()


@dataclass(frozen=True, eq=False)
class Relative(DistanceBias):
    """The number of the distance's bucket."""

    table_XH: Tensor
    bidirectional: bool = True
    max_distance: int = 128
    offset: int | None = None

    @property
    def requires_grad(self) -> bool:
        return self.table_XH.requires_grad

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.table_XH,)

    def heads_of(self) -> int:
        return self.table_XH.shape[1]

    def of(self, ahead_X: Tensor, heads: range, dtype: torch.dtype) -> Tensor:
        table_XH = part(self.table_XH.detach(), heads.start, heads.stop, axis=1).to(ahead_X.device, dtype)
        return table_XH[self.buckets(ahead_X)].T

    def buckets(self, ahead_X: Tensor) -> Tensor:
        """The bucket of each distance."""
        count = len(self.table_XH)
        if self.bidirectional:
            count //= 2
            side, distance = (ahead_X > 0) * count, ahead_X.abs()
        else:
            side, distance = torch.zeros_like(ahead_X), (-ahead_X).clamp(min=0)
        near = count // 2  # so many distances have a bucket each
        # In float32, as T5 has it: where its rounding moves a border, the trained numbers moved with it.
        far = torch.log(distance.clamp(min=1).float() / near) / math.log(self.max_distance / near)
        shared = (near + (far * (count - near)).long()).clamp(max=count - 1)
        return side + distance.where(distance < near, shared)
