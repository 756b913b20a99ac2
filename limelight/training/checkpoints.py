"""Checkpoints that survive SIGKILL: written aside, flushed, renamed; never a half one.

A run's folder holds `checkpoint-000123/` folders. Each has every number that training needs to go on to the
same weights, to the bit: weights, their average, the optimizer's moments, the random state (safetensors) and
the counters (JSON). A folder that still bears its `.partial` name is rubbish of a killed run.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limelight.errors import CheckpointError


@dataclass
class Progress:
    """Where a run stands. `score` is the task's own measure, higher is better."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    tokens: int = 0
    cpu_seconds: float = 0.0
    best_score: float | None = None
    best_step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def save_checkpoint(
    folder: Path, progress: Progress, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> Path:
    """Write `folder/checkpoint-STEP` and remove the older ones."""
    final = folder / f"checkpoint-{progress.step:07d}"
    partial = final.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(_weights(model), partial / "weights.safetensors")
    save_file(_weights(average), partial / "average.safetensors")
    save_file(_moments(model, optimizer), partial / "optimizer.safetensors")
    save_file({"cpu": torch.get_rng_state()}, partial / "random.safetensors")
    (partial / "progress.json").write_text(json.dumps(asdict(progress), indent=1))
    for file in partial.iterdir():
        _flush(file)
    shutil.rmtree(final, ignore_errors=True)
    os.rename(partial, final)
    _flush(folder)
    for old in checkpoints(folder)[:-1]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("checkpoint-*") if path.suffix != ".partial")


def load_checkpoint(
    path: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> Progress:
    """Put everything back as it was; the optimizer must have been made for `model`'s parameters."""
    try:
        progress = Progress(**json.loads((path / "progress.json").read_text()))
        _restore(model, load_file(path / "weights.safetensors"), path)
        _restore(average, load_file(path / "average.safetensors"), path)
        moments = load_file(path / "optimizer.safetensors")
        random = load_file(path / "random.safetensors")
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not a complete checkpoint: {error}. Remove it to start afresh."
        ) from error
    names = [name for name, _ in model.named_parameters()]
    state = optimizer.state_dict()
    state["state"] = {
        index: {key: moments[f"{name}/{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
        for index, name in enumerate(names)
        if f"{name}/step" in moments
    }
    optimizer.load_state_dict(state)
    torch.set_rng_state(random["cpu"])
    return progress


def save_weights(file: Path, model: nn.Module) -> None:
    """Every parameter of `model` in one safetensors file, written aside and renamed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    save_file(_weights(model), partial)
    _flush(partial)
    os.replace(partial, file)


def load_weights(file: Path, model: nn.Module) -> None:
    """Put the weights of a safetensors file into `model`, whose parameters must bear the same names."""
    _restore(model, load_file(file), file)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter once, also where two modules share it."""
    return {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}


def _restore(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    own = dict(model.named_parameters())
    if own.keys() != weights.keys():
        different = sorted(own.keys() ^ weights.keys())[:3]
        raise CheckpointError(
            f"{path} belongs to a model of another architecture ({', '.join(different)}, …). "
            "Give another output folder, or the recipe that this one was made with."
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    names = [name for name, _ in model.named_parameters()]
    return {
        f"{names[index]}/{key}": torch.as_tensor(value).contiguous()
        for index, moments in state.items()
        for key, value in moments.items()
    }


def _flush(path: Path) -> None:
    """Ask the system to have a file (or a folder's names) on disk before the rename that counts on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
