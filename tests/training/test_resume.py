"""SIGKILL at many moments, and on to the same weights to the bit."""

from __future__ import annotations

import json
import multiprocessing
import random
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from limelight.training.checkpoints import checkpoints
from tests.training import tiny

MOST_CHANGES = 30
"""No life changes the disk more often, a checkpoint being about twenty changes: so the run outlasts all deaths."""


@pytest.fixture(scope="module")
def processes() -> Any:
    """Processes that begin with everything imported: a restart takes a fraction of a second."""
    context = multiprocessing.get_context("forkserver")
    late = ["torch._dynamo", "torch.distributed.tensor"]  # what accelerate and torch import at first use
    context.set_forkserver_preload(["torch", "accelerate", "tests.training.tiny", *late])
    return context


def live(
    processes: Any, folder: Path, seconds: float | None = None, dies_at: int | None = None
) -> int | None:
    """Train until done, or until death: after some seconds, or before some change to the disk."""
    started = processes.Event()
    process = processes.Process(target=tiny.child_run, args=(str(folder), started, dies_at))
    process.start()
    assert started.wait(60)
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode


def state(folder: Path) -> dict[str, Any]:
    """All that a finished run leaves: tensors by file and name, and its counters."""
    last = checkpoints(folder)[-1]
    files = [*sorted(last.glob("*.safetensors")), folder / "best.safetensors"]
    found: dict[str, Any] = {
        f"{file.name}/{name}": tensor for file in files for name, tensor in load_file(file).items()
    }
    progress = json.loads((last / "progress.json").read_text())
    del progress["cpu_seconds"], progress["judging_seconds"]  # clocks differ
    return found | {"progress": progress}


@pytest.mark.slow
@pytest.mark.parametrize("deaths", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_and_resumed_gives_the_same_bits(deaths: int, processes: Any, tmp_path: Path) -> None:
    assert live(processes, tmp_path / "undisturbed") == 0
    undisturbed = state(tmp_path / "undisturbed")

    chance = random.Random(7)
    folder = tmp_path / "killed"
    died = 0
    half_written = 0
    for number in range(deaths):
        by_clock = number % 2 == 0  # the others die at some place in the writing of a checkpoint
        code = live(
            processes,
            folder,
            seconds=chance.uniform(0.0, 0.2) if by_clock else None,
            dies_at=MOST_CHANGES if by_clock else chance.randint(1, MOST_CHANGES),
        )
        died += code == -SIGKILL
        half_written += any(folder.glob("*.partial"))
    assert died == deaths, f"the run ended after {died} deaths; it is too short for this test"
    assert half_written, "no death fell into the writing of a checkpoint"
    assert live(processes, folder) == 0

    resumed = state(folder)
    assert resumed["progress"] == undisturbed["progress"]
    assert resumed["progress"]["step"] == tiny.SETTINGS.steps
    assert resumed.keys() == undisturbed.keys()
    tensors = [name for name in resumed if name != "progress"]
    assert any(name.startswith("average") for name in tensors)
    different = [name for name in tensors if not torch.equal(resumed[name], undisturbed[name])]
    assert not different, f"{different[:3]} differ after {deaths} deaths"
    assert not list(folder.glob("*.partial"))
