"""The loop over tiles, in plain PyTorch, on any device.

The matrix is cut three ways: into panels (some batches and heads), row blocks, and runs of columns that the
mask lets through. Where a row block's scores fit the budget together, one walk finds the row stats and feeds
every fold ("strips"). Where the keys are too many for that, a first walk finds the stats and a second feeds
the folds ("squares").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limelight.matrix.folds import Fold, RowStats
from limelight.matrix.scores import Scores
from limelight.matrix.tile import Arena, Frame, Stats, Tile

STRIP_ROWS = 64
STRIP_ENTRIES = 2**20  # beyond, a strip of scores leaves the cache of a core, and squares are faster
SQUARE = 512
GRAIN = 128  # columns; the mask is not asked about less
TENSORS_A_TILE = 4  # its scores, their weights, the logs of those, and scratch


@dataclass(frozen=True)
class Plan:
    """How a loop cuts a matrix. `columns` is None for strips, which hold all keys."""

    rows: int
    columns: int | None
    panel_batches: int
    panel_heads: int
    grain: int = GRAIN
    held: int | None = None
    """How many rows of a block are held, and skipped, at a time; all of them where it is None."""

    @property
    def loop(self) -> str:
        return "squares" if self.columns else "strips"

    def entries(self, N: int, M: int) -> int:
        """How many entries of an N × M matrix are held at a time."""
        return self.panel_batches * self.panel_heads * min(self.rows, N) * min(self.columns or M, M)

    def arena(self, scores: Scores) -> Arena:
        """Memory for all that the tiles of a row block, or one square, hold at a time."""
        return Arena(TENSORS_A_TILE * self.entries(scores.N, scores.M), scores.dtype, scores.device)


def plan(B: int, H: int, G: int, N: int, M: int) -> Plan:
    """Choose the cut: a pure function of the sizes.

    >>> plan(B=1, H=8, G=8, N=4_000, M=4_000)
    Plan(rows=64, columns=None, panel_batches=1, panel_heads=4, grain=128, held=None)
    """
    rows = max(1, min(STRIP_ROWS, N))
    if rows * M > STRIP_ENTRIES:
        return Plan(min(SQUARE, max(1, N)), SQUARE, 1, 1)
    heads = STRIP_ENTRIES // max(1, rows * M)
    if heads >= H:
        return Plan(rows, None, max(1, min(B, heads // max(1, H))), max(1, H))
    group = H // G
    return Plan(rows, None, 1, heads // group * group if heads >= group else 1)


def plan_for(scores: Scores) -> Plan:
    """The cut of these logits."""
    return plan(len(scores.batches), len(scores.heads), scores.k_BGMD.shape[1], scores.N, scores.M)


def read_tiles(
    scores: Scores, frame: Frame, folds: Sequence[Fold[Any]], known: Stats | None, cut: Plan
) -> tuple[list[Any], Stats]:
    """Walk over the matrix; give every fold's state, and the row stats, found on the way if not `known`."""
    states = [fold.start(frame) for fold in folds]
    stats = RowStats().finish(RowStats().start(frame)) if known is None else known
    arena = cut.arena(scores)
    for panel in panels(scores, cut):
        for i0, i1 in row_blocks(scores.N, cut):
            place = (as_slice(panel.batches), as_slice(panel.heads), slice(i0, i1))
            walk: Iterable[Tile] = tiles(panel, i0, i1, 0, scores.M, cut, arena)
            if known is not None:
                here = known.part(place)
            else:
                if cut.columns is None:
                    walk = list(walk)
                here = find_stats(panel, i1 - i0, walk)
                if cut.columns is not None:
                    walk = tiles(panel, i0, i1, 0, scores.M, cut, arena) if folds else ()
                stats.maximum[place], stats.log_sum[place] = here
            for tile in walk:
                tile.stats = here
                for fold, state in zip(folds, states, strict=True):
                    fold.absorb(state, tile)
    return states, stats


def weigh_block(panel: Scores, known: Stats | None, rows: range, columns: range, cut: Plan) -> Tensor:
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


def find_stats(panel: Scores, rows: int, walk: Iterable[Tile]) -> Stats:
    """The row stats of one row block, from all its tiles."""
    finder = RowStats()
    sums = finder.start(panel.frame(rows))
    for tile in walk:
        sums = finder.merge(sums, finder.of(tile))
    return finder.finish(sums)


def panels(scores: Scores, cut: Plan) -> Iterator[Scores]:
    """Some batches and heads after the other."""
    for batches, heads in panels_of(scores, cut):
        yield scores.panel(batches, heads)


def panels_of(scores: Scores, cut: Plan) -> Iterator[tuple[range, range]]:
    """Which batches and heads go together."""
    for b0 in range(0, len(scores.batches), cut.panel_batches):
        for h0 in range(0, len(scores.heads), cut.panel_heads):
            yield scores.batches[b0 : b0 + cut.panel_batches], scores.heads[h0 : h0 + cut.panel_heads]


def row_blocks(N: int, cut: Plan) -> Iterator[tuple[int, int]]:
    """Where one block after the other starts, and where it ends."""
    for i0 in range(0, N, cut.rows):
        yield i0, min(i0 + cut.rows, N)


def tiles(panel: Scores, i0: int, i1: int, j0: int, j1: int, cut: Plan, arena: Arena) -> Iterator[Tile]:
    """The tiles of rows i0:i1 and columns j0:j1 of which something may be seen, from left to right.

    Those of a strip live together until the next strip; a square lives until the next square.
    """
    arena.clear()
    width = cut.columns or max(1, j1 - j0)
    for start in range(j0, j1, width):
        for span in panel.spans(i0, i1, start, min(start + width, j1), cut.grain):
            if cut.columns is not None:
                arena.clear()
            logits = panel.block(i0, i1, span, arena)
            hidden = span.partial if panel.bias is None else None  # a bias may hide keys of its own
            yield Tile(panel.batches, panel.heads, i0, i1, span.j0, span.j1, logits, hidden, arena)


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """No gradient, and no autocast: inside a model's forward it would round the tiles to low precision."""
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def as_slice(of: range) -> slice:
    return slice(of.start, of.stop)
