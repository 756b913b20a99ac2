"""The training loop.

It knows batches, a model that maps a batch's inputs to scores, and nothing of tasks: what a good model is, the
caller's `evaluate` says. On the CPU a run is a pure function of its settings and seed: killed at any moment and
started again, it ends at the same weights to the bit.
"""

from __future__ import annotations

import math
import reprlib
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from limelight.errors import (
    ArgumentTypeError,
    DivergedError,
    InputError,
    TooLargeError,
    one_of,
    out_of_memory,
    require,
)
from limelight.training.batches import IGNORE, Batch, BatchSampler, Dataset
from limelight.training.best_weights import BEST, restore_best, save_best, settle_best
from limelight.training.checkpoints import (
    TrainProgress,
    checkpoints,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    sweep,
    sweep_older,
)
from limelight.training.interrupts import interrupts_wait, raise_interrupt
from limelight.training.number_ranges import check_recipe_number
from limelight.training.optimizer import adamw, averaged, set_rate
from limelight.training.precision import Precision, autocast
from limelight.training.reporting import Reporter
from limelight.training.schedule import SCHEDULES, learning_rate
from limelight.training.single_process import demand_one_process

COUNTERS = ("step", "epoch", "tokens")
"""What stands beside the measures in the record of an evaluation."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The words of a recipe's [training] table.

    tokens bounds a batch (sources and targets, padding included); an update sees `accumulate` batches.
    output_rate is how many times as fast as the rest the last layer of a classifier learns: it is new where the
    rest knows something already (Howard and Ruder 2018, arXiv:1801.06146, §3.3: every layer its own rate). 0 leaves
    it to the task: 10 where a language model begins a classifier (recipes/fine_tune.py), else 1.
    clip bounds the norm of the gradient; 0 leaves it as it is.
    average is the decay of the running average of the weights, which is what gets evaluated and kept; 0 is none.
    precision "auto" is bf16 where the processor multiplies in it, float32 elsewhere.
    patience stops after so many evaluations without a better score (of equal ones, a lower loss); 0 never does.
    """

    steps: int
    tokens: int = 1500
    rate: float = 1e-3
    output_rate: float = 0.0
    warmup: int = 500
    schedule: str = "trapezoid"
    decay: float = 0.25
    accumulate: int = 1
    clip: float = 1.0
    smoothing: float = 0.0
    weight_decay: float = 0.0
    average: float = 0.999
    precision: Precision = "float32"
    evaluate_every: int = 1000
    checkpoint_every: int = 500
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "tokens", "accumulate", "evaluate_every", "checkpoint_every"):
            check_recipe_number(name, getattr(self, name), 1, whole=True)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise ArgumentTypeError(f"seed must be a whole number; got {self.seed!r}.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed must be from 0 to 2^63 - 1; got {self.seed}.")
        for name in ("warmup", "patience"):
            check_recipe_number(name, getattr(self, name), 0, whole=True)
        for name in ("output_rate", "clip", "weight_decay"):
            check_recipe_number(name, getattr(self, name), 0)
        for name in ("smoothing", "decay"):
            check_recipe_number(name, getattr(self, name), 0, 1)
        if isinstance(self.rate, int | float) and not 0 < self.rate < math.inf:
            raise InputError(f"rate must be a number above 0; got {reprlib.repr(self.rate)}.")
        for name in ("rate", "average"):
            check_recipe_number(name, getattr(self, name))
        if self.schedule not in SCHEDULES:
            raise InputError(one_of("schedule", SCHEDULES, self.schedule))
        if self.precision not in get_args(Precision):
            raise InputError(one_of("precision", get_args(Precision), self.precision))
        if not 0 <= self.average < 1:
            raise InputError(
                f"average must be a decay, 0 (none) up to but not including 1; got {self.average}."
            )


@dataclass(frozen=True)
class Evaluation:
    """What a task says of a model: named measures for people, and one score, higher is better, to choose by."""

    measures: dict[str, float]
    score: float


