"""A training run small enough to be killed twenty times: short number sequences, to be written backwards."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from limelight.modules.transformer import Transformer, TransformerConfig
from limelight.training import checkpoints, loop
from limelight.training.batches import BatchSampler, Pairs
from limelight.training.loop import Evaluation, TrainConfig, TrainResult, loss_of
from limelight.training.reporting import Reporter

VOCABULARY = 11
SHAPE = TransformerConfig(width=20, heads=2, feed_forward=23, encoder_layers=1, decoder_layers=1, dropout=0.1)
SETTINGS = TrainConfig(
    steps=67,
    tokens=37,
    rate=3e-3,
    warmup=7,
    accumulate=2,
    smoothing=0.1,
    weight_decay=0.01,
    average=0.9,
    evaluate_every=11,
    checkpoint_every=2,
    seed=5,
)


def backwards(count: int, seed: int = 0, longest: int = 7) -> Pairs:
    """Sequences of the ids 4 … VOCABULARY − 1, and the same from behind."""
    numbers = random.Random(seed)
    rows = [
        [numbers.randrange(4, VOCABULARY) for _ in range(numbers.randint(1, longest))] for _ in range(count)
    ]
    return Pairs(rows, [row[::-1] for row in rows])


def fresh_model(shape: TransformerConfig = SHAPE, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(shape, VOCABULARY, VOCABULARY, share=True)


def judge(model: nn.Module) -> Evaluation:
    """Held-out loss of the weights as they are."""
    examples = backwards(17, seed=1)
    loss = 0.0
    for rows in BatchSampler(examples.lengths(), 97).epoch(0):
        batch = examples.batch(rows)
        loss += loss_of(model(**batch.inputs), batch.labels).item()
    return Evaluation({"loss": loss}, -loss)


def quiet(folder: Path) -> Reporter:
    """A reporter that writes its log and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    return Reporter(folder, Console(quiet=True), tensorboard=False)


def run(folder: Path, settings: TrainConfig = SETTINGS, **changes: Any) -> TrainResult:
    """The tiny run in `folder`: begun, or gone on with."""
    keywords: dict[str, Any] = {
        "model": fresh_model(),
        "evaluate": judge,
        "reporter": quiet(folder),
    } | changes
    examples = keywords.pop("examples", None) or backwards(71)
    return loop.train(examples=examples, settings=settings, folder=folder, **keywords)


# ── What a child process of test_resume.py does ──


def child_run(folder: str, started: Any, dies_at: int | None) -> None:
    """Train in a process of its own; with `dies_at`, SIGKILL oneself before that change to the disk."""
    torch.set_num_threads(1)
    if dies_at is not None:
        _die_before_change(dies_at)
    started.set()
    run(Path(folder))


def _die_before_change(number: int) -> None:
    """Count every write, rename and removal that a checkpoint is made of, and die before the given one."""
    done = 0

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **keywords: Any) -> Any:
            nonlocal done
            done += 1
            if done == number:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(10)
            return change(*args, **keywords)

        return wrapper

    checkpoints.save_tensors = counted(checkpoints.save_tensors)
    checkpoints.flush = counted(checkpoints.flush)
    os.rename, os.replace = counted(os.rename), counted(os.replace)
    # One entry of a folder at a time, so that half-removed folders come about too.
    os.unlink, os.rmdir = counted(os.unlink), counted(os.rmdir)
    assert shutil.rmtree.avoids_symlink_attacks
