"""A whole training run: recipe and data in, a model's folder out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from limelight.modules.saved import SavedModel, load_model, save_model
from limelight.tasks.recipe import Recipe
from limelight.tasks.task import TASKS
from limelight.training.loop import Evaluation, Outcome, train
from limelight.training.reporting import Reporter


def train_recipe(
    recipe: Recipe, data: Path, out: Path, start: SavedModel | None = None, reporter: Reporter | None = None
) -> tuple[SavedModel, Outcome]:
    """Train by a recipe on a data folder, and write the model to `out/model`.

    A folder `out` that holds a run already is gone on with. `start` is a trained model to begin from
    (fine-tuning): its tokenizers and shape are kept, whatever the recipe says of them.
    """
    task = TASKS[recipe.task](recipe)
    rows, valid = task.read(data, "train"), task.read(data, "valid")
    torch.manual_seed(recipe.training.seed)
    fresh = out / "start"
    if fresh.is_dir():
        saved = load_model(fresh)
    else:
        out.mkdir(parents=True, exist_ok=True)
        saved = start or task.new(rows)
        save_model(saved, fresh)
        (out / "recipe.toml").write_text(recipe.source, encoding="utf-8")

    def evaluate(model: torch.nn.Module) -> Evaluation:
        return task.judge(replace(saved, model=model), valid)

    outcome = train(
        saved.model, task.examples(saved, rows), recipe.training, out, evaluate, reporter or Reporter(out)
    )
    trained = replace(saved, model=outcome.model.eval())
    save_model(trained, out / "model")
    return trained, outcome
