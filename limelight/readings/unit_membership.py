"""Map each token to its ranked word, sentence or document, or to where else it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limelight.readings.token_groups import Groups
from limelight.text.segments import NO_UNIT, Level, Segments

LEVELS: tuple[Level, ...] = ("document", "sentence", "word")
SPECIAL, FIRST, BETWEEN = "special tokens", "first token", "between documents"


@dataclass(frozen=True)
class RankedDocuments:
    """A text and the documents of it that are ranked.

    places  for each token "" if its document is ranked, else the name of where it counts
    units   level → the units that stand in a ranked document
    """

    places: tuple[str, ...]
    units: dict[str, Units]

    @classmethod
    def of(cls, segments: Segments, among: Sequence[str] | None) -> RankedDocuments:
        homes = segments.index("document").numpy()
        wanted = [number for number, name in enumerate(segments.names) if among is None or name in among]
        ranked = np.isin(homes, wanted)
        names = ["" if number in wanted else name for number, name in enumerate(segments.names)]
        places = tuple(
            SPECIAL if start == end else BETWEEN if home == NO_UNIT else names[home]
            for (start, end), home in zip(segments.spans, homes.tolist(), strict=True)
        )
        return cls(places, {level: Units.of(segments, level, homes, ranked) for level in LEVELS})

    def sink_free(self, first: int = 0) -> tuple[str, ...]:
        """The places where the first token of all, behind padding on the left, is none of its document."""
        return (
            *self.places[:first],
            *([FIRST] if first < len(self.places) else []),
            *self.places[first + 1 :],
        )


@dataclass(frozen=True)
class Units:
    """The units of a level that are ranked.

    names   as people see them
    homes   the name of each unit's document
    tokens  how many tokens each has
    index   for each token of the text the number of its unit, -1 for none
    """

    names: tuple[str, ...]
    homes: tuple[str, ...]
    tokens: tuple[int, ...]
    index: NDArray[Any]

    @classmethod
    def of(cls, segments: Segments, level: Level, homes: NDArray[Any], ranked: NDArray[Any]) -> Units:
        groups = Groups.of(segments, level)
        numbers = np.where(ranked, np.array(groups.index, dtype=np.int64), NO_UNIT)
        held = numbers != NO_UNIT
        kept, first, own, counts = np.unique(
            numbers[held], return_index=True, return_inverse=True, return_counts=True
        )
        index = np.full(len(numbers), NO_UNIT)
        index[held] = own
        return cls(
            tuple(groups.names[number] for number in kept),
            tuple(segments.names[home] for home in homes[held][first]),
            tuple(counts.tolist()),
            index,
        )

    def sums(self, shares_M: NDArray[Any]) -> NDArray[Any]:
        """What the tokens of each unit have together."""
        held = self.index != NO_UNIT
        return np.bincount(self.index[held], weights=shares_M[held], minlength=len(self.names))
