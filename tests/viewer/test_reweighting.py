"""Weights, weights without sinks and weights by value norm, in every kind of answer, against float64."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import limelight as ll
from limelight.errors import InputError, TooLargeError
from limelight.text.segments import Segments
from limelight.viewer.builders.from_look import with_special
from limelight.viewer.builders.from_matrices import build_subject
from limelight.viewer.compute.attention_layers import AttentionLayers
from limelight.viewer.compute.reweighting import weighed
from limelight.viewer.protocol.requests import WEIGHS
from limelight.viewer.protocol.responses import from_bytes
from limelight.viewer.subject import NotReadyError, Subject
from tests.viewer import cases
from tests.viewer.cases import ask
from tests.viewer.valued import (
    HEADS,
    KEY_HEADS,
    NOTHING,
    ONLY_SINK,
    given,
    inputs,
    matrices_of,
    seen,
    subject,
)

SLICES = {"mean": [*range(12)], "2": [*range(6, 12)], "0.4": [4], "0.1,2.5": [1, 11]}
each_slice = pytest.mark.parametrize(
    "chosen", ["mean", "0.1,2.5", *(pytest.param(chosen, marks=pytest.mark.slow) for chosen in ("2", "0.4"))]
)
UNITS = {"weight": "probability", "sink-free": "probability", "value-norm": "value norm"}
CLOSE = {"rtol": 3e-6, "atol": 2e-7}


def told(all_given: dict[int, dict[str, Any]], weigh: str, sinks: list[int]) -> torch.Tensor:
    """(heads of all layers, N, M) float64, from dense float64 weights, as the rule says it."""
    found = []
    for each in all_given.values():
        wide = {name: x.double() if x.is_floating_point() else x for name, x in each.items()}
        weights = ll.AttentionMatrix(**wide).dense()[0]
        if weigh == "sink-free":
            weights[..., sinks] = 0
            sums = weights.sum(-1, keepdim=True)
            weights = torch.where(sums > 0, weights / sums, 0)
        if weigh == "value-norm":
            for head in range(HEADS):
                values = wide["value"][0, head * KEY_HEADS // HEADS]
                weights[head] *= (values**2).sum(-1) ** 0.5
        found.append(weights)
    return torch.cat(found)


def pooled(weights_XNM: torch.Tensor, attention: AttentionLayers, rows: str, columns: str) -> np.ndarray:
    """Units by units: MEAN over the queries of a unit that see anything, SUM over its keys, mean over the heads."""
    looking = [n for n in range(attention.N) if attention.kind == "cross" or n != NOTHING]
    table = np.zeros((attention.queries.count(rows), attention.keys.count(columns)))
    mean = weights_XNM.mean(0).numpy()
    members = np.zeros((table.shape[1], attention.M))
    for q, of_unit in enumerate(members):
        of_unit[attention.keys.tokens_of(columns, q)] = 1.0
    for p in range(table.shape[0]):
        queries = [n for n in attention.queries.tokens_of(rows, p) if n in looking]
        if queries:
            table[p] = members @ mean[queries].mean(0)
    return table


@each_slice
@pytest.mark.parametrize("weigh", WEIGHS)
@pytest.mark.parametrize(("level", "by"), [("word", "word"), ("token", "token"), ("document", "word")])
def test_rows_and_columns(weigh: str, level: str, by: str, chosen: str) -> None:
    about, (attention,) = subject(), subject().attentions
    weights = told(given(), weigh, [0])[SLICES[chosen]]
    there, back = pooled(weights, attention, level, by), pooled(weights, attention, by, level)
    for place in {*range(0, len(there), 7), 0, len(there) - 1}:
        asked = {"slice": chosen, "level": level, "by": by, "place": place, "weigh": weigh}
        found = ask(about, "row", **asked)
        np.testing.assert_allclose(found.arrays["values"], there[place], **CLOSE)
        assert found.head["unit"] == UNITS[weigh]
        received = ask(about, "row", direction="to", **asked)
        np.testing.assert_allclose(received.arrays["values"], back[:, place], **CLOSE)
    assert ("sinks" in found.head["how"]) is (weigh == "sink-free")
    assert ("‖α·v‖" in found.head["how"]) is (weigh == "value-norm")


def test_a_query_that_sees_only_the_sink_or_nothing_has_nothing_without_sinks() -> None:
    for place in (0, ONLY_SINK, NOTHING):
        row = ask(subject(), "row", level="token", by="token", place=place, weigh="sink-free")
        assert not row.arrays["values"].any()
    other = ask(subject(), "row", level="token", by="token", place=NOTHING + 1, weigh="sink-free")
    assert other.head["total"] == pytest.approx(1, abs=1e-6)


@each_slice
@pytest.mark.parametrize("weigh", WEIGHS)
def test_received(weigh: str, chosen: str) -> None:
    about, (attention,) = subject(), subject().attentions
    queries = seen(attention.N, attention.M).sum(0).numpy()
    for level in ("token", "word", "document"):
        mean_M = told(given(), weigh, [0])[SLICES[chosen]].mean(0).sum(0).numpy()
        found = ask(about, "received", slice=chosen, level=level, weigh=weigh)
        for name, each_M in (("raw", mean_M), ("per_query", mean_M / np.maximum(queries, 1))):
            wanted = [
                each_M[attention.keys.tokens_of(level, unit)].sum()
                for unit in range(attention.keys.count(level))
            ]
            np.testing.assert_allclose(found.arrays[name], wanted, rtol=3e-6, atol=1e-6)
        assert found.head["unit_per_query"] == UNITS[weigh]
        assert found.head["unit_raw"] == ("value norm" if weigh == "value-norm" else "tokens")
        whole = found.arrays["raw"].sum() + found.head["elsewhere"]
        assert whole == pytest.approx(mean_M.sum(), rel=1e-5)


@each_slice
@pytest.mark.parametrize("weigh", WEIGHS)
def test_documents_by_documents_and_the_strongest(weigh: str, chosen: str) -> None:
    about, (attention,) = subject(), subject().attentions
    weights = told(given(), weigh, [0])[SLICES[chosen]]
    for rows, columns in (("document", "document"), ("sentence", "word")):
        found = ask(about, "between", slice=chosen, rows=rows, columns=columns, weigh=weigh)
        np.testing.assert_allclose(found.arrays["values"], pooled(weights, attention, rows, columns), **CLOSE)
    table = pooled(weights, attention, "word", "word")
    for direction, lines in (("from", table), ("to", table.T)):
        found = ask(about, "rows", slice=chosen, direction=direction, weigh=weigh)
        _, arrays = from_bytes(found.to_bytes())
        kept = arrays["value"]
        np.testing.assert_allclose(kept, -np.sort(-lines, axis=1)[:, : kept.shape[1]], **CLOSE)
        assert found.head["unit"] == UNITS[weigh]


@pytest.mark.slow
@pytest.mark.parametrize("weigh", WEIGHS)
@pytest.mark.parametrize("reduce", ["mean", "max"])
def test_tiles_at_every_zoom(weigh: str, reduce: str) -> None:
    N = 557
    layers = {0: inputs(N, N, 5) | {"mask": seen(N, N)}}
    about = build_subject(matrices_of(layers))
    weights = told(layers, weigh, [0]).numpy()
    for chosen, heads in (("mean", [*range(HEADS)]), ("0.4", [4])):
        for zoom, row, column in ((0, 0, 0), (1, 1, 0), (2, 0, 0), (2, 2, 1)):
            step = 4 >> zoom
            side = 256 * step
            found = ask(
                about, "tile", slice=chosen, zoom=zoom, row=row, column=column, reduce=reduce, weigh=weigh
            )
            part = weights[heads, row * side : (row + 1) * side, column * side : (column + 1) * side]
            np.testing.assert_allclose(found.arrays["cells"], reduced(part, step, reduce), **CLOSE)
            assert found.head["unit"] == UNITS[weigh]


def reduced(part: np.ndarray, step: int, reduce: str) -> np.ndarray:
    rows, columns = (range(0, size, step) for size in part.shape[1:])
    join, each = (np.maximum, part.max(0)) if reduce == "max" else (np.add, part.mean(0))
    whole = np.add.reduceat(np.add.reduceat(np.ones_like(each), rows, 0), columns, 1)
    cells: np.ndarray = join.reduceat(join.reduceat(each, rows, 0), columns, 1)
    return cells if reduce == "max" else cells / whole


@cache
def across() -> tuple[Subject, dict[int, dict[str, Any]], list[int]]:
    """Cross-attention of 19 queries to 31 keys, of which the first and the last two are special."""
    spans = [(3 * token, 3 * token + 2) for token in range(28)]
    keys = with_special("text", Segments.from_spans("ab " * 28, spans), before=1, after=2)
    queries = with_special("answer", Segments.from_spans("ab " * 19, spans[:19]))
    layers = {1: inputs(19, 31, 8)}
    attention = AttentionLayers("cross-attention", "cross", queries, keys, matrices_of(layers))
    return Subject("Across", [attention]), layers, [0, 29, 30]


@pytest.mark.parametrize("weigh", WEIGHS)
def test_special_tokens_are_the_sinks_of_cross_attention(weigh: str) -> None:
    about, layers, sinks = across()
    weights = told(layers, weigh, sinks)
    table = pooled(weights, about.attentions[0], "token", "token")
    tile = ask(about, "tile", zoom=0, row=0, column=0, weigh=weigh).arrays["cells"]
    np.testing.assert_allclose(tile, table, **CLOSE)
    row = ask(about, "row", level="token", by="token", place=17, weigh=weigh)
    np.testing.assert_allclose(row.arrays["values"], table[17], **CLOSE)
    raw = ask(about, "received", level="token", weigh=weigh).arrays["raw"]
    np.testing.assert_allclose(raw, table.sum(0), **CLOSE)


def test_each_way_is_offered_where_it_says_something() -> None:
    def weighs(about: Subject) -> list[str]:
        return ask(about, "about").head["attentions"][0]["weighs"]

    assert weighs(subject()) == ["weight", "sink-free", "value-norm"]
    assert weighs(cases.subject()) == ["weight", "sink-free"]  # made without values
    reading = ll.attention_between(cases.matrices(), cases.context().segments, "document", "document")
    assert weighs(build_subject(reading)) == ["weight"]
    with pytest.raises(InputError, match="made without values"):
        ask(cases.subject(), "row", place=0, weigh="value-norm")
    with pytest.raises(InputError, match="no sinks"):
        ask(build_subject(reading), "between", weigh="sink-free")
    with pytest.raises(InputError, match="weigh must be one of"):
        ask(subject(), "received", weigh="colour")


def test_before_the_walk_rows_are_told_and_tiles_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limelight.viewer.subject.FREE_WORK", 2**10)
    about = build_subject(matrices_of(given()), cases.context())
    weights = told(given(), "sink-free", [0])
    row = ask(about, "row", level="token", by="token", place=40, weigh="sink-free")
    np.testing.assert_allclose(row.arrays["values"], weights.mean(0)[40], **CLOSE)
    place = {"zoom": 0, "row": 0, "column": 0}
    for kind, asked in (("received", {}), ("row", {"place": 1, "direction": "to"}), ("tile", place)):
        with pytest.raises(NotReadyError):
            ask(about, kind, weigh="sink-free", **asked)
    ask(about, "tile", weigh="value-norm", **place)  # a number a key is all that it needs
    reweighting = weighed(about.attentions[0], "sink-free", {}).reweightings[2]
    matrix, some, rows, columns = about.attentions[0].layers[2], slice(1, 3), slice(5, 40), slice(2, 9)
    block = reweighting.apply(
        matrix[0, some, rows, columns], some, rows, columns, lambda rows: matrix[0, some, rows, :]
    )
    np.testing.assert_allclose(block, weights[7:9, rows, columns], **CLOSE)


def test_a_tile_of_too_much_says_to_zoom_in_and_what_is_asked_can_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("limelight.viewer.compute.tiles.MOST_WEIGHED", 1000)
    for weigh in ("sink-free", "value-norm"):
        with pytest.raises(TooLargeError, match="Zoom in"):
            ask(subject(), "tile", zoom=0, row=0, column=0, weigh=weigh)
    assert ask(subject(), "tile", zoom=0, row=0, column=0).arrays["cells"].any()

    def stop() -> None:
        raise InputError("enough")

    from limelight.viewer.protocol.requests import Question

    for kind, asked in (("received", {}), ("row", {"place": 1, "direction": "to"}), ("between", {})):
        with pytest.raises(InputError, match="enough"):
            subject().answer(Question.of(kind, {"weigh": "sink-free", **asked}), stop)
