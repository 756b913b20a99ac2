"""Downsample: the whole matrix as a small picture, mean and maximum of each cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.errors import InputError, TooLargeError
from limelight.matrix.checks import whole_bytes, whole_number
from limelight.matrix.reductions.base import maybe_hidden
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile


class DownsampleResult(NamedTuple):
    """The cells of a picture, (B, H, height, width) each."""

    mean: Tensor
    """The mean weight of the cell's entries, those that may not be seen counted as 0."""
    maximum: Tensor
    """The largest weight in the cell."""
    seen: Tensor
    """The share of its entries that may be seen; `mean / seen` is the mean of those alone."""


class Raster(NamedTuple):
    sums: Tensor
    maximum: Tensor
    seen: Tensor
    rows: Tensor
    columns: Tensor


@dataclass(frozen=True)
class Downsample:
    """The matrix resampled to `height` × `width` cells: `DownsampleResult`.

    Cell r takes in the queries ⌊r·N/height⌋ up to ⌊(r+1)·N/height⌋, and the columns likewise: every entry
    is in one cell, and cells of an uneven division differ by one row or column, each with a mean of its own.
    A picture finer than the matrix shows its entries several times. A cell of nothing (N or M of 0) is 0.
    State and picture together may take `limit` bytes; what needs more is refused.

    State: a sum, a maximum and a count a cell.    Neutral: 0.
    Law: sums and counts add, of maxima the larger stays.
    """

    height: int
    width: int
    limit: int = 2**30

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            cells = whole_number(getattr(self, name), f"Downsample({name}) must be a whole number of cells")
            object.__setattr__(self, name, cells)
        object.__setattr__(self, "limit", whole_bytes(self.limit, "Downsample"))
        if self.height < 1 or self.width < 1:
            raise InputError(
                f"Downsample(height, width) must have at least one cell; got {self.height} × {self.width}."
            )

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Raster:
        rows, columns = _edges(self.height, frame.N), _edges(self.width, frame.M)
        shape = (frame.B, frame.H, len(rows) - 1, len(columns) - 1)
        number = 3 * torch.finfo(frame.dtype).bits + 2 * torch.finfo(frame.wide).bits
        needed = frame.B * frame.H * self.height * self.width * number // 8
        if needed > self.limit:
            raise TooLargeError(
                f"Downsample would keep {frame.B} × {frame.H} × {self.height} × {self.width} cells, {needed} bytes, "
                f"and may keep {self.limit}. Ask for fewer cells, or raise it: "
                f"Downsample({self.height}, {self.width}, limit={needed})."
            )
        wide = frame.wide
        sums, maximum, seen = (
            frame.full(*shape, dtype=wide),
            frame.full(*shape),
            frame.full(*shape, dtype=wide),
        )
        return Raster(sums, maximum, seen, rows, columns)

    def update(self, state: Raster, tile: Tile) -> None:
        rows, columns = CellRun.of(state.rows, tile.i0, tile.i1), CellRun.of(state.columns, tile.j0, tile.j1)
        panel = (slice(tile.batches.start, tile.batches.stop), slice(tile.heads.start, tile.heads.stop))
        place = (*panel, rows.cells, columns.cells)
        state.sums[place] += columns.sums(rows.sums(tile.weights, axis=-2), axis=-1)
        maximum = columns.maxima(rows.maxima(tile.weights, axis=-2), axis=-1)
        state.maximum[place] = torch.maximum(state.maximum[place], maximum)
        state.seen[place] += torch.outer(rows.lengths, columns.lengths).to(state.seen)
        for start, stop in maybe_hidden(tile):
            some = CellRun.of(state.columns, start, stop)
            hidden = tile.scores[..., start - tile.j0 : stop - tile.j0] == -torch.inf
            counts = some.sums(rows.sums(hidden.to(tile.scores.dtype), axis=-2), axis=-1)
            state.seen[(*panel, rows.cells, some.cells)] -= counts

    def merge(self, state: Raster, other: Raster) -> Raster:
        maximum = torch.maximum(state.maximum, other.maximum)
        return state._replace(sums=state.sums + other.sums, maximum=maximum, seen=state.seen + other.seen)

    def finish(self, state: Raster, stats: SoftmaxStats) -> DownsampleResult:
        area = torch.outer(state.rows.diff(), state.columns.diff()).to(state.sums).clamp(min=1)
        mean, seen = torch.empty_like(state.maximum), torch.empty_like(state.maximum)
        for shares, totals in ((mean, state.sums), (seen, state.seen)):
            for share, total in zip(shares.flatten(0, 1), totals.flatten(0, 1), strict=True):
                share.copy_(total / area)  # head by head: all at once would need another wide picture
        return DownsampleResult(*(self._resized(each) for each in (mean, state.maximum, seen)))

    def _resized(self, picture: Tensor) -> Tensor:
        """Rows and columns repeated where the picture is finer than the matrix."""
        for axis, size in ((-2, self.height), (-1, self.width)):
            there = picture.shape[axis]
            if there == 0:
                shape = list(picture.shape)
                shape[axis] = size
                picture = picture.new_zeros(shape)
            elif there != size:
                cells = torch.arange(size, device=picture.device) * there // size
                picture = picture.index_select(axis, cells)
        return picture


def _edges(cells: int, size: int) -> Tensor:
    """Where each cell begins, and the end; no more cells than there are rows (or columns)."""
    cells = min(cells, size)
    return torch.arange(cells + 1, device="cpu") * size // max(cells, 1)


@dataclass(frozen=True)
class CellRun:
    """Neighbouring rows (or columns) of a tile, and which cells they fall into; sums and maxima a cell.

    A cell's members are brought side by side, as many as the longest cell has. Where a cell is shorter, its
    last member stands again: once more changes no maximum, and in a sum it is multiplied by 0.
    """

    cells: slice
    lengths: Tensor
    members: Tensor
    twice: Tensor | None

    @classmethod
    def of(cls, edges: Tensor, start: int, stop: int) -> CellRun:
        """The cells that the rows start:stop touch, and how much of them."""
        first = int(torch.searchsorted(edges, start, right=True)) - 1
        last = int(torch.searchsorted(edges, stop))
        begins, ends = edges[first:last].clamp(min=start), edges[first + 1 : last + 1].clamp(max=stop)
        lengths = ends - begins
        steps = torch.arange(int(lengths.max()), device="cpu")
        twice = steps >= lengths[:, None]
        members = (begins[:, None] + steps).minimum(ends[:, None] - 1) - start
        return cls(slice(first, last), lengths, members, twice if bool(twice.any()) else None)

    def sums(self, x: Tensor, axis: int) -> Tensor:
        spread = self._side_by_side(x, axis)
        if self.twice is not None:
            once = (~self.twice).to(x)
            spread = spread * (once if axis == -1 else once[..., None])
        return spread.sum(axis)

    def maxima(self, x: Tensor, axis: int) -> Tensor:
        return self._side_by_side(x, axis).amax(axis)

    def _side_by_side(self, x: Tensor, axis: int) -> Tensor:
        """(…, cells, members) for the last axis, (…, cells, members, C) for the last but one."""
        if self.twice is not None:
            x = x.index_select(axis, self.members.flatten().to(x.device))
        before, after = x.shape[: x.dim() + axis], x.shape[x.dim() + axis + 1 :]
        return x.reshape(*before, *self.members.shape, *after)
