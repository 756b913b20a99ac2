"""The rules behind `masks`: one frozen class a kind of mask, and three that join them.

Here is what every mask is, the rules over positions, and the joined ones; those made of what is given for
each token are in `given.py`.

Each gives `block`, the bool tile itself, and `cover`, how much of a tile may be seen, without computing it.
`cover` makes skipped tiles free, so it may be careful but never wrong: SOME is always allowed, NONE and ALL
must hold in every batch and head. Build masks through the functions of `limelight.matrix.masks`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch import Tensor

from limelight.matrix.drawing import draw
from limelight.matrix.places import Device


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

    @property
    def own(self) -> tuple[int, int]:
        """For how many batches and heads the mask was made; 1 where it is the same for all."""
        return 1, 1

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Those that it refers to, and that somebody may write into."""
        return ()

    # ---- inherits ---------------------------------------------------------------------------------

    def dense(self, N: int, M: int, device: Device = None) -> Tensor:
        """The whole mask, (B or 1, H or 1, N, M): for tests, pictures and short sequences."""
        return self.block(0, N, 0, M, N, M, device)

    def draw(self, N: int, M: int, batch: int = 0, head: int = 0, widest: int = 64) -> str:
        """The mask of one batch and head as text, one line a query: █ may be seen, · may not.

        More than `widest` queries or keys are drawn as so many cells, with ▒ for those of which some may be seen.

        >>> print(Causal().draw(3, 4))
        ██··
        ███·
        ████
        """
        B, H = self.own
        fitted = self.fit(max(B, batch + 1), max(H, head + 1), N, M)
        return draw(fitted.at(batch, batch + 1, head, head + 1), N, M, widest)

    def __and__(self, other: Mask | Tensor) -> Mask:
        return And(self, _as_mask(other))

    def __or__(self, other: Mask | Tensor) -> Mask:
        return Or(self, _as_mask(other))

    def __rand__(self, other: Tensor) -> Mask:
        return _as_mask(other) & self

    def __ror__(self, other: Tensor) -> Mask:
        return _as_mask(other) | self

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
        return judge(none=nearest > 0, all=farthest <= 0)


@dataclass(frozen=True)
class Window(Mask):
    """Query i may look at key j when |j - (i + offset)| < w."""

    w: int
    offset: int | None = None

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return (_ahead(self.offset, i0, i1, j0, j1, N, M, device).abs() < self.w)[None, None]

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        low, high = _ahead_range(self.offset, i0, i1, j0, j1, N, M)
        return judge(none=low >= self.w or high <= -self.w, all=-self.w < low and high < self.w)


# ---- joined masks -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Joined(Mask):
    """Two masks, place by place."""

    left: Mask
    right: Mask

    @property
    def own(self) -> tuple[int, int]:
        (B, H), (b, h) = self.left.own, self.right.own
        return max(B, b), max(H, h)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return *self.left.tensors, *self.right.tensors

    def fit(self, B: int, H: int, N: int, M: int) -> Mask:
        return replace(self, left=self.left.fit(B, H, N, M), right=self.right.fit(B, H, N, M))

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        return replace(self, left=self.left.at(b0, b1, h0, h1), right=self.right.at(b0, b1, h0, h1))


@dataclass(frozen=True, eq=False)
class And(Joined):
    """What both may see."""

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        place = (i0, i1, j0, j1, N, M, device)
        return self.left.block(*place) & self.right.block(*place)

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        place = (i0, i1, j0, j1, N, M)
        left = self.left.cover(*place)
        return left if left is Cover.NONE else min(left, self.right.cover(*place))


@dataclass(frozen=True, eq=False)
class Or(Joined):
    """What either may see."""

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        place = (i0, i1, j0, j1, N, M, device)
        return self.left.block(*place) | self.right.block(*place)

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        place = (i0, i1, j0, j1, N, M)
        left = self.left.cover(*place)
        return left if left is Cover.ALL else max(left, self.right.cover(*place))


@dataclass(frozen=True, eq=False)
class Not(Mask):
    """What the other may not see."""

    other: Mask

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return ~self.other.block(i0, i1, j0, j1, N, M, device)

    def cover(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> Cover:
        return Cover(Cover.ALL - self.other.cover(i0, i1, j0, j1, N, M))

    @property
    def own(self) -> tuple[int, int]:
        return self.other.own

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.other.tensors

    def fit(self, B: int, H: int, N: int, M: int) -> Mask:
        return Not(self.other.fit(B, H, N, M))

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        return Not(self.other.at(b0, b1, h0, h1))


# ---- helpers ------------------------------------------------------------------------------------------


def _as_mask(other: Mask | Tensor) -> Mask:
    """What a mask is joined with: another, or a bool tensor; KindError for anything else."""
    if isinstance(other, Mask):
        return other
    from limelight.matrix.masks import dense  # which stands on this module

    return dense(other)


def judge(none: bool | Tensor, all: bool | Tensor) -> Cover:
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
