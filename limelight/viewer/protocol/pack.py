"""Pack: compressed answers keyed by question, within a byte budget, as an offline page holds them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

from limelight.viewer.protocol.requests import Question
from limelight.viewer.protocol.responses import Answer

ENTRY = 130
"""Bytes that the head of a pack takes for an entry, beside its key."""
LEVEL = 7
"""Of the compression."""


@dataclass(eq=False)
class Pack:
    """Answers by key, compressed, within a budget."""

    room: int
    entries: dict[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """With what the pack's own head says of each entry."""
        return sum(len(key) + ENTRY + len(data) for key, data in self.entries.items())

    def put(self, question: Question, answer: Answer, must: bool = False) -> bool:
        """Whether it had room; in the place of an earlier answer to the same question."""
        packed = _deflated(answer.to_bytes(question.params))
        taken = len(self.entries.get(question.key, b"")) or -(len(question.key) + ENTRY)
        if self.size - taken + len(packed) > self.room and not must:
            return False
        self.entries[question.key] = packed
        return True

    def to_bytes(self) -> bytes:
        """The envelope of the kind "pack"."""
        arrays = {
            str(number): np.frombuffer(data, np.uint8) for number, data in enumerate(self.entries.values())
        }
        entries = [{"key": key, "array": str(number)} for number, key in enumerate(self.entries)]
        return Answer("pack", {"entries": entries}, arrays).to_bytes()


def _deflated(data: bytes) -> bytes:
    """Raw deflate, which browsers undo by themselves."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()
