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
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limelight.errors import CheckpointError


@dataclass
class Progress:
    """Where a run stands. `score` is the task's own measure, higher is better.

    cpu_seconds is the processor's time for all of the run, judging_seconds what of it the evaluations took.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    tokens: int = 0
    cpu_seconds: float = 0.0
    judging_seconds: float = 0.0
    best_score: float | None = None
    best_step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def save_checkpoint(
    folder: Path, progress: Progress, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> Path:
    """Write `folder/checkpoint-STEP`, unless it is there, and remove the older ones."""
    final = folder / f"checkpoint-{progress.step:07d}"
    if final.is_dir():  # never take a complete one away before the next is complete
        return final
    partial = final.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(_weights(model), partial / "weights.safetensors")
    save_file(_weights(average), partial / "average.safetensors")
    save_file(_moments(model, optimizer), partial / "optimizer.safetensors")
    save_file(_random_states(), partial / "random.safetensors")
    (partial / "progress.json").write_text(json.dumps(asdict(progress), indent=1))
    for file in partial.iterdir():
        _flush(file)
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
        _restore_moments(optimizer, model, load_file(path / "optimizer.safetensors"))
        _restore_random_states(load_file(path / "random.safetensors"))
    except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is not a complete checkpoint: {error!r}. Remove it to start afresh."
        ) from error
    return progress


def save_weights(file: Path, model: nn.Module, step: int) -> None:
    """Every parameter of `model`, and the step they are of, in one safetensors file, written aside and renamed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    save_file(_weights(model), partial, {"step": str(step)})
    _flush(partial)
    os.replace(partial, file)


def holds_step(file: Path, step: int) -> bool:
    """Whether weights of `step` are in the file; one that an older version wrote does not say and is taken for it."""
    if not file.is_file():
        return False
    with safe_open(file, "pt") as weights:
        return (weights.metadata() or {}).get("step", str(step)) == str(step)


def load_weights(file: Path, model: nn.Module) -> None:
    """Put the weights of a safetensors file into `model`, whose parameters must bear the same names."""
    _restore(model, load_file(file), file)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter once, also where two modules share it."""
    return {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}


def _restore(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    own = dict(model.named_parameters())
    shapes = {(name, parameter.shape) for name, parameter in own.items()}
    if different := sorted(
        {name for name, _ in shapes ^ {(name, each.shape) for name, each in weights.items()}}
    ):
        raise CheckpointError(
            f"{path} belongs to a model of another architecture ({', '.join(different[:3])}, …). "
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


def _restore_moments(optimizer: torch.optim.Optimizer, model: nn.Module, moments: dict[str, Tensor]) -> None:
    state = optimizer.state_dict()
    state["state"] = {
        index: {key: moments[f"{name}/{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
        for index, (name, _) in enumerate(model.named_parameters())
        if f"{name}/step" in moments
    }
    optimizer.load_state_dict(state)


def _random_states() -> dict[str, Tensor]:
    """The state of each device's random numbers, by the device's name."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda:{number}": state for number, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def _restore_random_states(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    for number in range(torch.cuda.device_count()):
        if (state := states.get(f"cuda:{number}")) is not None:
            torch.cuda.set_rng_state(state, number)


def _flush(path: Path) -> None:
    """Ask the system to have a file (or a folder's names) on disk before the rename that counts on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
