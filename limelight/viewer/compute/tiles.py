"""Tiles of the map: 256 × 256 cells at a zoom, from the kept map where it is deep enough, else from exact blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from limelight.errors import InputError, TooLargeError
from limelight.matrix.masks.base import TileCoverage
from limelight.matrix.reductions.downsample import CellRun
from limelight.readings.reading import Head
from limelight.viewer.compute.attention_layers import TILE, AttentionLayers, Matrix, heads_by_layer
from limelight.viewer.compute.first_pass import LayerSummary
from limelight.viewer.compute.grid_reduction import areas, edges
from limelight.viewer.protocol.responses import Array

STRIP = 2**22
"""Entries that are held at once."""
LEAF = 2**14
"""Entries of a mask that are looked at one by one."""
GRAIN = 128
"""Keys; a mask is not asked about less."""
MOST_ENTRIES = 2**33
"""Of a tile, over all its heads; beyond, it would take minutes."""
MOST_WEIGHED = 2**28
"""The same where no map is kept, so that every look from afar would cost as much again."""


@dataclass(frozen=True)
class Tiled:
    """The cells of a tile: `cells` float32 (h, w); `seen` the share of entries that may be seen, None for all."""

    cells: Array
    seen: Array | None


@dataclass(frozen=True)
class TileAddress:
    """Which cells: those of zoom `zoom` from (256·row, 256·column) on."""

    zoom: int
    row: int
    column: int

    def within(self, attention: AttentionLayers) -> tuple[range, range]:
        """The queries and keys that the tile takes in. Raises InputError where there are none."""
        if self.zoom > attention.deepest:
            raise InputError(f"zoom is from 0 to {attention.deepest}; got {self.zoom}.")
        side = TILE * attention.step(self.zoom)
        spans = [
            range(place * side, min((place + 1) * side, size))
            for place, size in ((self.row, attention.N), (self.column, attention.M))
        ]
        if not all(spans):
            raise InputError(f"There is no tile ({self.row}, {self.column}) at zoom {self.zoom}.")
        return spans[0], spans[1]


def work(attention: AttentionLayers, heads: tuple[Head, ...], place: TileAddress) -> int:
    """How many entries a tile is made of."""
    rows, columns = place.within(attention)
    return len(rows) * len(columns) * len(heads)


@dataclass(frozen=True, eq=False)
class Map:
    """Cells of one zoom, of a slice; a tile of that zoom, or of a lower one, is put together from them.

    mean     (cells, cells), those of the tile alone
    maximum  likewise; None where it is not known
    seen     the share of a cell's entries that may be seen; None to ask the mask
    """

    zoom: int
    mean: Tensor
    maximum: Tensor | None
    seen: Tensor | None

    @classmethod
    def of(
        cls,
        summaries: Mapping[int, LayerSummary],
        heads: tuple[Head, ...],
        attention: AttentionLayers,
        place: TileAddress,
    ) -> Map:
        """What a tile needs of what the first pass has kept of each head."""
        first = summaries[heads[0][0]]
        cut = cells_of(attention, place, first.zoom)
        seen = first.map.seen[0][cut]
        mean = torch.zeros(seen.shape, dtype=torch.float64)
        maximum = torch.zeros(seen.shape)
        for layer, head in heads:
            kept = summaries[layer].map
            mean += kept.mean[head][cut]
            torch.maximum(maximum, kept.maximum[head][cut], out=maximum)
        return cls(first.zoom, mean / len(heads), maximum, seen)

    def tile(self, attention: AttentionLayers, layer: int, place: TileAddress, reduce: str) -> Tiled:
        """`layer` is the one whose mask says what may be seen."""
        rows, columns = place.within(attention)
        step, fine = attention.step(place.zoom), attention.step(self.zoom)
        sizes = (torch.tensor([min(fine, span.stop - at) for at in span[::fine]]) for span in (rows, columns))
        area = torch.outer(*sizes).double()
        runs = [CellRun.of(edges(size, step // fine), 0, size) for size in area.shape]

        def sums(cells: Tensor) -> Tensor:
            return runs[1].sums(runs[0].sums(cells, -2), -1)

        whole = sums(area)
        if self.seen is None:
            seen = seen_cells(attention, layer, rows, columns, step) / whole
        else:
            seen = sums(self.seen.double() * area) / whole
        if reduce == "max":
            assert self.maximum is not None
            found = runs[1].maxima(runs[0].maxima(self.maximum, -2), -1)
        else:
            found = (sums(self.mean.double() * area) / whole).float()
        return Tiled(found.numpy(), _share(seen))


def cells_of(attention: AttentionLayers, place: TileAddress, zoom: int) -> tuple[slice, ...]:
    """Where the cells of `zoom` that a tile is made of stand in the whole."""
    fine = attention.step(zoom)
    return tuple(slice(span.start // fine, -(-span.stop // fine)) for span in place.within(attention))


def exact_tile(
    attention: AttentionLayers,
    heads: tuple[Head, ...],
    place: TileAddress,
    reduce: str,
    go_on: Callable[[], None],
) -> Tiled:
    """From blocks of the matrix itself, a strip after the other; `go_on` is asked between, and may raise."""
    most_entries = MOST_WEIGHED if attention.reweightings else MOST_ENTRIES
    if work(attention, heads, place) > most_entries:
        raise TooLargeError(
            f"This tile takes in {work(attention, heads, place):,} weights, and at most {most_entries:,} are "
            "computed for one. Zoom in, or choose fewer heads."
        )
    rows, columns = place.within(attention)
    step = attention.step(place.zoom)
    grid = edges(len(rows), step), edges(len(columns), step)
    cells = torch.zeros(len(grid[0]) - 1, len(grid[1]) - 1, dtype=torch.float64)
    most = max(len(each) for each in heads_by_layer(heads).values())
    for strip in _strips(rows, step, STRIP // max(1, len(columns) * most)):
        down = CellRun.of(grid[0], strip.start - rows.start, strip.stop - rows.start)
        for layer, some in heads_by_layer(heads).items():
            go_on()
            near = range(
                columns.start, max(columns.start, min(columns.stop, reach(attention, layer, strip).stop))
            )
            if not near:
                continue
            across = CellRun.of(grid[1], 0, len(near))
            place_ = down.cells, across.cells
            for block_HRC in blocks(attention, layer, some, strip, near):
                if reduce == "max":
                    here = across.maxima(down.maxima(block_HRC.amax(0), -2), -1)
                    cells[place_] = torch.maximum(cells[place_], here.double().cpu())
                else:
                    mixed_RC = block_HRC.sum(0, dtype=torch.float64)
                    cells[place_] += across.sums(down.sums(mixed_RC, -2), -1).cpu()
    whole = areas(*grid)
    seen = seen_cells(attention, heads[0][0], rows, columns, step) / whole
    found = cells if reduce == "max" else cells / whole / len(heads)
    return Tiled(found.float().numpy(), _share(seen))


def blocks(
    attention: AttentionLayers, layer: int, heads: list[int], rows: range, columns: range
) -> Iterator[Tensor]:
    """What is told of some rows and columns, (H, R, C): of all heads of the layer together, or one by one."""
    for told_HRC, _ in told_and_plain(attention, layer, heads, rows, columns):
        yield told_HRC


def told_and_plain(
    attention: AttentionLayers, layer: int, heads: list[int], rows: range, columns: range
) -> Iterator[tuple[Tensor, Tensor]]:
    """`blocks`, and beside each the weights as the softmax gave them: the same, where none is reweighted."""
    matrix, reweighting, b = attention.layers[layer], attention.reweightings.get(layer), attention.batch
    where = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
    every = len(heads) == matrix.shape[1]
    for some in [slice(None)] if every else [slice(head, head + 1) for head in heads]:
        plain_HRC = matrix[b, some, where[0], where[1]]
        if reweighting is None:
            yield plain_HRC, plain_HRC
        else:
            yield (
                reweighting.apply(plain_HRC, some, *where, complete=partial(_complete, matrix, b, some)),
                plain_HRC,
            )


def _complete(matrix: Matrix, batch: int, heads: slice, rows: slice) -> Tensor:
    found: Tensor = matrix[batch, heads, rows, :]
    return found


def reach(attention: AttentionLayers, layer: int, rows: range) -> range:
    """The keys from the first on, up to where none of these queries may look any more."""
    mask, size = attention.layers[layer].mask, attention.M
    low, high = 0, -(-size // GRAIN)
    while low < high:
        middle = (low + high) // 2
        hidden = (
            mask.coverage(rows.start, rows.stop, middle * GRAIN, size, attention.N, size)
            is TileCoverage.EMPTY
        )
        low, high = (low, middle) if hidden else (middle + 1, high)
    return range(min(low * GRAIN, size))


def _strips(rows: range, step: int, most: int) -> Iterator[range]:
    """Neighbouring rows, whole cells where they fit."""
    height = most // step * step if most >= step else max(1, most)
    for start in range(rows.start, rows.stop, height):
        yield range(start, min(start + height, rows.stop))


def seen_cells(attention: AttentionLayers, layer: int, rows: range, columns: range, step: int) -> Tensor:
    """How many entries of each cell may be seen, float64, by the mask of the layer's first head.

    Asked by halves: of a region that may be seen as a whole, or not at all, no entry is looked at.
    """
    b = attention.batch
    mask = attention.layers[layer].mask.at(b, b + 1, 0, 1)
    sizes = attention.N, attention.M

    def count(rows: range, columns: range) -> Tensor:
        grid = edges(len(rows), step), edges(len(columns), step)
        place = rows.start, rows.stop, columns.start, columns.stop
        cover = mask.coverage(*place, *sizes)
        if cover is not TileCoverage.PARTIAL:
            return float(cover is TileCoverage.FULL) * areas(*grid).double()
        if len(rows) * len(columns) <= LEAF or len(grid[0]) == len(grid[1]) == 2:
            block_RC = mask.block(*place, *sizes)[0, 0].expand(len(rows), len(columns)).double()
            down, across = CellRun.of(grid[0], 0, len(rows)), CellRun.of(grid[1], 0, len(columns))
            return across.sums(down.sums(block_RC, -2), -1)
        axis = 0 if len(grid[0]) >= len(grid[1]) else 1
        middle = (rows, columns)[axis].start + int(grid[axis][len(grid[axis]) // 2])
        if axis == 0:
            return torch.cat(
                [count(range(rows.start, middle), columns), count(range(middle, rows.stop), columns)]
            )
        halves = range(columns.start, middle), range(middle, columns.stop)
        return torch.cat([count(rows, half) for half in halves], dim=1)

    return count(rows, columns)


def _share(seen: Tensor) -> Array | None:
    """As bytes; a cell of which little may be seen is not 0."""
    if bool((seen >= 1 - 1e-9).all()):
        return None
    codes = torch.ceil(seen.clamp(0, 1) * 255 - 1e-6)
    found: Array = codes.numpy().astype(np.uint8)
    return found
