"""A saved model at work: batches, prompts, streaming, classes, and the attention of an answer."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from limelight.errors import CheckpointError, InputError
from limelight.modules.transformer import Transformer
from limelight.predicting.predictor import Prediction, Predictor
from limelight.predicting.sampling import Sampling
from limelight.text.tokenizers import END, START
from tests.modules.truth import Truth
from tests.predicting.small import SHAPE, saved
from tests.tolerance import check

SOURCES = ["the light", "a", "", "dark limes in the light of day", "the lime light"]
PROMPTS = ["the light", "a", "the limes", "dark"]


def same(one: list[Prediction], other: list[Prediction]) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a.source, a.text, a.target_ids, a.complete) == (b.source, b.text, b.target_ids, b.complete)
        assert a.log_probability == pytest.approx(b.log_probability, abs=1e-4)
        assert [text for text, _ in a.others] == [text for text, _ in b.others]


# ── Predicting ──


@pytest.mark.parametrize(
    ("kind", "texts"), [("transformer", SOURCES), ("language", PROMPTS), ("classifier", SOURCES)]
)
def test_batches_give_what_texts_give_alone(kind: str, texts: list[str]) -> None:
    model = saved(kind)
    together = Predictor(model).predict(texts)
    assert [answer.source for answer in together] == texts
    same(together, [Predictor(model).predict([text])[0] for text in texts])
    same(together, Predictor(model, batch_tokens=13).predict(texts))
    same(together, Predictor(model).predict(texts[::-1])[::-1])


def test_options_come_from_the_model_unless_given() -> None:
    predictor = Predictor(saved("transformer"))
    answer = predictor.predict(["the light"])[0]
    assert len(answer.others) == 2
    assert len(answer.target_ids) <= 9
    assert predictor.predict(["the light"], beam=1)[0].others == []
    assert len(predictor.predict(["the light"], longest=2)[0].target_ids) <= 2
    bare = Predictor(replace(predictor.saved, prediction={}))
    assert len(bare.predict(["the light"], longest=9)[0].others) == 4


@pytest.mark.parametrize(("kind", "read"), [("transformer", 0), ("language", 2)])
def test_an_answer_is_full_where_learned_positions_end(kind: str, read: int) -> None:
    model = saved(kind, shape=replace(SHAPE, positions="learned", longest=13))
    predictor = Predictor(model)
    for length, full in ((11 - read, False), (12 - read, True)):
        answer = Prediction("the light", "", 0.0, [4] * 2, [5] * length, complete=False)
        assert predictor.full(answer) is full
    assert not Predictor(saved(kind)).full(answer)


@pytest.mark.parametrize("kind", ["transformer", "classifier"])
def test_white_space_at_the_ends_of_a_text_is_nothing(kind: str) -> None:
    predictor = Predictor(saved(kind))
    bare = predictor.predict(["the light"])[0]
    for text in ("  the light", "the light\r\n", "\t\ufeffthe light\u00a0 "):
        answer = predictor.predict([text])[0]
        assert answer.source == text  # as it was given
        assert answer.unknown == bare.unknown
        same([replace(answer, source="the light")], [bare])
        segments, at = predictor.trace(answer).source, text.index("the")
        assert segments.text == text
        assert list(segments.spans) == [
            (start + at, end + at) for start, end in predictor.trace(bare).source.spans
        ]
        if kind == "transformer":
            assert "".join(predictor.stream(text)) == predictor.predict(["the light"], beam=1)[0].text
            scores = [predictor.score(*pair).log_probability for pair in ((text, " a\n"), ("the light", "a"))]
            assert scores[0] == scores[1]
    as_it_stands = predictor.predict(["  the light"], trim=False)[0]
    assert as_it_stands.source_ids != bare.source_ids


def test_a_language_model_goes_on_from_a_text_as_it_stands() -> None:
    predictor = Predictor(saved("language"))
    assert predictor.predict(["the "])[0].source_ids != predictor.predict(["the"])[0].source_ids


def test_nothing_is_nothing() -> None:
    assert Predictor(saved("transformer")).predict([]) == []


def test_a_single_text_is_refused_where_a_list_belongs() -> None:
    with pytest.raises(InputError, match=r"Write predict\(\[text\]\)"):
        Predictor(saved("transformer")).predict("the light")


def test_progress_hears_of_every_text() -> None:
    heard: list[int] = []
    Predictor(saved("transformer"), batch_tokens=11).predict(SOURCES, progress=heard.append)
    assert heard == sorted(set(heard))  # how many are done by now
    assert heard[-1] == len(SOURCES)
    assert len(heard) > 1


def test_a_classifier_gives_its_classes_likeliest_first() -> None:
    predictor = Predictor(saved("classifier"))
    answer = predictor.predict(["the light"])[0]
    ids = predictor.saved.source.encode("the light").ids
    logp = predictor.model(torch.tensor([[*ids, END]]))[0].log_softmax(-1)
    names = [predictor.saved.classes[place] for place in logp.argsort(descending=True).tolist()]
    assert [answer.text, *(name for name, _ in answer.others)] == names
    assert answer.log_probability == pytest.approx(logp.max().item(), abs=1e-5)
    assert answer.target_ids == []
    with pytest.raises(InputError, match="writes no text"):
        next(predictor.stream("the light", Sampling()))


def test_a_prediction_is_plain_json() -> None:
    predictor = Predictor(saved("transformer"))
    searched, drawn = predictor.predict(["a"])[0], predictor.predict(["a"], sampling=Sampling())[0]
    assert json.loads(json.dumps(searched.to_json()))["text"] == searched.text
    assert json.loads(json.dumps(drawn.to_json(), allow_nan=False))["log_probability"] is None


# ── Drawing and streaming ──


@pytest.mark.parametrize("kind", ["transformer", "language"])
def test_streaming_is_the_whole_answer_in_pieces(kind: str) -> None:
    predictor = Predictor(saved(kind))
    many = 0
    for seed in range(7):
        sampling = Sampling(temperature=1.5, seed=seed)
        whole = predictor.predict(["the light"], sampling=sampling, longest=17)[0].text
        pieces = list(predictor.stream("the light", sampling, longest=17))
        assert "".join(pieces) == whole
        many += len(pieces) > 1
    assert many


@pytest.mark.parametrize("kind", ["transformer", "language"])
def test_streaming_without_sampling_is_greedy_search(kind: str) -> None:
    for seed in range(3):
        predictor = Predictor(saved(kind, seed))
        for longest in (None, 2):  # as the model was saved with, or as given
            (answer,) = predictor.predict(["the light"], beam=1, longest=longest)
            assert "".join(predictor.stream("the light", longest=longest)) == answer.text


def test_bytes_of_a_character_are_shown_together_or_at_the_end() -> None:
    model = saved("transformer")
    # Answers in single bytes: most sequences of them are no whole characters.
    predictor = Predictor(replace(model, model=byte_writer(len(model.source)), target=model.source))
    broken = 0
    for seed in range(11):
        sampling = Sampling(seed=seed, temperature=3.0)
        whole = predictor.predict(["the light"], sampling=sampling, longest=7)[0].text
        assert "".join(predictor.stream("the light", sampling, longest=7)) == whole
        broken += whole.endswith("\ufffd")
    assert broken, "no answer was cut within a character"


def byte_writer(vocabulary: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return Transformer(SHAPE, vocabulary, vocabulary).eval()


def test_one_seed_one_answer() -> None:
    predictor = Predictor(saved("transformer"))

    def drawn(seed: int) -> list[str]:
        return [answer.text for answer in predictor.predict(SOURCES, sampling=Sampling(seed=seed))]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


@pytest.mark.parametrize("kind", ["transformer", "language"])
def test_a_drawn_answer_does_not_depend_on_the_texts_beside_it(kind: str) -> None:
    predictor = Predictor(saved(kind))
    texts = [*SOURCES, *SOURCES]

    def drawn(texts: list[str], seed: int) -> list[str]:
        sampling = Sampling(temperature=1.5, seed=seed)
        return [answer.text for answer in predictor.predict(texts, sampling=sampling, longest=7)]

    together = drawn(texts, 5)
    assert together[: len(SOURCES)] != together[len(SOURCES) :]  # the same texts are drawn anew
    assert [drawn([text], 5 + number)[0] for number, text in enumerate(texts)] == together
    assert drawn([*texts, "one line more"], 5)[:-1] == together


# ── The attention of an answer ──


def truth_of(predictor: Predictor, answer: Prediction) -> tuple[Truth, torch.Tensor]:
    """Every stage of every attention in float64, and the scores, from the weights alone."""
    truth = Truth.of(predictor.model, SHAPE)
    source = torch.tensor([[*answer.source_ids, END]])
    lengths = torch.tensor([source.shape[1]])
    match predictor.saved.task:
        case "translate":
            return truth, truth.transformer(source, torch.tensor([[START, *answer.target_ids]]), lengths)
        case "language":
            return truth, truth.language_model(
                torch.tensor([[START, *answer.source_ids, *answer.target_ids]])
            )
    return truth, truth.classifier(source, lengths)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", ["transformer", "language", "classifier"])
def test_every_entry_of_a_trace_is_the_truth(kind: str, dtype: torch.dtype) -> None:
    model = saved(kind)
    predictor = Predictor(replace(model, model=model.model.to(dtype)))
    for answer in predictor.predict(["the light", "dark limes"]):
        trace = predictor.trace(answer)
        truth, _ = truth_of(predictor, answer)
        assert trace.matrices.keys() == truth.seen.keys()
        assert trace.matrices
        for name, matrix in trace.matrices.items():
            check("weights", matrix.dense(), truth.seen[name].weights_BHNM)


def test_rows_of_a_trace_stand_at_the_tokens_they_predict() -> None:
    for seed in range(3):
        predictor = Predictor(saved("transformer", seed))
        for beam in (1, 3):
            answer = predictor.predict(["dark limes"], beam=beam)[0]
            trace = predictor.trace(answer)
            rows, keys = len(answer.target_ids) + 1, len(answer.source_ids) + 1
            assert [matrix.shape for matrix in trace.layers("cross")] == [(1, 2, rows, keys)] * 2
            assert [matrix.shape for matrix in trace.layers("decoder")] == [(1, 2, rows, rows)] * 2
            assert [matrix.shape for matrix in trace.layers("encoder")] == [(1, 2, keys, keys)] * 2
            assert (len(trace.source), len(trace.target)) == (keys - 1, rows - 1)
            assert trace.target.text == answer.text
            assert [answer.text[slice(*span)] for span in trace.target.spans] == [
                predictor.saved.target.decode([token]) for token in answer.target_ids
            ]

            _, scores = truth_of(predictor, answer)
            scores[..., :3] = -torch.inf
            logp_NV = scores[0].log_softmax(-1)
            wanted = [*answer.target_ids, END][: rows if answer.complete else rows - 1]
            total = sum(float(logp_NV[row, token]) for row, token in enumerate(wanted))
            assert total == pytest.approx(answer.log_probability, abs=1e-4)
            if beam == 1:
                assert logp_NV.argmax(-1).tolist()[: len(wanted)] == wanted


def test_a_language_model_s_trace_holds_prompt_and_answer() -> None:
    predictor = Predictor(saved("language"))
    answer = predictor.predict(["the light"], beam=1)[0]
    trace = predictor.trace(answer)
    tokens = len(answer.source_ids) + len(answer.target_ids)
    assert trace.source.text == "the light" + answer.text
    assert (len(trace.source), trace.answer_start) == (tokens, len("the light"))
    assert all(matrix.shape == (1, 2, tokens + 1, tokens + 1) for matrix in trace.layers("decoder"))
    assert trace.target is None
    _, scores = truth_of(predictor, answer)
    scores[..., :3] = -torch.inf
    predicted = scores[0].argmax(-1).tolist()[trace.answer_start :]
    assert predicted[: len(answer.target_ids)] == answer.target_ids


def test_a_trace_leaves_the_model_as_it_was() -> None:
    predictor = Predictor(saved("transformer"))
    before = predictor.predict(["a light"])[0]
    predictor.trace(before)
    same([before], predictor.predict(["a light"]))
    assert all(getattr(module, "keep", None) is None for module in predictor.model.modules())


# ── What a model may fail to give ──


@pytest.mark.parametrize("kind", ["transformer", "language", "classifier"])
def test_a_model_of_broken_weights_is_refused(kind: str) -> None:
    model = saved(kind)
    with torch.no_grad():
        next(model.model.parameters()).fill_(math.nan)
    with pytest.raises(CheckpointError, match="diverged"):
        Predictor(model).predict(["the light"])
    if kind != "classifier":
        with pytest.raises(CheckpointError, match="diverged"):
            Predictor(model).predict(["the light"], sampling=Sampling())


@pytest.mark.parametrize("kind", ["transformer", "language"])
def test_an_answer_ends_where_learned_positions_do(kind: str) -> None:
    tokens = 14
    model = saved(kind, shape=replace(SHAPE, positions="learned", longest=tokens))
    with torch.no_grad():
        decoder = model.model.decoder  # says always the same, and never that it has ended
        decoder.norm.weight.zero_()
        decoder.norm.bias.fill_(1.0)
        decoder.embedding.table.weight[END] = -1.0
    predictor = Predictor(model)
    [answer] = predictor.predict(["the light"], longest=99, beam=1)
    read = len(answer.source_ids) if kind == "language" else 0
    assert len(answer.target_ids) == tokens - 1 - read
    assert not answer.complete
    assert "".join(predictor.stream("the light", longest=99)) == answer.text
    assert max(matrix.shape[2] for matrix in predictor.trace(answer).matrices.values()) == tokens
