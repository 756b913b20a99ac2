"""The logits of any block, from references to Q and K: scale·QKᵀ, capped, biased, masked.

    S = score_mod(cap(scale · QKᵀ) + bias), and -∞ where the mask says so

This is all that is stored of an attention matrix; a block of it is computed when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limelight.matrix.biases import Bias
from limelight.matrix.index_functions import TileIndex, part
from limelight.matrix.masks.base import Mask, TileCoverage
from limelight.matrix.tile import Arena, MatrixSpec


@dataclass(frozen=True)
class Span:
    """Neighbouring keys j0:j1 that may be seen; in the `partial` columns not by every row."""

    j0: int
    j1: int
    partial: tuple[tuple[int, int], ...] = ()

    def pieces(self, width: int) -> Iterator[Span]:
        """The same keys, so many at a time."""
        for j0 in range(self.j0, self.j1, width):
            j1 = min(j0 + width, self.j1)
            here = ((max(start, j0), min(stop, j1)) for start, stop in self.partial)
            yield Span(j0, j1, tuple((start, stop) for start, stop in here if start < stop))


@dataclass(frozen=True)
class Logits:
    """Q (B, H, N, D), K (B, G, M, D) and what happens to their product, for all heads or a panel of them.

    `batches` and `heads` say where in the whole matrix this panel stands. `bias` is all that happens to a
    score between softcap and mask, a score function too. `dtype` is that of every tile: float64 where an
    input is float64, float32 otherwise.
    """

    q_BHND: Tensor
    k_BGMD: Tensor
    mask: Mask
    scale: float
    bias: Tensor | Bias | None
    softcap: float | None
    sink_H: Tensor | None
    dtype: torch.dtype
    batches: range
    heads: range
    value_width: int = 0
    """How many numbers a value has that the weights may be multiplied with; 0 without values."""

    @property
    def N(self) -> int:
        return self.q_BHND.shape[2]

    @property
    def M(self) -> int:
        return self.k_BGMD.shape[2]

    @property
    def device(self) -> torch.device:
        return self.q_BHND.device

    def frame(self, rows: int, v_BGMD: Tensor | None = None) -> MatrixSpec:
        """What a reduction over these batches and heads, and so many rows, must know."""
        B, H = len(self.batches), len(self.heads)
        return MatrixSpec(
            B, H, self.k_BGMD.shape[1], rows, self.M, self.dtype, self.device, v_BGMD, self.sink_H
        )

    def panel(self, batches: range, heads: range) -> Logits:
        """Some batches and heads alone; the keys are brought to the tiles' dtype once, for all tiles."""
        b0, b1, h0, h1 = batches.start, batches.stop, heads.start, heads.stop
        per_key_head = self.q_BHND.shape[1] // max(self.k_BGMD.shape[1], 1)
        k_bgMD = self.k_BGMD[b0:b1, h0 // per_key_head : -(-h1 // per_key_head)]
        bias = self.bias
        return replace(
            self,
            q_BHND=self.q_BHND[b0:b1, h0:h1],
            k_BGMD=k_bgMD.to(self.dtype).contiguous(),
            mask=self.mask.at(b0, b1, h0, h1),
            bias=part(part(bias, b0, b1), h0, h1, axis=1) if isinstance(bias, Tensor) else bias,
            sink_H=None if self.sink_H is None else self.sink_H[h0:h1],
            batches=batches,
            heads=heads,
        )

    def block(self, i0: int, i1: int, span: Span, arena: Arena) -> Tensor:
        """The logits of rows i0:i1 and a span of columns, (B, H, R, C)."""
        j0, j1 = span.j0, span.j1
        s_BHRC = self._product(i0, i1, j0, j1, arena)
        if self.softcap is not None:
            s_BHRC.div_(self.softcap).tanh_().mul_(self.softcap)
        if self.bias is not None:
            s_BHRC = self._biased(s_BHRC, self.bias, i0, i1, j0, j1)
        for start, stop in span.partial:
            seen = self.mask.block(i0, i1, start, stop, self.N, self.M, self.device)
            s_BHRC[..., start - j0 : stop - j0].masked_fill_(~seen, -torch.inf)
        return s_BHRC

    def spans(self, i0: int, i1: int, j0: int, j1: int, grain: int) -> list[Span]:
        """What rows i0:i1 may see of columns j0:j1, in runs of neighbours; cut nowhere else."""
        found: list[Span] = []
        for start, stop, cover in self._covers(i0, i1, j0, j1, grain):
            run = found.pop() if found and found[-1].j1 == start else Span(start, start)
            partial = run.partial
            if cover is TileCoverage.PARTIAL:
                joins = bool(partial) and partial[-1][1] == start
                partial = (*partial[:-1], (partial[-1][0], stop)) if joins else (*partial, (start, stop))
            found.append(Span(run.j0, stop, partial))
        return found

    def _covers(
        self, i0: int, i1: int, j0: int, j1: int, grain: int
    ) -> Iterator[tuple[int, int, TileCoverage]]:
        """Ask the mask of all columns at once, and where it says PARTIAL, of either half, down to `grain`."""
        if i0 == i1 or j0 == j1:
            return
        cover = self.mask.coverage(i0, i1, j0, j1, self.N, self.M)
        if cover is TileCoverage.PARTIAL and j1 - j0 > grain:
            middle = j0 + -(-(j1 - j0) // grain) // 2 * grain
            yield from self._covers(i0, i1, j0, middle, grain)
            yield from self._covers(i0, i1, middle, j1, grain)
        elif cover is not TileCoverage.EMPTY:
            yield j0, j1, cover

    def _product(self, i0: int, i1: int, j0: int, j1: int, arena: Arena) -> Tensor:
        """scale·QKᵀ; the rows of all query heads that share a key head are one matrix product."""
        q_BHRD = self.q_BHND[:, :, i0:i1].to(self.dtype) * self.scale
        k_BGCD = self.k_BGMD[:, :, j0:j1].to(self.dtype)
        B, H, R, D = q_BHRD.shape
        G, C = k_BGCD.shape[1:3]
        s_BHRC = arena.take(B, H, R, C)
        if B * G == 0 or D == 0:
            return s_BHRC.zero_()
        q_BGRD = q_BHRD.reshape(B, G, H // G * R, D)
        torch.matmul(q_BGRD, k_BGCD.transpose(-1, -2), out=s_BHRC.view(B, G, H // G * R, C))
        return s_BHRC

    def _biased(self, s_BHRC: Tensor, bias: Tensor | Bias, i0: int, i1: int, j0: int, j1: int) -> Tensor:
        if isinstance(bias, Tensor):  # cut to this panel's batches and heads already
            tile = part(part(bias, i0, i1, axis=2), j0, j1, axis=3)
            return s_BHRC.add_(tile.to(self.device, self.dtype))
        place = TileIndex(self.batches, self.heads, range(i0, i1), range(j0, j1), self.N, self.M)
        return bias.apply(s_BHRC, place)
