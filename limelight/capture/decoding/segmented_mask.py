"""SegmentedMask: the masks of several decoding steps, stacked as row segments of one mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeGuard

import torch
from torch import Tensor

from limelight.capture.decoding.unused_cache import first_columns, not_hidden
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.matrix import Mask, TileCoverage, masks
from limelight.matrix.index_functions import Device
from limelight.matrix.masks.base import And, Dense
from limelight.matrix.masks.positional import Causal


@dataclass(frozen=True, eq=False)
class MaskSegment:
    """Rows i0:i1 of the whole, which may look at nothing but columns j0:j1, and there:

    causal   up to their own column, the last row up to the last
    columns  at these alone, bool (B, 1, 1, columns); None for all
    other    as this rule has it, where the two do not say it
    """

    i0: int
    i1: int
    j0: int
    j1: int
    causal: bool
    columns: Tensor | None = None
    other: Mask | None = None
    bias: Tensor | None = None
    """What is added to the scores there, 4 axes."""

    @property
    def sizes(self) -> tuple[int, int]:
        return self.i1 - self.i0, self.j1 - self.j0

    def rule(self) -> Mask:
        """The mask of these rows and columns."""
        if self.other is not None:
            return self.other
        rule = masks.causal() if self.causal else masks.everything()
        return rule if self.columns is None else rule & masks.dense(self.columns)

    def followed_by(self, new: MaskSegment) -> MaskSegment | None:
        """Both as one piece, if one can say what they say."""
        for piece in (self, new):
            if piece.other is not None or piece.bias is not None or piece.j0 != 0:
                return None
        grown = self.j1 + (new.i1 - new.i0 if self.causal else 0)
        if self.causal != new.causal or new.j1 != grown:
            return None
        columns = new.columns
        if columns is None and self.columns is not None:
            columns = torch.ones_like(self.columns[..., :1]).expand(*self.columns.shape[:3], new.j1)
        if columns is not None:
            before = columns[..., : self.j1]
            if not bool(before.all() if self.columns is None else (before == self.columns).all()):
                return None
        return replace(self, i1=new.i1, j1=new.j1, columns=columns)

    def cut(self, rows: int, columns: int | None = None) -> MaskSegment | None:
        """Without the rows from `rows` on and, if that is given, the columns from `columns` on.

        None where a row that stays sees a column that goes.
        """
        j1 = self.j1 if columns is None else min(self.j1, columns)
        i1 = min(self.i1, rows)
        if (i1, j1) == (self.i1, self.j1):
            return self
        (N, M), n, m = self.sizes, i1 - self.i0, max(j1 - self.j0, 0)
        bias, shown = self.bias, None
        if bias is not None:
            bias = bias if bias.shape[2] == 1 else bias[:, :, :n]
            if bias.shape[3] > 1:
                shown, bias = not_hidden(bias), first_columns(bias, m)
        if self.causal and self.other is None and self.i1 - i1 == self.j1 - j1:
            seen = None if self.columns is None else self.columns[..., :m]
            return replace(self, i1=i1, j1=j1, columns=seen, bias=bias)
        table = self.rule().block(0, n, 0, M, N, M)
        if bool((table if shown is None else table & shown)[..., m:].any()):
            return None
        return replace(
            self, i1=i1, j1=j1, causal=False, columns=None, other=masks.dense(table[..., :m]), bias=bias
        )


def segment_of(inputs: AttentionInputs, i0: int, j0: int) -> MaskSegment:
    """The rows of one call, from row i0 and column j0 of the whole on."""
    B, H, N = inputs.query.shape[:3]
    M = inputs.key.shape[2]
    bias = inputs.bias if isinstance(inputs.bias, Tensor) else None
    whole = MaskSegment(
        i0, i0 + N, j0, j0 + M, False, bias=None if bias is None else bias[(None,) * (4 - bias.dim())]
    )
    alone = N == 1 and inputs.kind == "self"  # a new token, which stands in the last column
    mask = inputs.mask
    if mask is None:
        return replace(whole, causal=alone)
    if _is_causal(mask, N, M):
        return replace(whole, causal=True)
    if _is_row(mask):
        return replace(whole, causal=alone, columns=mask.seen_BHNM)
    if isinstance(mask, And) and _is_causal(mask.left, N, M) and _is_row(mask.right):
        return replace(whole, causal=True, columns=mask.right.seen_BHNM)
    return replace(whole, other=mask.fit(B, H, N, M))


def _is_causal(mask: Mask, N: int, M: int) -> bool:
    return isinstance(mask, Causal) and (mask.offset is None or mask.offset == M - N)


def _is_row(mask: Mask) -> TypeGuard[Dense]:
    """Whether it is a table of columns, the same for all heads and rows."""
    return isinstance(mask, Dense) and mask.seen_BHNM.shape[1:3] == (1, 1) and mask.seen_BHNM.shape[3] != 1


@dataclass(frozen=True, eq=False)
class SegmentedMask(Mask):
    """The masks of all pieces, each in its place; outside of its columns a row sees nothing."""

    segments: tuple[MaskSegment, ...]

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        tiles = [
            (place, rule.block(*inside, *sizes, device))
            for place, rule, inside, sizes in self._cut(i0, i1, j0, j1)
        ]
        B, H = (max((tile.shape[axis] for _, tile in tiles), default=1) for axis in (0, 1))
        seen = torch.zeros(B, H, i1 - i0, j1 - j0, dtype=torch.bool, device=device)
        for (r0, r1, c0, c1), tile in tiles:
            seen[:, :, r0 - i0 : r1 - i0, c0 - j0 : c1 - j0] = tile
        return seen

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        covers, entries = [], 0
        for (r0, r1, c0, c1), rule, inside, sizes in self._cut(i0, i1, j0, j1):
            covers.append(rule.coverage(*inside, *sizes))
            entries += (r1 - r0) * (c1 - c0)
        if all(cover is TileCoverage.EMPTY for cover in covers):
            return TileCoverage.EMPTY
        whole = entries == (i1 - i0) * (j1 - j0) and all(cover is TileCoverage.FULL for cover in covers)
        return TileCoverage.FULL if whole else TileCoverage.PARTIAL

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        return SegmentedMask(
            tuple(
                replace(piece, causal=False, columns=None, other=piece.rule().at(b0, b1, h0, h1))
                for piece in self.segments
            )
        )

    @property
    def own(self) -> tuple[int, int]:
        sizes = [piece.rule().own for piece in self.segments]
        return max(B for B, _ in sizes), max(H for _, H in sizes)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(tensor for piece in self.segments for tensor in piece.rule().tensors)

    def _cut(
        self, i0: int, i1: int, j0: int, j1: int
    ) -> Iterator[tuple[tuple[int, int, int, int], Mask, tuple[int, int, int, int], tuple[int, int]]]:
        """The pieces that reach into a tile: where, the rule, and where that is in the piece, of which sizes."""
        for piece in self.segments:
            r0, r1 = max(i0, piece.i0), min(i1, piece.i1)
            c0, c1 = max(j0, piece.j0), min(j1, piece.j1)
            if r0 < r1 and c0 < c1:
                inside = (r0 - piece.i0, r1 - piece.i0, c0 - piece.j0, c1 - piece.j0)
                yield (r0, r1, c0, c1), piece.rule(), inside, piece.sizes
