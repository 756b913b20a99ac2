"""A reduction for maps: the matrix in square cells of one size, counted from its first entry on.

`Downsample` has as many cells as it is asked for, of sizes that differ by one. A map that is zoomed needs cells that
lie in each other: those of side 2s are four of side s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from limelight.matrix import Downsample, MatrixSpec, SoftmaxStats, Tile
from limelight.matrix.reductions.downsample import DownsampleResult, Raster


@dataclass(frozen=True)
class Cells:
    """The matrix in cells of side × side entries; those at its end are smaller: `DownsampleResult`.

    heard  is given each tile when it was read; what it raises ends the pass

    State: a sum, a maximum and a count a cell.    Neutral: 0.
    Law: sums and counts add, of maxima the larger stays.
    """

    side: int
    heard: Callable[[Tile], None] = field(default=lambda tile: None, compare=False)

    independent_heads = True  # `heard` may be called by several threads at once

    def init(self, frame: MatrixSpec) -> Raster:
        rows, columns = edges(frame.N, self.side), edges(frame.M, self.side)
        shape = (frame.B, frame.H, len(rows) - 1, len(columns) - 1)
        sums, seen = (frame.full(*shape, dtype=frame.wide) for _ in range(2))
        return Raster(sums, frame.full(*shape), seen, rows, columns)

    def update(self, state: Raster, tile: Tile) -> None:
        Downsample(1, 1).update(state, tile)  # which looks at the state's cells alone
        self.heard(tile)

    def merge(self, state: Raster, other: Raster) -> Raster:
        return Downsample(1, 1).merge(state, other)

    def finish(self, state: Raster, stats: SoftmaxStats) -> DownsampleResult:
        area = areas(state.rows, state.columns).to(state.sums)
        dtype = stats.maximum.dtype
        return DownsampleResult((state.sums / area).to(dtype), state.maximum, (state.seen / area).to(dtype))


def edges(size: int, side: int) -> Tensor:
    """Where each cell begins, and the end."""
    return torch.tensor([*range(0, size, side), size] if size else [0])


def areas(rows: Tensor, columns: Tensor) -> Tensor:
    """How many entries each cell has."""
    return torch.outer(rows.diff(), columns.diff())
