"""`look`: every number that it shows is the plain truth's, for every kind of model and for odd texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from limelight.errors import ArgumentTypeError, InputError
from limelight.looking.look import Look, look, word_groups
from limelight.looking.render import picture, shown
from limelight.modules.model_io import SavedModel, build
from limelight.modules.transformer import TransformerConfig
from limelight.predicting.predictor import Predictor
from limelight.text.segmentation import words
from limelight.text.segments import Segments
from limelight.text.tokenizers import END, PAD, START, UNKNOWN, Kind, Tokenizer
from tests.examples import mostly_slow
from tests.looking.plain import PlainModel, words_by_words
from tests.recipes import small

SEEDS = {"transformer": 1, "language": 3, "classifier": 1}
"""Of untrained models that write several words of several letters."""
TEXT = "green cats run"
CLOSE = 2e-6
"""Weights in float32 against float64, through all layers of a tiny model."""


def looked(task: str, text: str, **options: Any) -> Look:
    (found,) = look(Predictor(small.trained(task)[0]), [text], **options)
    return found


def pieces(tokenizer: Tokenizer, ids: list[int]) -> tuple[list[str], list[list[int]]]:
    """The words of what these ids say, and for each the numbers of its tokens."""
    text, spans = tokenizer.decode_spans(ids)
    found = [(start, end) for start, end in words(text)]
    inside = [
        [i for i, (start, end) in enumerate(spans) if word[0] <= start < word[1] and start < end]
        for word in found
    ]
    return [text[start:end] for start, end in found], inside


def untrained(kind: str, tokens: Kind = "characters") -> SavedModel:
    """A model of two layers and grouped keys that was never trained; its words have several tokens."""
    tokenizer = Tokenizer.train([small.SENTENCE, " ".join(small.WORDS)] * 2, tokens, 290)
    shape = TransformerConfig(24, 4, 20, 2, 2, key_value_heads=2)
    classes = ("a", "b", "c") if kind == "classifier" else ()
    model = build(kind, shape, len(tokenizer), len(tokenizer), True, len(classes))
    torch.manual_seed(SEEDS[kind])
    with torch.no_grad():
        for (
            name,
            parameter,
        ) in model.named_parameters():  # large, so that it does not say one letter all the time
            if parameter.dim() == 2:
                parameter.normal_(std=0.3 if "embedding" in name else 0.5)
    task = {"transformer": "translate", "language": "language", "classifier": "classify"}[kind]
    return SavedModel(
        task, model.eval(), tokenizer, tokenizer, classes, {"beam": 1, "length_penalty": 0.0, "longest": 17}
    )


# ── The plain truth ──


@pytest.mark.parametrize("saved", [lambda: small.trained("translate")[0], lambda: untrained("transformer")])
def test_every_number_of_a_translation_is_the_plain_truths(saved: Callable[[], SavedModel]) -> None:
    model = saved()
    (found,) = look(Predictor(model), [TEXT])
    answer = found.prediction
    assert found.alignment is not None
    plain = PlainModel(model.model)
    scores_NV = plain.decode([START, *answer.target_ids], plain.encode([*answer.source_ids, END]))

    targets, rows = pieces(model.target, answer.target_ids)
    sources, columns = pieces(model.source, answer.source_ids)
    assert list(found.alignment.targets) == targets
    assert list(found.alignment.sources) == sources == TEXT.split()
    weights_HNM = plain.heads("decoder cross")
    every = [
        (layer, head)
        for layer in range(len(weights_HNM) // model.model.shape.heads)
        for head in range(model.model.shape.heads)
    ]
    named = model.prediction.get("alignment", {}).get("heads", every)
    assert list(found.alignment.heads) == [tuple(head) for head in named]
    chosen = [layer * model.model.shape.heads + head for layer, head in found.alignment.heads]
    truth = words_by_words(weights_HNM[chosen], rows, columns)
    np.testing.assert_allclose(found.alignment.raw.values, truth, atol=CLOSE)
    np.testing.assert_allclose(found.received.values, truth.sum(0), atol=len(targets) * CLOSE)
    np.testing.assert_allclose(found.alignment.elsewhere.values, 1 - truth.sum(1), atol=CLOSE)

    # And it is the very answer: its probability is the plain model's, which finds each token the likeliest too.
    written = answer.target_ids + [END] * answer.complete
    scores_NV[:, [PAD, UNKNOWN, START]] = -torch.inf  # no answer may hold them
    log_probability = scores_NV.log_softmax(-1)[range(len(written)), written].sum()
    assert answer.log_probability == pytest.approx(float(log_probability), abs=1e-4)
    assert scores_NV[: len(written)].argmax(-1).tolist() == written


@pytest.mark.parametrize("kind", ["transformer", "language"])
def test_words_of_several_tokens_take_part_in_the_truth(kind: str) -> None:
    # Else the tests around this one would say nothing of sums and means over tokens, or of tokens between words.
    saved = untrained(kind)
    answer = Predictor(saved).predict([TEXT])[0]
    for ids in (answer.source_ids, answer.target_ids):
        _, tokens = pieces(saved.source, ids)
        assert len(tokens) > 1
        assert max(map(len, tokens)) > 1
        assert sum(map(len, tokens)) < len(ids)


@pytest.mark.parametrize("saved", [lambda: small.trained("language")[0], lambda: untrained("language")])
def test_every_number_of_a_continued_text_is_the_plain_truths(saved: Callable[[], SavedModel]) -> None:
    model = saved()
    (found,) = look(Predictor(model), [TEXT])
    answer, aligned = found.prediction, found.alignment
    assert aligned is not None
    ids = answer.source_ids + answer.target_ids
    plain = PlainModel(model.model)
    plain.decode([START, *ids], None)

    names, tokens = pieces(model.source, ids)
    first = len(answer.source_ids)
    rows = [[i for i in word if i >= first] for word in tokens]  # row i predicts token i: START stands before
    columns = [[1 + i for i in word] for word in tokens]
    written = [number for number, row in enumerate(rows) if row]
    assert list(aligned.targets) == [names[number] for number in written]
    assert list(aligned.sources) == names
    truth = words_by_words(plain.heads("decoder self"), [rows[number] for number in written], columns)
    np.testing.assert_allclose(aligned.raw.values, truth, atol=CLOSE)
    np.testing.assert_allclose(found.received.values, truth.sum(0), atol=len(written) * CLOSE)


@pytest.mark.parametrize("saved", [lambda: small.trained("classify")[0], lambda: untrained("classifier")])
def test_every_number_of_a_classified_text_is_the_plain_truths(saved: Callable[[], SavedModel]) -> None:
    model = saved()
    (found,) = look(Predictor(model), [TEXT])
    ids = found.prediction.source_ids
    plain = PlainModel(model.model)
    plain.encode([*ids, END])
    names, columns = pieces(model.source, ids)
    every_row = [list(range(len(ids) + 1))]  # each token of the text and END, alike
    truth = words_by_words(plain.heads("encoder self"), every_row, columns)[0]
    assert found.alignment is None
    assert list(found.received.labels[0]) == names
    np.testing.assert_allclose(found.received.values, truth, atol=CLOSE)


def test_heads_are_read_as_asked() -> None:
    model = untrained("transformer")
    (found,) = look(Predictor(model), [TEXT], heads=[(1, 3)])
    plain = PlainModel(model.model)
    plain.decode([START, *found.prediction.target_ids], plain.encode([*found.prediction.source_ids, END]))
    _, rows = pieces(model.target, found.prediction.target_ids)
    _, columns = pieces(model.source, found.prediction.source_ids)
    truth = words_by_words(plain.seen["decoder.1 cross"][0, [3]], rows, columns)
    assert found.alignment is not None
    np.testing.assert_allclose(found.alignment.raw.values, truth, atol=CLOSE)
    assert found.alignment.heads == ((1, 3),)


def test_the_terminal_shows_the_very_numbers() -> None:
    found = looked("translate", "green cats sleep now")
    assert found.alignment is not None
    text = rendered(found)
    for target, row in zip(found.alignment.targets, found.alignment.raw.values, strict=True):
        line = next(line for line in text.splitlines() if line.startswith(f"{target}  "))
        assert f"{row.max():.2f}" in line
        assert found.alignment.sources[int(row.argmax())] in line


def test_the_words_stand_in_the_order_of_the_text_and_from_high_to_low() -> None:
    found = looked("classify", "red cats good run now birds sing here there sleep")
    text = rendered(found)
    shaded, lists = text.split("in the order of the text")[1].split("from high to low")
    ranked, moved = lists.split("How far the answer moves without each word")
    assert [word for word in shaded.split() if word.isalpha()][:10] == found.prediction.source.split()
    assert next(line.split()[1] for line in moved.splitlines() if line.lstrip()[:1].isdigit()) == "good"
    names = [line.split()[1] for line in ranked.splitlines() if line.lstrip()[:1].isdigit()]
    assert names == [*(entry.label for entry in found.received.ranked()[:8]), "lower"]
    assert "2 lower ones not shown" in ranked


def test_the_order_of_further_answers_is_named() -> None:
    # Classes are in the order of their probability, answers of a search in that of a score beside it.
    assert "; next: " in " ".join(rendered(looked("classify", "good")).split())
    searched = " ".join(rendered(looked("translate", "red cats", beam=2)).split())
    assert "; next by length-adjusted score: " in searched


def rendered(found: Look) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(shown(found))
    return capture.get()


# ── What is said beside the numbers ──


def test_copied_words_attend_to_their_originals() -> None:
    found = looked("translate", "green dogs run there")
    assert found.prediction.text == "green dogs run there"
    assert found.alignment is not None
    assert [(link.target, link.source) for link in found.alignment.links()] == [(i, i) for i in range(4)]


def test_which_heads_were_read_is_said() -> None:
    assert "chosen by" in looked("translate", "red birds sing").heads
    assert looked("language", "the light").heads.startswith("All heads of all layers")
    assert looked("translate", "red birds sing", heads=[(0, 1)]).heads == "Heads as asked for."


def test_json_holds_every_number() -> None:
    found = looked("pronounce", "bad")
    data = json.loads(json.dumps(found.to_json()), parse_constant=pytest.fail)
    assert data["prediction"]["text"] == found.prediction.text == "B AH D"
    assert data["heads"] == found.heads
    assert found.alignment is not None
    assert np.float32(data["alignment"]["raw"]["values"]).tolist() == found.alignment.raw.values.tolist()
    assert np.float32(data["received"]["values"]).tolist() == found.received.values.tolist()
    assert looked("classify", "red good").to_json()["alignment"] is None


def test_ranks_stand_there_without_colour() -> None:
    text = rendered(looked("classify", "cats good run"))
    assert "\x1b" not in text
    assert "answer  praise" in text
    assert "rank 1 = highest" in text
    assert "probability" in text


def test_a_cut_answer_is_said_to_be_cut() -> None:
    found = looked("language", "the light")
    assert not found.prediction.complete
    assert "cut at the longest length" in " ".join(rendered(found).split())


@pytest.mark.parametrize("task", mostly_slow(["translate", "classify"], "classify"))
def test_a_look_has_a_picture(task: str) -> None:
    pytest.importorskip("matplotlib")
    figure = picture(looked(task, "red good birds sing"))
    assert figure.axes


# ── Odd texts ──


def test_one_word_is_looked_at_by_its_letters() -> None:
    found = looked("pronounce", "bad")
    assert found.alignment is not None
    assert found.alignment.sources == ("b", "a", "d")
    assert found.alignment.targets == ("B", "AH", "D")
    assert found.alignment.raw.axes == ("target word", "source letter")


@pytest.mark.parametrize("text", ["so-so", "d'oo"])
def test_a_hyphen_or_apostrophe_leaves_one_word_of_letters(text: str) -> None:
    found = looked("pronounce", text)
    assert found.alignment is not None
    assert found.alignment.sources == tuple(text)


def test_one_letter_is_enough() -> None:
    found = looked("pronounce", "a")
    assert found.alignment is not None
    assert (found.alignment.targets, found.alignment.sources) == (("AH",), ("a",))


@pytest.mark.parametrize("text", ["bïd", "b😀d"])
def test_a_letter_that_the_model_never_saw_is_shown_as_itself(text: str) -> None:
    found = looked("pronounce", text)
    assert found.alignment is not None
    assert found.alignment.sources == tuple(text)


@pytest.mark.parametrize(
    "text", ["red [bold]cats[/bold] 😀 run", "größe [red] größe", "[/] cats", "cats\\ :smile: run"]
)
def test_markup_and_unicode_are_shown_as_they_are(text: str) -> None:
    found = looked("classify", text)
    assert text in rendered(found)
    assert "".join(found.received.labels[0]) == "".join(text.split())


def test_what_a_text_holds_cannot_command_the_terminal() -> None:
    text = rendered(looked("classify", "red \x1b[31mgood\nnow"))
    assert "\x1b" not in text
    assert "red �[31mgood↵now" in text


@pytest.mark.parametrize("kind", ["transformer", "language", "classifier"])
@pytest.mark.parametrize("text", ["😀", "Größe", "東京", "é" * 40, "one\ttwo\nthree", "\u200bok"])
def test_any_text_can_be_looked_at(kind: str, text: str) -> None:
    (found,) = look(Predictor(untrained(kind, "bpe")), [text])
    assert np.isfinite(found.received.values).all()
    assert rendered(found)
    if found.alignment is not None:
        sums = found.alignment.raw.values.sum(1) + found.alignment.elsewhere.values
        np.testing.assert_allclose(sums, 1, atol=1e-5)


@pytest.mark.parametrize("task", tuple(small.SETTINGS))
@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_a_text_without_a_word_is_refused(task: str, text: str) -> None:
    with pytest.raises(InputError, match="nothing to look at: the text .* holds no word"):
        looked(task, text)


def test_an_answer_without_a_word_is_refused_and_its_text_named() -> None:
    saved = small.trained("translate")[0]
    silent = replace(
        saved,
        model=build(
            "transformer", TransformerConfig(8, 2, 8, 1, 1), len(saved.source), len(saved.source), True, 0
        ),
    )
    with torch.no_grad():
        for parameter in silent.model.parameters():
            parameter.zero_()
        silent.model.decoder.norm.bias.fill_(1.0)
        silent.model.decoder.embedding.table.weight[END] = 9.0
    predictor = Predictor(silent)
    assert predictor.predict(["red cats"])[0].target_ids == []
    with pytest.raises(InputError, match="the answer to 'red cats' holds no word"):
        look(predictor, ["red cats"])


def test_a_head_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="there is no layer 2 head 1"):
        looked("translate", "red cats", heads=[(2, 1)])


def test_a_translation_that_is_there_is_aligned() -> None:
    predictor = Predictor(small.trained("translate")[0])
    [own] = look(predictor, ["green cats run"])
    [same] = look(predictor, ["green cats run"], answers=[own.prediction.text])
    assert same.prediction.log_probability == pytest.approx(own.prediction.log_probability, abs=1e-4)
    assert same.alignment is not None and own.alignment is not None
    np.testing.assert_allclose(same.alignment.raw.values, own.alignment.raw.values, atol=1e-6)
    [other] = look(predictor, ["green cats run"], answers=["cats run now"])
    assert other.prediction.text == "cats run now"
    assert other.alignment is not None and other.alignment.raw.labels[0] == ("cats", "run", "now")
    assert other.prediction.log_probability < own.prediction.log_probability


def test_texts_may_come_from_anywhere_and_answers_are_shown_as_they_are() -> None:
    predictor = Predictor(small.trained("translate")[0])
    [found] = look(predictor, (text for text in ["red cats"]), answers={"one": "cats zebra"}.values())
    assert found.alignment is not None and found.alignment.targets == ("cats", "zebra")


def test_answers_that_are_none_are_refused() -> None:
    predictor = Predictor(small.trained("translate")[0])
    with pytest.raises(ArgumentTypeError, match="Give one for each text"):
        look(predictor, ["red cats"], answers=[None])  # type: ignore[list-item]
    with pytest.raises(InputError, match="the answer to 'red cats' holds no word"):
        look(predictor, ["red cats"], answers=[""])
    with pytest.raises(InputError, match="one for each of the 2 texts; got 1"):
        look(predictor, ["red cats", "dogs run"], answers=["one"])
    with pytest.raises(InputError, match="leave beam out"):
        look(predictor, ["red cats"], answers=["one"], beam=2)
    with pytest.raises(InputError, match="one's task is 'classify'"):
        look(Predictor(small.trained("classify")[0]), ["good"], answers=["blame"])


def test_one_string_is_no_list_of_texts() -> None:
    for given in ("green cats", [3]):
        with pytest.raises(ArgumentTypeError, match=r"Write look\(predictor, \[text\]\)"):
            look(Predictor(small.trained("translate")[0]), given)


def test_texts_are_looked_at_in_their_order() -> None:
    texts = ["red cats", "now green birds sing", "dogs run"]
    found = look(Predictor(small.trained("translate")[0]), texts)
    assert [each.prediction.source for each in found] == texts
    for each, text in zip(found, texts, strict=True):
        (alone,) = look(Predictor(small.trained("translate")[0]), [text])
        np.testing.assert_allclose(each.received.values, alone.received.values, atol=CLOSE)


# ── Words and letters ──


def test_tokens_of_one_word_are_tokens_where_they_are_no_letters() -> None:
    segments = Segments.from_spans("filename", [(0, 0), (0, 4), (4, 8)])
    groups = word_groups(segments, before=1, after=1)
    assert (groups.names, groups.index, groups.level) == (("file", "name"), (-1, -1, 0, 1, -1), "token")


def test_bytes_of_one_character_are_one_part() -> None:
    groups = word_groups(Segments.from_spans("xé", [(0, 1), (1, 2), (1, 2)]))
    assert (groups.names, groups.index, groups.level) == (("x", "é"), (0, 1, 1), "letter")
