"""The compiled part, loaded with ctypes, which lets other threads run meanwhile; the other side of its structs."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from limelight.matrix.engine.native.build import LIBRARY, source

PANEL = 32  # columns that are multiplied together; those of the C++ side
ROOM_ROWS = 48  # rows that are held at a time, at most; those of the C++ side

_pointer, _number = ctypes.c_void_p, ctypes.c_int64


class PartialStruct(ctypes.Structure):
    _fields_ = [
        ("start", _number),
        ("stop", _number),
        ("seen", _pointer),
        ("batch_stride", _number),
        ("head_stride", _number),
    ]


class SpanStruct(ctypes.Structure):
    _fields_ = [
        ("first", _number),
        ("count", _number),
        ("scores", _pointer),
        ("partials", _number),
        ("partial", ctypes.POINTER(PartialStruct)),
    ]


class JobStruct(ctypes.Structure):
    _fields_ = [
        *((name, _number) for name in ("B", "H", "R", "D", "heads_a_key_head")),
        ("q", _pointer),
        ("packed", _pointer),
        ("panels", _number),
        ("spans", _number),
        ("span", ctypes.POINTER(SpanStruct)),
        ("sink", _pointer),
        ("place", _number),
        *((name, _pointer) for name in ("maximum", "log_sum", "entropy", "behind", "ahead", "peak")),
        ("k", _number),
        *((name, _pointer) for name in ("top_scores", "top_keys", "columns", "hidden", "run")),
        *((name, _number) for name in ("runs", "segments", "groups")),
        *((name, _pointer) for name in ("segment_stop", "segment_group", "pooled", "room")),
        ("room_rows", _number),
    ]


@cache
def library(path: Path = LIBRARY) -> ctypes.CDLL | str:
    """The compiled part, or why there is none."""
    if not path.exists():
        return "its C++ part is not built (python -m limelight.matrix.engine.native builds it)"
    try:
        found = ctypes.CDLL(str(path))
        found.limelight_variant.restype = found.limelight_source.restype = ctypes.c_char_p
        found.limelight_room.restype = found.limelight_size_of_job.restype = _number
        found.limelight_room.argtypes = [_number] * 3
        same = found.limelight_source().decode() == source()
        same &= found.limelight_size_of_job() == ctypes.sizeof(JobStruct)
    except (OSError, AttributeError) as error:
        return f"its C++ part cannot be loaded ({error})"
    return found if same else "its C++ part was built from other sources; build it again"


def loaded() -> ctypes.CDLL:
    """The compiled part, where this loop has not refused."""
    found = library()
    assert not isinstance(found, str), found
    return found
