"""How a loop cuts a matrix: a pure function of its sizes, the kind of its device, and the bytes it may take.

Into panels (some batches and heads), row blocks, and columns: all of them at once ("strips"), or so many at a
time ("squares").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch

from limelight.errors import TooLargeError
from limelight.matrix.engine.threads import how_many
from limelight.matrix.logits import Logits
from limelight.matrix.tile import Arena

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
    width: int | None = field(default=None, repr=False)
    """So many columns a strip is made for, where the mask hides the others; None for all of them."""
    wider: Plan | None = field(default=None, repr=False)
    """How the rows of a block are cut that see more than `width`."""
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
        columns = min(self.columns or self.width or M, M)
        return self.panel_batches * self.panel_heads * min(self.rows, N) * columns

    def arena(self, scores: Logits) -> Arena:
        """Memory for all that the tiles of a row block, or one square, hold at a time."""
        return Arena(TENSORS_A_TILE * self.entries(scores.N, scores.M), scores.dtype, scores.device)

    def workers(self, scores: Logits) -> int:
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


def plan_for(scores: Logits, limit: int | None = None) -> Plan:
    """The cut of these logits, within so many bytes. Raises TooLargeError where even the smallest is larger."""
    sizes = len(scores.batches), len(scores.heads), scores.k_BGMD.shape[1], scores.N, scores.M
    on_gpu = scores.device.type == "cuda"
    return fitting(
        scores,
        lambda entries: _weighed(scores, plan(*sizes, entries, on_gpu)),
        GPU_ENTRIES if on_gpu else STRIP_ENTRIES,
        FEWEST_COLUMNS**2,
        limit,
    )


def fitting(
    scores: Logits, cut_of: Callable[[int], Plan], entries: int, fewest: int, limit: int | None
) -> Plan:
    """The cut of so many entries; or of half as many, and so on down to `fewest`, until a worker fits the limit."""
    cut = cut_of(entries)
    while limit is not None and limit - stats_bytes(scores) < cut.worker_bytes:
        entries //= 2
        if entries < fewest:
            raise too_large(scores, cut, limit)
        cut = cut_of(entries)
    return within(cut, limit, stats_bytes(scores))


def within(cut: Plan, limit: int | None, already: int) -> Plan:
    """This cut with as many workers as fit `limit` bytes, where `already` bytes are taken; one fits."""
    if limit is None:
        return cut
    return replace(cut, most_workers=max(1, (limit - already) // max(1, cut.worker_bytes)), limit=limit)


def _weighed(scores: Logits, cut: Plan) -> Plan:
    number = torch.finfo(scores.dtype).bits // 8
    k, H = scores.k_BGMD, len(scores.heads)
    keys = 0
    if k.dtype != scores.dtype or not k.is_contiguous():
        keys = k[: cut.panel_batches, : max(1, cut.panel_heads * k.shape[1] // max(H, 1))].numel()
    tiles = TENSORS_A_TILE * cut.entries(scores.N, scores.M)
    return replace(cut, worker_bytes=number * (tiles + keys))


def stats_bytes(scores: Logits) -> int:
    """Two numbers a query."""
    return 2 * torch.finfo(scores.dtype).bits // 8 * len(scores.batches) * len(scores.heads) * scores.N


def too_large(scores: Logits, cut: Plan, limit: int) -> TooLargeError:
    """What to say when the smallest cut does not fit."""
    needed = stats_bytes(scores) + cut.worker_bytes
    return TooLargeError(
        f"Reading this matrix takes {needed} bytes at least, {stats_bytes(scores)} for its row stats and "
        f"{cut.worker_bytes} for a tile; the limit is {limit}. Raise it: limit={needed}, or leave it out."
    )


def panels_of(scores: Logits, cut: Plan) -> Iterator[tuple[range, range]]:
    """Which batches and heads go together."""
    for b0 in range(0, len(scores.batches), cut.panel_batches):
        for h0 in range(0, len(scores.heads), cut.panel_heads):
            yield scores.batches[b0 : b0 + cut.panel_batches], scores.heads[h0 : h0 + cut.panel_heads]


def row_blocks(N: int, cut: Plan) -> Iterator[tuple[int, int]]:
    """Where one block after the other starts, and where it ends."""
    for i0 in range(0, N, cut.rows):
        yield i0, min(i0 + cut.rows, N)


def as_slice(of: range) -> slice:
    return slice(of.start, of.stop)
