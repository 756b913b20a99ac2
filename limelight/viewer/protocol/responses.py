"""An answer as it travels: a small head in JSON and named arrays, in one run of bytes (see PROTOCOL.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limelight.errors import InputError

Array = NDArray[Any]
DTYPES = ("float32", "int32", "uint32", "uint16", "uint8")
ALIGNED = 4
CODES = 255
FAINTEST = 1e-6
"""Of the highest: what is smaller is drawn as small as this."""


@dataclass(frozen=True)
class Scale:
    """Numbers as bytes for colour: 0 is 0, code c ≥ 1 is low·(high/low)^((c − 1)/254).

    >>> scale = Scale.of(np.float32([0, 0.5, 1]))
    >>> scale.decode(scale.encode(np.float32([0, 1]))).tolist()
    [0.0, 1.0]
    """

    low: float
    high: float

    @classmethod
    def of(cls, values: Array) -> Scale:
        """From the smallest number above 0 (or one that is faint enough) to the highest."""
        there = values[np.isfinite(values) & (values > 0)]
        high = float(there.max()) if there.size else 1.0
        low = max(float(there.min()) if there.size else high, high * FAINTEST)
        return cls(low if low < high else high / 10, high)

    def encode(self, values: Array) -> Array:
        """uint8; what is below `low` and not 0 is code 1."""
        known = np.nan_to_num(values.astype(np.float64), nan=0.0)
        steps = np.log(np.maximum(known, self.low) / self.low) / math.log(self.high / self.low)
        codes = 1 + np.rint(steps * (CODES - 1))
        return np.where(known > 0, np.clip(codes, 1, CODES), 0).astype(np.uint8)

    def decode(self, codes: Array) -> Array:
        """The numbers that the codes stand for, float64."""
        steps = (codes.astype(np.float64) - 1) / (CODES - 1)
        return np.where(codes > 0, self.low * (self.high / self.low) ** steps, 0.0)

    def told(self) -> dict[str, Any]:
        return {"kind": "log8", "low": self.low, "high": self.high}


@dataclass(frozen=True, eq=False)
class Answer:
    """What is said (JSON values under names), and arrays beside it.

    scales  of the arrays that are bytes for colour
    planes  names of the arrays whose bytes are sorted into planes
    """

    kind: str
    head: Mapping[str, Any]
    arrays: Mapping[str, Array] = field(default_factory=dict)
    scales: Mapping[str, Scale] = field(default_factory=dict)
    planes: frozenset[str] = frozenset()

    def to_bytes(self, params: Mapping[str, str] | None = None) -> bytes:
        """The envelope; `params` are told in its head."""
        parts: list[bytes] = []
        told: list[dict[str, Any]] = []
        offset = 0
        for name, array in self.arrays.items():
            if array.dtype.name not in DTYPES:
                raise InputError(
                    f"An array of an answer is one of {', '.join(DTYPES)}; {name} is {array.dtype}."
                )
            small = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
            entry = {
                "name": name,
                "dtype": array.dtype.name,
                "shape": list(array.shape),
                "offset": offset,
            }
            if name in self.scales:
                entry["scale"] = self.scales[name].told()
            if name in self.planes:
                entry["planes"] = True
                small = _planes(small)
            data = small.tobytes()
            data += b"\0" * (-len(data) % ALIGNED)
            told.append(entry)
            parts.append(data)
            offset += len(data)
        head = {"kind": self.kind, "params": dict(params or {}), **self.head, "arrays": told}
        text = _json(head).encode("ascii")
        text += b" " * (-len(text) % ALIGNED)
        return b"".join((len(text).to_bytes(4, "little"), text, *parts))


def from_bytes(data: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """The head and the arrays of an envelope; bytes for colour stay bytes."""
    size = int.from_bytes(data[:4], "little")
    head = json.loads(data[4 : 4 + size])
    arrays = {}
    for entry in head["arrays"]:
        dtype = np.dtype(entry["dtype"]).newbyteorder("<")
        count = math.prod(entry["shape"])
        start = 4 + size + entry["offset"]
        found = np.frombuffer(data, np.uint8, count * dtype.itemsize, start)
        if entry.get("planes"):
            found = np.ascontiguousarray(found.reshape(dtype.itemsize, count).T)
        arrays[entry["name"]] = found.reshape(-1).view(dtype).reshape(entry["shape"])
    return head, arrays


def _json(head: dict[str, Any]) -> str:
    """As JSON; what JSON has no number for is null."""
    try:
        return json.dumps(head, allow_nan=False, separators=(",", ":"))
    except ValueError:  # seldom: only then is all of it walked through
        return json.dumps(finite(head), allow_nan=False, separators=(",", ":"))


def finite(value: Any) -> Any:
    """The same tree with None in the place of what JSON has no number for."""
    if isinstance(value, Mapping):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _planes(array: Array) -> Array:
    """First the lowest byte of all entries, then the next: like bytes stand side by side."""
    as_bytes = array.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize)
    return np.ascontiguousarray(as_bytes.T)
