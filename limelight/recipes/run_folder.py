"""Which files of a run's folder belong to the run: nothing else is written over or removed.

run.lock                              one process a run
origin.json, start/                   what the run was begun with
recipe.toml                           the settings of its updates
checkpoint-0000123/, best*.safetensors   where it stands, and the best weights so far
log.jsonl, tensorboard/               its evaluations
model/                                what it has made
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from limelight.errors import CheckpointError, InputError
from limelight.modules.model_io import holds_model
from limelight.training.best_weights import BEFORE, BEST
from limelight.training.checkpoints import checkpoints, sweep

LOCK, ORIGIN, START, RECIPE, LOG, BOARD, MODEL = (
    "run.lock",
    "origin.json",
    "start",
    "recipe.toml",
    "log.jsonl",
    "tensorboard",
    "model",
)
OWN = (ORIGIN, START, RECIPE, BEST, BEFORE, LOG, BOARD, MODEL)
_HALF_WRITTEN = re.compile(
    rf"\.({ORIGIN}|{RECIPE})\.\w+\.(json|toml)|\.({START}|{MODEL})\.partial|\.{re.escape(BEST)}\.(new|partial)"
)


def check_place(out: Path, data: Path) -> None:
    """Raises InputError where a run in `out` would stand among the files of something else: data, a model, a run."""
    if out.exists() and data.exists() and _within(out, data):
        raise InputError(
            f"A run is kept in a folder of its own; {out} is the data folder {data}, or lies in what is read "
            "from it. Give another output folder."
        )
    if holds_model(out):
        raise InputError(f"{out} is a model's folder, not that of a run. Give another output folder.")
    resolved = out.resolve()
    for run in resolved.parents:
        name = resolved.relative_to(run).parts[0]
        if (run / ORIGIN).is_file() and (name in OWN or name.startswith("checkpoint-")):
            raise InputError(f"{out} belongs to the run in {run}. Give another output folder.")


def is_run(out: Path) -> bool:
    """Whether the folder holds a run that was begun, however far it has come."""
    return (out / ORIGIN).is_file() or holds_model(out / START)


def claim(out: Path, recipe: str) -> None:
    """Raises InputError where a new run in `out` would write over files that no run of ours has written.

    A recipe.toml that holds what would be written there anyway is welcome.
    """
    taken = [name for name in OWN if os.path.lexists(out / name)]
    taken += [path.name for path in checkpoints(out)]
    with suppress(OSError, ValueError):
        if RECIPE in taken and (out / RECIPE).read_text(encoding="utf-8") == recipe:
            taken.remove(RECIPE)
    if taken:
        raise InputError(
            f"A new run would write over {', '.join(taken)} in {out}, and no run was begun there. Give "
            f"another output folder, or move {'them' if len(taken) > 1 else 'it'} away."
        )


def begun_only(out: Path) -> bool:
    """Whether the run in the folder has kept nothing that an update has made.

    Raises CheckpointError where it has, and cannot be gone on with.
    """
    if checkpoints(out):
        if not is_run(out):
            raise CheckpointError(
                f"{out} holds {checkpoints(out)[-1].name}, and not what the run was begun with ({ORIGIN}, "
                f"{START}). Put them back, or give another output folder."
            )
        return False
    if os.path.lexists(out / MODEL):
        raise CheckpointError(
            f"{out} holds a model and no checkpoint to go on from: a run there would begin at its first update. Give "
            f"another output folder, or move {out / MODEL} away to begin anew."
        )
    return True


def tidy(out: Path) -> None:
    """Remove what a killed process has left half written."""
    sweep(out)
    for path in out.glob(".*"):
        if _HALF_WRITTEN.fullmatch(path.name):
            _remove(path)


def abandon(out: Path, before: set[str]) -> None:
    """Remove what a run that made no update has written, but for the names that were there `before`."""
    if not out.is_dir() or checkpoints(out):
        return
    with suppress(OSError):
        tidy(out)
        for name in OWN:
            if name not in before:
                _remove(out / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _within(out: Path, data: Path) -> bool:
    """Whether a folder is the data folder itself, or one of those that its texts are read from."""
    out, data = out.resolve(), data.resolve()
    return out == data or any(out.is_relative_to(data / part) for part in ("train", "valid", "test"))
