"""Documents and a question: the tables are right where the attention is known, and where it is random."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from limelight.capture import watch
from limelight.errors import ArgumentTypeError, InputError
from limelight.looking.documents import VIEWS, look_conversation, look_documents
from limelight.looking.documents_look import DocumentsLook
from limelight.looking.documents_render import shown
from limelight.looking.head_atlas import atlas_of
from limelight.looking.hugging_face_reader import HuggingFaceReader
from limelight.looking.limelight_reader import OwnReader
from limelight.modules.model_io import architecture, build
from limelight.modules.recurrent import RecurrentConfig
from limelight.predicting.predictor import Predictor
from limelight.text.segments import Level
from tests.capture import foreign
from tests.looking import constructed
from tests.recipes import small

HEAD = [(0, 0)]
KNOWN = 2e-6


def reader(kind: str) -> HuggingFaceReader:
    model = constructed.encoder() if kind == "encoder" else constructed.decoder()
    return HuggingFaceReader(model, constructed.tokenizer(special=kind == "encoder"), kind)


def values(look: DocumentsLook, view: str = "weight", level: str = "document") -> dict[str, float]:
    reading = look.views[view].readings[level]
    return dict(zip(reading.labels[0], reading.values.tolist(), strict=True))


# ── Attention that is known ──


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("topic", range(constructed.TOPICS))
def test_the_document_that_must_be_looked_at_is(kind: str, topic: int) -> None:
    asked = constructed.question(topic)
    found = look_documents(reader(kind), constructed.DOCUMENTS, asked, heads=HEAD, answer_tokens=1)
    assert found.who == ("question" if kind == "encoder" else "answer")
    for view in ("weight", "weight, sink-free"):
        assert values(found, view) == pytest.approx(constructed.expected(topic), abs=KNOWN)
    home = list(constructed.DOCUMENTS)[topic]
    assert found.views["weight"].ranked()[0].label == home
    # Words of the topic share it evenly, whichever sentence they stand in.
    text = constructed.DOCUMENTS[home].split()
    asked_for = [word for word in text if word.endswith(str(topic))]
    words = found.views["weight"].words
    for word, value, place in zip(
        words.labels[0], words.values, found.views["weight"].homes["word"], strict=True
    ):
        share = 1 / len(asked_for) if place == home and word in asked_for else 0.0
        assert value == pytest.approx(share, abs=KNOWN)
    sentences = [part.split() for part in constructed.DOCUMENTS[home].split(".") if part.strip()]
    expected = [sum(word in asked_for for word in part) / len(asked_for) for part in sentences]
    mine = [
        value
        for value, place in zip(
            found.views["weight"].sentences.values, found.views["weight"].homes["sentence"], strict=True
        )
        if place == home
    ]
    assert len(sentences) > 1 or topic == 2
    assert sum(mine) == pytest.approx(1, abs=KNOWN)
    if len(mine) == len(expected):
        assert mine == pytest.approx(expected, abs=KNOWN)


def test_a_head_that_looks_at_everything_alike_gives_by_length() -> None:
    read = reader("encoder")
    found = look_documents(read, constructed.DOCUMENTS, constructed.question(1), heads=[(0, 1)])
    view = found.views["weight"]
    tokens = dict(zip(view.documents.labels[0], view.tokens["document"], strict=True))
    assert tokens == {name: len(text.split()) for name, text in constructed.DOCUMENTS.items()}
    every = sum(tokens.values()) + 3  # the question's one word, and the tokens around the text
    assert values(found) == pytest.approx({name: count / every for name, count in tokens.items()}, abs=KNOWN)
    rest = dict(zip(view.elsewhere.labels[0], view.elsewhere.values.tolist(), strict=True))
    assert rest == pytest.approx({"special tokens": 2 / every, "question": 1 / every}, abs=KNOWN)


def test_without_the_document_that_was_looked_at_the_output_moves_farthest() -> None:
    found = look_documents(
        reader("encoder"), constructed.DOCUMENTS, constructed.question(1), heads=HEAD, remove="document"
    )
    assert found.removal is not None
    assert found.removal.effect.ranked()[0].label == "b.txt"
    assert found.removal.effect.unit == "relative distance"


# ── Attention that is random, by hand ──


@pytest.mark.parametrize("sink_free", [False, True])
@pytest.mark.parametrize("weigh", ["weight", "value-norm"])
def test_every_view_is_what_the_dense_weights_give(weigh: str, sink_free: bool) -> None:
    """A decoder that writes: the rows that predict the answer, sums over tokens, means over rows and heads."""
    words = tuple(f"w{i}" for i in range(90))
    read = HuggingFaceReader(
        foreign.gpt2(eos_token_id=None), foreign.word_tokenizer(words, special=True), "tiny"
    )
    documents = {"one": "w3 w4 . w5", "two": "w6 w7 w8 . w9 w1"}
    found = look_documents(read, documents, "w2 w3 ?", answer_tokens=3)
    context = read.context(documents, "w2 w3 ?", False)
    assert context.names == ("one", "two", "question")
    assert len(context.ids) == 1 + 4 + 6 + 3  # the end token is taken away, so that the model goes on
    with torch.no_grad():
        ids = read.model.generate(
            torch.tensor([context.ids]), max_new_tokens=3, do_sample=False, pad_token_id=0
        )
        with watch(read.model) as seen:
            read.model(ids)
    rows = range(len(context.ids) - 1, len(context.ids) + 2)
    shares = []
    for call in seen:
        weights_HNM = call.matrix.dense()[0].double()
        lengths_HM = call.matrix.value[0].double().norm(dim=-1)
        for weights_NM, lengths_M in zip(weights_HNM, lengths_HM, strict=True):
            share_M = weights_NM[list(rows)].mean(0)
            if weigh == "value-norm":
                share_M = share_M * lengths_M
                share_M = share_M / share_M.sum()
            shares.append(share_M)
    share_M = torch.stack(shares).mean(0)
    if sink_free:
        share_M[0] = 0
        share_M = share_M / share_M.sum()
    [name] = [name for name, *how in VIEWS if how == [weigh, sink_free]]
    expected = {"one": float(share_M[1:5].sum()), "two": float(share_M[5:11].sum())}
    assert values(found, name) == pytest.approx(expected, abs=KNOWN)
    assert found.views[name].words.values.tolist() == pytest.approx(share_M[1:11].tolist(), abs=KNOWN)
    rest = found.views[name].elsewhere
    assert sum(expected.values()) + float(rest.values.sum()) == pytest.approx(1, abs=KNOWN)
    assert set(rest.labels[0]) == ({"first token"} if sink_free else {"special tokens"}) | {
        "question",
        "answer",
    }


def test_an_encoder_decoder_is_read_by_its_cross_attention() -> None:
    words = tuple(f"w{i}" for i in range(90))
    read = HuggingFaceReader(foreign.t5(), foreign.word_tokenizer(words, special=True), "tiny")
    found = look_documents(read, {"one": "w3 w4", "two": "w5 w6 w7"}, "w8", answer_tokens=4, remove="word")
    assert found.who == "answer"
    assert found.table is not None
    assert found.table.labels == (("one", "two", "question"),) * 2
    view = found.views["weight"]
    assert view.words.labels[0] == ("w3", "w4", "w5", "w6", "w7")
    assert float(view.documents.values.sum() + view.elsewhere.values.sum()) == pytest.approx(1, abs=KNOWN)
    assert found.removal is not None
    assert found.removal.effect.unit == "nats"
    assert (found.removal.effect.values > 0).all()


def test_an_encoder_reads_its_text_once() -> None:
    words = tuple(f"w{i}" for i in range(90))
    read = HuggingFaceReader(foreign.t5(), foreign.word_tokenizer(words, special=True), "tiny")
    context = read.context({"one": "w3 w4", "two": "w5 w6 w7"}, "w8", False)
    reads: list[object] = []
    hook = read.model.get_encoder().register_forward_hook(lambda *_: reads.append(1))
    run = read.run(context, 4)
    hook.remove()
    assert len(reads) == 1
    with torch.no_grad(), watch(read.model) as seen:
        ids = torch.tensor([context.ids])
        written = read.model.generate(ids, max_new_tokens=4, do_sample=False, num_beams=1)
    cross = [call for call in seen if call.kind == "cross"]
    assert len(cross) == len(run.looking) and written.shape[1] - 1 == len(run.rows)
    for call in cross:
        found = run.looking[call.layer].dense()
        torch.testing.assert_close(found, call.matrix.dense()[:, :, : found.shape[2]], atol=KNOWN, rtol=0)


@pytest.mark.parametrize(("width", "ways"), [(160, 4), (80, 2), (30, 1)])
def test_a_line_has_as_many_ways_to_count_as_leave_room_for_its_label(width: int, ways: int) -> None:
    found = look_documents(reader("encoder"), {"a": "the sun0 . " * 7, "b": "the moon1 ."}, "ask0")
    console = Console(width=width, file=io.StringIO())
    console.print(shown(found))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    lines = printed.splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith("rank sentence")]
    header = "\n".join(lines[at - 1 : at + 1])
    assert header.count("weight") + header.count("value norm") == ways
    assert header.count("sink-free") == ways // 2
    assert ("×" in header) == (width > 30)
    assert max(map(len, printed.splitlines())) <= width


def test_what_a_token_gets_beside_an_even_share() -> None:
    """A head that looks at everything alike gives each document what its length gives."""
    found = look_documents(reader("encoder"), constructed.DOCUMENTS, constructed.question(1), heads=[(0, 1)])
    for level in ("document", "sentence", "word"):
        assert found.views["weight"].per_token(level) == pytest.approx(1, abs=KNOWN)
    topic = look_documents(
        reader("encoder"), constructed.DOCUMENTS, constructed.question(1), heads=HEAD
    ).views["weight"]
    tokens = topic.tokens["document"]
    expected = [
        sum(tokens) / count * share for count, share in zip(tokens, topic.documents.values, strict=True)
    ]
    assert topic.per_token() == pytest.approx(expected, abs=KNOWN)


# ── Long texts ──


def long_reader() -> tuple[HuggingFaceReader, dict[str, str]]:
    words = tuple(f"w{i}" for i in range(90))
    read = HuggingFaceReader(foreign.bert(max_position_embeddings=23), foreign.word_tokenizer(words), "tiny")
    return read, {"one": "w1 " * 13, "two": "w2 " * 17}


def test_what_is_cut_is_told() -> None:
    read, documents = long_reader()
    found = look_documents(read, documents, "w3")
    assert found.notes == (
        "The text has 33 tokens and the model reads 23: the last 10 tokens of the documents were left out "
        "(two from its character 22 on).",
    )
    assert found.views["weight"].tokens["document"] == (13, 7)


def test_windows_read_everything_and_say_so() -> None:
    read, documents = long_reader()
    found = look_documents(read, documents, "w3", windows=True, overlap=5)
    assert len(found.windows) == 2 and found.table is None
    assert all(window.table is not None for window in found.windows)
    assert "2 windows that overlap" in found.notes[0]
    assert [window.views["weight"].tokens["document"] for window in found.windows] == [(13, 7), (15,)]
    view = found.views["weight"]
    assert float(view.documents.values.sum() + view.elsewhere.values.sum()) == pytest.approx(1, abs=KNOWN)
    mean = [sum(values(window).get(name, 0.0) for window in found.windows) / 2 for name in ("one", "two")]
    assert view.documents.values.tolist() == pytest.approx(mean, abs=KNOWN)
    words = [each / 2 for window in found.windows for each in window.views["weight"].words.values.tolist()]
    assert view.words.values.tolist() == pytest.approx(words, abs=KNOWN)


@pytest.mark.parametrize("level", ["document", "word"])
def test_removals_in_windows_are_joined_as_the_shares_are(level: Level) -> None:
    read, documents = long_reader()
    found = look_documents(read, documents, "w3", windows=True, overlap=5, remove=level)
    each = [window.removal for window in found.windows]
    assert found.removal is not None and None not in each
    moved = [
        dict(zip(one.effect.labels[0], one.effect.values, strict=True)) for one in each if one is not None
    ]
    if level == "document":
        expected = [(moved[0]["one"]) / 2, (moved[0]["two"] + moved[1]["two"]) / 2]
    else:
        expected = [value / 2 for one in each if one is not None for value in one.effect.values]
    assert found.removal.effect.values.tolist() == pytest.approx(expected)
    assert found.removal.effect.labels == found.views["weight"].readings[level].labels
    assert found.removal.attended is not None
    assert found.removal.attended.values.tolist() == pytest.approx(
        found.views["weight"].readings[level].values
    )
    assert "Mean over 2 windows" in found.removal.effect.how


def test_a_long_reading_tells_how_far_it_has_come() -> None:
    read, documents = long_reader()
    told: list[tuple[str, int, int]] = []
    look_documents(
        read,
        documents,
        "w3",
        windows=True,
        overlap=5,
        remove="document",
        progress=lambda *now: told.append(now),
    )
    assert told == [("windows", 0, 2), ("removals", 0, 2), ("windows", 1, 2), ("removals", 0, 1)]


# ── Our own models ──


@pytest.mark.parametrize("task", ["translate", "language", "classify"])
def test_our_own_models_read_documents_too(task: str) -> None:
    read = OwnReader(Predictor(small.trained(task)[0]), task)
    documents = {"one": "green cats run", "two": "red birds sing now"}
    found = look_documents(read, documents, "blue dogs", answer_tokens=5, remove="document")
    view = found.views["weight"]
    assert view.documents.labels[0] == ("one", "two")
    assert float(view.documents.values.sum() + view.elsewhere.values.sum()) == pytest.approx(1, abs=KNOWN)
    assert found.removal is not None
    assert (found.removal.effect.values >= 0).all() and found.removal.effect.values.max() > 0
    json.dumps(found.to_json())


def test_where_learned_positions_end_the_text_is_cut() -> None:
    saved = small.trained("translate")[0]
    shape = replace(saved.model.shape, positions="learned", longest=9)
    model = build("transformer", shape, len(saved.source), len(saved.target), saved.shared, 0)
    read = OwnReader(Predictor(replace(saved, model=model)), "translate")
    assert read.longest == 9 and OwnReader(Predictor(saved)).longest is None
    documents = {"one": "green cats run", "two": "red birds sing now", "three": "blue dogs sleep here"}
    found = look_documents(read, documents, answer_tokens=5)
    assert "the model reads 9" in found.notes[0]
    assert "three from its character" in found.notes[0]


def test_a_translator_writes_one_token_at_least() -> None:
    read = OwnReader(Predictor(small.trained("translate")[0]))
    silent, brief = (look_documents(read, "green cats run", answer_tokens=count) for count in (0, 1))
    assert silent.answer == brief.answer != ""


def test_one_string_is_one_document() -> None:
    found = look_documents(OwnReader(Predictor(small.trained("translate")[0])), "green cats run")
    assert found.documents == ("document 1",)


def test_closing_nothing_to_our_own_models_changes_nothing() -> None:
    predictor = Predictor(small.trained("translate")[0])
    read = OwnReader(predictor, "translate")
    run = read.run(read.context({"one": "green cats run"}, None, False), 7)
    assert run.output is not None and run.answer == "green cats run"
    scores = run.output(torch.ones(1, len(run.context.ids), dtype=torch.bool))[0]
    assert predictor.saved.target.decode(scores.argmax(-1).tolist()) == "green cats run"


# ── As JSON; what is refused ──


def test_json_holds_every_number() -> None:
    found = look_documents(reader("encoder"), constructed.DOCUMENTS, "ask1", remove="word")
    data = json.loads(json.dumps(found.to_json()), parse_constant=pytest.fail)
    assert data["views"]["weight"]["word"]["values"] == pytest.approx(
        found.views["weight"].words.values.tolist()
    )
    assert data["removal"]["correlation"] == pytest.approx(found.removal.correlation)  # type: ignore[union-attr]
    assert np.array(data["table"]["values"]).shape == (4, 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"documents": {"a": " \n"}}, "no document holds a word"),
        ({"question": "  "}, "must hold a word"),
        ({"documents": {"question": "w"}}, "a part of its own"),
        ({"layers": [5]}, "There is no layer 5, counted from 0; there are 0"),
        ({"heads": [(0, 7)]}, "there is no layer 0 head 7"),
        ({"chat": True}, "no chat template"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"documents": constructed.DOCUMENTS, "question": "ask1"} | options
    with pytest.raises(InputError, match=said):
        look_documents(reader("encoder"), **given)


# ── Recurrent networks, and positions that begin behind the padding's row ──


def recurrent(task: str, attention: str = "none") -> OwnReader:
    """A small trained model's tokenizers around a fresh recurrent network."""
    saved = small.trained(task)[0]
    shape = RecurrentConfig("lstm", attention, 8, 1, 1, dropout=0.0)  # type: ignore[arg-type]
    sizes = len(saved.source), len(saved.target), saved.shared, len(saved.classes or ())
    model = build(architecture(saved.model.role, shape), shape, *sizes)  # type: ignore[arg-type]
    return OwnReader(Predictor(replace(saved, model=model.eval(), prediction={})), task)


