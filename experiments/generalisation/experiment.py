"""Generalisation: what is general training worth for a special task with few labels?

A language model of each kind learns from general text (`limelight data general-en`). Then the same network is
trained to tell spam from other mail, and to tell which application a paragraph of a manual is about, with few and
with many labels, from one of three beginnings:

    scratch  fresh weights
    general  the language model's
    adapted  those of the language model after it has read on, in the task's own texts without their labels
             (Howard and Ruder 2018, arXiv:1801.06146, §3.2)

All else is equal: tokenizer, network, labels, time.

language_models.py trains and adapts the language models, fine_tuning.py the classifiers; beside them stands what the
words alone say, without a network (words_alone.py).
"""

from __future__ import annotations

from itertools import product
from math import fsum
from pathlib import Path
from typing import Any

from experiments.common.plan import Options
from experiments.common.runner import Run, tell
from experiments.common.search import found, trial_of
from experiments.generalisation import words_alone
from experiments.generalisation.fine_tuning import (
    LONGEST,
    STARTS,
    answers,
    drawn,
    held_out,
    judged,
    tune,
)
from experiments.generalisation.language_models import (
    LABELS,
    adapt,
    adapted_name,
    language,
    language_name,
    language_trial,
)
from experiments.generalisation.metrics import STARTS as BEGUN, WORDS_ALONE
from experiments.generalisation.report import result
from limelight.modules.model_io import save_model

__all__ = ["adapt", "language", "language_trial", "measure", "plan", "result", "trial", "trials", "words"]

SECONDS = 900.0
"""Processor time of a language model's training."""
TRIAL_LANGUAGE_SECONDS = 240.0
"""The same for the search, of the language models that its classifiers begin with; a trial of a language model takes
half as long."""
ADAPTING_SECONDS = 600.0
"""Processor time in which a language model reads on in a task's texts: several times through them."""
TUNING_SECONDS = {100: 20.0, 1000: 60.0, 10_000: 180.0}
"""Processor time of a classifier's training, by the most labels that it may have."""
CORPORA = {"spam": (100, 1000, 4000), "help-topics": (100, 1000, 10_000)}
"""The tasks by their corpora's names, and how many labels are given."""
SEARCHED = ("scratch", "general")
"""The beginnings that are searched for; the adapted one takes the general one's rate."""
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""What the search tries for each rival and each start; without a search, the second."""
LANGUAGE_RATES = (1e-3, 2e-3, 4e-3, 8e-3)
"""The same for the language models."""
ADAPTING_RATE = 2e-3
"""For all, and not searched for."""
TRIAL_LABELS, TRIAL_SEED = 1000, 1000


def plan(options: Options) -> list[Run]:
    """A language model of each kind, read on in every task; then every number of labels, kind and start, by seed;
    last what the words alone say.

    A budget is that of a language model; all that follows has its share of it.
    """
    where = "experiments.generalisation.experiment"
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
    without = [
        Run(
            f"generalisation-{task}-{count}-words-{seed}",
            f"{where}:words",
            {"task": task, "labels": count, "data": options.data, "seed": seed},
        )
        for seed in range(1, options.seeds + 1)
        for task, counts in CORPORA.items()
        for count in counts
    ]
    return [*models, *read_on, *tuned, *without]


def _rate(rival: str, start: str) -> float:
    searched = start if start in SEARCHED else "general"
    return float(found("generalisation", f"{rival}/{searched}").get("rate", RATES[1]))


def trials(options: Options) -> list[Run]:
    """Every rate for every rival's language model, and for every start of its classifiers, with a thousand labels of
    each task. What the classifiers of the search begin with is no trial, and comes first."""
    where = "experiments.generalisation.experiment"
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
    tuned = tune(
        folder, folder.parent, task, rival, start, labels, Path(data), seed, rate, scale * _seconds(labels)
    )
    tell(folder, 0.9, "answering the test")
    test = held_out(Path(data), task, "test")
    found = judged(answers(tuned.model, test), test)
    if labels == max(CORPORA[task]) and seed == 1:
        save_model(tuned.model, folder / "model")
    return {
        "task": task,
        "rival": rival,
        "label": LABELS[rival],
        "start": start,
        "labels": tuned.labels,
        "longest": LONGEST,
        "seed": seed,
        "rate": rate,
        "parameters": tuned.model.parameters,
        "CPU seconds": tuned.seconds,
        **found.to_json(),
    }


def words(folder: Path, task: str, labels: int, data: str, seed: int) -> dict[str, Any]:
    """The same labels and the same test for a classifier without a network."""
    given, test = drawn(Path(data), task, labels, seed), held_out(Path(data), task, "test")
    answered = words_alone.answers(given, [text for text, _ in test])
    return {
        "task": task,
        "rival": "words",
        "label": WORDS_ALONE,
        "start": "scratch",
        "labels": len(given),
        "seed": seed,
        "CPU seconds": answered.seconds,
        **judged(answered.classes, test).to_json(),
    }


def trial(folder: Path, rival: str, start: str, data: str, rate: float) -> dict[str, Any]:
    """One rate for all tasks, judged by right answers on texts that neither training nor the test has."""

    def train() -> dict[str, Any]:
        right, spent = [], []
        for task in CORPORA:
            tuned = tune(
                folder / task,
                folder.parent,
                task,
                rival,
                start,
                TRIAL_LABELS,
                Path(data),
                TRIAL_SEED,
                rate,
                _seconds(TRIAL_LABELS),
            )
            valid = held_out(Path(data), task, "valid")
            right.append(judged(answers(tuned.model, valid), valid).accuracy)
            spent.append(tuned.seconds)
        return {
            "scored by": "right answers",
            "score": fsum(right) / len(right),
            "CPU seconds": fsum(spent),
        }

    return trial_of(f"{rival}/{start}", f"{LABELS[rival]} {BEGUN[start]}", {"rate": rate}, train)


def _seconds(labels: int) -> float:
    """Processor time of a training with so many labels."""
    return next(seconds for most, seconds in TUNING_SECONDS.items() if labels <= most)
