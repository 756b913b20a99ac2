"""One call of the C++ part: a strip of rows of one panel, all their keys, described and read."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from limelight.matrix.engine.native.library import (
    PANEL,
    ROOM_ROWS,
    JobStruct,
    PartialStruct,
    SpanStruct,
    loaded,
)
from limelight.matrix.engine.native.reduction_adapters import Found, Wanted, new, room_for
from limelight.matrix.engine.plan import Plan, as_slice
from limelight.matrix.logits import Logits, Span
from limelight.matrix.reductions.pooling import Pooled
from limelight.matrix.tile import Arena


@dataclass(frozen=True)
class Keys:
    """What all row blocks of a panel share."""

    packed: Tensor | None
    """The keys as they are multiplied, (B·G, panels·PANEL·D); None where PyTorch multiplies."""
    segment_stop: Tensor | None
    """Where neighbouring keys of one group end, (B, segments); None without a pool."""
    segment_group: Tensor | None
    """Which group that is."""

    @staticmethod
    def of(panel: Logits, pool: Pooled | None, packed: bool) -> Keys:
        stops = groups = None
        if pool is not None:
            cols_BM = pool.cols_BM[panel.batches.start : panel.batches.stop]
            runs = [torch.unique_consecutive(cols_M, return_counts=True) for cols_M in cols_BM]
            pad = torch.nn.utils.rnn.pad_sequence
            stops = pad([count.cumsum(0) for _, count in runs], batch_first=True, padding_value=panel.M)
            groups = pad([group for group, _ in runs], batch_first=True)
        return Keys(pack(panel.k_BGMD) if packed else None, stops, groups)


def pack(k_BGMD: Tensor) -> Tensor:
    """The keys as the C++ part multiplies them: PANEL of them side by side, number by number."""
    B, G, M, D = k_BGMD.shape
    packed = new(B * G, -(-M // PANEL) * PANEL * D)
    sizes = ctypes.c_int64(M), ctypes.c_int64(D)
    for k_MD, out in zip(k_BGMD.flatten(0, 1), packed, strict=True):
        loaded().limelight_pack(ctypes.c_void_p(k_MD.data_ptr()), *sizes, ctypes.c_void_p(out.data_ptr()))
    return packed


def held_numbers(M: int, cut: Plan) -> int:
    """How many numbers the rows that are held at a time take, if they see all keys."""
    rows = cut.wider or cut
    return ((rows.held or rows.rows) + 2) * (M + (M // cut.grain + 2) * PANEL)


def read_strip(
    panel: Logits, keys: Keys, wanted: Wanted, cut: Plan, spans: list[Span], i0: int, i1: int, room: Arena
) -> Found:
    """What the rows i0:i1 hold; `spans` are the keys that they may see."""
    H, R = len(panel.heads), i1 - i0
    starts, L = [], 0
    for span in spans:
        starts.append(L)
        L += -(-(span.j1 - span.j0) // PANEL) * PANEL
    place = as_slice(panel.batches), as_slice(panel.heads), slice(i0, i1)
    found = room_for(wanted, place, list(zip(starts, spans, strict=True)), L)
    job = JobStruct(B=len(panel.batches), H=H, R=R, heads_a_key_head=H // panel.k_BGMD.shape[1], k=wanted.k)
    alive: list[Tensor] = []  # what the job points to must live as long as the call

    def point(name: str, tensor: Tensor | None) -> None:
        if tensor is not None:
            alive.append(tensor)
            setattr(job, name, tensor.data_ptr())

    for holder in (found, keys):
        for field in fields(holder):
            if field.name in POINTERS:
                point(field.name, getattr(holder, field.name))
    if panel.sink_H is not None:
        point("sink", panel.sink_H.float().contiguous())
    job.place = i0 + (wanted.offset or 0)
    if found.pooled is not None and keys.segment_stop is not None:
        job.runs, job.groups = found.pooled.shape[2:]
        job.segments = keys.segment_stop.shape[1]
    room.clear()
    job.room_rows = min(R, ROOM_ROWS, cut.held or R)
    while cut.wider and _room_for(job.room_rows, L, spans) > held_numbers(panel.M, cut) and job.room_rows > 1:
        job.room_rows -= 1
    point("room", room.take(_room_for(job.room_rows, L, spans)))
    if keys.packed is not None:
        q_BHRD = (panel.q_BHND[:, :, i0:i1].float() * panel.scale).contiguous()
        point("q", q_BHRD)
        job.D, job.panels = q_BHRD.shape[-1], -(-panel.M // PANEL)
        structs = [_masked(panel, i0, i1, span, alive) for span in spans]
    else:
        structs = [_computed(panel, i0, i1, span, room, alive) for span in spans]
    job.spans = len(spans)
    job.span = (SpanStruct * len(spans))(*structs)
    loaded().limelight_read(ctypes.byref(job))
    return found


def _room_for(rows: int, L: int, spans: list[Span]) -> int:
    numbers: int = loaded().limelight_room(rows, L, len(spans))
    return numbers


POINTERS = {name for name, kind, *_ in JobStruct._fields_ if kind is ctypes.c_void_p}


def _masked(panel: Logits, i0: int, i1: int, span: Span, alive: list[Tensor]) -> SpanStruct:
    """A span that is still to be multiplied, and the mask where it hides something."""
    partials = []
    for start, stop in span.partial:
        seen = panel.mask.block(i0, i1, start, stop, panel.N, panel.M, panel.device).contiguous()
        alive.append(seen)
        partials.append(
            PartialStruct(
                start=start - span.j0,
                stop=stop - span.j0,
                seen=seen.data_ptr(),
                batch_stride=seen[0].numel() if seen.shape[0] > 1 else 0,
                head_stride=seen[0, 0].numel() if seen.shape[1] > 1 else 0,
            )
        )
    return _struct(span, partials)


def _computed(panel: Logits, i0: int, i1: int, span: Span, room: Arena, alive: list[Tensor]) -> SpanStruct:
    """A span whose scores PyTorch computes, masked; a bias may have hidden keys of its own."""
    scores = panel.block(i0, i1, span, room)
    alive.append(scores)
    hidden = span.partial if panel.bias is None else ((span.j0, span.j1),)
    struct = _struct(span, [PartialStruct(start=a - span.j0, stop=z - span.j0) for a, z in hidden])
    struct.scores = scores.data_ptr()
    return struct


def _struct(span: Span, partials: list[PartialStruct]) -> SpanStruct:
    array = (PartialStruct * len(partials))(*partials)
    return SpanStruct(first=span.j0, count=span.j1 - span.j0, partials=len(partials), partial=array)
