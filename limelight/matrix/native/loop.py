"""The walk of the native loop over panels and row blocks."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limelight.matrix.distances import Distance
from limelight.matrix.folds import Fold, RowStats
from limelight.matrix.native.library import PANEL, ROOM_ROWS, Job, PartialStruct, SpanStruct, library
from limelight.matrix.native.takes import TAKES, Found, Wanted, wanted_of
from limelight.matrix.pools import Pool, Pooled
from limelight.matrix.ranks import Top
from limelight.matrix.scores import Scores, Span
from limelight.matrix.tile import Arena, Frame, Stats
from limelight.matrix.tiles import Plan, as_slice, panels, row_blocks

LARGEST_K = 64
CALL_ENTRIES = 2**22  # of one call: enough that calling costs nothing beside it
ROOM_ENTRIES = 2**20  # held at a time, so that a row stays in the cache between its sweeps


def refuses(scores: Scores, folds: Sequence[Fold[Any]]) -> str | None:
    """Why this loop cannot read these folds; None where it can."""
    if scores.device.type != "cpu":
        return f"it runs on the CPU, and the matrix is on {scores.device}"
    if scores.dtype != torch.float32:
        return f"it counts in float32, and the matrix is {scores.dtype}"
    for fold in folds:
        if type(fold) not in TAKES:
            return f"it does not know the fold {type(fold).__name__}"
        if isinstance(fold, Top) and fold.k > LARGEST_K:
            return f"it keeps at most {LARGEST_K} entries a query, and Top({fold.k}) asks for more"
    for kind in (Pool, Distance):
        if sum(isinstance(fold, kind) for fold in folds) > 1:
            return f"it takes one {kind.__name__} at a time"
    found = library()
    return found if isinstance(found, str) else None


def plan(scores: Scores) -> Plan:
    """Some hundred rows a call, and as many heads as make the call worth its while."""
    B, H, M = len(scores.batches), len(scores.heads), scores.M
    rows = min(240, CALL_ENTRIES // max(M, 1) // ROOM_ROWS * ROOM_ROWS)
    rows = max(1, min(scores.N, max(rows, ROOM_ROWS)))
    held = min(rows, ROOM_ROWS, max(12, ROOM_ENTRIES // max(M, 1) // 12 * 12))
    heads = max(1, CALL_ENTRIES // (rows * max(M, 1)))
    if heads >= H:
        return Plan(rows, None, max(1, min(B, heads // max(1, H))), max(1, H), held=held)
    group = H // scores.k_BGMD.shape[1]
    return Plan(rows, None, 1, heads // group * group if heads >= group else 1, held=held)


def read(
    scores: Scores, frame: Frame, folds: Sequence[Fold[Any]], known: Stats | None, cut: Plan
) -> tuple[list[Any], Stats]:
    """Every fold's state, and the row stats, as `tiles.read_tiles` gives them."""
    states = [fold.start(frame) for fold in folds]
    stats = RowStats().finish(RowStats().start(frame))
    wanted = wanted_of(folds, states)
    for panel in panels(scores, cut):
        reader = Reader.of(panel, wanted, cut)
        for i0, i1 in row_blocks(scores.N, cut):
            found = reader.read(i0, i1)
            if found is None:
                continue
            stats.maximum[found.rows], stats.log_sum[found.rows] = found.maximum, found.log_sum
            for fold, state in zip(folds, states, strict=True):
                TAKES[type(fold)](fold, state, found)
    return states, stats if known is None else known


