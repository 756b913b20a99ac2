"""Which document, sentence and word was looked at? For a question, an answer, or any other tokens of a text.

The rule, said again in every reading's `how`: of the tokens that look, each counts the same (MEAN); what a document,
sentence or word gets is what its tokens get together (SUM); heads count the same, unless chosen. So all numbers and
`elsewhere` add up to 1, and a longer document gets more for being longer: `tokens` says how long each is.

How a weight is told (`Weigh`): see `row_attention.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from limelight.checked import checked
from limelight.errors import InputError, ShapeError, is_one_of
from limelight.readings.padding import first_key
from limelight.readings.reading import MOST_HEADS_NAMED, Entry, Head, Reading, name_heads
from limelight.readings.row_attention import Weigh, mean_of_rows, weighed_by_values
from limelight.readings.token_groups import Groups
from limelight.readings.unit_membership import FIRST, SPECIAL, RankedDocuments
from limelight.readings.words import (
    Matrices,
    average_heads,
    chosen_layers,
    place_of,
    word_attention,
)
from limelight.text.segments import Level, Segments


@dataclass(frozen=True)
class LookedAt:
    """What some tokens of a text look at, on three levels, in shares of their attention.

    readings   level → Reading with one axis: "document", "sentence", "word"
    homes      level → for each entry the name of its document
    tokens     level → for each entry how many tokens it has
    elsewhere  where the rest went: special tokens, the first token, the parts that were not asked for
    """

    readings: dict[str, Reading]
    homes: dict[str, tuple[str, ...]]
    tokens: dict[str, tuple[int, ...]]
    elsewhere: Reading
    sink_free: bool
    weigh: Weigh
    how: str
    """What all of them have in common."""

    def __repr__(self) -> str:
        first = ", ".join(f"{entry.label} {entry.value:.2f}" for entry in self.ranked()[:3])
        counts = ", ".join(f"{len(reading.values)} {level}s" for level, reading in self.readings.items())
        return f"LookedAt({counts}; {first}{', …' if len(self.documents.values) > 3 else ''})"

    @property
    def documents(self) -> Reading:
        return self.readings["document"]

    @property
    def sentences(self) -> Reading:
        return self.readings["sentence"]

    @property
    def words(self) -> Reading:
        return self.readings["word"]

    def ranked(self, level: str = "document") -> list[Entry]:
        """The entries of a level from high to low."""
        return self.readings[level].ranked()

    def per_token(self, level: str = "document") -> NDArray[Any]:
        """How many times what its tokens would get if all tokens of the level got the same: length taken out."""
        shares = self.readings[level].values
        tokens = np.array(self.tokens[level], dtype=np.float64)
        together = float(shares.sum())
        found: NDArray[Any] = (
            shares / together / (tokens / tokens.sum()) if together else np.zeros(len(shares))
        )
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "weigh": self.weigh,
            "sink_free": self.sink_free,
            **{name: reading.to_json() for name, reading in self.readings.items()},
            "homes": {name: list(names) for name, names in self.homes.items()},
            "tokens": {name: list(counts) for name, counts in self.tokens.items()},
            "elsewhere": self.elsewhere.to_json(),
        }


@checked
def attention_to_units(
    matrices: Matrices,
    segments: Segments,
    rows: Sequence[int],
    *,
    among: Sequence[str] | None = None,
    heads: Sequence[Head] | None = None,
    weigh: Weigh = "weight",
    sink_free: bool = False,
    batch: int = 0,
) -> LookedAt:
    """What the tokens at `rows` look at: documents, sentences and words, from the same numbers.

    matrices  self-attention over the text, or cross-attention whose keys are its tokens
    segments  the tokens of the keys
    rows      which queries look, such as the question's tokens, or the rows that predict an answer
    among     the names of the documents to rank; None takes all. What others get is in `elsewhere`.
    sink_free leave out the tokens that take attention whatever the text says (special tokens, and the first
              token of all that is no padding) and divide by what is left. An entry of a row that gives nothing else
              stays 0.
    """
    [found] = ways_to_look(
        matrices, segments, rows, [(weigh, sink_free)], among=among, heads=heads, batch=batch
    )
    return found


def ways_to_look(
    matrices: Matrices,
    segments: Segments,
    rows: Sequence[int],
    ways: Sequence[tuple[Weigh, bool]],
    *,
    among: Sequence[str] | None = None,
    heads: Sequence[Head] | None = None,
    batch: int = 0,
) -> list[LookedAt]:
    """`attention_to_units` for several (weigh, sink_free) at the price of one: the rows are read once."""
    chosen, picked = chosen_layers(matrices, heads)
    if strange := [weigh for weigh, _ in ways if not is_one_of(weigh, ("weight", "value-norm"))]:
        raise InputError(f"weigh must be 'weight' or 'value-norm'; got {strange[0]!r}.")
    if not picked:
        raise InputError("There must be at least one head to read; matrices or heads is empty.")
    for matrix in chosen.values():
        if len(segments) != matrix.shape[3]:
            raise ShapeError(
                f"segments must have a token for every key; got {len(segments)} tokens and {matrix.shape[3]} keys."
            )
    among = None if among is None else list(among)
    if strangers := [name for name in among or () if name not in segments.names]:
        raise InputError(f"There is no document {strangers[0]!r}; there are {', '.join(segments.names)}.")
    by_layer = {layer: mean_of_rows(matrix, rows, batch) for layer, matrix in chosen.items()}
    shares: dict[Weigh, NDArray[Any]] = {}
    for weigh in dict.fromkeys(weigh for weigh, _ in ways):
        if weigh == "value-norm":
            weighed = {layer: weighed_by_values(by_layer[layer], chosen[layer], batch) for layer in chosen}
        else:
            weighed = by_layer
        shares[weigh] = (
            torch.stack([weighed[layer][place_of(chosen, layer, head)] for layer, head in picked])
            .mean(0)
            .numpy()
        )
    ranked = RankedDocuments.of(segments, among)
    free_of = first_key(next(iter(chosen.values())), batch) if any(free for _, free in ways) else 0
    return [
        _looked(
            ranked,
            shares[weigh],
            weigh,
            free_of if free else None,
            _how(len(rows), picked, weigh, free),
            picked,
        )
        for weigh, free in ways
    ]


@checked
def attention_between(
    matrices: Matrices,
    segments: Segments,
    rows: Level = "document",
    columns: Level = "document",
    heads: Sequence[Head] | None = None,
    batch: int = 0,
) -> Reading:
    """The table of one level by another, the mean of `heads`: documents × documents, sentences × documents, …

    Rule: SUM over the key tokens of a unit, MEAN over the query tokens of a unit. A row adds up to 1 less what
    went to tokens of no unit. Under a causal mask a text sees only itself and what stands before it.
    """
    return average_heads(
        word_attention(matrices, Groups.of(segments, rows), Groups.of(segments, columns), heads, batch)
    )


# ---- inside -------------------------------------------------------------------------------------------


def _looked(
    ranked: RankedDocuments,
    shares_M: NDArray[Any],
    weigh: Weigh,
    first: int | None,
    how: str,
    heads: tuple[Head, ...],
) -> LookedAt:
    """first: the first token of all, which is left out together with the special ones; None leaves out none."""
    free = first is not None
    places = ranked.places if first is None else ranked.sink_free(first)
    if free:
        shares_M = shares_M * [place not in (SPECIAL, FIRST) for place in places]
        shares_M = shares_M / max(shares_M.sum(), np.finfo(np.float64).tiny)
    readings = {
        level: Reading(
            units.sums(shares_M),
            (level,),
            (units.names,),
            "probability",
            f"{how} Summed over the tokens of a {level}.",
            heads,
        )
        for level, units in ranked.units.items()
    }
    homes = {level: units.homes for level, units in ranked.units.items()}
    tokens = {level: units.tokens for level, units in ranked.units.items()}
    return LookedAt(readings, homes, tokens, _elsewhere(places, shares_M, how, heads), free, weigh, how)


def _elsewhere(places: Sequence[str], shares_M: NDArray[Any], how: str, heads: tuple[Head, ...]) -> Reading:
    sums: dict[str, float] = {}
    for place, share in zip(places, shares_M.tolist(), strict=True):
        if place:
            sums[place] = sums.get(place, 0.0) + share
    values = np.array(list(sums.values()), dtype=np.float64)
    return Reading(values, ("elsewhere",), (tuple(sums),), "probability", how, heads)


def _how(rows: int, heads: Sequence[Head], weigh: Weigh, sink_free: bool) -> str:
    weights = {
        "weight": "Attention weights α",
        "value-norm": "Value-weighted attention ‖α·v‖, in shares of a head's sum",
    }
    named = name_heads(heads, MOST_HEADS_NAMED)
    said = f"{weights[weigh]}, mean of {rows} looking token{'s' if rows > 1 else ''}, of {named}."
    if sink_free:
        said += " Sink-free: without special tokens and the first token, divided by what is left."
    return said
