"""The runs of accuracy, alignment and generalisation from beginning to end, on tiny data, and killed on the way."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch

from experiments.accuracy import experiment, tasks as accuracy_tasks
from experiments.accuracy.tasks import CONTESTS, LABELS, Contest, rivals, scored, spread_over
from experiments.alignment import experiment as alignment_experiment
from experiments.common import timed_training
from experiments.common.contenders import TOLERANCE
from experiments.common.plan import Options
from experiments.common.runner import Run
from experiments.data.bibles import linked_verses
from experiments.generalisation import (
    experiment as generalisation_experiment,
    fine_tuning,
    language_models,
    words_alone,
)
from limelight.errors import InputError
from limelight.modules.model_io import SavedModel, load_model
from limelight.modules.transformer import LanguageModel, TransformerConfig
from limelight.recipes.metrics import references_of
from limelight.text.tokenizers import Tokenizer
from limelight.training.loop import Evaluation, TrainConfig
from tests.examples import mostly_slow

WORDS = {
    "a": "un",
    "red": "rojo",
    "cat": "gato",
    "sees": "ve",
    "big": "grande",
    "dog": "perro",
    "now": "ahora",
}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def verses(count: int, seed: int) -> list[tuple[str, str]]:
    """Some words and their translations in another order, each with its number."""
    chance, names = random.Random(seed), list(WORDS)
    rows = []
    for _ in range(count):
        some = chance.sample(names, 4)
        mark = '<w lemma="strong:H{}">{}</w>'
        one = " ".join(mark.format(names.index(word), word) for word in some)
        other = " ".join(mark.format(names.index(word), WORDS[word]) for word in reversed(some))
        rows.append((one, other))
    return rows


def write_bible(folder: Path) -> None:
    folder.mkdir(parents=True)
    for seed, (part, count) in enumerate({"train": 101, "valid": 11, "test": 13}.items()):
        rows = verses(count, seed)
        sides = [{f"Gen.1.{n}": row[side] for n, row in enumerate(rows)} for side in (0, 1)]
        linked = list(linked_verses(*sides))
        (folder / f"{part}.tsv").write_text("".join(f"{v.source.text}\t{v.target.text}\n" for v in linked))
        (folder / f"links-{part}.jsonl").write_text("".join(json.dumps(v.to_json()) + "\n" for v in linked))


def tiny(contest: Contest, folder: str) -> Contest:
    return replace(contest, folder=folder, reference=TransformerConfig(64, 2, 96, 1, 1), tokens=200, judged=5)


# ── Accuracy ──


@pytest.mark.slow
def test_rivals_of_every_contest_are_of_one_size() -> None:
    for contest in CONTESTS.values():
        entered = rivals(contest, 53, 47, False)
        make = accuracy_tasks.maker(53, 47, False)
        sizes = {name: accuracy_tasks.parameters(make, rival.shape) for name, rival in entered.items()}
        assert sizes.keys() == LABELS.keys()
        assert max(sizes.values()) <= (1 + 2 * TOLERANCE) * min(sizes.values())
        assert [isinstance(rival.shape, TransformerConfig) for rival in entered.values()] == [
            False,
            False,
            True,
        ]


def test_the_plan_goes_seed_by_seed_and_ends_with_the_long_runs() -> None:
    runs = experiment.plan(Options(seeds=2, longest=7200.0, data="here"))
    assert len(runs) == 2 * 2 * 3 + 2 * 3
    assert len({run.name for run in runs}) == len(runs)
    assert [run.options["seed"] for run in runs[:12]] == [1] * 6 + [2] * 6
    assert all(run.options["kind"] == "long" for run in runs[12:])
    assert [run.options["seconds"] for run in runs[12:]] == [7200.0] * 3 + [5760.0] * 3
    assert len(experiment.plan(Options(seeds=1, longest=0.0))) == 6
    tried = experiment.trials(Options(seconds=7.0))
    assert len(tried) == len(experiment.RATES) * 6
    assert {run.options["seconds"] for run in tried} == {7.0}


@pytest.mark.slow
def test_a_run_of_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bible(tmp_path / "data" / "pairs")
    monkeypatch.setitem(CONTESTS, "translate", tiny(CONTESTS["translate"], "pairs"))
    monkeypatch.setattr(
        experiment, "TRAINING", replace(experiment.TRAINING, precision="float32", checkpoint_every=7)
    )
    options = {"task": "translate", "rival": "luong", "data": str(tmp_path / "data"), "rate": 1e-2}
    (tmp_path / "run").mkdir()
    found = experiment.measure(tmp_path / "run", **options, seconds=0.4, seed=1, kind="short")
    assert json.loads(json.dumps(found)) == found
    assert found["curve"][-1]["step"] == found["updates"]
    assert [place["sources"] for place in found["by length"]] == [13, 0, 0, 0]
    assert found["test"]["sources"] == 13
    answers = [line.split("\t") for line in (tmp_path / "run" / "answers.tsv").read_text().splitlines()]
    told = scored(CONTESTS["translate"], tmp_path / "data", dict(answers))
    assert told["test"] == found["test"]
    right = {source: target for source, [target] in references_of(_rows(tmp_path)).items()}
    assert scored(CONTESTS["translate"], tmp_path / "data", right)["test"]["BLEU"] == pytest.approx(100.0)
    (tmp_path / "trial").mkdir()
    trial = experiment.trial(tmp_path / "trial", **options, seconds=0.2)
    assert (trial["rival"], trial["choice"]) == ("translate/luong", {"rate": 1e-2})
    assert trial["score"] < 0
    with pytest.raises(InputError, match="rival must be one of lstm, luong, attention"):
        experiment.trial(tmp_path / "trial", **(options | {"rival": "gru"}), seconds=0.2)


def _rows(tmp_path: Path) -> list[tuple[str, str]]:
    lines = (tmp_path / "data/pairs/test.tsv").read_text().splitlines()
    return [(source, target) for source, target in (line.split("\t") for line in lines)]


def test_rows_are_judged_evenly_and_with_all_their_targets() -> None:
    rows = [(str(n), "x") for n in range(101)] + [("0", "y")]
    kept = spread_over(rows, 10)
    assert [source for source, _ in kept] == ["0", *map(str, range(10, 100, 10)), "0"]
    assert spread_over(rows, 1000) == rows


# ── Equal time ──


def timed_run(
    folder: Path, seconds: float, patience: int, score: float | None, killed_at: int | None = None
) -> timed_training.Timed:
    from limelight.training.batches import LabelledTexts

    torch.manual_seed(3)
    shape = TransformerConfig(16, 2, 16, 1, 1)
    model = accuracy_tasks.build("classifier", shape, 11, 11, True, 2)
    examples = LabelledTexts([[4, 5, n % 5 + 4] for n in range(31)], [n % 2 for n in range(31)])
    scores = iter(range(10**6))
    settings = TrainConfig(steps=1, tokens=40, warmup=5, checkpoint_every=200)

    def evaluate(model: torch.nn.Module) -> Evaluation:
        number = next(scores)
        if number == killed_at:
            raise RuntimeError("killed")
        return Evaluation({"x": 0.0}, float(number) if score is None else score)

    folder.mkdir(exist_ok=True)
    return timed_training.train_for(seconds, model, examples, settings, folder, evaluate, 8, patience)


def test_the_time_is_kept_and_the_rate_falls_to_zero(tmp_path: Path) -> None:
    found = timed_run(tmp_path / "run", 0.3, 0, None)
    assert 0.1 < found.seconds < 0.9  # a busy machine is no clock
    decided = json.loads((tmp_path / "run" / "fall.json").read_text())
    assert decided["level"] < found.settings.steps == decided["steps"]
    assert found.settings.decay == pytest.approx(1 - decided["level"] / decided["steps"])
    assert not found.settled
    steps = [record["step"] for record in timed_training.curve(tmp_path / "run")]
    assert steps == sorted(set(steps))
    again = timed_run(tmp_path / "run", 0.3, 0, None)  # nothing is left to do
    assert again.outcome.progress.step == found.outcome.progress.step


@pytest.fixture(params=mostly_slow([50, 100, 300], 100))
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update takes a hundredth of a second, whatever the trial has said of it."""
    monkeypatch.setattr(timed_training, "training_seconds", lambda progress: progress.step / 100)
    monkeypatch.setattr(timed_training, "updates_within", lambda *_: request.param)