@pytest.mark.parametrize("task", ["translate", "language", "classify"])
def test_a_recurrent_network_without_attention_says_so(task: str) -> None:
    made = recurrent(task)
    assert (
        made.architecture
        == {"translate": "encoder-decoder", "language": "decoder", "classify": "encoder"}[task]
    )
    with pytest.raises(InputError, match="a recurrent network without attention"):
        look_documents(made, {"a": "red cats", "b": "now here"}, "red ?")
    with pytest.raises(InputError, match="a recurrent network without attention"):
        atlas_of(made, {"a": "red cats"})


def test_a_recurrent_network_with_attention_shows_what_it_looked_at() -> None:
    made = recurrent("translate", "luong")
    found = look_documents(made, {"a": "red cats", "b": "now here"}, "red ?", answer_tokens=3)
    assert found.table is None  # its encoder has no attention to show
    assert sum(values(found).values()) + found.views["weight"].elsewhere.values.sum() == pytest.approx(
        1, abs=1e-5
    )
    Console(file=io.StringIO()).print(shown(found))
    with pytest.raises(InputError, match="removal check is not there for this model"):
        look_documents(made, {"a": "red cats", "b": "now here"}, "red ?", answer_tokens=3, remove="word")
    with pytest.raises(InputError, match="no self-attention"):
        atlas_of(made, {"a": "red cats"})


