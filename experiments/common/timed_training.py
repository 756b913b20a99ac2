"""Training for a given processor time, with a rate that falls to zero at its end.

How many updates fit is not known before: machines differ, and so do moments of one machine. A few updates on a
copy say how often to evaluate. The level part ends with its share of the time, and what it took says over how many
updates the rate then falls. What was decided is kept in the run's folder, so that a run that was stopped goes on as
it would have.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from experiments.common.budget import updates_within
from experiments.common.runner import StatusReporter
from limelight.files import write_text
from limelight.training.batches import Dataset
from limelight.training.checkpoints import TrainProgress
from limelight.training.loop import TrainConfig, TrainResult, train
from limelight.training.reporting import Reporter

LEVEL = 0.6
"""The share of the time with a level rate."""
NEVER = 2**62
"""So many updates no run makes: time ends the level part."""
LEAST_FALL = 0.25
"""The falling part has at least so many updates for each of the level part, however slow the machine has become."""


@dataclass(frozen=True)
class Timed:
    """What came of it. `settled` says that the level part ended since its evaluations no longer got better, `level`
    how many processor seconds it took."""

    outcome: TrainResult
    settings: TrainConfig
    settled: bool
    level: float

    @property
    def seconds(self) -> float:
        """Processor seconds of training, evaluations not counted."""
        return training_seconds(self.outcome.progress)


def train_for(
    seconds: float,
    model: nn.Module,
    examples: Dataset,
    settings: TrainConfig,
    folder: Path,
    evaluate: Any,
    evaluations: int = 12,
    patience: int = 0,
    share: float = 1.0,
) -> Timed:
    """Train `model` for so many processor seconds; of `settings`, the steps and the schedule are decided here.
    The weights of the best evaluation are kept; where `evaluate` is None, the last.

    Warming up takes a tenth of the time at most.

    evaluations  how often the model is judged on the way, at even distances
    patience     the level part ends after so many evaluations without a better one; 0 waits for the time
    share        what part of the whole run this training is, for `status.json`
    """
    plan = _kept(
        folder / "trial.json", lambda: {"updates": updates_within(seconds, model, examples, settings)}
    )
    # A checkpoint at every evaluation: the level part may end with any, and the fall goes on from there.
    every = max(1, plan["updates"] // evaluations)
    saved = min(every, settings.checkpoint_every)
    settings = replace(
        settings,
        evaluate_every=every - every % saved,
        checkpoint_every=saved,
        warmup=min(settings.warmup, plan["updates"] // 10),
    )

    def level() -> dict[str, Any]:
        at_level = replace(settings, steps=NEVER, schedule="constant", patience=patience)
        expected = max(1, round(LEVEL * plan["updates"]))
        reporter = StatusReporter(folder, share * LEVEL, expected)

        def time_is_up(now: TrainProgress) -> bool:
            return training_seconds(now) >= LEVEL * seconds

        outcome = train(model, examples, at_level, folder, evaluate, reporter, time_is_up)
        step, spent = outcome.progress.step, training_seconds(outcome.progress)
        # After an early end the fall keeps its share of the whole.
        left = (1 - LEVEL) / LEVEL * spent if outcome.stopped_early else seconds - spent
        return {
            "level": step,
            "seconds": spent,
            "steps": step + max(round(left / spent * step), round(LEAST_FALL * step), 1),
            "settled": outcome.stopped_early,
        }

    decided = _kept(folder / "fall.json", level)
    steps = decided["steps"]
    last = replace(
        settings, steps=steps, schedule="trapezoid", decay=(steps - decided["level"]) / steps, patience=0
    )
    reporter: Reporter = StatusReporter(folder, share)
    outcome = train(model, examples, last, folder, evaluate, reporter)
    return Timed(outcome, last, decided["settled"], decided["seconds"])


def training_seconds(progress: TrainProgress) -> float:
    """Processor seconds of a run's training up to its last checkpoint, evaluations not counted."""
    return progress.cpu_seconds - progress.judging_seconds


def curve(folder: Path) -> list[dict[str, float]]:
    """Every evaluation of a run in order, from its log; of those that a killed run repeated, the last."""
    records = map(json.loads, (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return list({record["step"]: record for record in records}.values())


def _kept(file: Path, find: Any) -> dict[str, Any]:
    """What a run decides once and keeps, since it may go on another day."""
    if not file.is_file():
        write_text(file, json.dumps(find()) + "\n")
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return kept
