"""Word alignment in Pharaoh format: `0-0 1-2`, over the given tokens between spaces.

Aligners (fast_align, GIZA++, Marian) number what stands between spaces, whatever it is: `0-0 1-2` links source
token 0 to target token 0 and source token 1 to target token 2. Each target token has the source token that it attends
to most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from limelight.errors import InputError
from limelight.predicting.predictor import Predictor, Trace
from limelight.readings.alignment import Alignment, alignment
from limelight.readings.alignment_heads import AlignmentHeads
from limelight.readings.reading import Head
from limelight.readings.token_groups import Groups
from limelight.text.segmentation import Span
from limelight.text.segments import NO_UNIT, Segments

TOKEN = re.compile(r"[^ \t\r\n]+")
ENDS_A_CLAUSE = ".,;:!?"
COLUMNS = (
    *("line", "source", "target", "source token", "target token", "weight"),
    *("source start", "source end", "target start", "target end"),
)
"""Of a table of links: numbers from 0, but the line's, which is from 1; characters [start, end)."""


@dataclass(frozen=True)
class SpacedTokens:
    """What stands between the spaces of a text, and where."""

    names: tuple[str, ...]
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, text: str) -> SpacedTokens:
        found = [match.span() for match in TOKEN.finditer(text)]
        return cls(tuple(text[start:end] for start, end in found), tuple(found))


@dataclass(frozen=True)
class TokenLink:
    """A target token and the source token that it attends to most, by number from 0, and the weight."""

    source: int
    target: int
    weight: float


@dataclass(frozen=True)
class Aligned:
    """The links of one pair, in the order of the target.

    unlinked  the target tokens that attend to no source token
    """

    source: SpacedTokens
    target: SpacedTokens
    links: tuple[TokenLink, ...]

    @property
    def unlinked(self) -> tuple[int, ...]:
        linked = {link.target for link in self.links}
        return tuple(number for number in range(len(self.target.names)) if number not in linked)

    def pharaoh(self) -> str:
        """The links as `0-0 1-2`, source first; "" where there are none."""
        return " ".join(f"{link.source}-{link.target}" for link in self.links)

    def rows(self, line: int) -> Iterator[tuple[str | int | float, ...]]:
        """A row of `COLUMNS` for each link."""
        for link in self.links:
            names = self.source.names[link.source], self.target.names[link.target]
            places = *self.source.spans[link.source], *self.target.spans[link.target]
            yield (line, link.source, link.target, *names, round(link.weight, 6), *places)


def align(
    predictor: Predictor, pairs: Iterable[tuple[str, str]], heads: Sequence[Head] | None = None
) -> Iterator[Aligned]:
    """The links of each pair (source, target), one for one: a pair with a blank side has none.

    heads  the (layer, head) pairs to read; those that the model's folder names for alignment, or else all, for None

    Raises InputError for a model that writes no text for another.
    """
    if predictor.model.role != "pairs":
        raise InputError(
            f"Words are aligned by a model that writes one text for another; this one's task is "
            f"{predictor.saved.task!r}."
        )
    if heads is None and (chosen := predictor.saved.prediction.get("alignment")):
        heads = AlignmentHeads.from_json(chosen).heads
    for source, target in pairs:
        sides = SpacedTokens.of(source), SpacedTokens.of(target)
        if not all(side.names for side in sides):
            yield Aligned(*sides, ())
            continue
        found = by_tokens(predictor.trace(predictor.score(source, target)), heads)
        links = [TokenLink(link.source, link.target, link.weight) for link in found.links()]
        yield Aligned(*sides, tuple(links))


def by_tokens(trace: Trace, heads: Sequence[Head] | None) -> Alignment:
    """What each token between the spaces of the answer attends to among those of the text."""
    assert trace.target is not None, "only models of pairs of texts are asked"
    return alignment(trace.layers("cross"), token_groups(trace.target), token_groups(trace.source), heads)


def token_groups(segments: Segments) -> Groups:
    """Each token between spaces a group, and the end token behind them none.

    What the model reads as one belongs to the token in which its first character other than a space stands.
    """
    tokens = SpacedTokens.of(segments.text)
    places = [NO_UNIT] * len(segments.text)
    for number, (start, end) in enumerate(tokens.spans):
        places[start:end] = [number] * (end - start)
    index = [
        next((number for number in places[start:end] if number != NO_UNIT), NO_UNIT)
        for start, end in segments.spans
    ]
    return Groups(tokens.names, (*index, NO_UNIT), "token")


def is_tokenized(text: str) -> bool:
    """Whether a text was cut into tokens by spaces: punctuation stands by itself, and clings to no word.

    >>> is_tokenized("Save the file ."), is_tokenized("Save the file."), is_tokenized("Save it")
    (True, False, False)
    """
    names = SpacedTokens.of(text).names
    apart = any(not any(sign.isalnum() for sign in name) for name in names)
    clings = any(name[-1] in ENDS_A_CLAUSE and any(map(str.isalnum, name)) for name in names)
    return apart and not clings