def test_a_model_of_robertas_kind_reads_no_further_than_its_positions() -> None:
    sizes = {"vocab_size": foreign.VOCABULARY, "hidden_size": 20, "num_hidden_layers": 1, "pad_token_id": 1}
    sizes |= {"num_attention_heads": 5, "intermediate_size": 7, "max_position_embeddings": 23}
    model = foreign.transformers.RobertaModel(foreign.transformers.RobertaConfig(**sizes)).eval()
    made = HuggingFaceReader(model, foreign.word_tokenizer(("a", "b"), special=False), "roberta")
    assert made.longest == 21
    ids = torch.full((1, 21), 4)
    assert model(input_ids=ids).last_hidden_state.shape[1] == made.longest
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, 22), 4))
    assert HuggingFaceReader(foreign.bert(), made.tokenizer, "bert").longest == 61
    more = {"vocab_size": foreign.VOCABULARY, "hidden_size": 20, "num_hidden_layers": 1, "pad_token_id": 1}
    more |= {"num_attention_heads": 5, "intermediate_size": 7, "max_position_embeddings": 23}
    ibert = foreign.transformers.IBertModel(foreign.transformers.IBertConfig(**more)).eval()
    assert HuggingFaceReader(ibert, made.tokenizer, "ibert").longest == 21


