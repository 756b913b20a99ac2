"""The loop over tiles, in plain PyTorch, on any device.

The matrix is cut into panels (some batches and heads), row blocks, and runs of columns that the mask lets
through (plan.py). Where a row block's scores fit the budget together, one pass finds the row stats and feeds
every reduction ("strips"). Where the keys are too many for that, a first pass finds the stats and a second feeds
the reductions ("squares").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limelight.matrix.engine.plan import Plan, as_slice, panels_of, row_blocks
from limelight.matrix.engine.threads import read_all
from limelight.matrix.logits import Logits
from limelight.matrix.reductions.base import Reduction
from limelight.matrix.reductions.row_stats import RowStats
from limelight.matrix.tile import Arena, MatrixSpec, SoftmaxStats, Tile


def read_tiles(
    scores: Logits,
    frame: MatrixSpec,
    reductions: Sequence[Reduction[Any]],
    known: SoftmaxStats | None,
    cut: Plan,
) -> tuple[list[Any], SoftmaxStats]:
    """Pass over the matrix; give every reduction's state, and the row stats, found on the way if not `known`."""
    states = [reduction.init(frame) for reduction in reductions]
    stats = RowStats().finish(RowStats().init(frame)) if known is None else known
    read_all(
        panels=list(panels_of(scores, cut)),
        blocks=list(row_blocks(scores.N, cut)),
        open_panel=lambda panel: _Reader(scores.panel(*panel), cut, reductions, states, stats, known),
        make_room=lambda: cut.arena(scores),
        workers=cut.workers(scores)
        if all(getattr(reduction, "independent_heads", False) for reduction in reductions)
        else 1,
        device=scores.device,
    )
    return states, stats


class _Block(NamedTuple):
    place: tuple[slice, slice, slice]
    stats: SoftmaxStats
    tiles: Iterable[Tile]


@dataclass(frozen=True)
class _Reader:
    """Reads one panel: finds a row block's stats beside other workers, then feeds the reductions in turn."""

    panel: Logits
    cut: Plan
    reductions: Sequence[Reduction[Any]]
    states: Sequence[Any]
    stats: SoftmaxStats
    known: SoftmaxStats | None

    def read(self, i0: int, i1: int, room: Arena) -> _Block:
        panel, cut = self.panel, self.cut
        place = (as_slice(panel.batches), as_slice(panel.heads), slice(i0, i1))
        tiles_of_block: Iterable[Tile] = tiles(panel, i0, i1, 0, panel.M, cut, room)
        if cut.columns is None:
            tiles_of_block = list(tiles_of_block)
        if self.known is not None:
            here = self.known.part(place)
        else:
            here = find_stats(panel, i1 - i0, tiles_of_block)
            if cut.columns is not None:
                tiles_of_block = tiles(panel, i0, i1, 0, panel.M, cut, room)
            for tile in tiles_of_block if isinstance(tiles_of_block, list) and self.reductions else ():
                tile.stats = here
                tile.weights  # noqa: B018 - kept for `take`, and computed here, beside other workers
        return _Block(place, here, tiles_of_block)

    def take(self, found: _Block) -> None:
        if self.known is None:
            self.stats.maximum[found.place], self.stats.log_sum[found.place] = found.stats
        for tile in found.tiles if self.reductions else ():
            tile.stats = found.stats
            for reduction, state in zip(self.reductions, self.states, strict=True):
                reduction.update(state, tile)


def weigh_block(panel: Logits, known: SoftmaxStats | None, rows: range, columns: range, cut: Plan) -> Tensor:
    """The weights of some rows and columns of a panel, (B, H, R, C); `known` are the stats of those rows."""
    B, H = len(panel.batches), len(panel.heads)
    block = torch.zeros(B, H, len(rows), len(columns), dtype=panel.dtype, device=panel.device)
    arena = cut.arena(panel)
    for i0 in range(rows.start, rows.stop, cut.rows):
        i1 = min(i0 + cut.rows, rows.stop)
        here = slice(i0 - rows.start, i1 - rows.start)
        if known is not None:
            stats = known.part((slice(None), slice(None), here))
        else:
            stats = find_stats(panel, i1 - i0, tiles(panel, i0, i1, 0, panel.M, cut, arena))
        for tile in tiles(panel, i0, i1, columns.start, columns.stop, cut, arena):
            tile.stats = stats
            block[:, :, here, tile.j0 - columns.start : tile.j1 - columns.start] = tile.weights
    return block


def find_stats(panel: Logits, rows: int, tiles_of_block: Iterable[Tile]) -> SoftmaxStats:
    """The row stats of one row block, from all its tiles."""
    finder = RowStats()
    sums = finder.init(panel.frame(rows))
    for tile in tiles_of_block:
        sums = finder.merge(sums, finder.of(tile))
    return finder.finish(sums)


def panels(scores: Logits, cut: Plan) -> Iterator[Logits]:
    """Some batches and heads after the other."""
    for batches, heads in panels_of(scores, cut):
        yield scores.panel(batches, heads)


def tiles(panel: Logits, i0: int, i1: int, j0: int, j1: int, cut: Plan, arena: Arena) -> Iterator[Tile]:
    """The tiles of rows i0:i1 and columns j0:j1 of which something may be seen, from left to right.

    Those of a strip live together until the next strip; a square lives until the next square.
    """
    arena.clear()
    for seen in panel.spans(i0, i1, j0, j1, cut.grain):
        for span in seen.pieces(cut.columns or max(1, j1 - j0)):
            if cut.columns is not None:
                arena.clear()
            logits = panel.block(i0, i1, span, arena)
            hidden = span.partial if panel.bias is None else None  # a bias may hide keys of its own
            yield Tile(panel.batches, panel.heads, i0, i1, span.j0, span.j1, logits, hidden, arena)
