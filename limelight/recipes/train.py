"""A whole training run: recipe and data in, a model's folder out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import torch

from limelight.checked import checked
from limelight.errors import (
    CheckpointError,
    RecipeError,
    TooLargeError,
    out_of_memory,
    require,
)
from limelight.files import own_folder, write_text
from limelight.modules.model_io import (
    FILES,
    SavedModel,
    holds_model,
    load_model,
    place_for_model,
    save_model,
)
from limelight.recipes.choose_alignment_heads import with_alignment
from limelight.recipes.data_checks import (
    check_classes,
    check_labels,
    check_lengths,
    check_unknown,
    check_words,
)
from limelight.recipes.data_rows import DataPart
from limelight.recipes.fine_tune import classifier_from, with_dropout
from limelight.recipes.model_card import command, trained_card
from limelight.recipes.provenance import Start, check_same_origin, effective, keep, measured_on
from limelight.recipes.recipe import Recipe, rendered
from limelight.recipes.resume import (
    as_made,
    check_settings,
    recipe_text,
    stands_at,
    told_stretches,
    where_it_ended,
)
from limelight.recipes.run_folder import (
    LOCK,
    MODEL,
    RECIPE,
    START,
    abandon,
    begun_only,
    check_place,
    claim,
    is_run,
    tidy,
)
from limelight.recipes.task import TASKS, Rows, Task
from limelight.training.batches import Dataset
from limelight.training.best_weights import BEFORE, BEST
from limelight.training.checkpoints import check_free
from limelight.training.loop import Evaluation, TrainResult, begin_stretch, finished, train
from limelight.training.reporting import Reporter
from limelight.training.single_process import demand_one_process


@checked
def train_recipe(
    recipe: Recipe,
    data: str | Path,
    out: str | Path,
    start: SavedModel | str | Path | None = None,
    reporter: Reporter | None = None,
) -> tuple[SavedModel, TrainResult]:
    """Train by a recipe on a data folder, and write the model to `out/model`.

    A folder `out` that holds a run already is gone on with. `start` is a trained model to begin from
    (fine-tuning), or its name or folder: its tokenizers and shape are kept, whatever the recipe says of them, but
    for dropout, which is the recipe's; it is itself not changed. A language model may begin a classifier.
    Everything is checked before anything is written, and what fails before its first checkpoint leaves nothing.

    Raises RecipeError where `start`, or the run in `out`, is of another task, where the run in `out` was begun with
    other training rows, another [text], [model] or seed, or another `start`, and where it is finished and the
    settings would change nothing any more; InputError where `out` holds files that a run would write over, or is the
    data's folder or a model's; TextError, with file and line, for rows that cannot be learned; TooLargeError where a
    batch does not fit into memory; CheckpointError where another process is training in `out`; InputError where a
    launcher has started several processes.
    """
    demand_one_process()
    data, out = Path(data), own_folder(Path(out), "A run")
    check_place(out, data)
    task = TASKS[recipe.task](recipe)
    parts = {name: task.part(data, name) for name in ("train", "valid")}
    rows, valid = (task.rows(part.path) for part in parts.values())
    begun_from = Start.of(start)
    with _alone(out):
        return _train(recipe, data, parts, rows, valid, out, begun_from, reporter or Reporter(out))


def _train(
    recipe: Recipe,
    data: Path,
    parts: dict[str, DataPart],
    rows: Rows,
    valid: Rows,
    out: Path,
    start: Start,
    reporter: Reporter,
) -> tuple[SavedModel, TrainResult]:
    if recipe.task == "classify" and (start.model is None or not start.model.classes):
        check_labels(rows, parts["train"])
    saved, new = _begin(recipe, rows, out, start)
    recipe = effective(recipe, saved, start)
    task = TASKS[recipe.task](recipe)
    if not saved.classes:  # a class is not searched for
        saved = replace(saved, prediction=saved.prediction | asdict(recipe.prediction))
    examples = {
        name: check_rows(
            task, saved, part_rows, parts[name], start.model is not None, name == "valid", reporter
        )
        for name, part_rows in (("train", rows), ("valid", valid))
    }
    progress = stands_at(out)
    check_settings(out, progress, recipe.training, reporter.note)
    check_free(out, progress.step, recipe.training.steps)
    if not new:
        place_for_model(out / MODEL)
    if not finished(progress, recipe.training):
        progress = deepcopy(progress)
        begin_stretch(progress, recipe.training)
        warmup = recipe.training.warmup
        if warmup > recipe.training.steps:
            reporter.note(
                f"warmup = {warmup:,} is not over within steps = {recipe.training.steps:,}: the learning rate "
                "rises to the end and never reaches its height"
            )
    made = as_made(recipe, progress)
    if new:
        if not is_run(out):
            claim(out, rendered(made))
        _write_start(saved, recipe, rows, out, start)
    write_text(out / RECIPE, recipe_text(made, progress))

    def evaluate(model: torch.nn.Module) -> Evaluation:
        try:
            return task.judge(replace(saved, model=model), valid)
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, TooLargeError) or not out_of_memory(error):
                raise
            raise _valid_too_large(task, saved, valid, parts["valid"]) from error

    outcome = train(
        saved.model,
        examples["train"],
        recipe.training,
        out,
        evaluate,
        reporter,
        judged_by=measured_on(recipe, valid),
        place=(lambda row: f"in {parts['train'].path}")
        if recipe.task == "language"
        else parts["train"].place,
    )
    progress = outcome.progress
    recipe = as_made(recipe, progress)
    if outcome.stopped_early:
        reporter.note(f"the run ended {where_it_ended(progress, recipe.training)}")
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
    line = command(recipe, data, out, start.name)
    went = (
        [f"It ended {where_it_ended(progress, recipe.training)}."]
        if progress.step != recipe.training.steps
        else []
    )
    went += [f"{stretch}." for stretch in told_stretches(progress)]
    trained = replace(trained, card=trained_card(trained, data, recipe, line, start.name, went))
    write_text(out / RECIPE, recipe_text(recipe, progress))
    save_model(trained, out / MODEL)
    return trained, outcome


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One process a run: two would write over each other's checkpoints. A killed one leaves no lock behind.

    What ends before a first checkpoint leaves nothing that it has written, and no folder that it has made.
    """
    filelock = require("filelock", extra="train", purpose="Training")
    new = [place for place in (out, *out.parents) if not place.exists()]
    before = {path.name for path in out.iterdir()} if out.is_dir() else set()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(out / LOCK, timeout=0):
            try:
                tidy(out)
                yield
            except BaseException:
                abandon(out, before)
                raise
    except filelock.Timeout as error:
        raise CheckpointError(
            f"Another process is training in {out}. Wait for it or stop it, or give another output folder."
        ) from error
    except BaseException:
        with suppress(OSError):
            if new and [path.name for path in out.iterdir()] in ([LOCK], []):
                (out / LOCK).unlink(missing_ok=True)
                for place in new:
                    place.rmdir()
        raise


