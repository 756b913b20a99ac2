"""The rules behind `masks`: one frozen class a kind of mask, and three that join them.

Each gives `block`, the bool tile itself, and `cover`, how much of a tile may be seen, without computing it.
`cover` makes skipped tiles free, so it may be careful but never wrong: SOME is always allowed, NONE and ALL
must hold in every batch and head. Build masks through the functions of `limelight.matrix.masks`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal

import torch
from torch import Tensor

from limelight.errors import InputError, ShapeError
from limelight.matrix.places import Device, PlaceFunction, over_places, part


class Cover(IntEnum):
    """How much of a tile may be seen, over all batches and heads."""

    NONE = 0
    SOME = 1
    ALL = 2


class Mask(ABC):
    """What every mask must give (`block`, `cover`), may give (`fit`), and inherits (the rest)."""

    # ---- must give --------------------------------------------------------------------------------

    @abstractmethod
    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        """The bool tile of rows i0:i1 and columns j0:j1; broadcasts over batch and heads."""

    @abstractmethod
    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        """How much of the tile may be seen. SOME where it is not worth finding out."""

    # ---- may give ---------------------------------------------------------------------------------

    def fit(self, B: int, H: int, N: int, M: int) -> Mask:
        """This mask for one attention matrix: its sizes are checked, and filled in where it needs them."""
        return self

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        """A fitted mask for the batches b0:b1 and heads h0:h1 alone, whose tiles may be emptier."""
        return self

    # ---- inherits ---------------------------------------------------------------------------------

    def dense(self, N: int, M: int, device: Device = None) -> Tensor:
        """The whole mask, (B or 1, H or 1, N, M): for tests, pictures and short sequences."""
        return self.block(0, N, 0, M, N, M, device)

    def draw(self, N: int, M: int) -> str:
        """The mask of the first batch and head as text, one line a query.

        >>> print(Causal().draw(3, 4))
        ██··
        ███·
        ████
        """
        rows: list[list[bool]] = self.fit(1, 1, N, M).dense(N, M)[0, 0].tolist()
        return "\n".join("".join("█" if seen else "·" for seen in row) for row in rows)

    def __and__(self, other: Mask) -> Mask:
        return And(self, other) if isinstance(other, Mask) else NotImplemented

    def __or__(self, other: Mask) -> Mask:
        return Or(self, other) if isinstance(other, Mask) else NotImplemented

    def __invert__(self) -> Mask:
        return Not(self)


# ---- rules over positions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Everything(Mask):
    """Every query may look at every key."""

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return torch.ones(1, 1, i1 - i0, j1 - j0, dtype=torch.bool, device=device)

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        return Cover.ALL


@dataclass(frozen=True)
class Causal(Mask):
    """Query i may look at key j when j ≤ i + offset."""

    offset: int | None = None

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return (_ahead(self.offset, i0, i1, j0, j1, N, M, device) <= 0)[None, None]

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        nearest, farthest = _ahead_range(self.offset, i0, i1, j0, j1, N, M)
        return _judge(none=nearest > 0, all=farthest <= 0)


@dataclass(frozen=True)
class Window(Mask):
    """Query i may look at key j when |j - (i + offset)| < w."""

    w: int
    offset: int | None = None

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return (_ahead(self.offset, i0, i1, j0, j1, N, M, device).abs() < self.w)[None, None]

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        low, high = _ahead_range(self.offset, i0, i1, j0, j1, N, M)
        return _judge(none=low >= self.w or high <= -self.w, all=-self.w < low and high < self.w)


# ---- rules over what is given a token -----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Lengths(Mask):
    """The first (or, padded on the left, the last) `length` positions of each sequence are real."""

    query_B: Tensor | None
    key_B: Tensor | None
    side: Literal["right", "left"] = "right"

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        rows_BR = self._real(self.query_B, i0, i1, N)
        columns_BC = self._real(self.key_B, j0, j1, M)
        return (rows_BR[:, None, :, None] & columns_BC[:, None, None, :]).to(device)

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        rows_BR = self._real(self.query_B, i0, i1, N)
        columns_BC = self._real(self.key_B, j0, j1, M)
        some_B = rows_BR.any(1) & columns_BC.any(1)
        return _judge(none=not some_B.any(), all=bool(rows_BR.all() and columns_BC.all()))

    def fit(self, B: int, H: int, N: int, M: int) -> Mask:
        for name, lengths_B, size in (("query", self.query_B, N), ("key", self.key_B, M)):
            if lengths_B is None:
                continue
            if len(lengths_B) not in (1, B):
                raise ShapeError(
                    f"lengths({name}=…) must hold one length a sequence, or one for all; "
                    f"got {len(lengths_B)} for a batch of {B}."
                )
            if bool((lengths_B > size).any()):
                raise InputError(
                    f"lengths({name}=…) must not exceed the {size} positions there are; "
                    f"got {int(lengths_B.max())}."
                )
        return self

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        query_B = None if self.query_B is None else part(self.query_B, b0, b1)
        key_B = None if self.key_B is None else part(self.key_B, b0, b1)
        return replace(self, query_B=query_B, key_B=key_B)

    def _real(self, lengths_B: Tensor | None, start: int, stop: int, size: int) -> Tensor:
        position = torch.arange(start, stop)[None]
        if lengths_B is None:
            return torch.ones_like(position, dtype=torch.bool)
        if self.side == "right":
            return position < lengths_B[:, None]
        return position >= size - lengths_B[:, None]


@dataclass(frozen=True, eq=False)
class Documents(Mask):
    """A query may look at the keys of its own document; with `earlier`, at those of lower ids too."""

    query_BN: Tensor
    key_BM: Tensor
    earlier: bool = False

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        rows_BR = self.query_BN[:, i0:i1].to(device)[:, None, :, None]
        columns_BC = self.key_BM[:, j0:j1].to(device)[:, None, None, :]
        return columns_BC <= rows_BR if self.earlier else columns_BC == rows_BR

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        if i0 == i1 or j0 == j1 or 0 in (len(self.query_BN), len(self.key_BM)):
            return Cover.NONE
        row_low_B, row_high_B = self.query_BN[:, i0:i1].aminmax(dim=1)
        column_low_B, column_high_B = self.key_BM[:, j0:j1].aminmax(dim=1)
        if self.earlier:
            none_B, all_B = column_low_B > row_high_B, column_high_B <= row_low_B
        else:
            none_B = (column_low_B > row_high_B) | (column_high_B < row_low_B)
            all_B = (row_low_B == row_high_B) & (column_low_B == row_low_B) & (column_high_B == row_low_B)
        return _judge(none=bool(none_B.all()), all=bool(all_B.all()))

    def fit(self, B: int, H: int, N: int, M: int) -> Mask:
        for name, ids, size in (("query", self.query_BN, N), ("key", self.key_BM, M)):
            if len(ids) not in (1, B) or ids.shape[1] != size:
                raise ShapeError(
                    f"documents({name}_ids=…) must hold one id a {name}, ({B} or 1, {size}); "
                    f"got shape {tuple(ids.shape)}."
                )
        return self

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        return replace(self, query_BN=part(self.query_BN, b0, b1), key_BM=part(self.key_BM, b0, b1))


@dataclass(frozen=True, eq=False)
class Dense(Mask):
    """A bool tensor (B or 1, H or 1, N or 1, M or 1), as it is."""

    seen_BHNM: Tensor

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return self.seen_BHNM.expand(-1, -1, N, M)[:, :, i0:i1, j0:j1].to(device)

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        if self.seen_BHNM.device.type != "cpu":  # looking would make the host wait for the device
            return Cover.SOME
        tile = self.block(i0, i1, j0, j1, N, M)
        return _judge(none=not tile.any(), all=bool(tile.all()))

    def fit(self, B: int, H: int, N: int, M: int) -> Mask:
        for size, wanted in zip(self.seen_BHNM.shape, (B, H, N, M), strict=True):
            if size not in (1, wanted):
                raise ShapeError(
                    f"A dense mask must fit (batch, heads, queries, keys) = {(B, H, N, M)}, "
                    f"each size equal or 1; got {tuple(self.seen_BHNM.shape)}."
                )
        return self

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        return Dense(part(part(self.seen_BHNM, b0, b1), h0, h1, axis=1))


@dataclass(frozen=True, eq=False)
class Function(Mask):
    """What `mask_mod(b, h, q_idx, kv_idx)` says of each place; it is written for single numbers."""

    mask_mod: PlaceFunction
    batches: range | None = None
    heads: range | None = None

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        if self.batches is None or self.heads is None:
            raise InputError(
                "A function mask must know how many batches and heads there are before it can be computed. "
                "Write function(mask_mod, batch=…, heads=…), or call mask.fit(B, H, N, M) first; "
                "an AttentionMatrix does so by itself."
            )
        return over_places(
            self.mask_mod, self.batches, self.heads, range(i0, i1), range(j0, j1), device
        ).bool()

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        return Cover.SOME

    def fit(self, B: int, H: int, N: int, M: int) -> Mask:
        for name, given, wanted in (("batch", self.batches, B), ("heads", self.heads, H)):
            if given is not None and len(given) not in (1, wanted):
                raise ShapeError(f"function(…, {name}={len(given)}) must be 1, or {wanted} as in the matrix.")
        return replace(self, batches=self.batches or range(B), heads=self.heads or range(H))

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        assert self.batches is not None and self.heads is not None, "fit comes before at"
        batches = self.batches if len(self.batches) == 1 else self.batches[b0:b1]
        return replace(self, batches=batches, heads=self.heads if len(self.heads) == 1 else self.heads[h0:h1])


# ---- joined masks -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class And(Mask):
    """What both may see."""

    left: Mask
    right: Mask

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        place = (i0, i1, j0, j1, N, M, device)
        return self.left.block(*place) & self.right.block(*place)

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        place = (i0, i1, j0, j1, N, M)
        return min(self.left.cover(*place), self.right.cover(*place))

    def fit(self, B: int, H: int, N: int, M: int) -> Mask:
        return And(self.left.fit(B, H, N, M), self.right.fit(B, H, N, M))

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        return And(self.left.at(b0, b1, h0, h1), self.right.at(b0, b1, h0, h1))


@dataclass(frozen=True, eq=False)
class Or(Mask):
    """What either may see."""

    left: Mask
    right: Mask

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        place = (i0, i1, j0, j1, N, M, device)
        return self.left.block(*place) | self.right.block(*place)

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        place = (i0, i1, j0, j1, N, M)
        return max(self.left.cover(*place), self.right.cover(*place))

    def fit(self, B: int, H: int, N: int, M: int) -> Mask:
        return Or(self.left.fit(B, H, N, M), self.right.fit(B, H, N, M))

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        return Or(self.left.at(b0, b1, h0, h1), self.right.at(b0, b1, h0, h1))


@dataclass(frozen=True, eq=False)
class Not(Mask):
    """What the other may not see."""

    other: Mask

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return ~self.other.block(i0, i1, j0, j1, N, M, device)

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        return Cover(Cover.ALL - self.other.cover(i0, i1, j0, j1, N, M))

    def fit(self, B: int, H: int, N: int, M: int) -> Mask:
        return Not(self.other.fit(B, H, N, M))

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        return Not(self.other.at(b0, b1, h0, h1))


# ---- helpers ------------------------------------------------------------------------------------------


def _judge(none: bool | Tensor, all: bool | Tensor) -> Cover:
    return Cover.NONE if none else Cover.ALL if all else Cover.SOME


def _ahead(offset: int | None, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device) -> Tensor:
    """How many positions key j lies ahead of query i, (R, C)."""
    shift = M - N if offset is None else offset
    own = torch.arange(i0 + shift, i1 + shift, device=device)
    return torch.arange(j0, j1, device=device)[None, :] - own[:, None]


def _ahead_range(offset: int | None, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> tuple[int, int]:
    """The smallest and largest entry of `_ahead`."""
    shift = M - N if offset is None else offset
    return j0 - (i1 - 1 + shift), (j1 - 1) - (i0 + shift)
