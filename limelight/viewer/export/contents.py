"""ExportContents: which answers an exported HTML file holds, by priority, within its byte budget.

What every page needs goes in first: who attends to whom by word for the strongest few, the map from afar, numbers and
small pictures of all heads. Then, while there is room, more: the map from nearer, more of each row, tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from torch import Tensor

from limelight.errors import LimelightError
from limelight.viewer.compute.attention_layers import TILE, AttentionLayers
from limelight.viewer.compute.first_pass import weights
from limelight.viewer.compute.head_stats import FROM_ATLAS, measures
from limelight.viewer.compute.reweighting import PLAIN
from limelight.viewer.compute.tiles import Map, cells_of
from limelight.viewer.compute.top_rows import TopRows, answered, sweep
from limelight.viewer.protocol.pack import Pack
from limelight.viewer.protocol.requests import LEVELS, Question
from limelight.viewer.protocol.responses import Answer, Scale
from limelight.viewer.subject import Subject, tile_place

KEEP = (8, 16, 32, 64)
"""How many of each row are tried, few first."""
STRETCHES = range(32, 129)
"""In so many, fewer and longer ones of a longer text, what is not kept of a row is summed up."""
STRETCH_BYTES = 2**19
"""Of all units together."""
TOKENS = 4096
"""Up to so many, tokens have rows of their own; words always have."""
DEEPEST = 3
"""Beyond this zoom a file holds no tiles."""
COLUMNS_OF_DOCUMENTS = 24
"""Up to so many documents, what each word of a document's row is goes in too."""
BETWEEN = 2**14
"""Numbers of a table that goes in."""
CELLS_A_BYTE = 4
"""A cell takes a quarter of a byte at the very least, compressed."""
CHEAP = 2**30
"""Weights, of all heads: above, what needs a pass of its own is left out."""


