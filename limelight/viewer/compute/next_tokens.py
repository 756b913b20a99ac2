"""Steps: an answer token by token, with what else might have come at each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

CANDIDATES = 10
"""Of the next token, from high to low."""


@dataclass(frozen=True)
class Step:
    """One token that was written.

    place       its token on the query side of the attention whose rows are the steps
    text        as it was written
    probability of it, given what stood before
    candidates  (text, probability) of the likeliest next tokens, from high to low
    """

    place: int
    text: str
    probability: float
    candidates: tuple[tuple[str, float], ...]

    def told(self) -> dict[str, Any]:
        """For the page."""
        candidates = [list(candidate) for candidate in self.candidates]
        return {
            "place": self.place,
            "text": self.text,
            "probability": self.probability,
            "candidates": candidates,
        }


def steps_of(
    scores_NV: Tensor,
    written: Sequence[int],
    spell: Callable[[int], str],
    never: Sequence[int] = (),
) -> tuple[Step, ...]:
    """From the scores of the next token at each step (steps, vocabulary).

    spell: a token's number → how it is shown. never: tokens that no answer may hold, which get no share.
    """
    scores_NV = scores_NV.double()
    scores_NV[:, list(never)] = -float("inf")
    probabilities = scores_NV.softmax(-1)
    top = probabilities.topk(min(CANDIDATES, probabilities.shape[-1]), dim=-1)
    found = []
    for place, id in enumerate(written):
        candidates = tuple(
            (spell(int(other)), float(share))
            for other, share in zip(top.indices[place], top.values[place], strict=True)
            if share > 0
        )
        found.append(Step(place, spell(id), float(probabilities[place, id]), candidates))
    return tuple(found)
