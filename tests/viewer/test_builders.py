"""Subjects out of looks, watches and models: the right sides, the right rows, steps and process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import limelight as ll
from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.looking.documents import look_documents
from limelight.looking.limelight_reader import OwnReader
from limelight.looking.look import look
from limelight.modules.model_io import build
from limelight.modules.recurrent import RecurrentConfig
from limelight.viewer.builders.from_look import (
    ENDS,
    RecordingReader,
    of_documents,
    reading_with,
    slice_text,
    subject_from_look,
)
from limelight.viewer.builders.from_matrices import build_subject
from limelight.viewer.compute.token_axis import TokenAxis
from limelight.viewer.subject import Subject
from tests.examples import mostly_slow
from tests.recipes import small
from tests.viewer.cases import ask


def predictor(task: str) -> ll.Predictor:
    return ll.Predictor.load(small.trained(task)[2] / "out")


def words_of(about: Subject, side: int) -> tuple[str, ...]:
    return about.sides[side].groups("word").names


def test_a_translation_shows_the_numbers_of_its_alignment() -> None:
    made = predictor("translate")
    [seen] = look(made, ["red cats sing now"])
    about = subject_from_look(made, seen)
    assert [attention.name for attention in about.attentions] == ["cross-attention", "encoder", "decoder"]
    assert seen.alignment is not None
    cross = about.attentions[0]
    for place in range(len(seen.alignment.targets)):
        row = ask(about, "row", place=place, slice=cross.start)
        np.testing.assert_allclose(row.arrays["values"], seen.alignment.raw.values[place], atol=1e-6)
        assert row.head["elsewhere"] == pytest.approx(seen.alignment.elsewhere.values[place], abs=1e-6)
    assert words_of(about, 0) == seen.alignment.targets
    assert words_of(about, 1) == seen.alignment.sources
    assert about.sides[0].labels == {len(about.sides[0]) - 1: ENDS}
    received = ask(about, "received", slice=cross.start).arrays["raw"]
    assert received.shape == seen.alignment.received().values.shape


def test_steps_are_what_the_model_would_have_written() -> None:
    made = predictor("translate")
    [seen] = look(made, ["red cats sing now"])
    steps = ask(subject_from_look(made, seen), "steps").head["steps"]
    answer = seen.prediction
    assert len(steps) == len(answer.target_ids) + 1
    total = sum(np.log(step["probability"]) for step in steps)
    assert total == pytest.approx(answer.log_probability, abs=1e-3)
    for place, step in enumerate(steps):
        assert step["place"] == place
        shares = [share for _, share in step["candidates"]]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1 + 1e-9
        assert [step["text"], step["probability"]] in step["candidates"]
    assert steps[-1]["text"] == ENDS


def test_a_language_model_is_read_by_what_it_predicts() -> None:
    made = predictor("language")
    [seen] = look(made, ["the light"])
    about = subject_from_look(made, seen)
    [attention] = about.attentions
    assert seen.alignment is not None
    names = about.sides[0].groups("word").names
    first = len(names) - len(seen.alignment.targets)
    for place, name in enumerate(seen.alignment.targets):
        assert names[first + place] == name
        row = ask(about, "row", place=first + place, slice=attention.start).arrays["values"]
        np.testing.assert_allclose(row, seen.alignment.raw.values[place][: len(row)], atol=1e-6)
    steps = ask(about, "steps").head["steps"]
    assert steps[0]["place"] == len(seen.prediction.source_ids)
    assert about.sides[0].segments.spans[steps[0]["place"]] != (0, 0)


def test_a_classifier_has_an_encoder_and_no_steps() -> None:
    made = predictor("classify")
    [seen] = look(made, ["what a good day"])
    about = subject_from_look(made, seen)
    assert [attention.name for attention in about.attentions] == ["encoder"]
    received = ask(about, "received", slice=about.attentions[0].start).arrays["per_query"]
    np.testing.assert_allclose(received, seen.received.values, atol=1e-6)
    assert not ask(about, "about").head["has"]["steps"]


def test_the_process_is_that_of_explain() -> None:
    made = predictor("translate")
    [seen] = look(made, ["red cats sing now"])
    about = subject_from_look(made, seen)
    first = ask(about, "process").head["explanation"]
    assert first["text"] == "red cats sing now"
    assert all(stage["check"]["ok"] for stage in first["stages"])
    other = ask(about, "process", token="cats", layer="0", head="1").head["explanation"]
    assert any("cats" in sentence for sentence in other["choice"])


def test_documents_show_what_the_answer_looked_at() -> None:
    kept = RecordingReader(OwnReader(predictor("language"), "small"))
    documents = {"a": "the light falls on every word", "b": "every word on the light ."}
    seen = look_documents(kept.reader, documents, "the light", answer_tokens=3)
    about = of_documents(kept, seen)
    run = kept.first
    assert run is not None
    assert [attention.name for attention in about.attentions] == ["answer", "self-attention"]
    place = 1 if run.answer is None else run.rows[0]
    values = ask(about, "row", level="token", by="document", place=place).arrays["values"]
    alone = ll.attention_to_units(run.layers, run.context.segments, [place]).documents
    np.testing.assert_allclose(values, alone.values, atol=1e-6)
    table = ask(about, "between", attention=1).arrays["values"]
    assert seen.table is not None
    np.testing.assert_allclose(table, seen.table.values, atol=1e-6)


@pytest.mark.parametrize("attention", mostly_slow(["luong", "bahdanau"], "luong"))
def test_a_recurrent_translator_has_a_page_of_its_cross_attention(attention: str) -> None:
    saved = predictor("translate").saved
    shape = RecurrentConfig("lstm", attention, 8, 1, 1, dropout=0.0)  # type: ignore[arg-type]
    model = build("recurrent", shape, len(saved.source), len(saved.target), saved.shared, 0)
    made = ll.Predictor(replace(saved, model=model.eval(), prediction={}))
    [seen] = look(made, ["red cats"])
    about = subject_from_look(made, seen)
    assert [attention.name for attention in about.attentions] == ["cross-attention"]
    kept = RecordingReader(OwnReader(made, "recurrent"))
    found = look_documents(kept.reader, {"a": "red cats", "b": "now here"}, "red ?", answer_tokens=3)
    assert [attention.name for attention in of_documents(kept, found).attentions] == ["cross-attention"]


def test_a_page_begins_with_a_table_of_several_units() -> None:
    query = torch.randn(1, 1, 6, 3)
    matrix = ll.AttentionMatrix(query, query)
    places = [(0, 3), (4, 7), (7, 8), (9, 12), (13, 16), (16, 17)]
    for text, names, level in (
        ("One two. And now.", None, "sentence"),
        ("One two, and now.", None, "word"),
        ("One two. And now.", ["a", "b"], "document"),
    ):
        documents = [(0, 8), (9, 17)] if names else None
        segments = ll.Segments.from_spans(text, places, names=names, documents=documents)
        about = build_subject(matrix, segments)
        assert about.attentions[0].between == (level, level)
        told = ask(about, "about").head["attentions"][0]["between"]
        assert told == {"rows": level, "columns": level}
        table = ask(about, "between", **told).arrays["values"]
        np.testing.assert_allclose(
            table, ll.attention_between({0: matrix}, segments, level, level).values, atol=1e-6
        )
    [numbers] = build_subject(matrix).attentions
    assert numbers.between == ("word", "word")


def test_a_line_is_answered_and_a_text_is_read() -> None:
    read = reading_with(OwnReader(predictor("translate"), "small"), answer_tokens=4)
    assert read({"text 1": "red cats"}, None).steps
    two = read({"a": "red cats", "b": "now here"}, None)
    assert not two.steps
    assert two.sides[1].groups("document").names == ("a", "b")


def test_what_a_watch_has_seen_is_grouped_by_what_belongs_together() -> None:
    model = predictor("translate").model
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with ll.watch(model) as seen, torch.no_grad():
        model(ids, ids[:, :3])
    about = build_subject(seen, queries=["one", "two", "three"], text=list("abcde"))
    told = {(each.kind, each.N, each.M): each for each in about.attentions}
    assert set(told) == {("self", 5, 5), ("self", 3, 3), ("cross", 3, 5)}
    assert told["self", 3, 3].queries.groups("token").names == ("one", "two", "three")
    assert told["cross", 3, 5].keys.groups("token").names == tuple("abcde")
    row = ask(
        about,
        "row",
        attention=about.attentions.index(told["cross", 3, 5]),
        level="token",
        by="token",
        place=2,
    )
    matrix = next(call.matrix for call in seen if call.kind == "cross")
    np.testing.assert_allclose(row.arrays["values"], matrix[0, :, 2].mean(0), atol=1e-6)
    assert "cross_attention" in told["cross", 3, 5].names[0]


def test_texts_that_do_not_fit_are_refused() -> None:
    matrix = ll.AttentionMatrix(torch.randn(1, 1, 3, 2), torch.randn(1, 1, 5, 2))
    assert [len(side) for side in build_subject(matrix).sides] == [3, 5]
    with pytest.raises(ShapeError, match="each of the matrix's 5 keys"):
        build_subject(matrix, list("abcd"))


def names(side: TokenAxis) -> tuple[str, ...]:
    return side.groups("token").names


def test_queries_that_are_given_are_shown_whatever_their_number() -> None:
    query, key = torch.randn(2, 1, 1, 4, 3)
    english, german = ("the", "cat", "sat", "."), ("die", "Katze", "saß", ".")
    for rows in (4, 3):
        [attention] = build_subject(
            ll.AttentionMatrix(query[:, :, :rows], key), english, german[:rows]
        ).attentions
        assert (attention.kind, names(attention.queries), names(attention.keys)) == (
            "cross",
            german[:rows],
            english,
        )
    square = ll.AttentionMatrix(query, key)
    [attention] = build_subject(square, queries=german).attentions
    assert (names(attention.queries), names(attention.keys)) == (german, ("0", "1", "2", "3"))
    [attention] = build_subject(square, english).attentions
    assert (attention.kind, attention.queries) == ("self", attention.keys)


def test_a_text_that_belongs_to_no_matrix_is_refused() -> None:
    query = torch.randn(1, 1, 4, 3)
    square = ll.AttentionMatrix(query, query)
    with pytest.raises(ShapeError, match="The queries must .* 4 × 4.*got 1"):
        build_subject(square, list("abcd"), ["die"])
    with pytest.raises(ShapeError, match="The queries must .*got 3"):
        build_subject(square, queries=list("abc"))
    model = predictor("translate").model
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with ll.watch(model) as seen, torch.no_grad():
        model(ids, ids)
    about = build_subject(seen, list("abcde"), list("vwxyz"))
    [cross] = [each for each in about.attentions if each.kind == "cross"]
    assert (names(cross.queries), names(cross.keys)) == (tuple("vwxyz"), tuple("abcde"))
    with pytest.raises(ShapeError, match="The queries must .*got 2"):
        build_subject(seen, list("abcde"), list("vw"))
    reading = ll.Reading(np.ones(2), ("word",), (("a", "b"),), "probability", "By hand.")
    for given in ({"text": ["a", "b"]}, {"queries": ["a"]}, {"batch": 1}):
        with pytest.raises(InputError, match="its own labels"):
            build_subject(reading, **given)


def test_one_text_of_a_batch_is_shown_and_named() -> None:
    query, key = torch.randn(2, 3, 2, 5, 4)
    matrix = ll.AttentionMatrix(query, key)
    for place in (0, 2):
        about = build_subject(matrix, batch=place)
        assert ask(about, "about").head["attentions"][0]["note"] == f"Text {place + 1} of 3 of the batch."
        row = ask(about, "row", level="token", by="token", place=1).arrays["values"]
        np.testing.assert_allclose(row, matrix[place, :, 1].mean(0), atol=1e-6)
        received = ask(about, "received", level="token").arrays["raw"]
        np.testing.assert_allclose(received, matrix.dense()[place].mean(0).sum(0), atol=1e-6)
    assert build_subject(ll.AttentionMatrix(query[:1], key[:1])).attentions[0].note == ""
    for batch in (3, -1):
        with pytest.raises(ShapeError, match="one of the 3 texts"):
            build_subject(matrix, batch=batch)


@pytest.mark.parametrize("shape", [(1, 2, 0, 5), (1, 2, 5, 0), (1, 2, 0, 0), (1, 0, 5, 5), (0, 2, 5, 5)])
def test_where_nothing_looks_there_is_no_page(shape: tuple[int, ...]) -> None:
    B, H, N, M = shape
    with pytest.raises(ShapeError, match=f"{B} texts, {H} heads, {N} queries and {M} keys"):
        build_subject(ll.AttentionMatrix(torch.randn(B, H, N, 3), torch.randn(B, H, M, 3)))


def test_a_reading_of_nothing_is_no_page() -> None:
    reading = ll.Reading(np.ones(2), ("word",), (("a", "b"),), "probability", "By hand.")
    with pytest.raises(ShapeError, match="1 queries and 0 keys"):
        build_subject(ll.Reading(np.ones(0), ("word",), ((),), "probability", "By hand."))
    with pytest.raises(ShapeError, match="this one has none"):
        build_subject(reading.at("word", 0))


def test_matrices_stand_under_layers_or_names() -> None:
    query = torch.randn(1, 1, 4, 3)
    matrix = ll.AttentionMatrix(query, query)
    about = build_subject({"encoder.0.attn": matrix, "encoder.1.attn": matrix, "decoder.0.attn": matrix})
    told = [(each.name, dict(each.names)) for each in about.attentions]
    assert told == [
        ("encoder self-attention", {0: "encoder.0.attn", 1: "encoder.1.attn"}),
        ("decoder self-attention", {0: "decoder.0.attn"}),
    ]
    assert list(build_subject({np.int64(2): matrix, 5: matrix}).attentions[0].layers) == [2, 5]
    for odd, said in (({0: 1}, "at 0 is int"), ({"a": query}, "at 'a' is Tensor"), ([matrix, 3], "at 1 is")):
        with pytest.raises(ArgumentTypeError, match=said):
            build_subject(odd)
    for key in (-1, 0.5, None, (0, 1)):
        with pytest.raises(ArgumentTypeError, match="number from 0, or by its name"):
            build_subject({key: matrix})


def test_heads_are_written_as_a_slice() -> None:
    assert slice_text([(3, 5), (4, 1)]) == "3.5,4.1"
    assert slice_text([(4, 1)], [3]) == "3,4.1"
