"""Keep the weights of a run's best evaluation beside its checkpoints.

A checkpoint names the update of its best evaluation, and a run that is killed goes on from there. So the weights that
the newest checkpoint names are kept until the next checkpoint is written, also where a later evaluation was better.
"""

from __future__ import annotations

import os
from pathlib import Path

from torch import nn

from limelight.training.checkpoints import holds_step, save_weights

BEST = "best.safetensors"
"""The averaged weights of the best evaluation so far."""
BEFORE = "best-of-checkpoint.safetensors"
"""Those that the newest checkpoint names, while `BEST` holds later ones."""


def save_best(folder: Path, model: nn.Module, step: int) -> None:
    """Keep the weights of the best evaluation so far, which is that of update `step`."""
    new = folder / f".{BEST}.new"
    save_weights(new, model, step)
    if (folder / BEST).is_file() and not (folder / BEFORE).is_file():
        os.replace(folder / BEST, folder / BEFORE)
    os.replace(new, folder / BEST)


def restore_best(folder: Path, step: int) -> bool:
    """Whether `BEST` holds the weights of update `step`, once those that a checkpoint names are put back."""
    if not holds_step(folder / BEST, step) and holds_step(folder / BEFORE, step):
        os.replace(folder / BEFORE, folder / BEST)
    return holds_step(folder / BEST, step)


def settle_best(folder: Path) -> None:
    """A checkpoint that names the weights in `BEST` is written: the earlier ones are not needed any more."""
    if (folder / BEFORE).is_file():
        (folder / BEFORE).unlink()
