"""One side of an attention: a text, its tokens, and the words, sentences and documents that they make up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, cast

import numpy as np

from limelight.readings.token_groups import Groups
from limelight.text.segmentation import Span
from limelight.text.segments import NO_UNIT, Level, Segments
from limelight.viewer.protocol.requests import LEVELS
from limelight.viewer.protocol.responses import Array

UNITS: tuple[Level, ...] = ("word", "sentence", "document")


@dataclass(frozen=True, eq=False)
class TokenAxis:
    """The queries or the keys of an attention, as text.

    name      what people call it: "text", "answer"
    segments  one span for every row (or column) of the matrices; empty for special tokens
    labels    what special tokens are called, by their place
    """

    name: str
    segments: Segments
    labels: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of_labels(cls, name: str, labels: Sequence[str]) -> TokenAxis:
        """Each label a token and a word of its own, in one document."""
        spans: list[Span] = []
        at = 0
        for label in labels:
            spans.append((at, at + len(label)))
            at += len(label) + 1
        return cls(name, Segments.from_spans(" ".join(labels), spans))

    @classmethod
    def numbered(cls, name: str, tokens: int) -> TokenAxis:
        """Tokens of which nothing is known but their number, from 0."""
        return cls.of_labels(name, [str(number) for number in range(tokens)])

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.segments)

    def groups(self, level: str) -> Groups:
        """The units of a level and the unit of each token."""
        return self._groups[level]

    def index(self, level: str) -> Array:
        """(tokens,) int64: the unit of each token, −1 for none."""
        return self._index[level]

    def tokens_of(self, level: str, place: int) -> Array:
        """The places of a unit's tokens, from low to high."""
        if level == "token":
            return np.array([place])
        order, starts = self._members[level]
        return order[starts[place] : starts[place + 1]]

    def count(self, level: str) -> int:
        """How many units there are."""
        return len(self) if level == "token" else len(self.groups(level))

    def about(self) -> dict[str, Any]:
        """What the page is told of it, beside the arrays."""
        specials = [
            [token, self.labels.get(token, "·")]
            for token, (start, end) in enumerate(self.segments.spans)
            if start == end
        ]
        return {
            "name": self.name,
            "text": self.segments.text,
            "documents": list(self.groups("document").names),
            "tokens": len(self),
            "specials": specials,
        }

    def arrays(self, prefix: str) -> dict[str, Array]:
        """Spans in UTF-16 code units, as the page's strings count, and which unit each token is in."""
        found: dict[str, Array] = {f"{prefix}.token": self._utf16(self.segments.spans)}
        for level in UNITS:
            found[f"{prefix}.{level}"] = self._utf16(self._spans(level))
            found[f"{prefix}.{level}.of"] = self.index(level).astype(np.int32)
            if level != "document":
                found[f"{prefix}.{level}.in"] = np.array(self._homes(level), dtype=np.int32)
        return found

    # ---- inside -----------------------------------------------------------------------------------

    @cached_property
    def _once(self) -> _Once:
        return _Once(self.segments)

    @cached_property
    def _groups(self) -> dict[str, Groups]:
        names = [
            self.labels.get(token, "·") if start == end else self.segments.text[start:end]
            for token, (start, end) in enumerate(self.segments.spans)
        ]
        segments = cast(Segments, self._once)
        return {"token": Groups.tokens(names)} | {level: Groups.of(segments, level) for level in UNITS}

    @cached_property
    def _index(self) -> dict[str, Array]:
        return {level: np.array(self._groups[level].index, dtype=np.int64) for level in LEVELS}

    @cached_property
    def _members(self) -> dict[str, tuple[Array, Array]]:
        """All tokens sorted by their unit, and where each unit begins."""
        found = {}
        for level, index in self._index.items():
            order = np.argsort(index, kind="stable")
            found[level] = order, np.searchsorted(index[order], np.arange(self.count(level) + 1))
        return found

    def _held(self, level: Level) -> list[Any]:
        """The units that have tokens, as `Groups` keeps them."""
        return [unit for unit in self._once.units(level) if unit.first_token >= 0]

    def _spans(self, level: Level) -> list[Span]:
        held = self._held(level)
        if level == "document":
            return [(unit.start, unit.end) for unit in held]
        # A unit is shown with what only its tokens cover, which its name says.
        names = self.groups(level).names
        return [(unit.start, unit.start + len(name)) for unit, name in zip(held, names, strict=True)]

    def _homes(self, level: Level) -> list[int]:
        places = [number for number, unit in enumerate(self._once.units("document")) if unit.first_token >= 0]
        held = {number: place for place, number in enumerate(places)}
        return [held.get(unit.document, NO_UNIT) for unit in self._held(level)]

    def _utf16(self, spans: Sequence[Span]) -> Array:
        places = np.array(spans, dtype=np.int64).reshape(-1, 2)
        codes = np.frombuffer(self.segments.text.encode("utf-32-le", "surrogatepass"), np.uint32)
        pairs = np.concatenate([[0], np.cumsum(codes > 0xFFFF)])
        return (places + pairs[places]).astype(np.uint32)


class _Once:
    """Segments whose units are found once: of a hundred thousand tokens that takes a second a level."""

    def __init__(self, segments: Segments) -> None:
        self.text, self.spans, self.names = segments.text, segments.spans, segments.names
        self.units = cache(segments.units)
        self.index = cache(segments.index)
