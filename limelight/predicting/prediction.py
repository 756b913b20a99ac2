"""Prediction and Trace: an answer with its scores, and the attention behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from limelight.matrix import AttentionMatrix
from limelight.text.decoding import trimmed
from limelight.text.segments import Segments
from limelight.text.tokenizers import UNKNOWN, Encoded, Tokenizer


@dataclass(frozen=True)
class Prediction:
    """An answer to a text. `log_probability` is that of the whole answer, in nats.

    text            as the model wrote it: a language model's continuation keeps the space that it begins with, so
                    that `source + text` is the whole
    source_ids      what the model was given, and
    target_ids      what it has written, both without START and END
    complete        it ended by itself; False where it was cut at the longest length allowed
    others          further answers (or classes) with their log-probabilities, best first by the search's score: that
                    is adjusted by length, so a later one may have the higher log-probability. Those that were cut
                    come last
    score           the log-probability adjusted by length; NaN where nothing was searched for
    unknown         the characters or words of the source that the model does not know, in their order
    beyond_window   source and answer together are longer than what a language model was trained to read at once: it
                    attends to the latest tokens only
    """

    source: str
    text: str
    log_probability: float
    source_ids: list[int]
    target_ids: list[int]
    complete: bool = True
    others: list[tuple[str, float]] = field(default_factory=list)
    score: float = math.nan
    unknown: list[str] = field(default_factory=list)
    beyond_window: bool = False

    @property
    def cut(self) -> bool:
        """Whether the answer ends only because the longest length was reached."""
        return not self.complete

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`; the numbers of a drawn answer, which are NaN, become null."""
        numbers = {
            name: value if math.isfinite(value) else None
            for name, value in (("log_probability", self.log_probability), ("score", self.score))
        }
        others = [[text, value if math.isfinite(value) else None] for text, value in self.others]
        return vars(self) | numbers | {"cut": self.cut, "others": others}


@dataclass(frozen=True)
class Trace:
    """What the model attends to while it gives an answer.

    matrices  module name → AttentionMatrix, one batch, in the order of execution
    source    the tokens and words of the source text
    target    the tokens and words of the answer; a classifier writes none

    Where the tokens stand in the matrices:

    encoder            [source …, END]
    decoder, rows      [START, target …]: row i predicts target i, the last row END
    language model     [START, source …, target …]: row i predicts the next token; `source` holds both texts,
                       and `target` begins at `answer_start`
    """

    prediction: Prediction
    matrices: dict[str, AttentionMatrix]
    source: Segments
    target: Segments | None
    answer_start: int = 0

    def __repr__(self) -> str:
        answer = self.prediction
        return f"Trace({answer.source!r} → {answer.text!r}, {len(self.matrices)} matrices)"

    def layers(self, kind: str) -> list[AttentionMatrix]:
        """The matrices of `encoder`, `decoder` (self-attention) or `cross`, first layer first."""
        ending = {"encoder": ("encoder.", "self_attention"), "decoder": ("decoder.", "self_attention")}
        start, end = ending.get(kind, ("", "cross_attention"))
        return [
            matrix for name, matrix in self.matrices.items() if name.startswith(start) and name.endswith(end)
        ]


def unknown_of(text: str, encoded: Encoded) -> list[str]:
    """The characters or words of a text that its tokenizer does not know, in their order."""
    return [
        text[start:end] for (start, end), id in zip(encoded.spans, encoded.ids, strict=True) if id == UNKNOWN
    ]


def as_written(tokenizer: Tokenizer, text: str, ids: list[int]) -> Segments:
    """The tokens of a text as it was written: a letter that the model does not know is still that letter here."""
    for read in (text, trimmed(text)):
        encoded, before = tokenizer.encode(read), text.index(read)
        if encoded.ids == ids:
            return Segments.from_spans(text, [(before + start, before + end) for start, end in encoded.spans])
    return Segments.from_spans(*tokenizer.decode_spans(ids))
