"""Checkpoints that survive SIGKILL: written aside, flushed, renamed; never a half one.

A run's folder holds `checkpoint-000123/` folders. Each has every number that training needs to go on to the
same weights, to the bit: weights, their average, the optimizer's moments, the random state (safetensors) and
the counters (JSON). A folder that still bears its `.partial` name is rubbish of a killed run.

Only a folder with a name of this form counts as a checkpoint, and only the files of a checkpoint are ever removed:
copies and notes of other names, beside it or in it, are the user's own.
"""

from __future__ import annotations

import errno
import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from limelight.errors import CheckpointError
from limelight.files import flush, save_tensors, write_text

TENSORS = ("weights", "average", "optimizer", "random")
FILES = (*(f"{name}.safetensors" for name in TENSORS), "progress.json")
"""What a checkpoint holds."""
NAME = re.compile(r"checkpoint-([0-9]{7,})")
PARTIAL = ".partial"


@dataclass
class TrainProgress:
    """Where a run stands. `score` is the task's own measure, higher is better.

    cpu_seconds is the processor's time for all of the run, judging_seconds what of it the evaluations took.
    judged_by names what the scores were measured on: those of other rows cannot be compared.
    stretches are the settings that the updates were made with, [{"after": 0, "settings": {…}}, …]: a new one begins
    where a run is gone on with by other settings.
    passes are the parts of this epoch that were made with another seed or another bound of a batch, as
    [seed, tokens, batches] each; `batch` counts from the end of the last of them.
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
    judged_by: str = ""
    stretches: list[dict[str, Any]] = field(default_factory=list)
    passes: list[list[int]] = field(default_factory=list)


def save_checkpoint(
    folder: Path,
    progress: TrainProgress,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> Path:
    """Write `folder/checkpoint-STEP`, and remove the older ones. Of one that is there, only the counters are new.

    Raises OSError where the disk does not take it; the older checkpoints stay, and nothing of the new one.
    """
    final = folder / _name(progress.step)
    counters = json.dumps(asdict(progress), indent=1)
    if _is_checkpoint(final):  # never take a complete one away before the next is complete
        write_text(final / "progress.json", counters)
        flush(final)
    else:
        check_free(folder, progress.step - 1, progress.step)
        partial = final.with_name(final.name + PARTIAL)
        _remove(partial)
        partial.mkdir(parents=True, exist_ok=True)
        try:
            parts = (_weights(model), _weights(average), _moments(model, optimizer), _random_states())
            for name, tensors in zip(TENSORS, parts, strict=True):
                save_tensors(tensors, partial / f"{name}.safetensors")
            (partial / "progress.json").write_text(counters, encoding="utf-8")
            for file in partial.iterdir():
                flush(file)
            flush(partial)
            if final.is_dir():  # with files of the user's alone
                for name in FILES:
                    os.replace(partial / name, final / name)
                partial.rmdir()
            else:
                os.rename(partial, final)
        except BaseException:
            _remove(partial)
            raise
    flush(folder)
    for old in checkpoints(folder):
        if step_of(old) < progress.step:
            _remove(old)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first: folders of the name `checkpoint-` and seven digits that hold one."""
    return sorted((path for path in folder.glob("checkpoint-*") if _is_checkpoint(path)), key=step_of)


def check_free(folder: Path, after: int, until: int) -> None:
    """Raises CheckpointError where a file has the name of a checkpoint of an update in (after, until]."""
    for path in sorted(folder.glob("checkpoint-*")):
        name = path.name.removesuffix(PARTIAL)
        if _named(name) and not path.is_dir() and after < step_of(path.with_name(name)) <= until:
            raise CheckpointError(
                f"{path} must not be there: a checkpoint of this run will have that name. It is no folder of a run; "
                "move it away, or give another output folder."
            )