@dataclass(frozen=True)
class TrainResult:
    """The averaged model of the best evaluation, where the run ended, and whether patience ended it."""

    model: nn.Module
    progress: TrainProgress
    stopped_early: bool


def train(
    model: nn.Module,
    examples: Dataset,
    settings: TrainConfig,
    folder: Path,
    evaluate: Callable[[nn.Module], Evaluation] | None,
    reporter: Reporter,
    until: Callable[[TrainProgress], bool] | None = None,
    judged_by: str = "",
    place: Callable[[int], str] = "example {}".format,
) -> TrainResult:
    """Train `model` in place until `settings.steps`, going on from the newest checkpoint in `folder`.

    `until` is asked at the beginning and after every checkpoint, and ends the training where it says so.
    The weights of the best evaluation are kept; without `evaluate`, the last. `judged_by` names what `evaluate`
    measures on: where a run is gone on with by another, its best weights and the present ones are judged anew.
    Where the settings are other ones than before, what is left of the epoch is dealt out anew, every example once.
    `place` says where an example stands, for a message about it.
    Raises CheckpointError where the folder holds the run of another model, InputError where the loss is no number
    any more, TooLargeError where a batch does not fit into memory: the weights and checkpoints stay as they were
    before. Ctrl-C finishes the update that is under way and writes a checkpoint first.
    """
    accelerate = require("accelerate", extra="train", purpose="Training")
    # Precision is set batch by batch in _update: accelerate would keep its first choice for the whole process.
    demand_one_process()
    accelerator = accelerate.Accelerator(mixed_precision="no")
    average = averaged(model, settings.average).to(accelerator.device)
    optimizer = adamw(model, settings.rate, settings.output_rate or 1.0, settings.weight_decay)
    model, optimizer = accelerator.prepare(model, optimizer)
    plain = accelerator.unwrap_model(model)
    torch.manual_seed(settings.seed)
    progress = TrainProgress(judged_by=judged_by)
    sweep(folder)
    sweep_older(folder)
    if found := checkpoints(folder):
        progress = load_checkpoint(found[-1], plain, average.module, optimizer.optimizer)
        average.n_averaged.fill_(progress.step)
    order = BatchSampler(examples.lengths(), settings.tokens, settings.seed)
    updates = groups(order, settings.accumulate, progress)  # it looks at `progress` when it is first asked
    spent_before = progress.cpu_seconds - time.process_time()
    model.train()

    def judge() -> dict[str, float]:
        start = time.process_time()
        record = _judge(evaluate, average.module, progress, folder)
        progress.judging_seconds += time.process_time() - start
        training_seconds = spent_before + time.process_time() - progress.judging_seconds
        return record | {
            "CPU seconds": training_seconds
        }  # told, not kept: the history is the same for all machines

    def save() -> None:
        progress.cpu_seconds = spent_before + time.process_time()
        if accelerator.is_main_process:
            save_checkpoint(folder, progress, plain, average.module, optimizer.optimizer)
            settle_best(folder)

    with reporter.training(settings.steps, progress.step) as report, interrupts_wait() as interrupted:
        known = restore_best(folder, progress.best_step) and progress.best_score is not None
        if known:
            settle_best(folder)  # somebody was killed after a checkpoint, and before this
        if progress.judged_by != judged_by:
            if progress.judged_by:
                reporter.note(
                    "the held-out rows, or how answers are searched for, are others than before: the best weights "
                    "and the present ones are judged anew"
                )
            candidate = None
            if known:
                candidate = deepcopy(average.module)
                load_weights(folder / BEST, candidate)
            _judge_anew(evaluate, candidate, progress)
            progress.judged_by = judged_by
            if progress.step and (candidate is None or progress.step != progress.best_step):
                report.evaluation(judge())
            if progress.step:
                save()
        elif progress.best_score is not None and not known:
            reporter.note(
                f"the weights of update {progress.best_step:,}, the best so far, are no more in {folder / BEST}: "
                f"the best from update {progress.step:,} on is kept"
            )
            progress.best_score = None
            report.evaluation(judge())
            save()
        enough = until is not None and until(progress)
        while progress.step < settings.steps and not enough and not _stalled(progress, settings):
            begin_stretch(progress, settings)
            group, epoch, position = next(updates)
            rate = _rate(settings, progress.step + 1)
            set_rate(optimizer, rate)
            try:
                batches = [examples.batch(rows) for rows in group]
                loss, norm = _update(accelerator, model, optimizer, batches, settings)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                raise _too_large(order, group, place) from error
            average.update_parameters(plain)
            tokens = sum(batch.tokens for batch in batches)
            if epoch != progress.epoch:
                progress.passes = []
            progress.step, progress.epoch, progress.batch = progress.step + 1, epoch, position
            progress.tokens += tokens
            report.step(progress.step, epoch, tokens, {"loss": loss, "rate": rate, "gradient norm": norm})
            last, stop = progress.step == settings.steps, interrupted()
            if progress.step % settings.evaluate_every == 0 or last:
                report.evaluation(judge())
            if progress.step % settings.checkpoint_every == 0 or last or stop or _stalled(progress, settings):
                save()
                enough = until is not None and until(progress)
            if stop:
                raise_interrupt(stop)
        # A run that is ended by fewer steps than it has made already may have evaluated nothing, or have been killed
        # after a better evaluation than its checkpoint knows of, which took the place of the weights that it does.
        if progress.best_score is None or not restore_best(folder, progress.best_step):
            progress.best_score = None
            report.evaluation(judge())
            if progress.step:
                save()
    load_weights(folder / BEST, average.module)
    stalled = progress.step < settings.steps and _stalled(progress, settings)
    return TrainResult(average.module, progress, stalled)


