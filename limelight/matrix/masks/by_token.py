"""Masks made of what is given for each token, or for each place: lengths, documents, a function."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.matrix.index_functions import Device, PlaceFunction, part, row_chunks, vmap_over_tile
from limelight.matrix.masks.base import Mask, TileCoverage, coverage_of


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

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        rows, columns = self._lengths
        seen = [
            (_overlap(i0, i1, *self._span(row, N)), _overlap(j0, j1, *self._span(column, M)))
            for row, column in zip(rows, columns, strict=True)
        ]
        return coverage_of(
            none=not any(R and C for R, C in seen), all=all(each == (i1 - i0, j1 - j0) for each in seen)
        )

    @property
    def own(self) -> tuple[int, int]:
        return max(len(given) for given in (self.query_B, self.key_B, (1,)) if given is not None), 1

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

    @cached_property
    def _lengths(self) -> tuple[list[int | None], list[int | None]]:
        """Both lengths of every batch as plain numbers, None where all are real."""
        rows: list[int | None] = [None] if self.query_B is None else self.query_B.tolist()
        columns: list[int | None] = [None] if self.key_B is None else self.key_B.tolist()
        if len(rows) != len(columns):
            rows, columns = rows * len(columns), columns * len(rows)  # one of them has one for all
        return rows, columns

    def _span(self, length: int | None, size: int) -> tuple[int, int]:
        """Where the real positions begin and end."""
        if length is None:
            return 0, size
        return (0, length) if self.side == "right" else (size - length, size)

    def _real(self, lengths_B: Tensor | None, start: int, stop: int, size: int) -> Tensor:
        position = torch.arange(start, stop, device="cpu")[None]
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

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        if i0 == i1 or j0 == j1 or 0 in (len(self.query_BN), len(self.key_BM)):
            return TileCoverage.EMPTY
        rows = _bounds(self.query_BN, self._rising[0], i0, i1)
        columns = _bounds(self.key_BM, self._rising[1], j0, j1)
        if len(rows) != len(columns):
            rows, columns = rows * len(columns), columns * len(rows)  # one of them has one for all
        none = full = True
        for (row_low, row_high), (low, high) in zip(rows, columns, strict=True):
            none &= low > row_high or (high < row_low and not self.earlier)
            full &= high <= row_low if self.earlier else row_low == row_high == low == high
        return coverage_of(none=none, all=full)

    @property
    def own(self) -> tuple[int, int]:
        return max(len(self.query_BN), len(self.key_BM)), 1

    @cached_property
    def _rising(self) -> tuple[bool, bool]:
        """Whether ids never fall along the sequence, as those of texts laid end to end."""
        queries, keys = (bool((ids.diff(dim=1) >= 0).all()) for ids in (self.query_BN, self.key_BM))
        return queries, keys

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
        both, columns = (self.batches, self.heads), range(j0, j1)
        seen = [
            _as_bools(vmap_over_tile(self.mask_mod, *both, rows, columns, device))
            for rows in row_chunks(*both, range(i0, i1), columns, device)
        ]
        return (
            torch.cat(seen, 2)
            if seen
            else torch.zeros(*map(len, both), 0, len(columns), device=device).bool()
        )

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        return TileCoverage.PARTIAL

    @property
    def own(self) -> tuple[int, int]:
        return len(self.batches or (1,)), len(self.heads or (1,))

    def fit(self, B: int, H: int, N: int, M: int) -> Mask:
        for name, given, wanted in (("batch", self.batches, B), ("heads", self.heads, H)):
            if given is not None and len(given) not in (1, wanted):
                raise ShapeError(f"function(…, {name}={len(given)}) must be 1, or {wanted} as in the matrix.")
        return replace(self, batches=self.batches or range(B), heads=self.heads or range(H))

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        assert self.batches is not None and self.heads is not None, "fit comes before at"
        batches = self.batches if len(self.batches) == 1 else self.batches[b0:b1]
        return replace(self, batches=batches, heads=self.heads if len(self.heads) == 1 else self.heads[h0:h1])


# ---- helpers ------------------------------------------------------------------------------------------


def _as_bools(found: Tensor) -> Tensor:
    if found.is_floating_point() and found.numel():  # of no places, it has not been asked
        raise ArgumentTypeError(
            f"mask_mod must answer with True where a query may attend; got {found.dtype}, where all but 0 would be "
            "True. Give a function of what is added to the scores as bias=."
        )
    return found.bool()


def _overlap(start: int, stop: int, low: int, high: int) -> int:
    """How many of start:stop lie in low:high."""
    return max(0, min(stop, high) - max(start, low))


def _bounds(ids_BN: Tensor, rising: bool, start: int, stop: int) -> list[tuple[int, int]]:
    """The lowest and highest id of start:stop in every batch; at the ends where ids never fall."""
    if rising:
        low_B, high_B = ids_BN[:, start], ids_BN[:, stop - 1]
    else:
        low_B, high_B = ids_BN[:, start:stop].aminmax(dim=1)
    return list(zip(low_B.tolist(), high_B.tolist(), strict=True))
