"""Subject: what a page is about, and its answer to every question (see PROTOCOL.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from limelight.errors import InputError, LimelightError
from limelight.readings.words import pooling_rule
from limelight.viewer.compute import head_stats as numbers, reweighting, tiles, unit_rows
from limelight.viewer.compute.about import about
from limelight.viewer.compute.attention_layers import (
    MOST_BETWEEN,
    TILE,
    AttentionLayers,
    heads_by_layer,
)
from limelight.viewer.compute.first_pass import FirstPass, LayerSummary, PassProgress
from limelight.viewer.compute.next_tokens import Step
from limelight.viewer.compute.token_axis import TokenAxis
from limelight.viewer.compute.top_rows import answered, sweep
from limelight.viewer.protocol.requests import Question
from limelight.viewer.protocol.responses import Answer, Scale

KEPT, STRETCHES = 32, 128
"""Of each unit, where a page asks for `rows` without a budget."""
FREE_WORK = 2**28
"""A matrix of so many weights, of all heads and layers, is read at once when it is first needed."""


class NotReadyError(LimelightError):
    """The answer needs the first pass over the whole matrix, which is not at its end."""


@dataclass(eq=False)
class Subject:
    """Texts, the attention between them, and what else is known; immutable but for what was read so far.

    title, model, how   what stands at the top of the page, in words
    attentions          in the order in which the page offers them
    notes               what a reader should know: what was cut …
    steps               of an answer, token by token: what else might have come
    explain             (token, answer token, layer, head) → the tree of `limelight.explain`; None without
    """

    title: str
    attentions: Sequence[AttentionLayers]
    model: str = ""
    how: str = ""
    notes: tuple[str, ...] = ()
    question: str | None = None
    answer_text: str | None = None
    steps: tuple[Step, ...] = ()
    steps_of: int = 0
    explain: Callable[[dict[str, str]], dict[str, Any]] | None = None
    level: str = "word"

    def __post_init__(self) -> None:
        if not self.attentions:
            raise InputError("There is nothing to look at: no attention was given.")
        self.sides: list[TokenAxis] = []
        for attention in self.attentions:
            for side in (attention.queries, attention.keys):
                if side not in self.sides:
                    self.sides.append(side)
        self._first_pass = FirstPass(self.attentions)
        self._weighed: dict[tuple[int, str], AttentionLayers] = {}

    # ---- the first pass -----------------------------------------------------------------

    @property
    def reading(self) -> PassProgress:
        """How far it is."""
        return self._first_pass.reading

    @property
    def ready(self) -> bool:
        """Whether all matrices were read."""
        return self._first_pass.ready

    def read(self, go_on: Callable[[], None] = lambda: None) -> None:
        """Read every matrix, as far as that was not done; `go_on` is called between tiles and may raise."""
        self._first_pass.read(go_on)

    def _summaries(self, place: int) -> dict[int, LayerSummary]:
        """Of one attention; what is small is read now."""
        if not self.ready:
            if self.reading.total > FREE_WORK:
                raise NotReadyError
            self.read()
        return self._first_pass.summaries[place]

    def summaries(self, place: int) -> dict[int, LayerSummary]:
        """What the first pass over one attention has kept, layer by layer."""
        return self._first_pass.summaries[place]

    # ---- answers ----------------------------------------------------------------------------------

    def answer(self, question: Question, go_on: Callable[[], None] = lambda: None) -> Answer:
        """Raises NotReadyError until `read` has ended, where that is needed; InputError for what there is not."""
        made: Answer = getattr(self, f"_{question.kind}")(question, go_on)
        return made

    def attention(self, question: Question) -> AttentionLayers:
        """The one that is asked about, its weights told in the way that is asked for."""
        place = question.number("attention")
        if place >= len(self.attentions):
            raise InputError(f"There are {len(self.attentions)} attentions, counted from 0; got {place}.")
        key = place, question.params.get("weigh", reweighting.PLAIN)
        if key not in self._weighed:
            self._weighed[key] = reweighting.weighed(
                self.attentions[place], key[1], self._first_pass.summaries[place]
            )
        return self._weighed[key]

    def _about(self, question: Question, go_on: Callable[[], None]) -> Answer:
        has = {"steps": bool(self.steps), "process": self.explain is not None}
        head = {
            "title": self.title,
            "model": self.model,
            "how": self.how,
            "level": self.level,
            "notes": list(self.notes),
            "question": self.question,
            "answer": self.answer_text,
        }
        return about(self.sides, self.attentions, has, head)

    def _row(self, question: Question, go_on: Callable[[], None]) -> Answer:
        attention, place = self.attention(question), question.number("attention")
        heads = attention.chosen(question["slice"])
        level, by, direction = question["level"], question["by"], question["direction"]
        unit = level, question.number("place"), by
        if direction == "from":
            found = unit_rows.attends_to(attention, heads, *unit, self._first_pass.summaries[place], go_on)
        else:
            found = unit_rows.receives_from(attention, heads, *unit, self._summaries(place), go_on)
        head = {
            "unit": attention.unit,
            "how": unit_rows.how(attention, level, by, direction, heads),
            "heads": len(heads),
            "total": float(found.values.sum(dtype=np.float64)),
            "elsewhere": found.elsewhere,
        }
        return Answer("row", head, {"values": found.values})

    def _rows(self, question: Question, go_on: Callable[[], None]) -> Answer:
        attention, place = self.attention(question), question.number("attention")
        heads, level, direction = (
            attention.chosen(question["slice"]),
            question["level"],
            question["direction"],
        )
        if question["by"] != level:
            raise InputError("rows are of one level on both sides: by must be the level.")
        summaries = self._summaries(place)
        found = sweep(attention, heads, [level], summaries, KEPT, STRETCHES, heard=lambda entries: go_on())
        return answered(found.strongest[level, direction], attention, heads, level, direction, KEPT)

    def _received(self, question: Question, go_on: Callable[[], None]) -> Answer:
        attention = self.attention(question)
        heads, level = attention.chosen(question["slice"]), question["level"]
        summaries = self._summaries(question.number("attention"))
        index, units = unit_rows.group_index(attention.keys, level), attention.keys.count(level)
        sums = torch.zeros(2, attention.M, dtype=torch.float64)
        for layer, some in heads_by_layer(heads).items():
            pair = unit_rows.received(attention, layer, some, summaries[layer], go_on)
            sums += torch.stack([each_HM.sum(0) for each_HM in pair])
        pooled = torch.zeros(2, units + 1, dtype=torch.float64).index_add_(1, index, sums / len(heads))
        found = dict(zip(("raw", "per_query"), pooled.float().numpy(), strict=True))
        rule = f"Summed over the tokens of a {level}: the weight that all queries together give to the token"
        head = {
            "unit_raw": "tokens" if attention.unit == "probability" else attention.unit,
            "unit_per_query": attention.unit,
            "how": f"{rule}; per query: the mean weight from a query that could see it. {attention.told(heads)}",
            "elsewhere": float(found["raw"][-1]),
        }
        return Answer("received", head, {name: values[:-1].copy() for name, values in found.items()})

    def _heads(self, question: Question, go_on: Callable[[], None]) -> Answer:
        attention = self.attention(question)
        summaries = self._summaries(question.number("attention"))
        values = numbers.values(attention, question["measure"], summaries, go_on)
        measure = next(each for each in numbers.measures(attention) if each.name == question["measure"])
        there = values[np.isfinite(values)]
        low, high = (float(there.min()), float(there.max())) if there.size else (0.0, 0.0)
        return Answer(
            "heads", {"unit": measure.unit, "how": measure.how, "low": low, "high": high}, {"values": values}
        )

    def _thumbs(self, question: Question, go_on: Callable[[], None]) -> Answer:
        attention = self.attention(question)
        cells = numbers.thumbs(attention, self._summaries(question.number("attention")))
        scale = Scale.of(cells)
        head = {"size": numbers.THUMB, "rows": cells.shape[2], "columns": cells.shape[3]}
        return Answer("thumbs", head, {"cells": scale.encode(cells)}, {"cells": scale})

    def _tile(self, question: Question, go_on: Callable[[], None]) -> Answer:
        attention, number = self.attention(question), question.number("attention")
        heads, reduce, place = attention.chosen(question["slice"]), question["reduce"], tile_place(question)
        work = tiles.work(attention, heads, place)
        if not self.ready and self.reading.total <= FREE_WORK:
            self.read()
        kept = self._first_pass.summaries[number]
        if attention.reweightings:
            if (
                any(each.renormalises for each in attention.reweightings.values())
                and work <= tiles.MOST_WEIGHED
            ):
                self._summaries(number)  # or every tile would need whole rows
            found = tiles.exact_tile(attention, heads, place, reduce, go_on)
        elif len(kept) == len(attention.layers) and place.zoom <= next(iter(kept.values())).zoom:
            found = tiles.Map.of(kept, heads, attention, place).tile(attention, heads[0][0], place, reduce)
        elif not self.ready and work > FREE_WORK:
            raise NotReadyError
        else:
            found = tiles.exact_tile(attention, heads, place, reduce, go_on)
        return self.tile_answer(question, found)

    def tile_answer(self, question: Question, found: tiles.Tiled) -> Answer:
        """The cells with what they are."""
        attention, place = self.attention(question), tile_place(question)
        step = attention.step(place.zoom)
        rule = (
            "The largest weight of the cell's entries, over the heads"
            if question["reduce"] == "max"
            else "The mean weight of the cell's entries, those that may not be seen counted as 0"
        )
        told = attention.told(attention.chosen(question["slice"]))
        head = {
            "unit": attention.unit,
            "how": f"{rule}; {step} × {step} tokens a cell. {told}",
            "step": step,
            "first": [place.row * TILE, place.column * TILE],
        }
        return Answer(
            "tile", head, {"cells": found.cells} | ({} if found.seen is None else {"seen": found.seen})
        )

    def _between(self, question: Question, go_on: Callable[[], None]) -> Answer:
        attention, number = self.attention(question), question.number("attention")
        heads, levels = attention.chosen(question["slice"]), (question["rows"], question["columns"])
        P, Q = attention.queries.count(levels[0]), attention.keys.count(levels[1])
        if P * Q > MOST_BETWEEN:
            raise InputError(
                f"A table of {P:,} {levels[0]}s by {Q:,} {levels[1]}s is too large to show; choose coarser units."
            )
        summaries = self._summaries(number)
        table = torch.zeros(P, Q, dtype=torch.float64)
        for place in range(P):
            found = unit_rows.attends_to(attention, heads, levels[0], place, levels[1], summaries, go_on)
            table[place] = torch.from_numpy(found.values)
        sides = attention.queries.groups(levels[0]), attention.keys.groups(levels[1])
        head = {"unit": attention.unit, "how": f"{pooling_rule(*sides)} {attention.told(heads)}"}
        return Answer("between", head, {"values": table.float().numpy()})

    def _steps(self, question: Question, go_on: Callable[[], None]) -> Answer:
        if not self.steps:
            raise InputError("There are no steps: nothing was written here.")
        return Answer("steps", {"attention": self.steps_of, "steps": [step.told() for step in self.steps]})

    def _process(self, question: Question, go_on: Callable[[], None]) -> Answer:
        if self.explain is None:
            raise InputError("The process is there for Limelight's own models.")
        return Answer("process", {"explanation": self.explain(question.params)})

    def _progress(self, question: Question, go_on: Callable[[], None]) -> Answer:
        reading = self.reading
        state = "failed" if reading.error else "ready" if self.ready else "reading"
        seconds = reading.seconds if reading.seconds is not None else time.monotonic() - reading.started
        head = {"state": state, "done": reading.share, "what": reading.what, "seconds": seconds}
        return Answer("progress", head | {"error": reading.error})


def tile_place(question: Question) -> tiles.TileAddress:
    return tiles.TileAddress(*(question.number(name) for name in ("zoom", "row", "column")))
