"""The loop over tiles, in plain PyTorch, on any device.

The matrix is cut three ways: into panels (some batches and heads), row blocks, and runs of columns that the
mask lets through. Where a row block's scores fit the budget together, one walk finds the row stats and feeds
every fold ("strips"). Where the keys are too many for that, a first walk finds the stats and a second feeds
the folds ("squares").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limelight.errors import TooLargeError
from limelight.matrix.folds import Fold, RowStats
from limelight.matrix.scores import Scores
from limelight.matrix.tile import Arena, Frame, Stats, Tile
from limelight.matrix.workers import how_many, read_all

STRIP_ROWS = 64
FEWEST_ROWS = 16  # of a strip; below, multiplying them costs twice as much an entry
STRIP_ENTRIES = 2**20  # beyond, a strip of scores leaves the cache of a core, and squares are faster
SQUARE = 512
FEWEST_COLUMNS = 32
GRAIN = 128  # columns; the mask is not asked about less
GPU_ENTRIES = 2**24  # a launch costs what a million entries do
GPU_STRIP_ROWS = 512
GPU_FEWEST_ROWS = 128
GPU_SQUARE = 4_096
GPU_GRAIN = 512
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
    worker_bytes: int = field(default=0, repr=False)
    """What each worker holds at once: its tiles, and the keys of its panel where they are copied."""
    most_workers: int | None = field(default=None, repr=False)
    """So many fit the limit that was set; None where none was."""
    limit: int | None = field(default=None, repr=False, compare=False)
    """That limit in bytes: what reads the rest beside this loop keeps to it too."""

    @property
    def shape(self) -> str:
        return "squares" if self.columns else "strips"

    def entries(self, N: int, M: int) -> int:
        """How many entries of an N × M matrix are held at a time."""
        return self.panel_batches * self.panel_heads * min(self.rows, N) * min(self.columns or M, M)

    def arena(self, scores: Scores) -> Arena:
        """Memory for all that the tiles of a row block, or one square, hold at a time."""
        return Arena(TENSORS_A_TILE * self.entries(scores.N, scores.M), scores.dtype, scores.device)

    def workers(self, scores: Scores) -> int:
        """How many read at once: the threads there are, as far as memory and work go round."""
        entries = len(scores.batches) * len(scores.heads) * scores.N * scores.M
        return min(how_many(entries, scores.device), self.most_workers or entries + 1)


def plan(B: int, H: int, G: int, N: int, M: int, entries: int | None = None, on_gpu: bool = False) -> Plan:
    """Choose the cut, with so many entries in a tile: a pure function of the sizes and the kind of device.

    >>> plan(B=1, H=8, G=8, N=4_000, M=4_000)
    Plan(rows=64, columns=None, panel_batches=1, panel_heads=4, grain=128, held=None)
    """
    strip, fewest, square, grain, most = STRIP_ROWS, FEWEST_ROWS, SQUARE, GRAIN, STRIP_ENTRIES
    if on_gpu:
        strip, fewest, square, grain = GPU_STRIP_ROWS, GPU_FEWEST_ROWS, GPU_SQUARE, GPU_GRAIN
        most = GPU_ENTRIES
    entries = most if entries is None else entries
    rows = max(1, min(strip, N, max(fewest, entries // max(1, M))))
    if rows * M > entries:
        side = max(FEWEST_COLUMNS, min(square, int(entries**0.5) // FEWEST_COLUMNS * FEWEST_COLUMNS))
        return Plan(min(side, max(1, N)), side, 1, 1, grain=min(grain, side))
    heads = entries // max(1, rows * M)
    if heads >= H:
        return Plan(rows, None, max(1, min(B, heads // max(1, H))), max(1, H), grain)
    group = H // G
    return Plan(rows, None, 1, heads // group * group if heads >= group else 1, grain)


def plan_for(scores: Scores, limit: int | None = None) -> Plan:
    """The cut of these logits, within so many bytes. Raises TooLargeError where even the smallest is larger."""
    sizes = len(scores.batches), len(scores.heads), scores.k_BGMD.shape[1], scores.N, scores.M
    on_gpu = scores.device.type == "cuda"
    entries = GPU_ENTRIES if on_gpu else STRIP_ENTRIES
    cut = _weighed(scores, plan(*sizes, on_gpu=on_gpu))
    while limit is not None and limit - stats_bytes(scores) < cut.worker_bytes:
        entries //= 2
        smaller = _weighed(scores, plan(*sizes, entries, on_gpu))
        if entries < FEWEST_COLUMNS**2:
            raise too_large(scores, cut, limit)
        cut = smaller
    return within(cut, limit, stats_bytes(scores))


def within(cut: Plan, limit: int | None, already: int) -> Plan:
    """This cut with as many workers as fit `limit` bytes, where `already` bytes are taken; one fits."""
    if limit is None:
        return cut
    return replace(cut, most_workers=max(1, (limit - already) // max(1, cut.worker_bytes)), limit=limit)


def _weighed(scores: Scores, cut: Plan) -> Plan:
    number = torch.finfo(scores.dtype).bits // 8
    k, H = scores.k_BGMD, len(scores.heads)
    keys = 0
    if k.dtype != scores.dtype or not k.is_contiguous():
        keys = k[: cut.panel_batches, : max(1, cut.panel_heads * k.shape[1] // max(H, 1))].numel()
    tiles = TENSORS_A_TILE * cut.entries(scores.N, scores.M)
    return replace(cut, worker_bytes=number * (tiles + keys))


def stats_bytes(scores: Scores) -> int:
    """Two numbers a query."""
    return 2 * torch.finfo(scores.dtype).bits // 8 * len(scores.batches) * len(scores.heads) * scores.N


def too_large(scores: Scores, cut: Plan, limit: int) -> TooLargeError:
    """What to say when the smallest cut does not fit."""
    needed = stats_bytes(scores) + cut.worker_bytes
    return TooLargeError(
        f"Reading this matrix takes {needed} bytes at least, {stats_bytes(scores)} for its row stats and "
        f"{cut.worker_bytes} for a tile; the limit is {limit}. Raise it: limit={needed}, or leave it out."
    )


# ---- the walk -----------------------------------------------------------------------------------------


def read_tiles(
    scores: Scores, frame: Frame, folds: Sequence[Fold[Any]], known: Stats | None, cut: Plan
) -> tuple[list[Any], Stats]:
    """Walk over the matrix; give every fold's state, and the row stats, found on the way if not `known`."""
    states = [fold.start(frame) for fold in folds]
    stats = RowStats().finish(RowStats().start(frame)) if known is None else known
    read_all(
        panels=list(panels_of(scores, cut)),
        blocks=list(row_blocks(scores.N, cut)),
        open_panel=lambda panel: _Reader(scores.panel(*panel), cut, folds, states, stats, known),
        make_room=lambda: cut.arena(scores),
        workers=cut.workers(scores) if all(getattr(fold, "panels_apart", False) for fold in folds) else 1,
        device=scores.device,
    )
    return states, stats