def step_of(checkpoint: Path) -> int:
    """The update that a checkpoint's name says it is of."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def sweep(folder: Path) -> None:
    """Remove what the checkpoints of a killed run have left half written."""
    for path in folder.glob(f"checkpoint-*{PARTIAL}"):
        if _named(path.name.removesuffix(PARTIAL)):
            _remove(path)


def sweep_older(folder: Path) -> None:
    """Remove the older checkpoints that a killed run has left half removed, where the newest is whole."""
    found = checkpoints(folder)
    if found and _whole(found[-1]):
        for path in found[:-1]:
            if not _whole(path):
                _remove(path)


def read_progress(checkpoint: Path) -> TrainProgress:
    """The counters of a checkpoint. Raises CheckpointError where it has none, or those of another update."""
    try:
        counters = json.loads((checkpoint / "progress.json").read_text(encoding="utf-8"))
        if not isinstance(counters, dict) or type(counters.get("step")) is not int:
            raise ValueError("progress.json holds no counters of a run")
        if unknown := [*counters.keys() - {word.name for word in fields(TrainProgress)}]:
            raise CheckpointError(
                f"{checkpoint} was written by a newer version of Limelight, whose {unknown[0]!r} this one does not "
                "know. Go on with that version, or give another output folder."
            )
        progress = TrainProgress(**counters)
        named = step_of(checkpoint)
        if progress.step != named:
            raise CheckpointError(
                f"{checkpoint} must hold update {named}, as its name says; it holds update {progress.step}. Give it "
                f"its name again, {_name(progress.step)}, or a name that is no checkpoint's."
            )
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise _incomplete(checkpoint, error) from error
    return progress


def load_checkpoint(
    path: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> TrainProgress:
    """Put everything back as it was; the optimizer must have been made for `model`'s parameters."""
    progress = read_progress(path)
    try:
        _restore(model, load_file(path / "weights.safetensors"), path)
        _restore(average, load_file(path / "average.safetensors"), path)
        _restore_moments(optimizer, model, load_file(path / "optimizer.safetensors"))
        _restore_random_states(load_file(path / "random.safetensors"))
    except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
        raise _incomplete(path, error) from error
    return progress


def save_weights(file: Path, model: nn.Module, step: int) -> None:
    """Every parameter of `model`, and the step they are of, in one safetensors file, written aside and renamed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(PARTIAL)
    try:
        save_tensors(_weights(model), partial, {"step": str(step)})
        flush(partial)
        os.replace(partial, file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def holds_step(file: Path, step: int) -> bool:
    """Whether weights of `step` are in the file; one that an older version wrote does not say and is taken for it.

    A file that cannot be read holds none.
    """
    if not file.is_file():
        return False
    try:
        with safe_open(file, "pt") as weights:
            return (weights.metadata() or {}).get("step", str(step)) == str(step)
    except (OSError, SafetensorError):
        return False


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


def _name(step: int) -> str:
    return f"checkpoint-{step:07d}"


def _named(name: str) -> bool:
    """Whether a checkpoint may have this name."""
    match = NAME.fullmatch(name)
    return match is not None and name == _name(int(match[1]))


def _is_checkpoint(path: Path) -> bool:
    return _named(path.name) and any((path / name).is_file() for name in FILES)


def _whole(path: Path) -> bool:
    return all((path / name).is_file() for name in FILES)


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint's files, and its folder where it holds nothing else."""
    for name in FILES:
        if (checkpoint / name).is_file():
            with suppress(OSError):
                (checkpoint / name).unlink()
    with suppress(OSError):
        checkpoint.rmdir()


def _incomplete(path: Path, error: Exception) -> CheckpointError:
    if isinstance(error, OSError) and error.errno not in (
        None,
        errno.ENOENT,
    ):  # it may be whole: let nobody remove it
        return CheckpointError(f"{path} cannot be read: {error.filename}: {error.strerror}.")
    older = [each for each in checkpoints(path.parent) if each != path]
    then = f"go on from {older[-1].name}" if older else "start afresh"
    return CheckpointError(f"{path} is not a complete checkpoint: {error!r}. Remove it to {then}.")
