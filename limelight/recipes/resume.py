"""Settings of a resumed run: which may change, and errors for those that may not.

A checkpoint keeps the settings that its updates were made with, in stretches; what the card and recipe.toml say is
taken from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from limelight.errors import RecipeError
from limelight.recipes.recipe import Recipe, rendered
from limelight.training.checkpoints import TrainProgress, checkpoints, read_progress
from limelight.training.loop import TrainConfig, finished

ENDING = ("steps", "patience")
"""The words of [training] that say where a run ends."""


def stands_at(out: Path) -> TrainProgress:
    """Where the run in a folder stands: at its newest checkpoint, or before its first update."""
    found = checkpoints(out)
    return read_progress(found[-1]) if found else TrainProgress()


def made_by(progress: TrainProgress) -> TrainConfig | None:
    """The settings of the newest updates; None where there are none, or an older version has not kept them."""
    if not progress.stretches:
        return None
    known = {word.name for word in fields(TrainConfig)}
    kept = progress.stretches[-1]["settings"]
    return TrainConfig(**{name: value for name, value in kept.items() if name in known})


def check_settings(out: Path, progress: TrainProgress, now: TrainConfig, note: Callable[[str], None]) -> None:
    """Tell how the run in `out` goes on. Raises RecipeError for settings that no update would be made with."""
    then = made_by(progress)
    if then is None:
        return
    differ = {
        word: (value, asdict(now)[word]) for word, value in asdict(then).items() if asdict(now)[word] != value
    }
    if not finished(progress, now):
        if differ:
            note(f"the run goes on after update {progress.step:,} with {_changed(differ)}")
        return
    ended = finished(progress, then)
    idle = differ if ended else {word: pair for word, pair in differ.items() if word not in ENDING}
    if idle:
        listed = ", ".join(f"{word} = {value}" for word, (_, value) in idle.items())
        raise RecipeError(
            f"{out} holds a run that is finished, {where_it_ended(progress, now)}: {listed} would change nothing. "
            f"{_way_on(progress, now)}, or another output folder for a new run."
        )
    if not ended:
        note(f"the run ends {where_it_ended(progress, now)}, of {then.steps:,} that it was begun for")


def where_it_ended(progress: TrainProgress, settings: TrainConfig) -> str:
    """ "after update 40", and why there, where the steps do not say it."""
    early = progress.step < settings.steps and finished(progress, settings)
    why = (
        f" and early, since no evaluation was better than that of update {progress.best_step:,} in "
        f"{settings.patience} more (patience = {settings.patience}; steps = {settings.steps:,})"
    )
    return f"after update {progress.step:,}{why if early else ''}"


def as_made(recipe: Recipe, progress: TrainProgress) -> Recipe:
    """The recipe with the settings that the newest updates were really made with."""
    made = made_by(progress)
    return recipe if made is None else replace(recipe, training=made)


def told_stretches(progress: TrainProgress) -> list[str]:
    """Which updates were made with which settings, where these changed on the way: a sentence a stretch."""
    stretches = progress.stretches
    settings: list[dict[str, Any]] = [each["settings"] for each in stretches]
    varied = (
        [word for word in settings[-1] if len({str(each.get(word)) for each in settings}) > 1]
        if settings
        else []
    )
    if not varied:
        return []
    last = stretches[-1]
    when = [f"Updates {one['after'] + 1:,} to {other['after']:,}" for one, other in pairwise(stretches)]
    return [
        f"{span}: " + ", ".join(f"{word} = {each['settings'].get(word)}" for word in varied)
        for span, each in zip([*when, f"From update {last['after'] + 1:,} on"], stretches, strict=True)
    ]


def recipe_text(recipe: Recipe, progress: TrainProgress) -> str:
    """What recipe.toml says: the settings of the newest updates, and in comments what the earlier ones had."""
    lines = told_stretches(progress)
    head = (
        ["The updates were made by different settings; those below are the last ones.", *lines]
        if lines
        else []
    )
    return "".join(f"# {line}\n" for line in head) + rendered(recipe)


def _changed(differ: dict[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{word} = {new} (it was {old})" for word, (old, new) in differ.items())


def _way_on(progress: TrainProgress, now: TrainConfig) -> str:
    if progress.step < now.steps:
        return f"To go on with it, give a patience above {now.patience} in [training] (0 waits for ever)"
    return f"To go on with it, give --steps above {progress.step}"
