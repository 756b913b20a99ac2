"""Report a training run: progress bar, JSON-lines log, TensorBoard.

The bar shows tokens a second over the last moments and the time that remains; piped into a file, a run prints
one plain line an evaluation instead.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from limelight.errors import MissingExtraError, require


class Report(Protocol):
    """What the loop tells while it runs."""

    def step(self, step: int, epoch: int, tokens: int, values: dict[str, float]) -> None: ...

    def evaluation(self, record: dict[str, float]) -> None: ...


class Reporter:
    """Reports to the terminal and to `folder`: log.jsonl (one line an evaluation) and TensorBoard's files."""

    def __init__(self, folder: Path, console: Console | None = None, tensorboard: bool = True) -> None:
        self.folder = folder
        self.console = console or Console(stderr=True)
        self.tensorboard = tensorboard

    @contextmanager
    def training(self, steps: int, done: int) -> Iterator[Report]:
        """The report of one run of the loop, which begins at step `done` of `steps`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        writer = self._writer()
        columns = (
            TextColumn("[bold]training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(
                "epoch {task.fields[epoch]} · loss {task.fields[loss]:.3f} · {task.fields[speed]:,.0f} tokens/s"
            ),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        try:
            with (
                (self.folder / "log.jsonl").open("a") as log,
                Progress(*columns, console=self.console, disable=not self.console.is_terminal) as bar,
            ):
                bar_task = bar.add_task(
                    "training", total=steps, completed=done, epoch=0, loss=float("nan"), speed=0.0
                )
                yield _RunningReport(bar, bar_task, log, writer, self.console)
        finally:
            if writer is not None:
                writer.close()

    def note(self, said: str) -> None:
        """One line that a person should know before or after a training."""
        self.console.print(f"note: {said}", style="dim", highlight=False, markup=False, soft_wrap=True)

    def _writer(self) -> Any:
        if not self.tensorboard:
            return None
        try:
            return require("torch.utils.tensorboard", extra="train", purpose="TensorBoard").SummaryWriter(
                self.folder / "tensorboard"
            )
        except MissingExtraError as error:
            self.console.print(f"{error} Training goes on without it.", style="dim", markup=False)
            return None


class _RunningReport:
    SMOOTHING = 0.98  # of the loss and the speed that the bar shows

    def __init__(self, bar: Progress, bar_task: Any, log: Any, writer: Any, console: Console) -> None:
        self.bar, self.bar_task, self.log, self.writer, self.console = bar, bar_task, log, writer, console
        self.loss: float | None = None
        self.speed: float | None = None
        self.then = time.perf_counter()

    def step(self, step: int, epoch: int, tokens: int, values: dict[str, float]) -> None:
        now = time.perf_counter()
        self.loss = self._smooth(self.loss, values["loss"])
        self.speed = self._smooth(self.speed, tokens / max(now - self.then, 1e-9))
        self.then = now
        self.bar.update(self.bar_task, completed=step, epoch=epoch + 1, loss=self.loss, speed=self.speed)
        if self.writer is not None and step % 20 == 0:
            for name, value in {**values, "tokens per second": self.speed}.items():
                self.writer.add_scalar(f"training/{name}", value, step)

    def evaluation(self, record: dict[str, float]) -> None:
        entry = {**record, "training loss": self.loss, "tokens per second": self.speed}
        finite = {
            name: value if value is None or math.isfinite(value) else None for name, value in entry.items()
        }
        self.log.write(json.dumps(finite) + "\n")
        self.log.flush()
        shown = " · ".join(f"{name} {value:,.4g}" for name, value in entry.items() if value is not None)
        self.console.print(shown, highlight=False, markup=False, soft_wrap=True)
        if self.writer is not None:
            for name, value in record.items():
                self.writer.add_scalar(f"evaluation/{name}", value, int(record["step"]))
        self.then = time.perf_counter()

    def _smooth(self, old: float | None, new: float) -> float:
        return new if old is None else self.SMOOTHING * old + (1 - self.SMOOTHING) * new
