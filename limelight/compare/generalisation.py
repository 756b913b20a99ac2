"""Generalisation: what is general training worth for a special task with few labels?

A language model of each kind learns from general text (`limelight data general-en`). Then the same network is
trained to tell spam from other mail, and to tell which application a paragraph of a manual is about, with few and
with many labels: once from the language model's weights, once from fresh ones. All else is equal: tokenizer,
network, labels, time. Of the labels a fifth is kept from training, to choose the best weights by.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn

from limelight.compare.generalisation_result import result
from limelight.compare.plan import Options
from limelight.compare.rivals import as_large, parameters
from limelight.compare.runs import Run, tell
from limelight.compare.search import found
from limelight.compare.timed import curve, train_for
from limelight.errors import InputError
from limelight.modules.recurrent import Recurrence
from limelight.modules.saved import SavedModel, architecture, build, load_model, save_model
from limelight.modules.transformer import Shape
from limelight.predicting.predictor import Predictor
from limelight.tasks.measures import accuracy, macro_f1
from limelight.tasks.recipe import Recipe, load_recipe
from limelight.tasks.task import TASKS, Rows
from limelight.tasks.transfer import classifier_from
from limelight.training.loop import Evaluation, Settings

__all__ = ["language", "measure", "plan", "result", "trial", "trials"]

SECONDS = 900.0
"""Processor time of a language model's training."""
TRIAL_LANGUAGE_SECONDS, TRIAL_SECONDS = 240.0, 40.0
"""The same for the search: of the language models that its classifiers begin with, and of one trial; a trial of a
language model takes half as long as those."""
TUNING_SECONDS = {100: 20.0, 1000: 60.0, 10_000: 180.0}
"""Processor time of a classifier's training, by the most labels that it may have."""
LABELS = {"lstm": "LSTM", "attention": "Transformer"}
CORPORA = {"spam": (100, 1000, 4000), "help-topics": (100, 1000, 10_000)}
"""The tasks by their corpora's names, and how many labels are given."""
STARTS = ("general", "scratch")
REFERENCE = Shape(192, 4, 768, decoder_layers=4, dropout=0.1)
RECURRENT = Recurrence(decoder_layers=2, dropout=0.1)
VOCABULARY, WINDOW = 8000, 192
RATES = (3e-4, 1e-3, 3e-3, 1e-4, 1e-2)
"""What the search tries for each rival and each start; without a search, the second. The last two were added when the
first or the third was the best of three for some."""
LANGUAGE_RATES = (1e-3, 2e-3, 4e-3)
"""The same for the language models."""
GENERAL = Settings(
    steps=1,
    tokens=2048,
    warmup=200,
    weight_decay=0.1,
    average=0.999,
    precision="auto",
    checkpoint_every=200,
)
TUNING = Settings(steps=1, tokens=3000, warmup=50, weight_decay=0.05, average=0.99, checkpoint_every=200)
LONGEST = 512
"""Tokens of a text that a classifier reads. A few mails hold thousands, and a single one would take, by its square, a
third of the time that attention has."""
CHOSEN_BY, MOST_CHOSEN = 0.2, 200
"""The share of the labels that chooses the weights, and how many at most."""
TEST_TEXTS = 1000
TRIAL_SEED = 1000


def plan(options: Options) -> list[Run]:
    """A language model of each kind; then every task, number of labels, start and kind, seed by seed."""
    where = "limelight.compare.generalisation"
    models = [
        Run(
            _language_name(rival),
            f"{where}:language",
            {
                "rival": rival,
                "data": options.data,
                "seconds": options.seconds or SECONDS,
                "rate": float(found("generalisation", f"{rival}/language").get("rate", LANGUAGE_RATES[1])),
            },
        )
        for rival in LABELS
    ]
    tuned = [
        Run(
            f"generalisation-{task}-{count}-{rival}-{start}-{seed}",
            f"{where}:measure",
            {
                "task": task,
                "rival": rival,
                "start": start,
                "labels": count,
                "data": options.data,
                "seed": seed,
                "rate": float(found("generalisation", f"{rival}/{start}").get("rate", RATES[1])),
            },
        )
        for seed in range(1, options.seeds + 1)
        for task, counts in CORPORA.items()
        for count, rival, start in product(counts, LABELS, STARTS)
    ]
    return [*models, *tuned]


