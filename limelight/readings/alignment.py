"""Alignment: which source words each target word attends to, read from the cross-attention of a decoder.

In a decoder the inputs are shifted by one: row i of the cross-attention belongs to input token i (the start
token first) and predicts target token i. So with inputs [start, t0, …, tn] and targets [t0, …, tn, end],
row i is the row that predicts t_i, and the last row, which predicts the end, belongs to no word.

The source's end token takes attention too, often much of it (a sink). It is no word: what it gets is reported
as `elsewhere`, and `sink_free` shows how the rest is shared among the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from limelight.readings.reading import Entry, Head, Reading
from limelight.readings.token_groups import Groups
from limelight.readings.words import (
    Matrices,
    average_heads,
    head_labels,
    pooled,
    pooling_rule,
)


class Link(NamedTuple):
    """A target word and the source word it attends to most, by number and by name."""

    target: int
    source: int
    target_name: str
    source_name: str
    weight: float


@dataclass(frozen=True)
class Alignment:
    """What each target word attends to. Of the same heads, in the unit probability:"""

    raw: Reading
    """("target word", "source word"): the weights as they are."""
    sink_free: Reading
    """The same, each row divided by its sum: how the weight on words is shared among them."""
    elsewhere: Reading
    """("target word",): the weight on source tokens of no word, such as the end token."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The target words."""
        return self.raw.labels[0]

    @property
    def sources(self) -> tuple[str, ...]:
        """The source words."""
        return self.raw.labels[1]

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads that were averaged."""
        return self.raw.heads

    def reading(self, sink_free: bool = False) -> Reading:
        """One of the two readings."""
        return self.sink_free if sink_free else self.raw

    def ranked(self, target: int, sink_free: bool = False) -> list[Entry]:
        """The source words of target word number `target`, from high to low."""
        return self.reading(sink_free).at(self.raw.axes[0], target).ranked()

    def links(self, sink_free: bool = False) -> list[Link]:
        """For each target word its top source word; a target word that attends to no word has none."""
        found = []
        for target, row in enumerate(self.reading(sink_free).values):
            if row.size and row.max() > 0:
                source = int(row.argmax())
                names = self.targets[target], self.sources[source]
                found.append(Link(target, source, *names, float(row[source])))
        return found

    def received(self) -> Reading:
        """What each source word receives from all target words, in target words: ("source word",)."""
        axis, level = self.raw.axes[1], self.raw.axes[0]
        values = self.raw.values.sum(0, dtype=np.float64).astype(self.raw.values.dtype)
        how = f"{self.raw.how} Summed over all {level}s."
        return Reading(values, (axis,), (self.sources,), f"{level}s", how, self.heads)

    def to_json(self) -> dict[str, Any]:
        """The three readings, and the links by number, for `json.dumps`."""
        links = [[link.target, link.source] for link in self.links()]
        readings = {name: getattr(self, name).to_json() for name in ("raw", "sink_free", "elsewhere")}
        return {"links": links, **readings}


def alignment(
    matrices: Matrices,
    target: Groups,
    source: Groups,
    heads: Sequence[Head] | None = None,
    batch: int = 0,
) -> Alignment:
    """Which source words each target word attends to, the mean of `heads` (all of all layers for None).

    matrices: the cross-attention of each decoder layer, rows and columns as the top of this file says.
    target: the groups of the rows; `Groups.of(segments, after=1)` for a text that ends in an end token.
    source: the groups of the columns, the same way.

    The mean over heads is taken before the division that makes it sink-free: a head that looks at the end
    token most of the time then counts by the little it gives to words.
    """
    table, chosen = pooled(matrices, target, source, heads, batch)
    axes = (f"target {target.level}", f"source {source.level}")
    rule = pooling_rule(target, source)
    labels = (head_labels(chosen), target.names, source.names)
    words = average_heads(
        Reading(table[..., :-1].numpy(), ("head", *axes), labels, "probability", rule, chosen)
    )
    outside = f"Attention weight on tokens of no source {source.level}, averaged over a {axes[0]}'s tokens."
    elsewhere = average_heads(
        Reading(table[..., -1].numpy(), ("head", axes[0]), labels[:2], "probability", outside, chosen)
    )
    return Alignment(words, without_sink(words), elsewhere)


def without_sink(reading: Reading) -> Reading:
    """Each row of the last axis divided by its sum; a row of 0 stays 0."""
    values = reading.values.astype(np.float64)
    total = values.sum(-1, keepdims=True)
    shared = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
    how = f"{reading.how} Sink-free: divided by the sum over the {reading.axes[-1]}s."
    dtype = reading.values.dtype
    return Reading(shared.astype(dtype), reading.axes, reading.labels, reading.unit, how, reading.heads)
