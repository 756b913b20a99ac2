"""What a model reads and writes at most, and how an answer begins: told, refused or exact, never silent."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limelight.ablation.own_models import masked_forward
from limelight.errors import ArgumentTypeError, InputError, TooLargeError
from limelight.explain.reference_model import ReferenceModel
from limelight.modules.model_io import SavedModel, load_model, save_model
from limelight.modules.transformer import LanguageModel
from limelight.predicting.predictor import Predictor
from limelight.predicting.sampling import Sampling
from limelight.predicting.search import NEVER
from limelight.text.tokenizers import END, START, Tokenizer
from tests.predicting.small import SHAPE, TEXTS, Forgetful, log_probability, saved

WINDOW = 11


def windowed(window: int | None = WINDOW, positions: str = "rotary") -> SavedModel:
    model = saved("language", shape=replace(SHAPE, positions=positions, longest=97))
    assert isinstance(model.model, LanguageModel)
    model.model.window = window
    return model


# ── Beyond the window ──


@pytest.mark.parametrize("positions", ["rotary", "alibi", "sinusoidal"])
def test_beyond_the_window_a_token_attends_to_start_and_the_latest(positions: str) -> None:
    predictor = Predictor(windowed(positions=positions))
    text = TEXTS[0]
    [answer] = predictor.predict([text], beam=1, longest=7)
    assert answer.beyond_window
    trace = predictor.trace(answer)
    N = 1 + len(answer.source_ids) + len(answer.target_ids)
    place = torch.arange(N)
    back_NN = place[:, None] - place
    seen_NN = (back_NN >= 0) & ((back_NN < WINDOW) | (place == 0))
    for matrix in trace.layers("decoder"):
        assert torch.equal(matrix.dense()[0, 0] > 0, seen_NN)
    ids = torch.tensor([[START, *answer.source_ids, *answer.target_ids]])
    plain = ReferenceModel(predictor.model.double()).run(None, ids).scores
    torch.testing.assert_close(plain, predictor.model.double()(ids))


def test_within_the_window_nothing_changes() -> None:
    text = TEXTS[1][: WINDOW - 4]
    bounded, free = Predictor(windowed()), Predictor(windowed(None))
    for beam in (1, 3):
        [one], [other] = (each.predict([text], beam=beam, longest=3) for each in (bounded, free))
        assert (one.target_ids, one.log_probability) == (other.target_ids, other.log_probability)
        assert not one.beyond_window


def test_steps_of_a_long_prompt_are_those_of_one_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limelight.predicting.decoders.READ_AT_ONCE", 5)
    predictor = Predictor(windowed())
    [answer] = predictor.predict([TEXTS[2]], beam=1, longest=13)
    ids = [*answer.source_ids, *answer.target_ids]
    scores = predictor.model(torch.tensor([[START, *ids]]))[0]
    scores[:, list(NEVER)] = -math.inf
    written = [*answer.target_ids, END][:13]
    assert scores.argmax(-1).tolist()[len(answer.source_ids) :][: len(written)] == written
    kept = torch.ones(1, 1 + len(ids), dtype=torch.bool)
    again = masked_forward(predictor.model, [START, *ids])(kept)[0]
    again[:, list(NEVER)] = -math.inf
    torch.testing.assert_close(again, scores)


def test_a_model_keeps_its_window(tmp_path: Path) -> None:
    save_model(windowed(), tmp_path / "model")
    assert load_model(tmp_path / "model").window == WINDOW
    save_model(windowed(None), tmp_path / "older")
    assert load_model(tmp_path / "older").window is None


# ── Learned positions ──


@pytest.mark.parametrize("kind", ["transformer", "language", "classifier"])
def test_a_text_longer_than_the_positions_is_named(kind: str) -> None:
    predictor = Predictor(saved(kind, shape=replace(SHAPE, positions="learned", longest=23)))
    long = " ".join(TEXTS * 2)
    tokens = len(predictor.saved.source.encode(long))
    with pytest.raises(InputError, match=f"text 2 has {tokens} tokens; .* 23 positions"):
        predictor.predict(["a light", long, long])
    if kind == "transformer":
        with pytest.raises(InputError, match="The answer has"):
            predictor.score("a light", long)


# ── What an answer says of itself ──


def test_a_cut_answer_says_so() -> None:
    predictor = Predictor(saved("transformer"))
    [answer] = predictor.predict([TEXTS[0]], longest=2, beam=1)
    assert answer.cut
    assert answer.to_json()["cut"] is True
    assert answer.score == pytest.approx(answer.log_probability / (7 / 6) ** 0.6)
    assert math.isnan(predictor.predict([TEXTS[0]], sampling=Sampling())[0].score)


def test_what_the_model_does_not_know_stands_in_the_prediction() -> None:
    [answer] = Predictor(saved("language")).predict(["the ligħt ☀"], longest=2)
    assert answer.unknown == ["ħ", "☀"]
    assert Predictor(saved("transformer")).predict(["the ligħt ☀"], longest=2)[0].unknown == []  # bytes


def test_a_continuation_joins_its_prompt() -> None:
    for tokenizer in ("bpe", "characters", "words"):
        model = saved("language")
        own = Tokenizer.train(TEXTS, tokenizer, 280)  # type: ignore[arg-type]
        torch.manual_seed(1)
        model = replace(model, model=LanguageModel(SHAPE, len(own)), source=own, target=own)
        predictor = Predictor(model)
        for text in ("the light", "the", "a"):
            [answer] = predictor.predict([text], beam=1, longest=9)
            whole = own.decode([*answer.source_ids, *answer.target_ids])
            assert answer.source + answer.text == whole
            assert "".join(predictor.stream(text, longest=9)) == answer.text
        [spaced] = predictor.predict(["the "], beam=1, longest=5)
        assert not (tokenizer == "words" and spaced.text.startswith(" "))


# ── A prefix ──


@pytest.mark.parametrize("beam", [1, 3])
def test_an_answer_begins_with_its_prefix_and_is_scored_as_a_whole(beam: int) -> None:
    predictor = Predictor(saved("transformer"))
    prefixes = ["a li", "", "the", "dark"]
    texts = [TEXTS[0], TEXTS[1], TEXTS[2], TEXTS[0]]
    answers = predictor.predict(texts, beam=beam, longest=17, prefix=prefixes)
    for text, prefix, answer in zip(texts, prefixes, answers, strict=True):
        assert answer.text.startswith(prefix)
        source = torch.tensor([[*answer.source_ids, END]])
        model = Forgetful(predictor.model, source, torch.tensor([source.shape[1]]))
        with torch.no_grad():
            truth = log_probability(model, [START], answer.target_ids, answer.complete)
        assert answer.log_probability == pytest.approx(truth, abs=1e-4)
        if answer.complete:
            scored = predictor.score(text, answer.text)
            assert scored.target_ids == answer.target_ids
            assert scored.log_probability == pytest.approx(truth, abs=1e-4)
        alone = predictor.predict([text], beam=beam, longest=17, prefix=prefix or None)[0]
        assert (alone.text, alone.others) == (answer.text, [(t, pytest.approx(p)) for t, p in answer.others])
    assert beam == 1 or any(answer.complete for answer in answers)


def test_the_models_own_beginning_as_a_prefix_changes_nothing() -> None:
    predictor = Predictor(saved("transformer"))
    [free] = predictor.predict([TEXTS[1]], beam=1, longest=9)
    [begun] = predictor.predict([TEXTS[1]], beam=1, longest=9, prefix=free.text[:3])
    assert (begun.target_ids, begun.complete) == (free.target_ids, free.complete)
    assert begun.log_probability == pytest.approx(free.log_probability, abs=1e-4)
    assert begun.score == pytest.approx(free.score, abs=1e-4)
    drawn = predictor.predict([TEXTS[1]], longest=9, prefix="li", sampling=Sampling(seed=5))[0]
    assert drawn.text.startswith("li")
    assert "".join(predictor.stream(TEXTS[1], longest=9, prefix=free.text[:3])) == free.text


@pytest.mark.parametrize(
    ("kind", "prefix", "says"),
    [
        ("transformer", "ħ", "holds what this model cannot write: ħ"),
        ("transformer", "the light in", "12 tokens, an answer 9 at most"),
        ("transformer", ["a", "b"], "one for all or one for each of the 1 texts; got 2"),
        ("transformer", [3], "A prefix must be a str"),
        ("language", "a", "put it at the end of the text"),
        ("classifier", "a", "a class is not written"),
    ],
)
def test_a_prefix_that_cannot_be_is_refused(kind: str, prefix: object, says: str) -> None:
    with pytest.raises((InputError, ArgumentTypeError), match=says):
        Predictor(saved(kind)).predict(["the light"], prefix=prefix)  # type: ignore[arg-type]


# ── Memory ──


def test_a_wide_beam_takes_fewer_texts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(saved("transformer"))
    many = predictor.predict(TEXTS * 3, beam=3)
    sizes: list[int] = []
    search = Predictor._search
    monkeypatch.setattr("limelight.predicting.predictor.MOST_SCORES", 2 * 3 * len(predictor.saved.target))
    monkeypatch.setattr(
        Predictor,
        "_search",
        lambda self, batch, *rest: sizes.append(len(batch)) or search(self, batch, *rest),
    )
    few = predictor.predict(TEXTS * 3, beam=3)
    assert sum(sizes) == 9
    assert max(sizes) == 2
    assert [each.text for each in few] == [each.text for each in many]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_where_memory_runs_out_the_longest_text_is_named(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(Predictor, "_search", fails)
    with pytest.raises(TooLargeError, match="not enough memory for text 2 "):
        Predictor(saved("transformer")).predict(["a", TEXTS[0], "the"])


# ── Options ──


@pytest.mark.parametrize(
    "options",
    [
        {"beam": 2.5},
        {"beam": "3"},
        {"beam": 10**30},
        {"longest": math.nan},
        {"longest": 10**30},
        {"length_penalty": math.inf},
        {"length_penalty": "x"},
        {"sampling": 3},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    for kind in ("transformer", "classifier"):
        with pytest.raises((InputError, ArgumentTypeError), match=next(iter(options))):
            Predictor(saved(kind)).predict(["the light"], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": math.inf},
        {"temperature": math.nan},
        {"temperature": 10**400},
        {"temperature": "warm"},
        {"top_k": 1.5},
        {"top_p": math.nan},
        {"seed": 1.5},
        {"seed": None},
    ],
)
def test_numbers_of_drawing_are_finite_and_whole(options: dict[str, object]) -> None:
    with pytest.raises((InputError, ArgumentTypeError), match=next(iter(options))):
        Sampling(**options)  # type: ignore[arg-type]
