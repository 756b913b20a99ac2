"""A classifier for a task with few labels, from one of three beginnings (experiment.py says which).

All labels are trained on and the last weights are taken: nothing is kept back to choose by, since of few labels too
few would be left, and a choice by their loss would take weights that have hardly begun (dev/log.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
from torch import nn

from experiments.common.timed_training import train_for
from experiments.generalisation.language_models import (
    REFERENCE,
    TOKENS,
    adapted_name,
    language_name,
    recipe_of,
    waited_for,
)
from experiments.generalisation.metrics import STARTS as WORDS
from limelight.errors import InputError
from limelight.modules.model_io import SavedModel, architecture, build
from limelight.predicting.predictor import Predictor
from limelight.recipes.fine_tune import NEW_OUTPUT_RATE, classifier_from, with_dropout
from limelight.recipes.metrics import accuracy, macro_f1
from limelight.recipes.task import TASKS, Rows, Task
from limelight.training.loop import TrainConfig

STARTS = tuple(WORDS)
TUNING = TrainConfig(steps=1, tokens=TOKENS, warmup=50, weight_decay=0.05, average=0.99, checkpoint_every=200)
DROPOUT = 0.2
LONGEST = 512
"""Tokens of a text that a classifier reads. A few mails hold thousands, and a single one would take, by its square, a
third of the time that attention has."""
JUDGED_TEXTS = 1000
"""How many held-out texts a classifier is judged on, at most."""


@dataclass(frozen=True)
class Tuned:
    """A trained classifier, the processor seconds of its training, and how many labels that had."""

    model: SavedModel
    seconds: float
    labels: int


@dataclass(frozen=True)
class Judged:
    """What a classifier answers on held-out texts.

    frequent  the share that is right of one who always names the most frequent class
    """

    texts: int
    accuracy: float
    macro_f1: float
    frequent: float

    def to_json(self) -> dict[str, float]:
        return {
            "test": self.texts,
            "accuracy": self.accuracy,
            "macro F1": self.macro_f1,
            "most frequent": self.frequent,
        }


def tune(
    folder: Path,
    models: Path,
    task: str,
    rival: str,
    start: str,
    labels: int,
    data: Path,
    seed: int,
    rate: float,
    seconds: float,
) -> Tuned:
    """Train a classifier on `labels` rows of a task's corpus, in `folder`.

    `models` is the folder that holds the runs of the language models; where one is under way, it is waited for.
    Raises InputError for an unknown start.
    """
    if start not in STARTS:
        raise InputError(f"start must be one of {', '.join(STARTS)}; got {start!r}.")
    known = waited_for(models / (adapted_name(task, rival) if start == "adapted" else language_name(rival)))
    classes = sorted({label for _, label in _rows(data, task, "train")})
    torch.manual_seed(seed)
    begun = with_dropout(classifier_from(known, classes), DROPOUT)
    if start == "scratch":
        begun = replace(begun, model=_fresh(begun))
    given = shortened(begun, drawn(data, task, labels, seed))
    output_rate = 1.0 if start == "scratch" else NEW_OUTPUT_RATE
    settings = replace(TUNING, rate=rate, seed=seed, output_rate=output_rate)
    examples = _job().examples(begun, given)
    folder.mkdir(parents=True, exist_ok=True)
    timed = train_for(seconds, begun.model, examples, settings, folder, None, evaluations=6, share=0.9)
    return Tuned(replace(begun, model=timed.outcome.model.eval()), timed.seconds, len(given))


def drawn(data: Path, task: str, labels: int, seed: int) -> Rows:
    """So many labelled texts of the training rows, others for every seed."""
    rows = _rows(data, task, "train")
    return Random(seed).sample(rows, min(labels, len(rows)))


def held_out(data: Path, task: str, part: str) -> Rows:
    """The texts of a part that all are judged on: "valid" or "test"."""
    rows = _rows(data, task, part)
    return Random(0).sample(rows, min(JUDGED_TEXTS, len(rows)))


def answers(saved: SavedModel, rows: Rows) -> list[str]:
    """The classes that a classifier names."""
    texts = [text for text, _ in shortened(saved, rows)]
    return [each.text for each in Predictor(saved).predict(texts)]


def judged(answers: list[str], rows: Rows) -> Judged:
    """How right some answers are."""
    rights = [label for _, label in rows]
    frequent = max(rights.count(each) for each in set(rights)) / len(rights)
    return Judged(len(rights), accuracy(answers, rights), macro_f1(answers, rights), frequent)


def _job() -> Task:
    return TASKS["classify"](recipe_of("classify", REFERENCE))


def _rows(data: Path, task: str, part: str) -> Rows:
    return _job().read(data / task, part)


def _fresh(saved: SavedModel) -> nn.Module:
    """A model of the same shape that knows nothing."""
    shape, size = saved.model.shape, len(saved.source)
    return build(architecture("classes", shape), shape, size, size, True, len(saved.classes))  # type: ignore[arg-type]


def shortened(saved: SavedModel, rows: Rows) -> Rows:
    """The rows with texts of `LONGEST` tokens at most."""
    encoded = saved.source.encode_batch([text for text, _ in rows])
    return [
        (text[: each.spans[LONGEST - 1][1]] if len(each.ids) > LONGEST else text, label)
        for (text, label), each in zip(rows, encoded, strict=True)
    ]