def _begin(recipe: Recipe, rows: Rows, out: Path, start: Start) -> tuple[SavedModel, bool]:
    """The model as it was before the first update, and whether it is to be written still.

    It is kept with the run, so that going on needs no luck. A run that has made no update is begun anew where
    something is different.
    """
    untouched = begun_only(out)
    if holds_model(out / START) or not untouched:
        try:
            begun = load_model(out / START) if holds_model(out / START) else None
            if begun is not None and begun.task != recipe.task:
                raise RecipeError(
                    f"{out} holds a run of the task {begun.task!r}, the recipe is for {recipe.task!r}. "
                    "Give another output folder."
                )
            check_same_origin(out, recipe, rows, start)
            if begun is not None:
                return begun, False
        except (RecipeError, CheckpointError):
            if not untouched:
                raise
    given = start.model
    torch.manual_seed(recipe.training.seed)
    if given is not None and (given.task, recipe.task) == ("language", "classify"):
        given = classifier_from(given, sorted({label for _, label in rows}))
    if given is not None and given.task != recipe.task:
        raise RecipeError(f"A model for the task {given.task!r} cannot begin a run of {recipe.task!r}.")
    if given is None:
        try:
            return TASKS[recipe.task](recipe).new(rows), True
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise TooLargeError(
                f"The model must fit into memory; it does not ({str(error).partition('.')[0]}). Make it narrower, or "
                "give it fewer layers, in [model]."
            ) from error
    # what the old model said of its training and its heads is not true of the new one
    prediction = {name: value for name, value in given.prediction.items() if name != "alignment"}
    given = with_dropout(given, recipe.model.dropout, recipe.text.window)
    return replace(given, prediction=prediction, training={}, card=""), True


def _write_start(saved: SavedModel, recipe: Recipe, rows: Rows, out: Path, start: Start) -> None:
    """Keep what a new run is begun with: first what the model is of, so that a folder that has the model has this."""
    earlier = [out / START / name for name in reversed(FILES)]  # of a run that has made no update
    for path in (*earlier, out / BEST, out / BEFORE):
        path.unlink(missing_ok=True)
    keep(out, recipe, rows, start)
    save_model(saved, out / START)


def check_rows(
    task: Task, saved: SavedModel, rows: Rows, part: DataPart, given: bool, held_out: bool, reporter: Reporter
) -> Dataset:
    """Rows as token ids; what cannot be learned or measured is refused, what is odd is told (data_checks.py)."""
    check_classes(saved, rows, part, given)
    check_unknown(saved, rows, part, given, held_out, reporter.note)
    examples = task.examples(saved, rows)
    check_lengths(saved, examples, task.recipe, part, held_out, reporter.note)
    check_words(rows, part, reporter.note)
    return examples


def _valid_too_large(task: Task, saved: SavedModel, valid: Rows, part: DataPart) -> TooLargeError:
    where = str(part.path)
    if saved.model.role != "language":
        lengths = task.examples(saved, valid).lengths()
        row = max(range(len(lengths)), key=lambda row: sum(lengths[row]))
        where = f"{part.place(row)}, of {sum(lengths[row]):,} tokens"
    return TooLargeError(
        f"The held-out rows must fit into memory one batch at a time; they do not. The longest is {where}. "
        "Shorten it or leave it out, or give the model fewer or narrower layers."
    )