def trials(options: Options) -> list[Run]:
    """Every rate for every rival's language model, and for every start of its classifier, with a thousand labels of
    spam. What the classifiers of the search begin with is no trial, and comes first."""
    where = "limelight.compare.generalisation"
    seconds = options.seconds or TRIAL_LANGUAGE_SECONDS
    every = {"data": options.data}
    begun = [
        Run(
            _language_name(rival),
            f"{where}:language",
            {"rival": rival, "seconds": seconds, "rate": LANGUAGE_RATES[1], **every},
        )
        for rival in LABELS
    ]
    models = [
        Run(
            f"{_language_name(rival)}-trial-{number}",
            f"{where}:language_trial",
            {"rival": rival, "seconds": seconds / 2, "rate": rate, **every},
        )
        for rival in LABELS
        for number, rate in enumerate(LANGUAGE_RATES)
    ]
    rated = [
        Run(
            f"generalisation-{rival}-{start}-trial-{number}",
            f"{where}:trial",
            {"rival": rival, "start": start, "rate": rate, **every},
        )
        for rival, start in product(LABELS, STARTS)
        for number, rate in enumerate(RATES)
    ]
    return [*begun, *models, *rated]


def language(folder: Path, rival: str, data: str, seconds: float, rate: float) -> dict[str, Any]:
    """Train one language model on general text, and keep it in `model`."""
    recipe = _recipe("language", REFERENCE)
    task, corpus = TASKS["language"](recipe), Path(data) / "general-en"
    rows = task.read(corpus, "train")
    saved = task.new(rows)
    saved = _as(rival, saved)
    valid = task.read(corpus, "valid")
    held_out = [(text[: 2**17], "") for text, _ in valid]  # enough to tell, and quickly read

    def evaluate(model: nn.Module) -> Evaluation:
        return task.judge(replace(saved, model=model), held_out)

    settings = replace(GENERAL, rate=rate)
    timed = train_for(
        seconds, saved.model, task.examples(saved, rows), settings, folder, evaluate, evaluations=8
    )
    trained = replace(saved, model=timed.outcome.model.eval())
    save_model(trained, folder / "model")
    perplexity = min(record["perplexity"] for record in timed.outcome.progress.history)
    return {
        "rival": rival,
        "label": LABELS[rival],
        "rate": rate,
        "shape": asdict(saved.model.shape),  # type: ignore[call-overload]
        "parameters": saved.parameters,
        "updates": timed.outcome.progress.step,
        "CPU seconds": timed.seconds,
        "perplexity": perplexity,
        "curve": curve(folder),
    }


def language_trial(folder: Path, rival: str, data: str, seconds: float, rate: float) -> dict[str, Any]:
    """One rate of a language model, judged on text that training has not seen."""
    trained = language(folder, rival, data, seconds, rate)
    return {
        "rival": f"{rival}/language",
        "label": f"{LABELS[rival]}, language model",
        "choice": {"rate": rate},
        "score": -math.log(trained["perplexity"]),
        "CPU seconds": trained["CPU seconds"],
    }


def measure(
    folder: Path, task: str, rival: str, start: str, labels: int, data: str, seed: int, rate: float
) -> dict[str, Any]:
    """Train one classifier with so many labels, and judge it on the test; of the best equipped keep the model."""
    tuned = tune(folder, task, rival, start, labels, Path(data), seed, rate)
    tell(folder, 0.9, "answering the test")
    test = Random(0).sample(tuned.test, min(TEST_TEXTS, len(tuned.test)))
    answers = [each.text for each in Predictor(tuned.model).predict([text for text, _ in test])]
    rights = [label for _, label in test]
    if labels == max(CORPORA[task]) and seed == 1:
        save_model(tuned.model, folder / "model")
    return {
        "task": task,
        "rival": rival,
        "label": LABELS[rival],
        "start": start,
        "labels": tuned.labels,
        "chosen by": tuned.chosen_by,
        "longest": LONGEST,
        "seed": seed,
        "rate": rate,
        "parameters": tuned.model.parameters,
        "CPU seconds": tuned.seconds,
        "test": len(test),
        "accuracy": accuracy(answers, rights),
        "macro F1": macro_f1(answers, rights),
        "most frequent": max(rights.count(each) for each in set(rights)) / len(rights),
    }


