"""Generalisation: what is general training worth for a special task with few labels?

A language model of each kind learns from general text (`limelight data general-en`). Then the same network is
trained to tell spam from other mail, and to tell which application a paragraph of a manual is about, with few and
with many labels, from one of three beginnings:

    scratch  fresh weights
    general  the language model's
    adapted  those of the language model after it has read on, in the task's own texts without their labels
             (Howard and Ruder 2018, arXiv:1801.06146, §3.2)

All else is equal: tokenizer, network, labels, time. A part of the labels is kept from training, to choose the best
weights by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn

from limelight.compare.generalisation_result import STARTS as WORDS
from limelight.compare.generalisation_result import result
from limelight.compare.language_models import (
    LABELS,
    REFERENCE,
    TOKENS,
    adapt,
    adapted_name,
    language,
    language_name,
    language_trial,
    recipe_of,
    waited_for,
)
from limelight.compare.plan import Options
from limelight.compare.runs import Run, tell
from limelight.compare.search import found
from limelight.compare.timed import train_for
from limelight.errors import InputError
from limelight.modules.saved import SavedModel, architecture, build, save_model
from limelight.predicting.predictor import Predictor
from limelight.tasks.measures import accuracy, macro_f1
from limelight.tasks.task import TASKS, Rows
from limelight.tasks.transfer import classifier_from
from limelight.training.loop import Evaluation, Settings

__all__ = ["adapt", "language", "language_trial", "measure", "plan", "result", "trial", "trials"]

SECONDS = 900.0
"""Processor time of a language model's training."""
TRIAL_LANGUAGE_SECONDS, TRIAL_SECONDS = 240.0, 40.0
"""The same for the search: of the language models that its classifiers begin with, and of one trial; a trial of a
language model takes half as long as those."""
ADAPTING_SECONDS = 120.0
"""Processor time in which a language model reads on in a task's texts."""
TUNING_SECONDS = {100: 20.0, 1000: 60.0, 10_000: 180.0}
"""Processor time of a classifier's training, by the most labels that it may have."""
CORPORA = {"spam": (100, 1000, 4000), "help-topics": (100, 1000, 10_000)}
"""The tasks by their corpora's names, and how many labels are given."""
STARTS = tuple(WORDS)
SEARCHED = ("scratch", "general")
"""The beginnings that are searched for; the adapted one takes the general one's rate."""
RATES = (3e-4, 1e-3, 3e-3, 1e-4, 1e-2, 3e-2)
"""What the search tries for each rival and each start; without a search, the second. Those beyond the first three
were added when the best stood at the edge of what had been tried."""
LANGUAGE_RATES = (1e-3, 2e-3, 4e-3, 8e-3)
"""The same for the language models."""
ADAPTING_RATE = 1e-3
"""For all: a quarter of the highest, since weights that know something are to be kept."""
TUNING = Settings(steps=1, tokens=TOKENS, warmup=50, weight_decay=0.05, average=0.99, checkpoint_every=200)
LONGEST = 512
"""Tokens of a text that a classifier reads. A few mails hold thousands, and a single one would take, by its square, a
third of the time that attention has."""
CHOSEN_BY, MOST_CHOSEN = 0.2, 200
"""The share of the labels that chooses the weights, and how many at most."""
TEST_TEXTS = 1000
TRIAL_SEED = 1000


def plan(options: Options) -> list[Run]:
    """A language model of each kind, read on in every task; then every number of labels, kind and start, by seed.

    A budget is that of a language model; all that follows has its share of it.
    """
    where = "limelight.compare.generalisation"
    scale = (options.seconds or SECONDS) / SECONDS
    models = [
        Run(
            language_name(rival),
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
    read_on = [
        Run(
            adapted_name(task, rival),
            f"{where}:adapt",
            {
                "task": task,
                "rival": rival,
                "data": options.data,
                "seconds": ADAPTING_SECONDS * scale,
                "rate": ADAPTING_RATE,
            },
        )
        for task, rival in product(CORPORA, LABELS)
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
                "rate": _rate(rival, start),
                **({} if scale == 1 else {"scale": scale}),
            },
        )
        for seed in range(1, options.seeds + 1)
        for task, counts in CORPORA.items()
        for count, rival, start in product(counts, LABELS, STARTS)
    ]
    return [*models, *read_on, *tuned]


def _rate(rival: str, start: str) -> float:
    searched = start if start in SEARCHED else "general"
    return float(found("generalisation", f"{rival}/{searched}").get("rate", RATES[1]))


def trials(options: Options) -> list[Run]:
    """Every rate for every rival's language model, and for every start of its classifier, with a thousand labels of
    spam. What the classifiers of the search begin with is no trial, and comes first."""
    where = "limelight.compare.generalisation"
    seconds = options.seconds or TRIAL_LANGUAGE_SECONDS
    every = {"data": options.data}
    begun = [
        Run(
            language_name(rival),
            f"{where}:language",
            {"rival": rival, "seconds": seconds, "rate": LANGUAGE_RATES[1], **every},
        )
        for rival in LABELS
    ]
    models = [
        Run(
            f"{language_name(rival)}-trial-{number}",
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
        for rival, start in product(LABELS, SEARCHED)
        for number, rate in enumerate(RATES)
    ]
    return [*begun, *models, *rated]


def measure(
    folder: Path,
    task: str,
    rival: str,
    start: str,
    labels: int,
    data: str,
    seed: int,
    rate: float,
    scale: float = 1.0,
) -> dict[str, Any]:
    """Train one classifier with so many labels, for `scale` times the seconds that it has for them; judge it on the
    test, and keep the model of the best equipped."""
    seconds = scale * next(each for most, each in TUNING_SECONDS.items() if labels <= most)
    tuned = tune(folder, task, rival, start, labels, Path(data), seed, rate, seconds)
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
    return {
        "rival": f"{rival}/{start}",
        "label": f"{LABELS[rival]} {WORDS[start]}",
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
    seconds: float,
) -> Tuned:
    """Train a classifier on `labels` rows of a task's corpus, from the language model's weights or from fresh ones.

    The language model is the run beside this one; where that is under way, it is waited for.
    Raises InputError for an unknown start.
    """
    if start not in STARTS:
        raise InputError(f"start must be one of {', '.join(STARTS)}; got {start!r}.")
    beside = adapted_name(task, rival) if start == "adapted" else language_name(rival)
    known = waited_for(folder.parent / beside)
    job = TASKS["classify"](recipe_of("classify", REFERENCE))
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
        seconds,
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
