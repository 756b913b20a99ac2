"""Every token knows its characters, word, sentence, paragraph and document.

Attention is between tokens; people ask about words, sentences and documents. `Segments` carries the one to
the other: `index("word")` gives each token the number of its word, which is what the reduction `Pool` sums by.

What a word, a sentence and a paragraph are stands in `segmentation.py`; a document is one of the given texts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch

from limelight.checked import checked
from limelight.errors import ArgumentTypeError, InputError, one_of
from limelight.text.segmentation import Span, paragraphs, sentences, words
from limelight.text.tokenizers import Encoded, Tokenizer

Level = Literal["word", "sentence", "paragraph", "document"]
Encode = Callable[[str], Encoded | Sequence[Span]]

NO_UNIT = -1
"""The unit number of a token that lies in no unit: white space, special tokens."""

BETWEEN_DOCUMENTS = "\n\n"
"""What `Segments.of` puts between two documents; it belongs to neither."""


@dataclass(frozen=True)
class Unit:
    """A word, sentence, paragraph or document: `segments.text[start:end] == text`.

    `first_token` and `last_token` are both inclusive; a unit that no token lies in has −1 for both.
    `document` is the number of its document, −1 for text that stands in none.
    """

    text: str
    start: int
    end: int
    document: int
    first_token: int
    last_token: int

    @property
    def tokens(self) -> range:
        """The numbers of the unit's tokens."""
        return range(self.first_token, self.last_token + 1) if self.first_token >= 0 else range(0)


@dataclass(frozen=True)
class Segments:
    """A text, the character span of every token in it, and the documents that it is made of.

    >>> spans = [(0, 4), (5, 7), (7, 8), (9, 13), (14, 16), (16, 17)]
    >>> segments = Segments.from_spans("Open it. Save it!", spans)
    >>> [unit.text for unit in segments.units("sentence")], segments.index("sentence").tolist()
    (['Open it.', 'Save it!'], [0, 0, 0, 1, 1, 1])
    """

    text: str
    spans: tuple[Span, ...]
    documents: tuple[Span, ...]
    names: tuple[str, ...]

    @classmethod
    @checked
    def of(
        cls,
        documents: Mapping[str, str] | Sequence[str] | str,
        tokenizer: Tokenizer | Encode,
        names: Sequence[str] | None = None,
    ) -> Segments:
        """Tokenize each document and put the tokens one after the other.

        tokenizer: a Tokenizer, or a function from one text to its `Encoded` or its list of character spans.
        documents: their texts, or name → text.
        names: one for each document; None takes the names that came with them, or numbers them.
        """
        if isinstance(documents, Mapping):
            names = list(documents) if names is None else names
            documents = list(documents.values())
        texts = [documents] if isinstance(documents, str) else list(documents)
        encode = tokenizer.encode if isinstance(tokenizer, Tokenizer) else tokenizer
        if not callable(encode):
            raise ArgumentTypeError(
                f"tokenizer must be a Tokenizer or a function; got {type(tokenizer).__name__}."
            )
        spans: list[Span] = []
        places: list[Span] = []
        at = 0
        for text in texts:
            encoded = encode(text)
            local = encoded.spans if isinstance(encoded, Encoded) else encoded
            spans += [(start + at, end + at) for start, end in local]
            places.append((at, at + len(text)))
            at += len(text) + len(BETWEEN_DOCUMENTS)
        return cls.from_spans(BETWEEN_DOCUMENTS.join(texts), spans, places, names)

    @classmethod
    @checked
    def from_spans(
        cls,
        text: str,
        spans: Sequence[Span],
        documents: Sequence[Span] | None = None,
        names: Sequence[str] | None = None,
    ) -> Segments:
        """Segments of a text that somebody else tokenized (`return_offsets_mapping=True` at Hugging Face).

        spans: for each token the characters [start, end) it covers; an empty span for a special token.
        documents: where in the text they lie, in order; text outside of them is still cut into words and
        sentences. None: the whole text is one document.
        """
        places = (
            [(0, len(text))] if documents is None else [(int(start), int(end)) for start, end in documents]
        )
        if names is None:
            names = [f"document {number}" for number in range(1, len(places) + 1)]
        if isinstance(names, str) or len(names) != len(places):
            raise InputError(f"names must be one for each of the {len(places)} documents; got {names!r}.")
        tokens = tuple((int(start), int(end)) for start, end in spans)
        for what, ranges in (("token", tokens), ("document", places)):
            for number, (start, end) in enumerate(ranges):
                if not 0 <= start <= end <= len(text):
                    raise InputError(
                        f"A span must be start ≤ end within the text's {len(text)} characters; "
                        f"{what} {number} has ({start}, {end}). "
                        f"Spans count characters (code points), not bytes."
                    )
        for number, ((_, end), (start, _)) in enumerate(pairwise(places)):
            if start < end:
                raise InputError(
                    f"Documents must lie one after the other; {number} and {number + 1} overlap."
                )
        return cls(text, tokens, tuple(places), tuple(names))

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.spans)

    @checked
    def index(self, level: Level) -> torch.Tensor:
        """(tokens,) int64: the number of the unit that each token lies in, `NO_UNIT` for none.

        A token that reaches over several units counts for the one in which its first visible character lies.
        """
        return torch.tensor(self._numbers(self._ranges(level)), dtype=torch.int64)

    @checked
    def units(self, level: Level) -> list[Unit]:
        """All units of the level in the order of the text, those without tokens too."""
        ranges = self._ranges(level)
        first, last = [-1] * len(ranges), [-1] * len(ranges)
        for token, unit in enumerate(self._numbers(ranges)):
            if unit != NO_UNIT:
                first[unit] = token if first[unit] < 0 else first[unit]
                last[unit] = token
        homes = (
            range(len(ranges)) if level == "document" else _enclosing([s for s, _ in ranges], self.documents)
        )
        return [
            Unit(self.text[start:end], start, end, home, first[number], last[number])
            for number, ((start, end), home) in enumerate(zip(ranges, homes, strict=True))
        ]

    def _ranges(self, level: Level) -> list[Span]:
        """The character spans of all units of a level, in order, without overlap."""
        if level == "document":
            return list(self.documents)
        cut = {"word": words, "sentence": sentences, "paragraph": paragraphs}.get(level)
        if cut is None:
            raise InputError(one_of("level", get_args(Level), level))
        borders = sorted({0, len(self.text), *(place for span in self.documents for place in span)})
        pieces = pairwise(borders)  # documents, and the text between them
        return [(s + at, e + at) for at, until in pieces for s, e in cut(self.text[at:until])]

    def _numbers(self, ranges: Sequence[Span]) -> list[int]:
        """For each token the number of the range it lies in."""
        numbers = _enclosing([self._first_visible(*span) for span in self.spans], ranges)
        return [
            NO_UNIT if start == end else number
            for (start, end), number in zip(self.spans, numbers, strict=True)
        ]

    def _first_visible(self, start: int, end: int) -> int:
        """Where the token's first character other than white space stands; its start if it has none."""
        covered = self.text[start:end]
        return start + len(covered) - len(covered.lstrip() or covered)


def _enclosing(places: Sequence[int], ranges: Sequence[Span]) -> list[int]:
    """For each character place the number of the range (sorted, disjoint) that holds it, −1 for none."""
    starts = [start for start, _ in ranges]
    found = []
    for place in places:
        number = bisect_right(starts, place) - 1  # the last that starts at or before the place
        found.append(number if number >= 0 and place < ranges[number][1] else NO_UNIT)
    return found
