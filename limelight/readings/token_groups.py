"""Groups: which word, sentence or document every token along one axis of a matrix belongs to.

A matrix has a row or a column for every token, special ones (start, end) too. `Segments` knows the tokens of
the text; `Groups` adds the special ones around them and gives each group the name that people see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from limelight.errors import InputError, ShapeError
from limelight.text.segments import NO_UNIT, Level, Segments, Unit


@dataclass(frozen=True)
class Groups:
    """The names of the groups along one axis, and for every token the number of its group, -1 for none.

    names   one a group, in the order of the text; may repeat
    index   one number a token of the matrix's axis
    level   what a group is: "word", "sentence", "document", "token"

    >>> from limelight.text.segments import Segments
    >>> segments = Segments.from_spans("Open it!", [(0, 2), (2, 4), (5, 7), (7, 8)])
    >>> Groups.of(segments, "word", after=1)
    Groups(names=('Open', 'it', '!'), index=(0, 0, 1, 2, -1), level='word')
    """

    names: tuple[str, ...]
    index: tuple[int, ...]
    level: str = "word"

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(map(str, self.names)))
        object.__setattr__(self, "index", tuple(map(int, self.index)))
        if self.index and not -1 <= min(self.index) <= max(self.index) < len(self.names):
            raise InputError(
                f"index must number the {len(self.names)} names from 0, with -1 for a token of no group; "
                f"got numbers from {min(self.index)} to {max(self.index)}."
            )

    @classmethod
    def of(cls, segments: Segments, level: Level = "word", before: int = 0, after: int = 0) -> Groups:
        """The units of a text; `before` and `after` count the special tokens around it, which get no group.

        A document is called by its name, every other unit by its text. A unit that no token begins in (the full
        stop in a token `).`) is named together with the unit whose token covers it, so that a name shows all the
        characters that its weight stands for.
        """
        units = segments.units(level)
        held = [number for number, unit in enumerate(units) if unit.first_token >= 0]
        renumbered = {number: place for place, number in enumerate(held)} | {NO_UNIT: NO_UNIT}
        names = []
        for number, following in pairwise([*held, len(units)]):
            if level == "document":
                names.append(segments.names[number])
                continue
            end = max(segments.spans[token][1] for token in units[number].tokens)
            names.append(_name(segments, units[number], units[number + 1 : following], end))
        index = [renumbered[number] for number in segments.index(level).tolist()]
        return cls(tuple(names), _surrounded(index, before, after), level)

    @classmethod
    def tokens(cls, names: Sequence[str], before: int = 0, after: int = 0, level: str = "token") -> Groups:
        """Every token a group of its own: letters, phones, or subwords as they are."""
        return cls(tuple(names), _surrounded(range(len(names)), before, after), level)

    def __len__(self) -> int:
        """The number of groups."""
        return len(self.names)

    def fit(self, tokens: int, axis: str) -> None:
        """Raise ShapeError unless there is a number for every one of the `tokens` along the matrix's axis."""
        if len(self.index) != tokens:
            way = "Special tokens count too: Groups.of(segments, before=…, after=…)."
            if len(self.index) == tokens + 1:
                way = (
                    f"Of what model.generate() has written the last token was never read: leave it out. {way}"
                )
            raise ShapeError(
                f"The groups of the {axis} must number every token; got {len(self.index)} numbers for "
                f"{tokens} {axis}. {way}"
            )


def _surrounded(index: Sequence[int], before: int, after: int) -> tuple[int, ...]:
    return (NO_UNIT,) * before + tuple(index) + (NO_UNIT,) * after


def _name(segments: Segments, unit: Unit, tokenless: Sequence[Unit], covered: int) -> str:
    """The unit's text, going on through the units after it that only its tokens cover."""
    reached = [each.end for each in tokenless if each.start < covered]
    return segments.text[unit.start : max([unit.end, *reached])]