@dataclass(frozen=True)
class Reader:
    """Reads row blocks of one panel."""

    panel: Scores
    wanted: Wanted
    cut: Plan
    packed: Tensor | None
    """The keys as they are multiplied, (B·G, panels·D·PANEL); None where PyTorch multiplies."""
    segments: tuple[Tensor, Tensor] | None

    @staticmethod
    def of(panel: Scores, wanted: Wanted, cut: Plan) -> Reader:
        packed = None
        if panel.bias is None and panel.softcap is None:
            packed = pack(panel.k_BGMD)
        return Reader(panel, wanted, cut, packed, _segments(panel, wanted.pool))

    def read(self, i0: int, i1: int) -> Found | None:
        """What the rows i0:i1 hold; None where they see nothing."""
        panel, wanted = self.panel, self.wanted
        spans = panel.spans(i0, i1, 0, panel.M, self.cut.grain)
        B, H, R = len(panel.batches), len(panel.heads), i1 - i0
        if not spans or 0 in (B, H, R):
            return None
        starts, L = [], 0
        for span in spans:
            starts.append(L)
            L += -(-(span.j1 - span.j0) // PANEL) * PANEL
        found = Found(
            rows=(as_slice(panel.batches), as_slice(panel.heads), slice(i0, i1)),
            spans=list(zip(starts, spans, strict=True)),
            count=R,
            maximum=_new(B, H, R),
            log_sum=_new(B, H, R, dtype=torch.float64),
            hidden=_new(B, H, L, dtype=torch.int32),
        )
        job = Job(B=B, H=H, R=R, heads_a_key_head=H // panel.k_BGMD.shape[1])
        keep: list[Any] = []  # what the job points to must live as long as the call
        if wanted.columns:
            found.columns = _new(B, H, L)
        if wanted.entropy:
            found.entropy = _new(B, H, R, dtype=torch.float64)
        if wanted.offset is not None:
            job.place = i0 + wanted.offset
            found.behind, found.ahead = _new(2, B, H, R, dtype=torch.float64)
        if wanted.peak:
            found.peak = _new(B, H, R, dtype=torch.int64)
        if wanted.k:
            job.k = wanted.k
            found.top_scores = _new(B, H, R, wanted.k)
            found.top_keys = _new(B, H, R, wanted.k, dtype=torch.int64)
        if wanted.pool is not None:
            assert self.segments is not None
            self._pool(job, found, wanted.pool, keep)
        for name, *_ in Job._fields_:
            tensor = getattr(found, name, None)
            if isinstance(tensor, Tensor):
                setattr(job, name, tensor.data_ptr())
        rows = min(R, self.cut.held or ROOM_ROWS)
        C = library()
        assert not isinstance(C, str)
        room = _new(C.limelight_room(rows, L, len(spans)))
        job.room, job.room_rows = room.data_ptr(), rows
        if panel.sink_H is not None:
            sink = panel.sink_H.float().contiguous()
            job.sink = sink.data_ptr()
            keep.append(sink)
        if self.packed is not None:
            q = (panel.q_BHND[:, :, i0:i1].float() * panel.scale).contiguous()
            job.q, job.packed, job.D = q.data_ptr(), self.packed.data_ptr(), q.shape[-1]
            job.panels = -(-panel.M // PANEL)
            keep.append(q)
        job.spans = len(spans)
        job.span = (SpanStruct * len(spans))(*(self._span(i0, i1, span, keep) for span in spans))
        getattr(C, f"limelight_read_{C.limelight_variant().decode()}")(ctypes.byref(job))
        return found

    def _span(self, i0: int, i1: int, span: Span, keep: list[Any]) -> SpanStruct:
        panel = self.panel
        partial = span.partial
        if panel.bias is not None:
            partial = ((span.j0, span.j1),)  # a bias may hide keys of its own
        struct = SpanStruct(first=span.j0, count=span.j1 - span.j0, partials=len(partial))
        if self.packed is None:
            scores = panel.block(i0, i1, span, Arena(0, panel.dtype, panel.device))
            struct.scores = scores.data_ptr()
            keep.append(scores)
        parts = []
        for start, stop in partial:
            part = PartialStruct(start=start - span.j0, stop=stop - span.j0)
            if self.packed is not None:
                seen = panel.mask.block(i0, i1, start, stop, panel.N, panel.M, panel.device).contiguous()
                part.seen = seen.data_ptr()
                part.batch_stride = seen[0].numel() if seen.shape[0] > 1 else 0
                part.head_stride = seen[0, 0].numel() if seen.shape[1] > 1 else 0
                keep.append(seen)
            parts.append(part)
        struct.partial = (PartialStruct * len(parts))(*parts)
        return struct

    def _pool(self, job: Job, found: Found, pool: Pooled, keep: list[Any]) -> None:
        assert self.segments is not None
        stop_BS, group_BS = self.segments
        batches = self.panel.batches
        rows_BR = pool.rows_BN[batches.start : batches.stop, found.rows[2]]
        changes = torch.zeros_like(rows_BR)
        changes[:, 1:] = (rows_BR[:, 1:] != rows_BR[:, :-1]).cumsum(1)
        runs = int(changes.max()) + 1
        for each_R, changes_R in zip(rows_BR, changes, strict=True):
            groups = each_R.new_zeros(int(changes_R[-1]) + 1)
            groups[changes_R] = each_R
            found.runs_B.append(groups)
        job.runs, job.segments, job.groups = runs, stop_BS.shape[1], pool.sums.shape[-1]
        job.run, job.segment_stop, job.segment_group = (
            changes.data_ptr(),
            stop_BS.data_ptr(),
            group_BS.data_ptr(),
        )
        found.pooled = _new(*found.maximum.shape[:2], runs, job.groups, dtype=torch.float64)
        keep.append(changes)


def pack(k_BGMD: Tensor) -> Tensor:
    """The keys as the C++ part multiplies them."""
    B, G, M, D = k_BGMD.shape
    packed = _new(B * G, -(-M // PANEL) * PANEL * D)
    C = library()
    assert not isinstance(C, str)
    for out, k_MD in zip(packed, k_BGMD.flatten(0, 1), strict=True):
        C.limelight_pack(
            ctypes.c_void_p(k_MD.data_ptr()),
            ctypes.c_int64(M),
            ctypes.c_int64(D),
            ctypes.c_void_p(out.data_ptr()),
        )
    return packed


def _segments(panel: Scores, pool: Pooled | None) -> tuple[Tensor, Tensor] | None:
    """Where neighbouring keys of one group end, and their group, (B, segments) each."""
    if pool is None:
        return None
    stops, groups = [], []
    for cols_M in pool.cols_BM[panel.batches.start : panel.batches.stop]:
        group, count = torch.unique_consecutive(cols_M, return_counts=True)
        stops.append(count.cumsum(0))
        groups.append(group)
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(stops, batch_first=True, padding_value=panel.M), pad(groups, batch_first=True)


def _new(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Memory for the C++ part, on the CPU whatever the caller's default device."""
    return torch.empty(*shape, dtype=dtype, device="cpu")