def test_slips_at_the_doors_are_told_with_the_way_out() -> None:
    read = reader("decoder")
    for call in (
        lambda: look_documents(read.model, "a b"),
        lambda: look_conversation(read.model, [{"role": "user", "content": "a"}]),
        lambda: atlas_of(read.model),
    ):
        with pytest.raises(
            ArgumentTypeError, match=r"A reader must be given.*HuggingFaceReader\(model, tokenizer\)"
        ):
            call()
    with pytest.raises(ArgumentTypeError, match=r"heads must be \(layer, head\) pairs.*got \[3\]"):
        look_documents(read, "the sun0 .", heads=[3])  # type: ignore[list-item]
    with pytest.raises(InputError, match="'a' is empty. Leave it out"):
        look_documents(read, {"a": " ", "b": "the sun0 ."})
    with pytest.raises(InputError, match='"role": "user"'):
        look_conversation(read, ["hi"])  # type: ignore[list-item]


def test_what_comes_back_is_called_in_a_line() -> None:
    found = look_documents(
        reader("encoder"), {"a": "the sun0 .", "b": "the moon0 ."}, "the sun0", remove="document"
    )
    for each in (found, found.views["weight"], found.removal, found.table, found.views["weight"].words):
        assert len(repr(each)) < 300 and "\n" not in repr(each)
    assert "question" in repr(found) and "2 documents" in repr(found)


def test_no_heads_as_a_tensor_are_no_heads() -> None:
    documents = {"a": "first text", "b": "second one"}
    with pytest.raises(InputError):
        look_documents(reader("decoder"), documents, heads=[], answer_tokens=2)
    with pytest.raises(InputError):
        look_documents(reader("decoder"), documents, heads=torch.zeros(0, 2), answer_tokens=2)
    seen = look_documents(reader("decoder"), documents, heads=[[0, 0]], layers=[0], answer_tokens=2)  # type: ignore[list-item]
    heads = look_documents(reader("decoder"), documents, layers=[0], answer_tokens=2)
    assert values(seen) == values(heads)
