"""The native loop: what it can read, how it cuts, and its pass over panels and row blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from limelight.matrix.engine.native.kernel_call import Keys, held_numbers, read_strip
from limelight.matrix.engine.native.library import PANEL, ROOM_ROWS, library
from limelight.matrix.engine.native.reduction_adapters import (
    TAKES,
    Found,
    Taken,
    Wanted,
    those_taken,
    wanted_of,
)
from limelight.matrix.engine.plan import (
    GRAIN,
    Plan,
    fitting,
    panels_of,
    plan_for,
    row_blocks,
    stats_bytes,
    within,
)
from limelight.matrix.engine.threads import read_all
from limelight.matrix.engine.tiled import read_tiles
from limelight.matrix.logits import Logits, Span
from limelight.matrix.reductions.base import Reduction
from limelight.matrix.reductions.row_stats import RowStats
from limelight.matrix.tile import Arena, MatrixSpec, SoftmaxStats

CALL_ENTRIES = 2**22  # of one call: enough that calling costs nothing beside it
MOST_ROWS = 5 * ROOM_ROWS  # of one call: float32 sums over more would lose digits
ROOM_ENTRIES = 2**18  # held at a time, so that a row is in the cache of a core from one sweep to the next
FEWEST_ROWS = 12  # held at a time, however long they are: the keys are fetched anew for the next
LOOKED_AT = 16  # calls whose rows are asked of the mask, to know what they see
FEW_OF = 8  # of so many calls one is asked
TALL = 12  # rows that are multiplied together on the C++ side


def rejection(scores: Logits, reductions: Sequence[Reduction[Any]]) -> str | None:
    """Why this loop cannot read these reductions; None where it can, or can read some of them."""
    if scores.device.type != "cpu":
        return f"it runs on the CPU, and the matrix is on {scores.device}"
    if scores.dtype != torch.float32:
        return f"it counts in float32, and the matrix is {scores.dtype}"
    if reductions and not those_taken(reductions):
        return f"it does not know {', '.join(sorted({type(reduction).__name__ for reduction in reductions}))}"
    found = library()
    return found if isinstance(found, str) else None


def left_to_plain(reductions: Sequence[Reduction[Any]]) -> list[int]:
    """The places of the reductions that the plain loop reads afterwards."""
    taken = those_taken(reductions)
    return [place for place in range(len(reductions)) if place not in taken]


def plan(scores: Logits, reductions: Sequence[Reduction[Any]], limit: int | None = None) -> Plan:
    """Some hundred rows a call, and as many heads as make the call worth its while, within `limit` bytes.

    What the plain loop reads afterwards counts too. Raises TooLargeError where even the smallest cut is larger.
    """
    widest = _widest(scores)
    cut = fitting(scores, lambda entries: _cut(scores, entries, widest), CALL_ENTRIES, 1, limit)
    if not left_to_plain(reductions):
        return cut
    beside = plan_for(scores, limit)
    cut = replace(cut, worker_bytes=max(cut.worker_bytes, beside.worker_bytes))
    return within(cut, limit, stats_bytes(scores))


def _widest(scores: Logits) -> int:
    """How many columns the rows of a call may see, as far as some calls tell; all where that changes nothing."""
    (B, H, N, _), M = scores.q_BHND.shape, scores.M
    blocks = range(0, N, MOST_ROWS)
    looked_at = min(LOOKED_AT, len(blocks) // FEW_OF)
    if MOST_ROWS * M <= CALL_ENTRIES or not looked_at or not B * H:
        return M
    widest = 0
    for n in range(looked_at):  # from the end, where causal rows see most
        i0 = blocks[-1 - n * (len(blocks) - 1) // max(looked_at - 1, 1)]
        b, h = n % B, n % H
        part = replace(scores, mask=scores.mask.at(b, b + 1, h, h + 1))
        widest = max(widest, _columns(part.spans(i0, min(i0 + MOST_ROWS, N), 0, M, GRAIN)))
        if widest == M:
            break
    return widest


def _columns(spans: Sequence[Span]) -> int:
    return sum(span.j1 - span.j0 for span in spans)


def _cut(scores: Logits, entries: int, widest: int) -> Plan:
    """For rows that see `widest` columns; rows that see more than fit a call of that cut are cut by all of them."""
    whole = _cut_by(scores, entries, scores.M, scores.M)
    narrow = _cut_by(scores, entries, widest, max(widest, entries // MOST_ROWS))
    cut = whole if narrow.rows <= whole.rows else replace(narrow, wider=whole)
    needed = max(_bytes(scores, each) for each in (cut, whole))
    return replace(cut, worker_bytes=needed)


def _cut_by(scores: Logits, entries: int, usual: int, width: int) -> Plan:
    """For rows that see `usual` columns, and up to `width`."""
    (B, H, N, _), G, M = scores.q_BHND.shape, max(scores.k_BGMD.shape[1], 1), max(scores.M, 1)
    usual, width = max(usual, 1), max(width, 1)
    fewest = FEWEST_ROWS * entries // CALL_ENTRIES
    held = _whole(max(1, min(ROOM_ROWS, max(fewest, min(ROOM_ENTRIES, entries) // usual))), TALL)
    rows = _whole(_whole(max(held, min(MOST_ROWS, entries // width)), ROOM_ROWS), held)
    rows, held = max(1, min(rows, N)), max(1, min(held, N))
    heads = max(1, min(entries // (rows * M), B * H))
    group = max(H // G, 1)
    batches = max(1, heads // max(H, 1))
    if heads >= H:
        heads = max(H, 1)
    elif heads >= group:
        heads = heads // group * group
    else:
        heads = 1
    return Plan(rows, None, batches, heads, held=held, width=width if width < M else None)


def _bytes(scores: Logits, cut: Plan) -> int:
    """What a worker holds: its room, the keys as they come and are multiplied, queries, sums a column, and masks."""
    (_, H, _, D), G, M = scores.q_BHND.shape, max(scores.k_BGMD.shape[1], 1), max(scores.M, 1)
    batches, heads, rows = cut.panel_batches, cut.panel_heads, cut.rows
    copies = multiplies(scores) + (scores.k_BGMD.dtype != scores.dtype or not scores.k_BGMD.is_contiguous())
    numbers = copies * batches * -(-heads // max(H // G, 1)) * (M + PANEL) * D
    numbers += batches * heads * (rows * (D + 4) + 2 * M) + rows * (cut.width or M) // 4
    return 4 * (numbers + _room(scores, cut))


def _whole(count: int, of: int) -> int:
    """Rounded down to a multiple, if there is one."""
    return count // of * of or count


def _room(scores: Logits, cut: Plan) -> int:
    """How many numbers a worker's arena holds: the rows between their sweeps, and scores if PyTorch has them."""
    cuts = (cut, cut.wider or cut)
    computed = 0 if multiplies(scores) else max(each.entries(scores.N, scores.M) for each in cuts)
    return held_numbers(scores.M, cut) + computed