@pytest.mark.slow
@pytest.mark.usefixtures("clock")
def test_the_level_part_has_its_share_of_the_time_whatever_the_trial_said(tmp_path: Path) -> None:
    found = timed_run(tmp_path / "run", 1.0, 0, None)
    decided = json.loads((tmp_path / "run" / "fall.json").read_text())
    every = max(1, json.loads((tmp_path / "run" / "trial.json").read_text())["updates"] // 8)
    assert decided["level"] == math.ceil(60 / every) * every  # the first checkpoint after its time
    assert decided["steps"] == 100
    assert found.settings.steps == found.outcome.progress.step == 100


@pytest.mark.slow
@pytest.mark.usefixtures("clock")
def test_what_gets_no_better_falls_early(tmp_path: Path) -> None:
    found = timed_run(tmp_path / "run", 3.0, 2, 1.0)
    decided = json.loads((tmp_path / "run" / "fall.json").read_text())
    assert found.settled
    assert found.outcome.progress.step == decided["steps"]
    told = [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert told == sorted(set(told))  # the fall went on from where the level part ended
    assert decided["level"] < 180


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed_at", "decided"),
    [pytest.param(3, set(), marks=pytest.mark.slow), (7, {"fall.json"})],
    ids=["in the level part", "in the fall"],
)
@pytest.mark.parametrize("clock", [100], indirect=True)
@pytest.mark.usefixtures("clock")
def test_a_killed_run_goes_on(killed_at: int, decided: set[str], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        timed_run(tmp_path / "run", 1.0, 0, 1.0, killed_at)
    kept = {file.name: file.read_text() for file in (tmp_path / "run").glob("*.json")}
    before = [record["step"] for record in timed_training.curve(tmp_path / "run")]
    found = timed_run(tmp_path / "run", 1.0, 0, 1.0)
    assert {"fall.json"} & kept.keys() == decided
    for name in ("trial.json", *decided):
        assert kept[name] == (tmp_path / "run" / name).read_text()
    after = [record["step"] for record in timed_training.curve(tmp_path / "run")]
    assert len(before) == killed_at
    assert after[: len(before)] == before
    assert after[-1] == found.settings.steps


# ── Alignment ──


@pytest.mark.slow
def test_a_run_of_alignment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bible(tmp_path / "data" / "bible-en-es")
    monkeypatch.setattr(alignment_experiment, "CONTEST", tiny(alignment_experiment.CONTEST, "bible-en-es"))
    monkeypatch.setattr(
        alignment_experiment,
        "TRAINING",
        replace(alignment_experiment.TRAINING, precision="float32", warmup=10, average=0.9),
    )
    (tmp_path / "attention").mkdir()
    found = alignment_experiment.measure(
        tmp_path / "attention", "attention", str(tmp_path / "data"), 0.5, 1e-2
    )
    assert json.loads(json.dumps(found))["verses"] == {"valid": 11, "test": 13}
    assert [(head["layer"], head["head"], head["row"]) for head in found["heads"]] == [
        (0, number, row) for number in (0, 1) for row in alignment_experiment.ROWS
    ]
    assert all(head["test"]["sure"] == 4 * 13 for head in found["heads"])
    told = alignment_experiment.result({"attention": found})
    assert "on the test" in told.sentences[0]
    saved = load_model(tmp_path / "attention" / "model")
    assert saved.parameters == found["parameters"]
    pytest.importorskip("thot")
    (tmp_path / "aligner").mkdir()
    aligner = alignment_experiment.align(tmp_path / "aligner", "fast_align", str(tmp_path / "data"))
    assert aligner["links"] == 4 * (101 + 11 + 13)
    assert aligner["test"]["to target"]["error rate"] < 0.2  # words that always go together


def test_a_head_that_is_always_right_has_no_error() -> None:
    [verse] = linked_verses(*({"Gen.1.1": side} for side in verses(1, 5)[0]))
    found = alignment_experiment.gold(
        verse, alignment_experiment.words(verse.target.text), alignment_experiment.words(verse.source.text)
    )
    table = torch.zeros(1, 4, 4)
    for target, source in found.sure:
        table[0, target, source] = 0.7
    forced = alignment_experiment.Forced(found, ((2, 1),), {"predicts": table, "has read": table.flip(-1)})
    assert alignment_experiment.of_heads([forced], [(2, 1)], "predicts").error_rate == 0.0
    assert alignment_experiment.of_heads([forced], [(2, 1)], "has read").error_rate == 1.0
    assert alignment_experiment.peaks(torch.zeros(2, 3)) == []


# ── Generalisation ──


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_models, "REFERENCE", TransformerConfig(32, 2, 48, 1, 1))
    monkeypatch.setattr(language_models, "VOCABULARY", 300)
    monkeypatch.setattr(language_models, "WINDOW", 31)
    monkeypatch.setattr(generalisation_experiment, "CORPORA", {"spam": (20, 40)})
    monkeypatch.setattr(generalisation_experiment, "TUNING_SECONDS", {40: 0.2})
    monkeypatch.setattr(generalisation_experiment, "TRIAL_LABELS", 30)
    monkeypatch.setattr(
        language_models, "GENERAL", replace(language_models.GENERAL, precision="float32", tokens=300)
    )


@pytest.mark.slow
@pytest.mark.parametrize("rival", ["lstm", "attention"])
@pytest.mark.usefixtures("small_networks")
def test_a_run_of_generalisation(rival: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("general-en", "spam"):
        (data / name).mkdir(parents=True)
    text = " ".join(source for source, _ in _plain(67))
    for part in ("train", "valid"):
        (data / "general-en" / f"{part}.txt").write_text(text)
    for part in ("train", "valid", "test"):
        rows = (f"{source}\t{'spam' if 'cat' in source else 'ham'}\n" for source, _ in _plain(61))
        (data / "spam" / f"{part}.tsv").write_text("".join(rows))
    folder = tmp_path / f"generalisation-language-{rival}"
    folder.mkdir()
    trial = generalisation_experiment.language_trial(folder, rival, str(data), 0.2, 2e-3)
    assert (trial["rival"], trial["choice"]) == (f"{rival}/language", {"rate": 2e-3})
    found = generalisation_experiment.language(folder, rival, str(data), 0.3, 2e-3)
    (folder / "run.json").write_text("{}")
    (folder / "result.json").write_text(json.dumps(found))
    other = tmp_path / f"generalisation-adapted-spam-{rival}"
    other.mkdir()
    read_on = generalisation_experiment.adapt(other, "spam", rival, str(data), 0.2, 2e-3)
    assert read_on["after"] < read_on["before"]
    # Before and after are measured alike: without dropout, on the same text.
    job = language_models.TASKS["language"](language_models.recipe_of("language", language_models.REFERENCE))
    held_out = [("\n".join(source for source, _ in _plain(61)), "")]
    begun = load_model(folder / "model")
    assert not begun.model.training
    assert read_on["before"] == job.judge(begun, held_out).measures["perplexity"]
    (other / "run.json").write_text("{}")
    (other / "result.json").write_text(json.dumps(read_on))
    for start in generalisation_experiment.STARTS:
        run = tmp_path / start
        run.mkdir()
        tuned = generalisation_experiment.measure(run, "spam", rival, start, 40, str(data), 1, 1e-2)
        assert json.loads(json.dumps(tuned)) == tuned
        assert 0 <= tuned["accuracy"] <= 1
        assert tuned["labels"] == 40
        assert load_model(run / "model").model.shape.causal  # type: ignore[union-attr]
    tried = generalisation_experiment.trial(tmp_path / "trial", rival, "general", str(data), 1e-2)
    assert (tried["rival"], tried["choice"]) == (f"{rival}/general", {"rate": 1e-2})
    assert 0 <= tried["score"] <= 1
    with pytest.raises(InputError, match="start must be one of scratch, general, adapted"):
        generalisation_experiment.measure(tmp_path / "general", "spam", rival, "zero", 40, str(data), 1, 1e-2)
    with pytest.raises(InputError, match="must be trained first"):
        language_models.waited_for(tmp_path / "elsewhere")
    rmtree(folder / "model")
    with pytest.raises(InputError, match="a result but no weights"):
        language_models.waited_for(folder)


@pytest.mark.slow
def test_words_alone_tell_what_words_tell(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn (the extra compare) is not installed")
    (tmp_path / "spam").mkdir()
    for part, count in (("train", 61), ("test", 37)):
        rows = (f"{text}\t{'spam' if 'cat' in text else 'ham'}\n" for text, _ in _plain(count))
        (tmp_path / "spam" / f"{part}.tsv").write_text("".join(rows))
    found = generalisation_experiment.words(tmp_path, "spam", 59, str(tmp_path), 1)
    assert json.loads(json.dumps(found)) == found
    assert (found["labels"], found["test"], found["accuracy"], found["macro F1"]) == (59, 37, 1.0, 1.0)
    # What no word tells is answered by the class that is most frequent.
    rows = [("one two", "x"), ("two one", "x"), ("six ten", "x"), ("ten six", "y")]
    assert words_alone.answers(rows, ["unseen words"]).classes == ["x"]


@pytest.mark.parametrize("start", ["scratch", "adapted"])
def test_all_labels_are_trained_on_and_the_new_layer_learns_faster(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the training is given, from a start that knows something and from one that knows nothing."""
    rows = [(f"{source} {number}", "ab"[number % 2]) for number, (source, _) in enumerate(_plain(43))]
    (tmp_path / "spam").mkdir()
    (tmp_path / "spam" / "train.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in rows))
    tokenizer = Tokenizer.train([text for text, _ in rows], "words", 97)
    torch.manual_seed(2)
    known = LanguageModel(TransformerConfig(24, 3, 29, 1, 2, dropout=0.1), len(tokenizer))
    beside: list[str] = []
    given: list[Any] = []

    def waited_for(run: Path) -> SavedModel:
        beside.append(run.name)
        return SavedModel("language", known.eval(), tokenizer, tokenizer)

    def train_for(*asked: Any, **more: Any) -> None:
        given.extend(asked)
        raise KeyboardInterrupt

    monkeypatch.setattr(fine_tuning, "waited_for", waited_for)
    monkeypatch.setattr(fine_tuning, "train_for", train_for)
    with pytest.raises(KeyboardInterrupt):
        fine_tuning.tune(tmp_path, tmp_path, "spam", "attention", start, 29, tmp_path, 1, 1e-3, 1.0)
    adapted = start == "adapted"
    assert beside == [
        "generalisation-adapted-spam-attention" if adapted else "generalisation-language-attention"
    ]
    seconds, model, examples, settings, _, evaluate = given
    assert (seconds, len(examples.lengths()), evaluate) == (1.0, 29, None)
    assert settings.output_rate == (10 if adapted else 1)
    assert model.shape.dropout == fine_tuning.DROPOUT
    same = torch.equal(model.encoder.embedding.table.weight, known.decoder.embedding.table.weight)
    assert same == adapted


def test_long_texts_are_read_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = accuracy_tasks.entered(tiny(CONTESTS["translate"], "pairs"), _plain_pairs(23), "luong", 1, 0.0)
    [(text, _)] = _plain(1)
    count = len(saved.source.encode(text).ids)
    monkeypatch.setattr(fine_tuning, "LONGEST", count)
    first, second = fine_tuning.shortened(saved, [(text, "a"), (f"{text} {text}", "b")])
    assert first == (text, "a")
    assert second == (text, "b")


def _plain_pairs(count: int) -> list[tuple[str, str]]:
    return [(source, source) for source, _ in _plain(count)]


def _plain(count: int) -> list[tuple[str, str]]:
    return [(" ".join(random.Random(seed).sample(list(WORDS), 4)), "") for seed in range(count)]


def test_the_language_models_come_first() -> None:
    runs: list[Run] = generalisation_experiment.plan(Options(seeds=3))
    assert [run.work.rpartition(":")[2] for run in runs[:2]] == ["language"] * 2
    assert [run.work.rpartition(":")[2] for run in runs[2:6]] == ["adapt"] * 4
    assert len(runs) == 2 + 4 + 3 * 2 * 3 * 2 * 3 + 3 * 2 * 3
    assert [run.work.rpartition(":")[2] for run in runs[-18:]] == ["words"] * 18
    assert len({run.name for run in runs}) == len(runs)
    tried = generalisation_experiment.trials(Options())
    rates = len(generalisation_experiment.RATES), len(generalisation_experiment.LANGUAGE_RATES)
    assert len(tried) == 2 + 4 * rates[0] + 2 * rates[1]
    assert [run.options["seconds"] for run in tried[:3]] == [240.0, 240.0, 120.0]
