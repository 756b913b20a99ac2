"""Trainings side by side: each in a process of its own, with one thread, in a folder of its own.

A run is a function's name and its options. Its folder holds `run.json` (what was asked), `machine.json` (where it is
done), `status.json` (how far it is) and, at the end, `result.json`. What has a result is not run again;
what was stopped goes on. The three but for `status.json` are all that must be kept to go on another day.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from experiments.common.machine import machine
from limelight.errors import CheckpointError, InputError, require
from limelight.files import write_text
from limelight.training.checkpoints import checkpoints
from limelight.training.reporting import Report, Reporter

REFRESH = 0.5
"""Seconds between two looks at how far the runs are."""


@dataclass(frozen=True)
class Run:
    """`work` names a function "module:function", called as function(folder, **options); it gives plain values."""

    name: str
    work: str
    options: dict[str, Any] = field(default_factory=dict)


def run_all(runs: Sequence[Run], out: Path, jobs: int, console: Console | None = None) -> dict[str, Any]:
    """The results of all runs by their names; at most `jobs` of them at a time.

    Raises InputError where a folder holds a run that was asked differently, CheckpointError where one fails.
    Ctrl-C stops all of them, and the same call goes on with them.
    """
    console = console or Console(stderr=True)
    for run in runs:
        _ask(run, out / run.name)
    waiting = unfinished(runs, out)
    alive: dict[str, subprocess.Popen[bytes]] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars, _all_stopped(alive):
        shown: dict[str, TaskID] = {}
        done = len(runs) - len(waiting)
        total = bars.add_task("all runs", total=len(runs), completed=done, note=f"{done} of {len(runs)}")
        while waiting or alive:
            while waiting and len(alive) < jobs:
                run = waiting.pop(0)
                alive[run.name] = _start(out / run.name)
                shown[run.name] = bars.add_task(run.name, total=1.0, note="")
            time.sleep(REFRESH)
            for name, process in list(alive.items()):
                _show(bars, shown[name], out / name)
                if process.poll() is None:
                    continue
                del alive[name]
                if process.returncode:
                    raise CheckpointError(
                        f"The run {name} failed; {out / name / 'output.txt'} says why. The same command goes on "
                        "with the others."
                    )
                done += 1
                bars.remove_task(shown[name])
                bars.update(total, completed=done, note=f"{done} of {len(runs)}")
                if not console.is_terminal:
                    console.print(f"{name} is done, {done} of {len(runs)}", highlight=False, markup=False)
    return {run.name: json.loads((out / run.name / "result.json").read_text()) for run in runs}


def unfinished(runs: Iterable[Run], out: Path) -> list[Run]:
    """Those that have no result yet."""
    return [run for run in runs if not (out / run.name / "result.json").is_file()]


def made_on(names: Iterable[str], out: Path) -> dict[str, dict[str, Any]]:
    """The machine of each run that has a result."""
    return {name: json.loads((out / name / "machine.json").read_text()) for name in names}


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ask(run: Run, folder: Path) -> None:
    asked = json.loads(json.dumps(asdict(run)))
    file = folder / "run.json"
    if file.is_file():
        if json.loads(file.read_text()) != asked:
            raise InputError(
                f"{folder} holds a run with other options. Give what it was begun with, or another output folder."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    _write(file, asked)


ON_THE_CPU = {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
"""For a run that is not asked to use a GPU: processor time would not see what one does."""


def _start(folder: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if json.loads((folder / "run.json").read_text())["options"].get("device") != "cuda":
        environment |= ON_THE_CPU
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.common.runner", str(folder)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches it from here, once
        )


def _show(bars: Progress, bar: TaskID, folder: Path) -> None:
    try:
        status = json.loads((folder / "status.json").read_text())
    except (OSError, ValueError):
        return
    bars.update(bar, completed=status["done"], note=status["note"])


@contextmanager
def _all_stopped(alive: dict[str, subprocess.Popen[bytes]]) -> Iterator[None]:
    """Whatever ends the block, SIGTERM too, also ends the processes, which write a checkpoint first."""
    before = signal.signal(signal.SIGTERM, _ended)
    try:
        yield
    finally:
        for process in alive.values():
            process.send_signal(signal.SIGINT)
        for process in alive.values():
            process.wait()
        signal.signal(signal.SIGTERM, before)


def _ended(number: int, _: object) -> None:
    raise SystemExit(128 + number)


class StatusReporter(Reporter):
    """Tells `status.json` how far a training is, at most twice a second.

    share     what part of the whole run this training is
    expected  about how many updates it will have made then, where its steps do not say it
    """

    def __init__(self, folder: Path, share: float = 1.0, expected: int | None = None) -> None:
        super().__init__(folder, Console(file=sys.stdout), tensorboard=False)
        self.share, self.expected = share, expected

    @contextmanager
    def training(self, steps: int, done: int) -> Iterator[Report]:
        steps = self.expected or steps
        with super().training(steps, done) as report:
            yield _Telling(report, self.folder, steps, self.share)


class _Telling:
    def __init__(self, report: Report, folder: Path, steps: int, share: float) -> None:
        self.report, self.folder, self.steps, self.share = report, folder, steps, share
        self.told = 0.0

    def step(self, step: int, epoch: int, tokens: int, values: dict[str, float]) -> None:
        self.report.step(step, epoch, tokens, values)
        if time.monotonic() - self.told > REFRESH:
            self.told = time.monotonic()
            tell(self.folder, self.share * min(1.0, step / self.steps), f"update {step:,} of {self.steps:,}")

    def evaluation(self, record: dict[str, float]) -> None:
        self.report.evaluation(record)


def tell(folder: Path, done: float, note: str) -> None:
    """How far a run is, as a share, and a few words."""
    _write(folder / "status.json", {"done": done, "note": note})


def _write(file: Path, value: Any) -> None:
    write_text(file, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def main(folder: Path) -> None:
    """Do the run of a folder, in this process. Where another process does it, wait, and find it done."""
    import torch

    filelock = require("filelock", extra="train", purpose="A comparison")

    torch.set_num_threads(1)
    # A shell begins what it puts in the background with Ctrl-C ignored; it is how the parent stops its runs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked = json.loads((folder / "run.json").read_text())
    module, _, function = asked["work"].partition(":")
    with filelock.FileLock(folder / "run.lock"):
        if (folder / "result.json").is_file():
            return
        _write(folder / "machine.json", _machines(folder))
        result = getattr(importlib.import_module(module), function)(folder, **asked["options"])
        _write(folder / "result.json", result)


def _machines(folder: Path) -> dict[str, Any]:
    """This machine and, where a run that was stopped elsewhere goes on here, those "before" it."""
    file = folder / "machine.json"
    now = machine()
    if not file.is_file() or not checkpoints(folder):  # begun anew
        return now
    known = json.loads(file.read_text())
    before = [*known.pop("before", []), known]
    before = [each for each in before if each != now]
    return now | {"before": before} if before else now


if __name__ == "__main__":
    main(Path(sys.argv[1]))