def multiplies(scores: Logits) -> bool:
    """Whether the C++ part multiplies Q and K. PyTorch does where more is done to the scores than masking."""
    return scores.bias is None and scores.softcap is None


def read(
    scores: Logits,
    frame: MatrixSpec,
    reductions: Sequence[Reduction[Any]],
    known: SoftmaxStats | None,
    cut: Plan,
) -> tuple[list[Any], SoftmaxStats]:
    """Every reduction's state, and the row stats, as `tiled.read_tiles` gives them.

    Reductions that this loop does not know are read by the plain one afterwards, which is given the row stats.
    """
    assert cut.grain % PANEL == 0, "spans begin where the C++ side's panels of keys do"
    states = [reduction.init(frame) for reduction in reductions]
    stats = RowStats().finish(RowStats().init(frame))
    mine = those_taken(reductions)
    if 0 in scores.q_BHND.shape[:3]:
        return states, known or stats
    taken = [(reductions[place], states[place]) for place in mine]
    wanted = wanted_of(taken)
    read_all(
        panels=list(panels_of(scores, cut)),
        blocks=list(row_blocks(scores.N, cut)),
        open_panel=lambda panel: _Reader.of(scores.panel(*panel), cut, wanted, taken, stats),
        make_room=lambda: Arena(_room(scores, cut), torch.float32, scores.device),
        workers=cut.workers(scores),
        device=scores.device,
    )
    stats = known or stats
    if rest := left_to_plain(reductions):
        plain, _ = read_tiles(
            scores, frame, [reductions[place] for place in rest], stats, plan_for(scores, cut.limit)
        )
        for place, state in zip(rest, plain, strict=True):
            states[place] = state
    return states, stats


@dataclass(frozen=True)
class _Reader:
    """Reads one panel: a row block at a time beside other workers, its answers taken in turn."""

    panel: Logits
    cut: Plan
    wanted: Wanted
    taken: Sequence[Taken]
    stats: SoftmaxStats
    keys: Keys

    @staticmethod
    def of(panel: Logits, cut: Plan, wanted: Wanted, taken: Sequence[Taken], stats: SoftmaxStats) -> _Reader:
        keys = Keys.of(panel, wanted.pool, packed=multiplies(panel))
        return _Reader(panel, cut, wanted, taken, stats, keys)

    def read(self, i0: int, i1: int, room: Arena) -> Iterable[Found]:
        spans = self._spans(i0, i1)
        if self.cut.wider is not None and _columns(spans) > (self.cut.width or self.panel.M):
            return self._in_parts(i0, i1, self.cut.wider, room)
        return [self._strip(i0, i1, spans, self.cut, room)] if spans else []

    def take(self, parts: Iterable[Found]) -> None:
        for found in parts:  # none of rows that see nothing; the states begin so
            self.stats.maximum[found.rows], self.stats.log_sum[found.rows] = found.maximum, found.log_sum
            for reduction, state in self.taken:
                TAKES[type(reduction)](reduction, state, found)

    def _in_parts(self, i0: int, i1: int, wider: Plan, room: Arena) -> Iterator[Found]:
        """Fewer rows at a time, each read when the one before is taken, so that no more is held than was said."""
        for start, stop in row_blocks(i1 - i0, wider):
            if spans := self._spans(i0 + start, i0 + stop):
                yield self._strip(i0 + start, i0 + stop, spans, wider, room)

    def _spans(self, i0: int, i1: int) -> list[Span]:
        return self.panel.spans(i0, i1, 0, self.panel.M, self.cut.grain)

    def _strip(self, i0: int, i1: int, spans: list[Span], cut: Plan, room: Arena) -> Found:
        return read_strip(self.panel, self.keys, self.wanted, cut, spans, i0, i1, room)
