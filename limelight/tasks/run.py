"""A whole training run: recipe and data in, a model's folder out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch

from limelight.checked import checked
from limelight.errors import CheckpointError, LimelightError, RecipeError, require
from limelight.files import own_folder, write_text
from limelight.modules.recurrent import Recurrence
from limelight.modules.saved import SavedModel, load_model, save_model
from limelight.predicting.predictor import Prediction, Predictor
from limelight.readings.heads import AlignmentHeads, Example, choose_heads
from limelight.tasks.card import command, trained_card
from limelight.tasks.look import word_groups
from limelight.tasks.origin import Start, check_same, effective, keep
from limelight.tasks.recipe import Recipe, rendered
from limelight.tasks.task import TASKS, Rows, Task
from limelight.tasks.transfer import classifier_from, with_dropout
from limelight.training.loop import Evaluation, Outcome, train
from limelight.training.processes import demand_one_process
from limelight.training.reporting import Reporter

PAIRS_TO_ALIGN = 300
"""How many held-out pairs the heads for alignment are chosen on."""


@checked
def train_recipe(
    recipe: Recipe,
    data: str | Path,
    out: str | Path,
    start: SavedModel | str | Path | None = None,
    reporter: Reporter | None = None,
) -> tuple[SavedModel, Outcome]:
    """Train by a recipe on a data folder, and write the model to `out/model`.

    A folder `out` that holds a run already is gone on with. `start` is a trained model to begin from
    (fine-tuning), or its name or folder: its tokenizers and shape are kept, whatever the recipe says of them, but
    for dropout, which is the recipe's; it is itself not changed. A language model may begin a classifier.
    Raises RecipeError where `start`, or the run in `out`, is of another task, and where the run in `out` was
    begun with other training rows, another [text] or [model], or another `start`; CheckpointError where another
    process is training in `out`; InputError where a launcher has started several processes.
    """
    demand_one_process()
    data, out = Path(data), own_folder(Path(out), "A run")
    task = TASKS[recipe.task](recipe)
    rows, valid = task.read(data, "train"), task.read(data, "valid")
    begun_from = Start.of(start)
    with _alone(out):
        return _train(recipe, data, task, rows, valid, out, begun_from, reporter)


def _train(
    recipe: Recipe,
    data: Path,
    task: Task,
    rows: Rows,
    valid: Rows,
    out: Path,
    begun_from: Start,
    reporter: Reporter | None,
) -> tuple[SavedModel, Outcome]:
    saved = _begin(recipe, rows, out, begun_from)
    task.examples(
        saved, valid
    )  # what is wrong with the held-out rows is said now, not at the first evaluation
    line = command(recipe, data, out, begun_from.name)
    recipe = effective(recipe, saved, begun_from)
    write_text(out / "recipe.toml", rendered(recipe))

    def evaluate(model: torch.nn.Module) -> Evaluation:
        return task.judge(replace(saved, model=model), valid)

    outcome = train(
        saved.model, task.examples(saved, rows), recipe.training, out, evaluate, reporter or Reporter(out)
    )
    progress = outcome.progress
    best = next((record for record in progress.history if record["step"] == progress.best_step), {})
    told = {
        "updates": progress.step,
        "tokens": progress.tokens,
        "CPU minutes": round(progress.cpu_seconds / 60, 1),
    }
    trained = replace(
        saved,
        model=outcome.model.eval(),
        training=told | {"rows": len(rows), "held out": best},
    )
    trained = with_alignment(trained, valid)
    trained = replace(trained, card=trained_card(trained, data, recipe, line, begun_from.name))
    save_model(trained, out / "model")
    return trained, outcome


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One process a run: two would write over each other's checkpoints. A killed one leaves no lock behind."""
    filelock = require("filelock", extra="train", purpose="Training")
    new = [place for place in (out, *out.parents) if not place.exists()]
    out.mkdir(parents=True, exist_ok=True)
    lock = out / "run.lock"
    try:
        with filelock.FileLock(lock, timeout=0):
            yield
    except LimelightError:
        if new and [*out.iterdir()] in ([lock], []):  # what was refused leaves nothing
            lock.unlink(missing_ok=True)
            for place in new:
                place.rmdir()
        raise
    except filelock.Timeout as error:
        raise CheckpointError(
            f"Another process is training in {out}. Wait for it or stop it, or give another output folder."
        ) from error


def _begin(recipe: Recipe, rows: Rows, out: Path, start: Start) -> SavedModel:
    """The model as it was before the first update: kept with the run, so that going on needs no luck."""
    fresh = out / "start"
    if fresh.is_dir():
        begun = load_model(fresh)
        if begun.task != recipe.task:
            raise RecipeError(
                f"{out} holds a run of the task {begun.task!r}, the recipe is for {recipe.task!r}. "
                "Give another output folder."
            )
        check_same(out, recipe, rows, start)
        return begun
    given = start.model
    torch.manual_seed(recipe.training.seed)
    if given is not None and (given.task, recipe.task) == ("language", "classify"):
        given = classifier_from(given, sorted({label for _, label in rows}))
    if given is not None and given.task != recipe.task:
        raise RecipeError(f"A model for the task {given.task!r} cannot begin a run of {recipe.task!r}.")
    if given is None:
        saved = TASKS[recipe.task](recipe).new(rows)
    else:  # what the old model said of its training and its heads is not true of the new one
        prediction = {name: value for name, value in given.prediction.items() if name != "alignment"}
        given = with_dropout(given, recipe.model.dropout, recipe.text.window)
        saved = replace(given, prediction=prediction, training={}, card="")
    keep(out, recipe, rows, start)  # before the model: a folder that has the model has this
    save_model(saved, fresh)
    return saved


def with_alignment(saved: SavedModel, valid: Rows) -> SavedModel:
    """The same model with the heads that align its words, chosen on held-out pairs; as it is where there are none."""
    heads = alignment_heads(saved, valid[:PAIRS_TO_ALIGN]) if saved.model.role == "pairs" else None
    if heads is None:
        return saved
    return replace(saved, prediction=saved.prediction | {"alignment": heads.to_json()})


def alignment_heads(saved: SavedModel, pairs: Rows) -> AlignmentHeads | None:
    """The cross-attention heads that find, in held-out pairs, the words that both sides share.

    None where no pair has several words on both sides, since there is nothing to choose by, and for a model
    without attention.
    """
    predictor = Predictor(saved)
    if isinstance(saved.model.shape, Recurrence) and saved.model.shape.attention == "none":
        return None

    def examples() -> Iterator[Example]:
        for source, target in pairs:
            ids = saved.source.encode(source).ids, saved.target.encode(target).ids
            trace = predictor.trace(Prediction(source, target, 0.0, *ids))
            if trace.target is not None and len(trace.target) and len(trace.source):
                groups = word_groups(trace.target, after=1), word_groups(trace.source, after=1)
                if min(map(len, groups)) > 1:
                    yield Example(trace.layers("cross"), *groups)

    found = examples()
    first = next(found, None)
    return None if first is None else choose_heads(chain([first], found))