@dataclass(eq=False)
class ExportContents:
    """Puts the answers of one subject into a pack. `kept` and `zoom` say how much of it there is in the end."""

    subject: Subject
    pack: Pack
    asked: tuple[str, ...]
    heard: Callable[[], None]
    kept: dict[tuple[int, str], int] = field(default_factory=dict)
    zoom: dict[int, int] = field(default_factory=dict)
    maps: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    swept: dict[tuple[int, str, str, str], TopRows] = field(default_factory=dict)

    def slices(self, attention: AttentionLayers) -> list[str]:
        """Those that go in, the page's first one first."""
        asked = self.asked if attention is self.subject.attentions[0] else ()
        return list(dict.fromkeys([attention.start, "mean", *asked]))

    def levels(self, attention: AttentionLayers) -> tuple[str, ...]:
        """Those whose rows are looked for."""
        return LEVELS if max(attention.N, attention.M) <= TOKENS else LEVELS[1:]

    def needed(self) -> None:
        """What every page has. `about` counts now, though it is written again at the end."""
        self._put("about", must=True)
        for kind, there in (("steps", self.subject.steps), ("process", self.subject.explain)):
            if there:
                self._put(kind, must=True)
        for number, attention, chosen in self._all():
            told: dict[str, Any] = {"attention": number}
            if chosen == attention.start:
                self._put("thumbs", must=True, **told)
                for measure in self.measures(attention):
                    self._put("heads", must=True, measure=measure, **told)
            self.sweep(number, attention, chosen)
            for level in LEVELS[1:]:
                self._put("received", must=True, slice=chosen, level=level, **told)
                self._rows(number, attention, chosen, level, KEEP[0], must=True)
            self._tiles(number, attention, chosen, 0, "mean", must=True)
            self._between(number, attention, chosen)

    def wanted(self) -> None:
        """More of it, while there is room: from what most people look at to what few do."""
        self._tiles_of(1, "mean")
        self._rows_of("word", KEEP[1])
        self._tiles_of(0, "max")
        self._tiles_of(1, "max")
        self._rows_of("sentence", KEEP[-1])
        self._rows_of("document", KEEP[-1])
        self._rows_of("token", KEEP[0])
        self._words_of_documents()
        self._tiles_of(2, "mean")
        for keep in KEEP[2:]:
            self._rows_of("token", keep)
            self._rows_of("word", keep)
        self._tiles_of(2, "max")
        self._tiles_of(DEEPEST, "mean")
        self._every_head()

    def about(self, again: str) -> Answer:
        """With what the file holds."""
        answer = self.subject.answer(Question.of("about", {}))
        head = dict(answer.head)
        head["mode"] = "file"
        attentions = []
        for number, (told, attention) in enumerate(
            zip(head["attentions"], self.subject.attentions, strict=True)
        ):
            measures = [each for each in told["measures"] if each["name"] in self.measures(attention)]
            slices = [chosen for place, chosen in self.kept if place == number]
            attentions.append(
                told
                | {
                    "slices": slices,
                    "measures": measures,
                    "between": dict(zip(("rows", "columns"), self.levels_between(attention), strict=True)),
                    "zoom": self.zoom.get(number, 0),
                    "weighs": [PLAIN],
                }
            )
        head["attentions"] = attentions
        head["levels"] = [level for level in LEVELS if self._everywhere(level)]
        kept = min(self.kept.values(), default=0)
        zoom = min(self.zoom.values(), default=0)
        said = (
            f"This file holds of each word at least the {kept} strongest exactly and the rest as colours, the map to "
            f"zoom {zoom}, and the heads that are offered. Its numbers are the weights as they are; a "
            "served page also tells them without sinks, and by value norm where values are known."
        )
        said += f" Make it again for others: {again}" if again else ""
        head["file"] = {"kept": kept, "zoom": zoom, "said": said}
        return replace(answer, head=head)

    def measures(self, attention: AttentionLayers) -> list[str]:
        """Those that need no pass of their own, unless it is short."""
        cheap = weights(attention) <= CHEAP
        return [each.name for each in measures(attention) if cheap or each.name not in FROM_ATLAS]

    def sweep(self, number: int, attention: AttentionLayers, chosen: str) -> None:
        """The strongest of all rows of all levels, and the map."""
        summaries = self.subject.summaries(number)
        found = sweep(
            attention,
            attention.chosen(chosen),
            self.levels(attention),
            summaries,
            KEEP[-1],
            min(max(STRETCH_BYTES // max(attention.N, attention.M), STRETCHES[0]), STRETCHES[-1]),
            lambda entries: self.heard(),
            attention.step(min(DEEPEST, attention.deepest)),
        )
        self.swept |= {(number, chosen, *key): each for key, each in found.strongest.items()}
        if found.map is not None:
            self.maps[number, chosen] = found.map

    # ---- inside -----------------------------------------------------------------------------------

    def _all(self) -> Iterator[tuple[int, AttentionLayers, str]]:
        for number, attention in enumerate(self.subject.attentions):
            for chosen in self.slices(attention):
                yield number, attention, chosen

    def _put(self, kind: str, must: bool = False, **params: Any) -> bool:
        question = Question.of(kind, params)
        try:
            answer = self.subject.answer(question, self.heard)
        except LimelightError:
            if kind == "about":
                raise
            return False
        return self.pack.put(question, answer, must)

    def _everywhere(self, level: str) -> bool:
        """Whether the rows of a level are there for every slice that is offered."""
        return all(
            _rows_question(number, chosen, level, "to").key in self.pack.entries
            for number, chosen in self.kept
        )

    def _rows_of(self, level: str, keep: int) -> None:
        for number, attention, chosen in self._all():
            self._rows(number, attention, chosen, level, keep)

    def _rows(
        self, number: int, attention: AttentionLayers, chosen: str, level: str, keep: int, must: bool = False
    ) -> bool:
        """Of both directions, or none; of tokens what they receive, too."""
        if level not in self.levels(attention):
            return False
        before = dict(self.pack.entries)
        done = level != "token" or self._put("received", attention=number, slice=chosen, level=level)
        for direction in ("from", "to"):
            found = self.swept[number, chosen, level, direction]
            answer = answered(found, attention, attention.chosen(chosen), level, direction, keep)
            done = done and self.pack.put(_rows_question(number, chosen, level, direction), answer, must)
        if not done:
            self.pack.entries = before
        elif level == "word":
            self.kept[number, chosen] = keep
        return done

    def _tiles_of(self, zoom: int, reduce: str) -> None:
        for number, attention, chosen in self._all():
            if zoom <= attention.deepest:
                self._tiles(number, attention, chosen, zoom, reduce)

    def _tiles(
        self, number: int, attention: AttentionLayers, chosen: str, zoom: int, reduce: str, must: bool = False
    ) -> bool:
        """All tiles of a zoom, or none. Before anything is computed, a guess whether there is room."""
        step = attention.step(zoom)
        spare = self.pack.room - self.pack.size
        if not must and attention.N * attention.M / step**2 > CELLS_A_BYTE * spare:
            return False
        side = TILE * attention.step(zoom)
        before, complete = dict(self.pack.entries), True
        for row, column in product(range(-(-attention.N // side)), range(-(-attention.M // side))):
            place = {"zoom": zoom, "row": row, "column": column, "attention": number}
            question = Question.of("tile", place | {"slice": chosen, "reduce": reduce})
            answer = self._tile(question, number, attention, chosen)
            scale = Scale.of(answer.arrays["cells"])
            arrays = dict(answer.arrays) | {"cells": scale.encode(answer.arrays["cells"])}
            if not self.pack.put(question, replace(answer, arrays=arrays, scales={"cells": scale}), must):
                complete = False
                break
        if not complete:
            self.pack.entries = before
        elif reduce == "mean" and chosen == attention.start:
            self.zoom[number] = zoom
        return complete

    def _tile(self, question: Question, number: int, attention: AttentionLayers, chosen: str) -> Answer:
        """From the map that the sweep has made, where it is deep enough for what is asked."""
        made = self.maps.get((number, chosen))
        if made is None or question["reduce"] == "max":
            return self.subject.answer(question, self.heard)
        zoom, place = min(DEEPEST, attention.deepest), tile_place(question)
        cells = Map(zoom, made[cells_of(attention, place, zoom)], None, None)
        layer = attention.chosen(chosen)[0][0]
        return self.subject.tile_answer(question, cells.tile(attention, layer, place, "mean"))

    def _between(self, number: int, attention: AttentionLayers, chosen: str) -> bool:
        """The table that the page begins with."""
        rows, columns = self.levels_between(attention)
        return self._put("between", attention=number, slice=chosen, rows=rows, columns=columns)

    def levels_between(self, attention: AttentionLayers) -> tuple[str, str]:
        """Documents by documents, where a finer table were too large for a file, or took a pass of its own."""
        rows, columns = attention.between
        few = attention.queries.count(rows) * attention.keys.count(columns) <= BETWEEN
        return (rows, columns) if few and weights(attention) <= CHEAP else ("document", "document")

    def _every_head(self) -> None:
        """Of a short text, every layer and every head by itself: all that a page asks of one, or nothing."""
        for number, attention in enumerate(self.subject.attentions):
            if weights(attention) > CHEAP / 16:
                continue
            layers = [str(layer) for layer in attention.layers]
            for chosen in [*layers, *(f"{layer}.{head}" for layer, head in attention.heads)]:
                if (number, chosen) in self.kept:  # asked for, and so in it already
                    continue
                before = dict(self.pack.entries)
                self.sweep(number, attention, chosen)
                if not self._all_of(number, attention, chosen):
                    self.pack.entries = before
                    self.kept.pop((number, chosen), None)
                    return

    def _all_of(self, number: int, attention: AttentionLayers, chosen: str) -> bool:
        told: dict[str, Any] = {"attention": number, "slice": chosen}
        done = [self._put("received", level=level, **told) for level in LEVELS[1:]]
        done += [self._rows(number, attention, chosen, level, KEEP[2]) for level in self.levels(attention)]
        done += [self._tiles(number, attention, chosen, 0, reduce) for reduce in ("mean", "max")]
        return all([*done, self._between(number, attention, chosen)])

    def _words_of_documents(self) -> None:
        for number, attention, chosen in self._all():
            for direction, side in (("from", attention.queries), ("to", attention.keys)):
                if side.count("document") <= COLUMNS_OF_DOCUMENTS and weights(attention) <= CHEAP:
                    for place in range(side.count("document")):
                        given: dict[str, Any] = {"attention": number, "slice": chosen, "place": place}
                        self._put("row", level="document", by="word", direction=direction, **given)


def _rows_question(number: int, chosen: str, level: str, direction: str) -> Question:
    given = {"attention": number, "slice": chosen, "level": level, "by": level, "direction": direction}
    return Question.of("rows", given)