def groups(
    order: BatchSampler, size: int, progress: TrainProgress
) -> Iterator[tuple[list[list[int]], int, int]]:
    """The batches of each update, for ever, from where `progress` stands: (batches, epoch, next batch)."""
    epoch, position = progress.epoch, progress.batch
    seen: set[int] = set()
    for seed, tokens, count in progress.passes:
        for batch in BatchSampler(order.lengths, tokens, seed).epoch(epoch, seen)[:count]:
            seen.update(batch)
    while True:
        batches = iter(order.epoch(epoch, seen)[position:])
        while group := list(islice(batches, size)):
            position += len(group)
            yield group, epoch, position
        epoch, position, seen = epoch + 1, 0, set()


def begin_stretch(progress: TrainProgress, settings: TrainConfig) -> None:
    """Note the settings that the next update is made with, where they are not those of the update before."""
    now = asdict(settings)
    before = progress.stretches[-1]["settings"] if progress.stretches else None
    if before == now:
        return
    if progress.stretches and progress.stretches[-1]["after"] == progress.step:
        progress.stretches.pop()
    if before is not None and progress.batch and any(before[key] != now[key] for key in ("seed", "tokens")):
        # Where it stands in this epoch is counted in batches of another order.
        progress.passes.append([before["seed"], before["tokens"], progress.batch])
        progress.batch = 0
    progress.stretches.append({"after": progress.step, "settings": now})


def finished(progress: TrainProgress, settings: TrainConfig) -> bool:
    """Whether a run that stands there makes no update by these settings: the steps are made, or patience is over."""
    return progress.step >= settings.steps or _stalled(progress, settings)


def _too_large(order: BatchSampler, group: list[list[int]], place: Callable[[int], str]) -> TooLargeError:
    """What to say of batches that did not fit into memory."""
    rows = max(group, key=lambda batch: len(batch) * max(sum(order.lengths[row]) for row in batch))
    longest = max(rows, key=lambda row: sum(order.lengths[row]))
    sides = " + ".join(f"{length:,}" for length in order.lengths[longest])
    alone = "by itself " if len(rows) == 1 else ""
    way_out = (
        "Shorten it or leave it out" if alone else "Lower `tokens` in [training] (and raise `accumulate`)"
    )
    return TooLargeError(
        f"A batch must fit into memory; one of {len(rows)} example{'s' * (len(rows) > 1)} does not. The longest, "
        f"{alone}{sides} tokens, is {place(longest)}. {way_out}, or give the model fewer or narrower layers."
    )


