"""Average the weights of several trained models into one (model soup).

Fine-tunings that began from one model stay in one valley of the loss, and the mean of their weights may lie nearer to
its floor (Wortsman et al. 2022, "Model soups", arXiv:2203.05482), or between them, as with `pronounce` (dev/log.md):
so it is judged beside its parts. Models that were begun apart have no such mean: theirs says nothing.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path
from typing import cast

import torch

from limelight.errors import InputError
from limelight.models import find_model
from limelight.modules.model_io import (
    SavedModel,
    holds_model,
    load_model,
    place_for_model,
    save_model,
)
from limelight.modules.recurrent import RecurrentConfig
from limelight.modules.transformer import TransformerConfig
from limelight.recipes.choose_alignment_heads import with_alignment
from limelight.recipes.data_checks import check_classes
from limelight.recipes.model_card import averaged_card
from limelight.recipes.recipe import Recipe, Search, Text
from limelight.recipes.run_folder import OWN, is_run
from limelight.recipes.task import TASKS
from limelight.training.loop import TrainConfig

SUMMED = ("updates", "tokens", "CPU minutes")
"""What the trainings of the parts cost together."""


def average(
    models: Sequence[str | Path],
    data: Path,
    out: Path,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> SavedModel:
    """The mean of some models, by name or folder, judged beside them on `data`'s held-out rows; written to `out`.

    `progress` hears what is done, how many of it, of how many.
    Raises InputError for fewer than two, where `out` holds something else than an earlier mean, and where they differ
    in task, shape (but for dropout), tokenizers or classes.
    """
    if (count := len({find_model(name).resolve() for name in models})) < 2 or count < len(models):
        raise InputError(f"A mean needs at least two different models; got {count} of {len(models)} names.")
    _check_place(out)
    parts = {str(name): load_model(name) for name in models}
    mean = mean_of(parts)
    prediction = {
        word.name: mean.prediction[word.name] for word in fields(Search) if word.name in mean.prediction
    }
    shape = cast(TransformerConfig | RecurrentConfig, mean.model.shape)
    task = TASKS[mean.task](Recipe(mean.task, Text(), shape, TrainConfig(steps=1), Search(**prediction)))
    part = task.part(data, "valid")
    valid = task.rows(part.path)
    check_classes(mean, valid, part, given=True)
    judged: dict[str, dict[str, float]] = {}
    for number, (name, model) in enumerate([*parts.items(), ("", mean)]):
        progress("models judged", number, len(parts) + 1)
        judged[name] = dict(task.judge(model, valid).measures)
    held_out = judged.pop("")
    told = {name: sum(part.training.get(name, 0) for part in parts.values()) for name in SUMMED}
    mean = replace(
        mean,
        training=told
        | {
            "rows": max(part.training.get("rows", 0) for part in parts.values()),
            "held out": held_out,
            "mean of": judged,
        },
    )
    mean = with_alignment(mean, valid)
    line = shlex.join(["limelight", "average", *parts, "--data", str(data), "--out", str(out)])
    mean = replace(mean, card=averaged_card(mean, data, line))
    save_model(mean, out)
    return mean


def _check_place(out: Path) -> None:
    """Raises InputError where a mean in `out` would take the place of anything but an earlier mean."""
    out = place_for_model(out)
    if is_run(out) or (is_run(out.parent) and out.name in OWN):
        raise InputError(
            f"A mean is kept in a folder of its own; {out} belongs to a run. Give another folder."
        )
    if holds_model(out):
        made = json.loads((out / "model.json").read_text(encoding="utf-8")).get("training")
        if not isinstance(made, dict) or "mean of" not in made:
            raise InputError(
                f"A mean is written to a new folder, or in the place of an earlier mean; {out} holds another model. "
                "Give another folder."
            )


def mean_of(parts: dict[str, SavedModel]) -> SavedModel:
    """The first model with the mean of all their weights; none of them is changed."""
    (first_name, first), *others = parts.items()
    for name, other in others:
        if (differs := _difference(first, other)) is not None:
            raise InputError(
                f"A mean is of models that are alike: {first_name} and {name} have different {differs}. "
                "Give fine-tunings of one model."
            )
    model = deepcopy(first.model)
    weights = [dict(part.model.named_parameters()) for part in parts.values()]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.stack([each[name] for each in weights]).mean(0, dtype=torch.float64))
    return replace(first, model=model.eval(), training={}, card="")


def _difference(one: SavedModel, other: SavedModel) -> str | None:
    """What keeps two models from having a mean, in a word."""
    shapes = [
        replace(cast(TransformerConfig | RecurrentConfig, each.model.shape), dropout=0.0)
        for each in (one, other)
    ]
    same = {
        "tasks": one.task == other.task,
        "shapes": shapes[0] == shapes[1],
        "tokenizers": one.source.cuts_like(other.source) and one.target.cuts_like(other.target),
        "classes": one.classes == other.classes,
    }
    return next((what for what, alike in same.items() if not alike), None)