def trial(folder: Path, rival: str, start: str, data: str, rate: float) -> dict[str, Any]:
    """One rate, judged on the labels that training has not seen."""
    tuned = tune(folder, "spam", rival, start, 1000, Path(data), TRIAL_SEED, rate, TRIAL_SECONDS)
    words = {"general": "from the language model", "scratch": "from scratch"}
    return {
        "rival": f"{rival}/{start}",
        "label": f"{LABELS[rival]} {words[start]}",
        "choice": {"rate": rate},
        "score": tuned.score,
        "CPU seconds": tuned.seconds,
    }


@dataclass(frozen=True)
class Tuned:
    """A trained classifier, what chose it, and the test that it has not seen."""

    model: SavedModel
    score: float
    seconds: float
    labels: int
    chosen_by: int
    test: Rows


def tune(
    folder: Path,
    task: str,
    rival: str,
    start: str,
    labels: int,
    data: Path,
    seed: int,
    rate: float,
    seconds: float | None = None,
) -> Tuned:
    """Train a classifier on `labels` rows of a task's corpus, from the language model's weights or from fresh ones.

    The language model is the run beside this one; where that is under way, it is waited for.
    Raises InputError for an unknown start.
    """
    if start not in STARTS:
        raise InputError(f"start must be one of {', '.join(STARTS)}; got {start!r}.")
    known = _waited_for(folder.parent / _language_name(rival))
    job = TASKS["classify"](_recipe("classify", REFERENCE))
    rows = job.read(data / task, "train")
    torch.manual_seed(seed)
    begun = classifier_from(known, sorted({label for _, label in rows}))
    if start == "scratch":
        fresh = build(
            architecture("classes", begun.model.shape),  # type: ignore[arg-type]
            begun.model.shape,  # type: ignore[arg-type]
            len(begun.source),
            len(begun.source),
            True,
            len(begun.classes),
        )
        begun = replace(begun, model=fresh)
    given = shortened(begun, Random(seed).sample(rows, min(labels, len(rows))))
    kept = min(max(1, round(CHOSEN_BY * len(given))), MOST_CHOSEN)

    def evaluate(model: nn.Module) -> Evaluation:
        loss = job.loss(replace(begun, model=model), given[:kept])
        return Evaluation({"loss": loss}, -loss)

    timed = train_for(
        seconds or next(each for most, each in TUNING_SECONDS.items() if labels <= most),
        begun.model,
        job.examples(begun, given[kept:]),
        replace(TUNING, rate=rate, seed=seed),
        folder,
        evaluate,
        evaluations=6,
        share=0.9,
    )
    best = timed.outcome.progress.best_score
    assert best is not None
    trained = replace(begun, model=timed.outcome.model.eval())
    test = shortened(trained, job.read(data / task, "test"))
    return Tuned(trained, best, timed.seconds, len(given), kept, test)


def shortened(saved: SavedModel, rows: Rows) -> Rows:
    """The rows with texts of `LONGEST` tokens at most."""
    encoded = saved.source.encode_batch([text for text, _ in rows])
    return [
        (text[: each.spans[LONGEST - 1][1]] if len(each.ids) > LONGEST else text, label)
        for (text, label), each in zip(rows, encoded, strict=True)
    ]


def _as(rival: str, saved: SavedModel) -> SavedModel:
    """The language model as this rival has it, with as many parameters as the reference."""
    if rival not in LABELS:
        raise InputError(f"rival must be one of {', '.join(LABELS)}; got {rival!r}.")

    def make(shape: Any) -> nn.Module:
        return build(architecture("language", shape), shape, len(saved.source), len(saved.target), True, 0)

    shape: Shape | Recurrence = REFERENCE
    if rival == "lstm":
        shape = as_large(make, RECURRENT, parameters(make, REFERENCE))
    torch.manual_seed(1)
    return replace(saved, model=make(shape))


def _recipe(name: str, shape: Shape) -> Recipe:
    recipe = load_recipe(name)
    text = replace(recipe.text, source="bpe", size=VOCABULARY, window=WINDOW)
    return replace(recipe, text=text, model=shape, training=replace(recipe.training, tokens=TUNING.tokens))


def _language_name(rival: str) -> str:
    return f"generalisation-language-{rival}"


def _waited_for(run: Path, pause: float = 5.0) -> SavedModel:
    while not (run / "result.json").is_file():
        if not (run / "run.json").is_file():
            raise InputError(f"The language model of {run} must be trained first; the plan has it as a run.")
        time.sleep(pause)
    return load_model(run / "model")
