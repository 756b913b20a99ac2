"""Tiles of the map: 256 × 256 cells at a zoom, from the kept map where it is deep enough, else from exact blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limelight.errors import InputError, TooLargeError
from limelight.matrix.rasters import Run
from limelight.matrix.rules import Cover
from limelight.readings.reading import Head
from limelight.viewer.attentions import TILE, Attention, by_layer
from limelight.viewer.cells import areas, edges
from limelight.viewer.envelope import Array
from limelight.viewer.whole import Whole

STRIP = 2**22
"""Entries that are held at once."""
MOST_ENTRIES = 2**33
"""Of a tile, over all its heads; beyond, it would take minutes."""


@dataclass(frozen=True)
class Tiled:
    """The cells of a tile: `cells` float32 (h, w); `seen` the share of entries that may be seen, None for all."""

    cells: Array
    seen: Array | None


@dataclass(frozen=True)
class Place:
    """Which cells: those of zoom `zoom` from (256·row, 256·column) on."""

    zoom: int
    row: int
    column: int

    def within(self, attention: Attention) -> tuple[range, range]:
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


def work(attention: Attention, heads: tuple[Head, ...], place: Place) -> int:
    """How many entries a tile is made of."""
    rows, columns = place.within(attention)
    return len(rows) * len(columns) * len(heads)


def kept_tile(
    attention: Attention, wholes: Mapping[int, Whole], heads: tuple[Head, ...], place: Place, reduce: str
) -> Tiled:
    """From the maps that the walk over the whole has kept."""
    rows, columns = place.within(attention)
    step = attention.step(place.zoom)
    fine = attention.step(next(iter(wholes.values())).zoom)
    cut = tuple(slice(span.start // fine, -(-span.stop // fine)) for span in (rows, columns))
    sizes = [
        torch.tensor([min(at + fine, size) - at for at in range(0, size, fine)])
        for size in (attention.N, attention.M)
    ]
    area = torch.outer(sizes[0][cut[0]], sizes[1][cut[1]]).double()
    grid = [
        edges(len(range(*each.indices(len(size)))), step // fine)
        for each, size in zip(cut, sizes, strict=True)
    ]
    total = torch.zeros(area.shape, dtype=torch.float64)
    highest = torch.zeros(area.shape)
    seen = torch.zeros(area.shape, dtype=torch.float64)
    for layer, head in heads:
        cells = wholes[layer].map
        total += cells.mean[head][cut].double()
        highest = torch.maximum(highest, cells.maximum[head][cut])
        seen += cells.seen[head][cut].double()
    coarse = _sums(area, grid)
    some = _sums(seen / len(heads) * area, grid) / coarse
    if reduce == "max":
        found = _maxima(highest, grid)
    else:
        found = (_sums(total / len(heads) * area, grid) / coarse).float()
    return Tiled(found.numpy(), _share(some))


def exact_tile(
    attention: Attention, heads: tuple[Head, ...], place: Place, reduce: str, go_on: Callable[[], None]
) -> Tiled:
    """From blocks of the matrix itself, a strip after the other; `go_on` is asked between, and may raise."""
    if work(attention, heads, place) > MOST_ENTRIES:
        raise TooLargeError(
            f"This tile takes in {work(attention, heads, place):,} weights, and at most {MOST_ENTRIES:,} are "
            "computed for one. Zoom in, or choose fewer heads."
        )
    rows, columns = place.within(attention)
    step = attention.step(place.zoom)
    grid = edges(len(rows), step), edges(len(columns), step)
    shape = len(grid[0]) - 1, len(grid[1]) - 1
    cells = torch.zeros(shape, dtype=torch.float64)
    highest, seen = torch.zeros(shape), torch.zeros(shape, dtype=torch.float64)
    across = Run.of(grid[1], 0, len(columns))
    most = max(len(each) for each in by_layer(heads).values())
    for strip in _strips(rows, step, STRIP // max(1, len(columns) * most)):
        down = Run.of(grid[0], strip.start - rows.start, strip.stop - rows.start)
        for layer, some in by_layer(heads).items():
            go_on()
            for block_HRC in blocks(attention, layer, some, strip, columns):
                if reduce == "max":
                    here = across.maxima(down.maxima(block_HRC.amax(0), -2), -1)
                    highest[down.cells] = torch.maximum(highest[down.cells], here.cpu())
                else:
                    mixed = block_HRC.sum(0, dtype=torch.float64)
                    cells[down.cells] += across.sums(down.sums(mixed, -2), -1).cpu()
        seen[down.cells] += _seen(attention, heads[0], strip, columns, down, across)
    area = areas(*grid)
    found = highest if reduce == "max" else (cells / area / len(heads)).float()
    return Tiled(found.numpy(), _share(seen / area))


def blocks(
    attention: Attention, layer: int, heads: list[int], rows: range, columns: range
) -> Iterator[Tensor]:
    """The weights of some rows and columns, (H, R, C): of all heads of the layer together, or one by one."""
    matrix = attention.layers[layer]
    where = attention.batch, slice(rows.start, rows.stop), slice(columns.start, columns.stop)
    if len(heads) == matrix.shape[1]:
        yield matrix[where[0], :, where[1], where[2]]
    else:
        for head in heads:
            yield matrix[where[0], head : head + 1, where[1], where[2]]


def _strips(rows: range, step: int, most: int) -> Iterator[range]:
    """Neighbouring rows, whole cells where they fit."""
    height = most // step * step if most >= step else max(1, most)
    for start in range(rows.start, rows.stop, height):
        yield range(start, min(start + height, rows.stop))


def _seen(
    attention: Attention, head: Head, rows: range, columns: range, down: Run, across: Run
) -> Tensor | float:
    """How many entries of each cell may be seen, by the mask of one head."""
    b, (layer, h) = attention.batch, head
    mask = attention.layers[layer].mask.at(b, b + 1, h, h + 1)
    place = rows.start, rows.stop, columns.start, columns.stop, attention.N, attention.M
    cover = mask.cover(*place)
    if cover is Cover.SOME:
        block_RC = mask.block(*place)[0, 0].expand(len(rows), len(columns))
        return across.sums(down.sums(block_RC.double(), -2), -1)
    return float(cover is Cover.ALL) * torch.outer(down.lengths, across.lengths).double()


def _share(seen: Tensor) -> Array | None:
    """As bytes; a cell of which little may be seen is not 0."""
    if bool((seen >= 1 - 1e-9).all()):
        return None
    codes = torch.ceil(seen.clamp(0, 1) * 255 - 1e-6)
    found: Array = codes.numpy().astype(np.uint8)
    return found


def _sums(cells: Tensor, grid: list[Tensor]) -> Tensor:
    rows, columns = (Run.of(each, 0, int(each[-1])) for each in grid)
    return columns.sums(rows.sums(cells, -2), -1)


def _maxima(cells: Tensor, grid: list[Tensor]) -> Tensor:
    rows, columns = (Run.of(each, 0, int(each[-1])) for each in grid)
    return columns.maxima(rows.maxima(cells, -2), -1)