def _update(
    accelerator: Any, model: nn.Module, optimizer: Any, batches: list[Batch], settings: TrainConfig
) -> tuple[float, float]:
    """One step of the optimizer; the loss is the mean over all labels of the group, however they are batched."""
    tokens = sum(batch.tokens for batch in batches)
    total = 0.0
    for number, batch in enumerate(batches):
        last = number == len(batches) - 1
        with nullcontext() if last else accelerator.no_sync(model):
            batch = batch.to(accelerator.device)
            with autocast(settings.precision, batch.labels.device):
                loss = loss_of(model(**batch.inputs), batch.labels, settings.smoothing) / max(tokens, 1)
            accelerator.backward(loss)
        total += loss.item()
    norm = float(accelerator.clip_grad_norm_(model.parameters(), settings.clip or math.inf))
    if not math.isfinite(total + norm):
        raise DivergedError(
            f"The loss and its gradient must stay numbers; they are {total} and {norm}. Training has diverged: begin "
            "it anew with a lower rate or a longer warmup."
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total, norm


def loss_of(scores: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy summed over the labels that count, in nats, with label smoothing (§5.4)."""
    return cross_entropy(
        scores.flatten(0, -2).float(),
        labels.flatten(),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
        reduction="sum",
    )


def _rate(settings: TrainConfig, step: int) -> float:
    return learning_rate(
        settings.schedule, settings.rate, step, settings.steps, settings.warmup, settings.decay
    )


@torch.no_grad()
def _judge(
    evaluate: Callable[[nn.Module], Evaluation] | None,
    model: nn.Module,
    progress: TrainProgress,
    folder: Path,
) -> dict[str, float]:
    """Evaluate the averaged model and keep its weights where they are the best so far."""
    model.eval()
    evaluation = _checked(evaluate(model)) if evaluate else Evaluation({}, float(progress.step))
    record = {
        "step": progress.step,
        "epoch": progress.epoch,
        "tokens": progress.tokens,
        **evaluation.measures,
    }
    better = _better(evaluation, progress)
    progress.history.append(record)
    if better:
        progress.best_score, progress.best_step = evaluation.score, progress.step
        save_best(folder, model, progress.step)
    return record


@torch.no_grad()
def _judge_anew(
    evaluate: Callable[[nn.Module], Evaluation] | None, best: nn.Module | None, progress: TrainProgress
) -> None:
    """Measure the best weights so far on other rows than before; what was measured on those is forgotten."""
    old = next((record for record in progress.history if record["step"] == progress.best_step), {})
    progress.best_score, progress.history = None, []
    if evaluate is None or best is None:
        return
    best.eval()
    evaluation = _checked(evaluate(best))
    counters = {name: value for name, value in old.items() if name in COUNTERS} or {
        "step": progress.best_step
    }
    progress.history = [counters | evaluation.measures]
    progress.best_score = evaluation.score


def _checked(evaluation: Evaluation) -> Evaluation:
    """Raises DivergedError where the score is no number: nothing could ever be better than it."""
    if math.isnan(evaluation.score):
        raise DivergedError(
            "The score of an evaluation must be a number; it is nan. Training has diverged: begin it anew with a "
            "lower rate or a longer warmup."
        )
    return evaluation


def _better(evaluation: Evaluation, progress: TrainProgress) -> bool:
    """Whether it is the best so far; of equal scores that of the lower loss, where both were measured.

    Some scores are equal for long: BLEU is 0 where all answers are shorter than four words.
    """
    if progress.best_score is None or evaluation.score != progress.best_score:
        return progress.best_score is None or evaluation.score > progress.best_score
    best = next((each for each in reversed(progress.history) if each["step"] == progress.best_step), {})
    return evaluation.measures.get("loss", math.inf) < best.get("loss", -math.inf)


def _stalled(progress: TrainProgress, settings: TrainConfig) -> bool:
    """Whether `patience` evaluations have passed without a better one."""
    waited = (progress.step - progress.best_step) // settings.evaluate_every
    return bool(settings.patience and progress.best_score is not None and waited >= settings.patience)