class _Block(NamedTuple):
    place: tuple[slice, slice, slice]
    stats: Stats
    tiles: Iterable[Tile]


@dataclass(frozen=True)
class _Reader:
    """Reads one panel: finds a row block's stats beside other workers, then feeds the folds in turn."""

    panel: Scores
    cut: Plan
    folds: Sequence[Fold[Any]]
    states: Sequence[Any]
    stats: Stats
    known: Stats | None

    def read(self, i0: int, i1: int, room: Arena) -> _Block:
        panel, cut = self.panel, self.cut
        place = (as_slice(panel.batches), as_slice(panel.heads), slice(i0, i1))
        walk: Iterable[Tile] = tiles(panel, i0, i1, 0, panel.M, cut, room)
        if cut.columns is None:
            walk = list(walk)
        if self.known is not None:
            here = self.known.part(place)
        else:
            here = find_stats(panel, i1 - i0, walk)
            if cut.columns is not None:
                walk = tiles(panel, i0, i1, 0, panel.M, cut, room)
            for tile in walk if isinstance(walk, list) and self.folds else ():
                tile.stats = here
                tile.weights  # noqa: B018 - kept for `take`, and computed here, beside other workers
        return _Block(place, here, walk)

    def take(self, found: _Block) -> None:
        if self.known is None:
            self.stats.maximum[found.place], self.stats.log_sum[found.place] = found.stats
        for tile in found.tiles if self.folds else ():
            tile.stats = found.stats
            for fold, state in zip(self.folds, self.states, strict=True):
                fold.absorb(state, tile)


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


def as_slice(of: range) -> slice:
    return slice(of.start, of.stop)
