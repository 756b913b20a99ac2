"""Which document, sentence and word was looked at? For a question, an answer, or any other tokens of a text.

The rule, said again in every reading's `how`: of the tokens that look, each counts the same (MEAN); what a document,
sentence or word gets is what its tokens get together (SUM); heads count the same, unless chosen. So all numbers and
`elsewhere` add up to 1, and a longer document gets more for being longer: `tokens` says how long each is.

Two weights:

    "alpha"   a[i, j], as the softmax gives it
    "value"   ‖a[i, j]·v[j]‖ = a[i, j]·‖v[j]‖, each head's divided by its sum: what is looked at *and* carried on.
              A token with a large weight and a value near zero, as sinks have, adds little.
              Source: Kobayashi et al. 2020, "Attention is Not Only a Weight" (arXiv 2004.10102), without their
              output matrix, which mixes heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limelight.errors import InputError, ShapeError
from limelight.matrix import AttentionMatrix
from limelight.readings.groups import Groups
from limelight.readings.measures import Matrices, average_heads, chosen_layers, word_attention
from limelight.readings.reading import Entry, Head, Reading, name_heads
from limelight.text.segments import NO_UNIT, Level, Segments

Weigh = Literal["alpha", "value"]
LEVELS: tuple[Level, ...] = ("document", "sentence", "word")
MOST_HEADS_NAMED = 6
MANY = 8
"""Where less than one query in so many looks, its row is computed by itself."""
TOGETHER = 32
"""Rows that are computed at once."""
SPECIAL, FIRST, BETWEEN = "special tokens", "first token", "between documents"


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


def looked_at(
    matrices: Matrices,
    segments: Segments,
    rows: Sequence[int],
    *,
    among: Sequence[str] | None = None,
    heads: Sequence[Head] | None = None,
    weigh: Weigh = "alpha",
    sink_free: bool = False,
    batch: int = 0,
) -> LookedAt:
    """What the tokens at `rows` look at: documents, sentences and words, from the same numbers.

    matrices  self-attention over the text, or cross-attention whose keys are its tokens
    segments  the tokens of the keys
    rows      which queries look, such as the question's tokens, or the rows that predict an answer
    among     the names of the documents to rank; None takes all. What others get is in `elsewhere`.
    sink_free leave out the tokens that take attention whatever the text says (special tokens, and the first
              token of all) and divide by what is left. An entry of a row that gives nothing else stays 0.
    """
    chosen, picked = chosen_layers(matrices, heads)
    if not len(rows):
        raise InputError("rows must name at least one query to look from; got none.")
    if weigh not in ("alpha", "value"):
        raise InputError(f"weigh must be 'alpha' or 'value'; got {weigh!r}.")
    by_head = {layer: _received(matrix, rows, segments, weigh, batch) for layer, matrix in chosen.items()}
    shares_M = torch.stack([by_head[layer][head] for layer, head in picked]).mean(0)
    homes = segments.index("document").tolist()
    strangers = set(among or ()) - set(segments.names)
    if strangers:
        raise InputError(
            f"There is no document {sorted(strangers)[0]!r}; there are {', '.join(segments.names)}."
        )
    wanted = {number for number, name in enumerate(segments.names) if among is None or name in among}
    places = _places(segments, homes, wanted, sink_free)
    if sink_free:
        left = torch.tensor([place not in (SPECIAL, FIRST) for place in places])
        shares_M = shares_M * left
        shares_M = shares_M / shares_M.sum().clamp(min=torch.finfo(torch.float64).tiny)
    how = _how(len(rows), picked, weigh, sink_free)
    readings: dict[str, Reading] = {}
    named: dict[str, tuple[str, ...]] = {}
    counts: dict[str, tuple[int, ...]] = {}
    for level in LEVELS:
        readings[level], named[level], counts[level] = _level(
            segments, level, shares_M, places, wanted, how, picked
        )
    return LookedAt(readings, named, counts, _elsewhere(places, shares_M, how, picked), sink_free, weigh, how)


def between(
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


def _received(
    matrix: AttentionMatrix, rows: Sequence[int], segments: Segments, weigh: Weigh, batch: int
) -> Tensor:
    """(heads, keys), float64: the mean share that each token gets from the rows."""
    B, H, _, M = matrix.shape
    if len(segments) != M:
        raise ShapeError(
            f"segments must have a token for every key; got {len(segments)} tokens and {M} keys."
        )
    if not 0 <= batch < B:
        raise ShapeError(f"batch must be one of the {B} texts, counted from 0; got {batch}.")
    shares_HM = _mean_of_rows(matrix, rows, batch)
    if weigh == "alpha":
        return shares_HM
    if matrix.value is None:
        raise InputError("weigh='value' needs the values, and this matrix was made without: give value=.")
    norms_GM = matrix.value[batch].double().norm(dim=-1).cpu()
    weighed_HM: Tensor = shares_HM * norms_GM.repeat_interleave(H // len(norms_GM), dim=0)
    return weighed_HM / weighed_HM.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)


def _mean_of_rows(matrix: AttentionMatrix, rows: Sequence[int], batch: int) -> Tensor:
    """(heads, keys), float64: of few rows only those are computed, of many all of them in one walk."""
    N = matrix.shape[2]
    different = sorted({int(row) % N if -N <= row < N else int(row) for row in rows})
    if not -N <= different[0] <= different[-1] < N:
        raise InputError(f"rows are from 0 to {N - 1}; got {different[0]} to {different[-1]}.")
    if len(different) * MANY < N and len(different) == len(rows):
        total = torch.zeros(matrix.shape[1], matrix.shape[3], dtype=torch.float64)
        for start, stop in _runs(different):
            total += matrix[batch, :, start:stop].sum(1, dtype=torch.float64).cpu()
        return total / len(rows)
    sent_N = torch.zeros(N, dtype=matrix.dtype, device=matrix.device)
    for row in rows:
        sent_N[row] += 1 / len(rows)
    found: Tensor = (matrix.T @ sent_N)[batch].double().cpu()
    return found


def _runs(rows: list[int]) -> Iterator[tuple[int, int]]:
    """Sorted rows as ranges of neighbours, none longer than is good for memory."""
    start = stop = rows[0]
    for row in rows:
        if row != stop or stop - start == TOGETHER:
            yield start, stop
            start = row
        stop = row + 1
    yield start, stop


def _places(segments: Segments, homes: list[int], wanted: set[int], sink_free: bool) -> list[str]:
    """For each token "" if its document is ranked, else the name of where it counts."""
    found = []
    for token, ((start, end), home) in enumerate(zip(segments.spans, homes, strict=True)):
        if sink_free and token == 0:
            found.append(FIRST)
        elif start == end:
            found.append(SPECIAL)
        elif home == NO_UNIT:
            found.append(BETWEEN)
        else:
            found.append("" if home in wanted else segments.names[home])
    return found


def _level(
    segments: Segments,
    level: Level,
    shares_M: Tensor,
    places: list[str],
    wanted: set[int],
    how: str,
    heads: tuple[Head, ...],
) -> tuple[Reading, tuple[str, ...], tuple[int, ...]]:
    groups = Groups.of(segments, level)
    homes = segments.index("document").tolist()
    sums, counts = np.zeros(len(groups)), np.zeros(len(groups), dtype=int)
    home_of: dict[int, int] = {}
    for token, (number, place) in enumerate(zip(groups.index, places, strict=True)):
        if number != NO_UNIT and homes[token] in wanted:
            home_of[number] = homes[token]
            counts[number] += 1
            sums[number] += float(shares_M[token]) if place == "" else 0.0
    kept = sorted(home_of)
    names = tuple(groups.names[number] for number in kept)
    rule = f"{how} Summed over the tokens of a {level}."
    reading = Reading(sums[kept], (level,), (names,), "probability", rule, heads)
    return reading, tuple(segments.names[home_of[number]] for number in kept), tuple(counts[kept].tolist())


def _elsewhere(places: list[str], shares_M: Tensor, how: str, heads: tuple[Head, ...]) -> Reading:
    names = [name for name in dict.fromkeys(places) if name]
    sums = [
        sum(float(share) for share, place in zip(shares_M, places, strict=True) if place == name)
        for name in names
    ]
    return Reading(
        np.array(sums, dtype=np.float64), ("elsewhere",), (tuple(names),), "probability", how, heads
    )


def _how(rows: int, heads: Sequence[Head], weigh: Weigh, sink_free: bool) -> str:
    weights = {
        "alpha": "Attention weights α",
        "value": "Value-weighted attention ‖α·v‖, in shares of a head's sum",
    }
    said = f"{weights[weigh]}, mean of {rows} looking token{'s' if rows > 1 else ''}, of {_named(heads)}."
    if sink_free:
        said += " Sink-free: without special tokens and the first token, divided by what is left."
    return said


def _named(heads: Sequence[Head]) -> str:
    if len(heads) <= MOST_HEADS_NAMED:
        return name_heads(heads)
    layers = sorted({layer for layer, _ in heads})
    if len(layers) == 1:
        return f"{len(heads)} heads of layer {layers[0]}"
    whole = layers == list(range(layers[0], layers[-1] + 1))
    said = f"{layers[0]} to {layers[-1]}" if whole else ", ".join(map(str, layers))
    return f"{len(heads)} heads of layers {said}"
