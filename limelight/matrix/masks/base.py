"""What every mask is, masks joined by `&`, `|` and `~`, a bool tensor as a mask, and a mask drawn as text.

A mask gives `block`, the bool tile itself, and `coverage`, how much of a tile may be seen, without computing it.
`coverage` makes skipped tiles free, so it may be careful but never wrong: PARTIAL is always allowed, EMPTY and FULL
must hold in every batch and head. Masks over positions are in `positional.py`, those made of what is given for each
token in `by_token.py`. Build masks through the functions of `limelight.matrix.masks`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, ShapeError
from limelight.matrix.index_functions import Device, part
from limelight.matrix.memory import demand_memory


class TileCoverage(IntEnum):
    """How much of a tile may be seen, over all batches and heads."""

    EMPTY = 0
    PARTIAL = 1
    FULL = 2


class Mask(ABC):
    """What every mask must give (`block`, `coverage`), may give (`fit`), and inherits (the rest)."""

    # ---- must give --------------------------------------------------------------------------------

    @abstractmethod
    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        """The bool tile of rows i0:i1 and columns j0:j1; broadcasts over batch and heads."""

    @abstractmethod
    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        """How much of the tile may be seen. PARTIAL where it is not worth finding out."""

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

        >>> print(Dense(torch.ones(1, 1, 3, 4, dtype=torch.bool).tril()).draw(3, 4))
        █···
        ██··
        ███·
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


# ---- everything, and a table ---------------------------------------------------------------------------


@dataclass(frozen=True)
class FullMask(Mask):
    """Every query may look at every key."""

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return torch.ones(1, 1, i1 - i0, j1 - j0, dtype=torch.bool, device=device)

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        return TileCoverage.FULL


@dataclass(frozen=True, eq=False)
class Dense(Mask):
    """A bool tensor (B or 1, H or 1, N or 1, M or 1), as it is."""

    seen_BHNM: Tensor

    @classmethod
    def of(cls, seen: Tensor) -> Dense:
        """The mask of a bool tensor; ArgumentTypeError or ShapeError where it is no mask."""
        if not isinstance(seen, Tensor) or seen.dtype != torch.bool:
            came = str(seen.dtype) if isinstance(seen, Tensor) else type(seen).__name__
            raise ArgumentTypeError(
                f"A dense mask must be a bool tensor, True where a query may attend; got {came}. {_instead(seen)}"
            )
        if seen.device.type != "meta":  # of a device without numbers until it is read
            demand_memory("mask", seen)
        if seen.dim() not in (2, 4):
            raise ShapeError(
                f"A dense mask must have the axes (N, M) or (batch, heads, N, M); got shape {tuple(seen.shape)}. "
                "With three axes it is unclear whether the first is batch or heads: add an axis of size 1."
            )
        return cls(seen if seen.dim() == 4 else seen[None, None])

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.seen_BHNM,)

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return self.seen_BHNM.expand(-1, -1, N, M)[:, :, i0:i1, j0:j1].to(device)

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        if self.seen_BHNM.device.type != "cpu":  # looking would make the host wait for the device
            return TileCoverage.PARTIAL
        tile = self.block(i0, i1, j0, j1, N, M)
        return coverage_of(none=not tile.any(), all=bool(tile.all()))

    @property
    def own(self) -> tuple[int, int]:
        return self.seen_BHNM.shape[0], self.seen_BHNM.shape[1]

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


# ---- joined masks -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BinaryMask(Mask):
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
class And(BinaryMask):
    """What both may see."""

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        place = (i0, i1, j0, j1, N, M, device)
        return self.left.block(*place) & self.right.block(*place)

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        place = (i0, i1, j0, j1, N, M)
        left = self.left.coverage(*place)
        return left if left is TileCoverage.EMPTY else min(left, self.right.coverage(*place))


@dataclass(frozen=True, eq=False)
class Or(BinaryMask):
    """What either may see."""

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        place = (i0, i1, j0, j1, N, M, device)
        return self.left.block(*place) | self.right.block(*place)

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        place = (i0, i1, j0, j1, N, M)
        left = self.left.coverage(*place)
        return left if left is TileCoverage.FULL else max(left, self.right.coverage(*place))


@dataclass(frozen=True, eq=False)
class Not(Mask):
    """What the other may not see."""

    other: Mask

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return ~self.other.block(i0, i1, j0, j1, N, M, device)

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        return TileCoverage(TileCoverage.FULL - self.other.coverage(i0, i1, j0, j1, N, M))

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
    """What a mask is joined with: another, or a bool tensor; ArgumentTypeError for anything else."""
    if isinstance(other, Mask):
        return other
    return Dense.of(other)


def coverage_of(none: bool | Tensor, all: bool | Tensor) -> TileCoverage:
    return TileCoverage.EMPTY if none else TileCoverage.FULL if all else TileCoverage.PARTIAL


def _instead(seen: object) -> str:
    """What to write in place of a table that is not of bools, or of what is no table."""
    if isinstance(seen, Tensor) and not seen.is_floating_point():
        return (
            "Of 1 for tokens and 0 for padding, (batch, keys), as tokenizers give it, make "
            "mask.bool()[:, None, None], or masks.lengths(key=mask.sum(-1)) where the padding is at the end; "
            "of any other table mask.bool()."
        )
    if callable(seen):
        name = getattr(seen, "__name__", "")
        if name in ("causal", "everything"):
            return f"masks.{name} makes a mask where it is called: masks.{name}()."
        if name in ("window", "lengths", "documents", "dense", "function"):
            return f"masks.{name} makes a mask where it is called: masks.{name}(…)."
        return "Write masks.function(f) for a function f(b, h, q_idx, kv_idx) -> bool."
    return "Write (mask == 0) for an additive mask of 0 and -inf, or pass it as bias=."


# ---- a mask as text ------------------------------------------------------------------------------------

SIGNS = "·▒█"
"""None, some and all of a cell may be seen."""
LOOKED_AT = 8  # rows of a cell whose places are counted


def draw(mask: Mask, N: int, M: int, widest: int) -> str:
    """One sign a place, or, where the matrix is larger than `widest`, one a cell of the picture.

    What `coverage` says of a cell is taken as it is. Where it says that some may be seen, which it may say out of
    caution, a few rows of the cell are looked at; so even a picture of a million tokens takes no N × M table.
    """
    rows, columns = _edges(N, widest), _edges(M, widest)
    return "\n".join(
        "".join(SIGNS[sign] for sign in _row_of_cells(mask, i0, i1, columns, N, M))
        for i0, i1 in pairwise(rows)
    )


def _row_of_cells(mask: Mask, i0: int, i1: int, columns: list[int], N: int, M: int) -> list[int]:
    cells = list(pairwise(columns))
    signs = [int(mask.coverage(i0, i1, j0, j1, N, M)) for j0, j1 in cells]
    if 1 not in signs:
        return signs
    steps = min(LOOKED_AT, i1 - i0)
    looked_at = [i0 + (i1 - 1 - i0) * step // max(steps - 1, 1) for step in range(steps)]
    seen_RM: Tensor = torch.cat([mask.block(i, i + 1, 0, M, N, M)[0, 0] for i in looked_at])
    for place, (j0, j1) in enumerate(cells):
        if signs[place] == 1:
            cell = seen_RM[:, j0:j1]
            signs[place] = int(cell.any()) + int(cell.all())
    return signs


def _edges(size: int, widest: int) -> list[int]:
    """Where the cells begin, and the end: one cell a row, or `widest` cells."""
    cells = min(size, widest)
    return [cell * size // cells for cell in range(cells + 1)] if cells else [0]
