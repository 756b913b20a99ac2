"""Every number of an answer is that of the Reading, or of the plain truth in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import limelight as ll
from limelight.errors import InputError, LimelightError
from limelight.matrix import reference as truth
from limelight.readings.token_groups import Groups
from limelight.readings.words import average_heads, received_words, word_attention
from limelight.viewer.builders.from_matrices import build_subject
from limelight.viewer.protocol.requests import LEVELS, Question
from limelight.viewer.protocol.responses import from_bytes
from limelight.viewer.serve.worker import JobCancelledError
from limelight.viewer.subject import NotReadyError
from tests.viewer import cases
from tests.viewer.cases import ask

SLICES: dict[str, Any] = {
    "mean": None,
    "2": [(2, 0), (2, 1), (2, 2)],
    "0.1": [(0, 1)],
    "0.2,2.0": [(0, 2), (2, 0)],
}
CLOSE = {"rtol": 2e-6, "atol": 2e-7}


def groups(level: str) -> Groups:
    segments = cases.context().segments
    return cases.subject().sides[0].groups("token") if level == "token" else Groups.of(segments, level)  # type: ignore[arg-type]


def truth_of(heads: Any) -> torch.Tensor:
    """(heads, N, M) float64."""
    found = []
    for layer, matrix in cases.matrices().items():
        inputs = matrix._scores
        weights = truth.attention(
            inputs.q_BHND, inputs.k_BGMD, torch.zeros(1, cases.HEADS, inputs.M, 1), mask=ll.masks.causal()
        ).weights_BHNM[0]
        found += [weights[head] for head in range(cases.HEADS) if heads is None or (layer, head) in heads]
    return torch.stack(found)


@pytest.mark.parametrize("chosen", SLICES)
@pytest.mark.parametrize(
    ("level", "by"),
    [
        ("word", "word"),
        ("sentence", "word"),
        ("document", "sentence"),
        ("word", "document"),
        ("token", "word"),
    ],
)
def test_a_row_is_that_of_the_reading(chosen: str, level: str, by: str) -> None:
    queries, keys = groups(level), groups(by)
    heads = SLICES[chosen]
    reading = average_heads(word_attention(cases.matrices(), queries, keys, heads))
    back = average_heads(word_attention(cases.matrices(), keys, queries, heads))
    for place in range(0, len(queries), 5):
        given = {"slice": chosen, "level": level, "by": by, "place": place}
        found = ask(cases.subject(), "row", **given)
        np.testing.assert_allclose(found.arrays["values"], reading.values[place], **CLOSE)
        assert found.head["total"] + found.head["elsewhere"] == pytest.approx(1, abs=1e-5)
        received = ask(cases.subject(), "row", direction="to", **given)
        np.testing.assert_allclose(received.arrays["values"], back.values[:, place], **CLOSE)
        assert received.head["elsewhere"] is None
    assert found.head["how"] == reading.how or len(heads or ()) != 1


@pytest.mark.parametrize("chosen", SLICES)
def test_received_is_that_of_the_reading(chosen: str) -> None:
    for level in ("word", "document"):
        reading = received_words(cases.matrices(), groups(level), SLICES[chosen])
        found = ask(cases.subject(), "received", slice=chosen, level=level)
        np.testing.assert_allclose(found.arrays["raw"], average_heads(reading.raw).values, rtol=2e-6)
        np.testing.assert_allclose(
            found.arrays["per_query"], average_heads(reading.per_query).values, **CLOSE
        )
        outside = average_heads(reading.elsewhere).values
        assert found.head["elsewhere"] == pytest.approx(float(outside), rel=1e-5)
        assert found.arrays["raw"].sum() + outside == pytest.approx(len(cases.context().ids), rel=1e-5)


def test_numbers_of_heads_are_those_of_the_atlas() -> None:
    atlas = ll.atlas(cases.matrices(), cases.context().ids)
    for name, reading in atlas.readings.items():
        found = ask(cases.subject(), "heads", measure=name)
        np.testing.assert_allclose(found.arrays["values"], reading.values, rtol=2e-6, atol=1e-7)
        assert found.head["unit"] == reading.unit
    assert (found.head["low"], found.head["high"]) == (
        found.arrays["values"].min(),
        found.arrays["values"].max(),
    )


def test_agreement_is_one_where_all_heads_look_alike() -> None:
    query, key = torch.randn(2, 1, 1, 61, 7)
    alike = ll.AttentionMatrix(query.expand(1, 3, -1, -1), key.expand(1, 3, -1, -1))
    np.testing.assert_allclose(
        ask(build_subject(alike), "heads", measure="agreement").arrays["values"], 1, rtol=1e-6
    )
    values = ask(cases.subject(), "heads", measure="agreement").arrays["values"]
    assert (values > 0).all()
    assert (values < 1).all()


def test_documents_by_documents_are_those_of_between() -> None:
    segments = cases.context().segments
    for rows, columns in (("document", "document"), ("sentence", "document"), ("document", "word")):
        reading = ll.attention_between(cases.matrices(), segments, rows, columns)  # type: ignore[arg-type]
        found = ask(cases.subject(), "between", rows=rows, columns=columns)
        np.testing.assert_allclose(found.arrays["values"], reading.values, **CLOSE)
        assert found.head["how"] == reading.how.replace(
            reading.how.split(". ")[1], found.head["how"].split(". ")[1]
        )


@pytest.mark.parametrize("chosen", SLICES)
@pytest.mark.parametrize("level", LEVELS)
def test_the_strongest_are_the_strongest_and_the_rest_adds_up(chosen: str, level: str) -> None:
    for direction in ("from", "to"):
        given = {"slice": chosen, "level": level, "by": level, "direction": direction}
        found = ask(cases.subject(), "rows", **given)
        _, arrays = from_bytes(found.to_bytes())
        U, V, k = (found.head[name] for name in ("units", "others", "kept"))
        assert k == min(32, V)
        rest = found.scales["rest"].decode(arrays["rest"]) if k < V else np.zeros((U, 1))
        for unit in range(0, U, 7):
            values = ask(cases.subject(), "row", place=unit, **given).arrays["values"]
            there = arrays["place"][unit] != np.iinfo(arrays["place"].dtype).max
            places, kept = arrays["place"][unit][there], arrays["value"][unit][there]
            np.testing.assert_allclose(kept, values[places], **CLOSE)
            assert (np.diff(kept) <= 0).all()
            left = np.delete(values, places)
            assert left.max(initial=0) <= kept.min(initial=1) + 1e-6
            assert rest[unit].sum() == pytest.approx(left.sum(), rel=0.05, abs=1e-6)


@pytest.mark.parametrize("chosen", SLICES)
def test_the_deepest_tile_is_the_matrix(chosen: str) -> None:
    weights = truth_of(SLICES[chosen]).numpy()
    for reduce, wanted in (("mean", weights.mean(0)), ("max", weights.max(0))):
        found = ask(cases.subject(), "tile", slice=chosen, zoom=0, row=0, column=0, reduce=reduce)
        np.testing.assert_allclose(found.arrays["cells"], wanted, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(found.arrays["seen"], 255 * np.tri(len(weights[0]), dtype=np.uint8))


def test_tiles_are_reductions_of_blocks_at_every_zoom() -> None:
    about, matrix = cases.large()
    weights = matrix.dense()[0].double().numpy()
    assert about.attentions[0].deepest == 2
    for zoom, step in ((0, 4), (1, 2), (2, 1)):
        for chosen, heads in (("mean", [0, 1]), ("0.1", [1])):
            for reduce in ("mean", "max"):
                for row in range(-(-len(weights[0]) // (256 * step))):
                    column = row // 2
                    found = ask(about, "tile", slice=chosen, zoom=zoom, row=row, column=column, reduce=reduce)
                    side = 256 * step
                    part = weights[heads, row * side : (row + 1) * side, column * side : (column + 1) * side]
                    wanted = reduced(part, step, reduce)
                    np.testing.assert_allclose(found.arrays["cells"], wanted, rtol=3e-6, atol=1e-9)


def reduced(part: np.ndarray, step: int, reduce: str) -> np.ndarray:
    """Cells of step × step, the last ones of what is left."""
    rows, columns = (range(0, size, step) for size in part.shape[1:])
    if reduce == "max":
        return np.maximum.reduceat(np.maximum.reduceat(part.max(0), rows, 0), columns, 1)
    sums = [
        np.add.reduceat(np.add.reduceat(each, rows, 0), columns, 1)
        for each in (part.mean(0), np.ones_like(part[0]))
    ]
    return sums[0] / sums[1]


def test_kept_tiles_and_computed_tiles_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, _ = cases.large()
    kept.read()
    monkeypatch.setattr("limelight.viewer.compute.first_pass.MAP_BYTES", 4 * 2 * 2 * 200 * 200)
    computed, _ = cases.large()
    computed.read()
    assert (kept.summaries(0)[0].zoom, computed.summaries(0)[0].zoom) == (2, 0)
    for reduce in ("mean", "max"):
        for zoom, row, column in ((1, 1, 0), (1, 0, 0), (2, 2, 1), (2, 0, 2)):
            given = {"zoom": zoom, "row": row, "column": column, "reduce": reduce}
            first, second = (ask(about, "tile", **given).arrays for about in (kept, computed))
            np.testing.assert_allclose(first["cells"], second["cells"], rtol=3e-6, atol=1e-9)
            assert ("seen" in first) == ("seen" in second)
            np.testing.assert_array_equal(first.get("seen"), second.get("seen"))


def test_thumbs_are_the_matrix_from_afar() -> None:
    about, matrix = cases.large()
    found = ask(about, "thumbs")
    cells = found.scales["cells"].decode(found.arrays["cells"])[0]
    edges = np.arange(33) * 557 // 32
    weights = matrix.dense()[0].double().numpy()
    for head in range(2):
        part = weights[head, edges[20] : edges[21], edges[3] : edges[4]]
        assert cells.shape == (2, 32, 32)
        assert cells[head, 20, 3] == pytest.approx(part.mean(), rel=0.05)


def test_about_counts_as_the_page_does() -> None:
    answer = ask(cases.subject(), "about")
    [side] = answer.head["sides"]
    units = side["text"].encode("utf-16-le")
    segments = cases.context().segments

    def piece(span: Any) -> str:
        return units[2 * span[0] : 2 * span[1]].decode("utf-16-le")

    for token, span in enumerate(answer.arrays["0.token"]):
        assert piece(span) == segments.text[slice(*segments.spans[token])]
    for level in ("word", "sentence"):
        names = Groups.of(segments, level).names  # type: ignore[arg-type]
        assert tuple(piece(span) for span in answer.arrays[f"0.{level}"]) == names
        homes = answer.arrays[f"0.{level}.in"]
        assert {side["documents"][home] for home in homes} == {*cases.TEXTS, "question"}
    assert [tuple(map(piece, answer.arrays["0.document"]))[i] for i in range(3)] == list(cases.TEXTS.values())
    np.testing.assert_array_equal(answer.arrays["0.word.of"], Groups.of(segments, "word").index)


def test_a_reading_shows_its_own_numbers() -> None:
    reading = word_attention(cases.matrices(), groups("word"), groups("word"))
    about = build_subject(average_heads(reading))
    assert about.how == average_heads(reading).how
    for place in (0, 11):
        values = ask(about, "row", level="token", by="token", place=place).arrays["values"]
        np.testing.assert_array_equal(values, average_heads(reading).values[place])
        column = ask(about, "row", level="token", by="token", place=place, direction="to").arrays["values"]
        np.testing.assert_allclose(column, average_heads(reading).values[:, place], rtol=1e-7)
    heads = build_subject(reading)
    assert ask(heads, "heads", measure="entropy").arrays["values"].shape == (1, 6)
    one = reading.at("head", 0).at("query word", 3)
    np.testing.assert_array_equal(
        ask(build_subject(one), "row", level="token", by="token", place=0).arrays["values"], one.values
    )


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        ("nothing", {}, "A question must be one of"),
        ("row", {}, "row needs place"),
        ("row", {"place": "-1"}, "whole number"),
        ("row", {"place": "9" * 12}, "counted from 0"),
        ("row", {"place": "²"}, "whole number"),
        ("row", {"place": 0, "level": "page"}, "level must be one of"),
        ("row", {"place": 0, "slice": "7"}, "no '7'"),
        ("row", {"place": 0, "slice": "0.3"}, "no '0.3'"),
        ("row", {"place": 0, "slice": ""}, "needs slice"),
        ("row", {"place": 0, "attention": 1}, "There are 1 attentions"),
        ("row", {"place": 0, "colour": "red"}, "knows no 'colour'"),
        ("rows", {"by": "token"}, "one level"),
        ("tile", {"zoom": 1, "row": 0, "column": 0}, "zoom is from 0 to 0"),
        ("tile", {"zoom": 0, "row": 1, "column": 0}, "There is no tile"),
        ("heads", {"measure": "beauty"}, "measure must be one of"),
        ("steps", {}, "no steps"),
        ("process", {}, "own models"),
    ],
)
def test_what_there_is_not_is_said(kind: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ask(cases.subject(), kind, **params)


def test_one_question_has_one_key() -> None:
    full = Question.of("row", {"place": "007", "slice": " mean "})
    assert full.key == Question.of("row", {"place": 7}).key
    assert full.key == "row?attention=0&by=word&direction=from&level=word&place=7&slice=mean&weigh=weight"
    assert Question.of("about", {}).key == "about"


def test_what_is_large_waits_for_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limelight.viewer.subject.FREE_WORK", 2**17)
    about, matrix = cases.large()
    for kind, given in (
        ("thumbs", {}),
        ("received", {"level": "word"}),
        ("tile", {"zoom": 0, "row": 0, "column": 0}),
    ):
        with pytest.raises(NotReadyError):
            ask(about, kind, **given)
    row = ask(about, "row", level="token", by="token", place=500).arrays["values"]  # needs no walk
    np.testing.assert_allclose(row, matrix[0, :, 500].mean(0), **CLOSE)
    near = ask(about, "tile", slice="0.0", zoom=2, row=2, column=1).arrays["cells"]
    np.testing.assert_allclose(near, matrix[0, 0, 512:, 256:512], rtol=2e-6)
    assert ask(about, "progress").head["state"] == "reading"
    about.read()
    assert ask(about, "progress").head["state"] == "ready"
    assert ask(about, "thumbs").arrays["cells"].any()


def test_a_walk_can_be_ended_and_goes_on_where_it_was() -> None:
    about = build_subject(cases.matrices(), cases.context())
    calls = []

    def once() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise LimelightError("enough")

    with pytest.raises(LimelightError, match="enough"):
        about.read(once)
    assert ask(about, "progress").head["state"] == "failed"
    assert ask(about, "progress").head["error"] == "enough"
    shares: list[float] = []
    about.read(lambda: shares.append(about.reading.share))
    assert shares == sorted(shares)
    assert shares[-1] > 0.9  # though the mask hides half of it
    assert ask(about, "progress").head["done"] == 1
    same = ask(about, "thumbs").arrays["cells"] == ask(cases.subject(), "thumbs").arrays["cells"]
    assert same.all()


def test_a_walk_over_the_heads_ends_when_nobody_waits_for_it() -> None:
    about = build_subject(cases.matrices(), cases.context())  # fresh: nothing of it was read
    about.read()
    asked = Question.of("heads", {"measure": "induction"})
    called: list[int] = []

    def gone() -> None:
        called.append(1)
        if len(called) > 1:
            raise JobCancelledError("gone")

    with pytest.raises(JobCancelledError):
        about.answer(asked, gone)
    assert len(called) == 2  # before the first layer, and before the second
    found = about.answer(asked).arrays["values"]
    wanted = ll.atlas(cases.matrices(), cases.context().ids)["induction"].values
    np.testing.assert_allclose(found, wanted, atol=1e-6)
