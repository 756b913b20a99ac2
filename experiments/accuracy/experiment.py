"""Accuracy: three rivals learn to pronounce and to translate, with as many parameters and as much time.

Each is trained with the same data in the same order, the same loop and the same batches, for the same processor
time, on one thread, at the rate that the same search found for it. Judged is what they have never seen: on the
way a part of the held-out rows, at the end the test rows, by length. tasks.py has the tasks and the rivals,
report.py tells what it gave.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

from torch import nn

from experiments.accuracy.report import result
from experiments.accuracy.tasks import (
    CONTESTS,
    EVALUATIONS,
    LABELS,
    PATIENCE,
    entered,
    job_of,
    scored,
    spread_over,
)
from experiments.common.plan import Options
from experiments.common.runner import Run, tell
from experiments.common.search import found, trial_of
from experiments.common.timed_training import Timed, curve, train_for
from limelight.recipes.metrics import references_of
from limelight.text.corpora.fetch import write_pairs
from limelight.training.batches import BatchSampler, Dataset
from limelight.training.loop import Evaluation, TrainConfig

__all__ = ["measure", "plan", "result", "trial", "trials"]

SECONDS, TRIAL_SECONDS = 900.0, 45.0
"""Processor time of a run's training, and of a trial of the search."""
DROPOUT = {"short": 0.1, "long": 0.2}
"""A run to convergence sees its data more often; the same for all rivals."""
TRAINED = 0.95
"""The share of a run's work that is training; the test takes the rest."""
TRIAL_SEED = 1000
RATES = (1e-3, 2e-3, 4e-3, 8e-3)
"""What the search tries, for each rival and task; without a search the first is taken for recurrence, the second
for attention."""
TRAINING = TrainConfig(
    steps=1,
    warmup=300,
    smoothing=0.1,
    weight_decay=0.01,
    average=0.999,
    precision="auto",
    checkpoint_every=200,
)


def plan(options: Options) -> list[Run]:
    """Every rival of every task, seed by seed, and at the end one long run of each."""
    seconds = options.seconds or SECONDS
    kinds = [("short", seed, seconds) for seed in range(1, options.seeds + 1)]
    if options.longest:
        kinds.append(("long", 1, options.longest))
    return [
        Run(
            f"accuracy-{task}-{rival}-{kind}-{seed}",
            "experiments.accuracy.experiment:measure",
            {
                "task": task,
                "rival": rival,
                "data": options.data,
                "seconds": seconds * (CONTESTS[task].long if kind == "long" else 1.0),
                "seed": seed,
                "kind": kind,
                "rate": _rate(task, rival),
            },
        )
        for kind, seed, seconds in kinds
        for task, rival in product(CONTESTS, LABELS)
    ]


def trials(options: Options) -> list[Run]:
    """Every rate, for every rival of every task; the score is the loss on held-out rows."""
    return [
        Run(
            f"accuracy-{task}-{rival}-trial-{number}",
            "experiments.accuracy.experiment:trial",
            {
                "task": task,
                "rival": rival,
                "data": options.data,
                "seconds": options.seconds or TRIAL_SECONDS,
                "rate": rate,
            },
        )
        for task, rival in product(CONTESTS, LABELS)
        for number, rate in enumerate(RATES)
    ]


def _rate(task: str, rival: str) -> float:
    return float(found("accuracy", f"{task}/{rival}").get("rate", RATES[rival == "attention"]))


def measure(
    folder: Path, task: str, rival: str, data: str, seconds: float, seed: int, kind: str, rate: float
) -> dict[str, Any]:
    """Train one rival for so many processor seconds, and judge its answers to the test; `answers.tsv` keeps them."""
    contest = CONTESTS[task]
    job, corpus = job_of(contest), Path(data) / contest.folder
    rows, held_out = job.read(corpus, "train"), spread_over(job.read(corpus, "valid"), contest.judged)
    saved = entered(contest, rows, rival, seed, DROPOUT[kind])
    examples = job.examples(saved, rows)
    settings = replace(TRAINING, tokens=contest.tokens, rate=rate, seed=seed)
    timed = train_for(
        seconds,
        saved.model,
        examples,
        settings,
        folder,
        lambda model: job.judge(replace(saved, model=model), held_out),
        EVALUATIONS[kind],
        PATIENCE[kind],
        TRAINED,
    )
    tell(folder, TRAINED, "answering the test")
    sources = list(references_of(job.read(corpus, "test")))
    answers = job.answers(replace(saved, model=timed.outcome.model.eval()), sources)
    write_pairs(folder / "answers.tsv", zip(sources, answers, strict=True))
    progress = timed.outcome.progress
    return {
        "task": task,
        "rival": rival,
        "label": LABELS[rival],
        "kind": kind,
        "seed": seed,
        "rate": rate,
        "shape": asdict(saved.model.shape),  # type: ignore[call-overload]
        "parameters": saved.parameters,
        "updates": progress.step,
        "epochs": epochs(examples, timed),
        "CPU seconds": timed.seconds,
        "settled": timed.settled,
        "level seconds": timed.level,
        "best step": progress.best_step,
        "curve": curve(folder),
        **scored(contest, Path(data), dict(zip(sources, answers, strict=True))),
    }


def trial(folder: Path, task: str, rival: str, data: str, seconds: float, rate: float) -> dict[str, Any]:
    """Train one rival for a short time at one rate; the score is what it then makes of held-out rows."""
    contest = CONTESTS[task]
    job, corpus = job_of(contest), Path(data) / contest.folder
    rows, held_out = job.read(corpus, "train"), spread_over(job.read(corpus, "valid"), contest.judged)
    saved = entered(contest, rows, rival, TRIAL_SEED, DROPOUT["short"])

    def evaluate(model: nn.Module) -> Evaluation:
        loss = job.loss(replace(saved, model=model), held_out)
        return Evaluation({"loss": loss}, -loss)

    def train() -> dict[str, float | None]:
        settings = replace(TRAINING, tokens=contest.tokens, rate=rate, seed=TRIAL_SEED)
        examples = job.examples(saved, rows)
        timed = train_for(seconds, saved.model, examples, settings, folder, evaluate, evaluations=2)
        progress = timed.outcome.progress
        return {"score": progress.best_score, "updates": progress.step, "CPU seconds": timed.seconds}

    return trial_of(f"{task}/{rival}", f"{LABELS[rival]} ({task})", {"rate": rate}, train)


def epochs(examples: Dataset, timed: Timed) -> float:
    """How often a run has seen its examples."""
    progress, settings = timed.outcome.progress, timed.settings
    return round(
        progress.epoch
        + progress.batch / len(BatchSampler(examples.lengths(), settings.tokens, settings.seed).epoch(0)),
        2,
    )
