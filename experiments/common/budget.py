"""Equal processor time: how many updates fit into it.

The learning rate falls to zero at the last update, so a run must know at its beginning how many there will be.
"""

from __future__ import annotations

import time
from copy import deepcopy

import torch
from torch import nn

from limelight.training.batches import BatchSampler, Dataset
from limelight.training.loop import TrainConfig, loss_of
from limelight.training.precision import autocast

TRIALS = 12
"""Updates that are timed; the first two are not counted."""


def updates_within(seconds: float, model: nn.Module, examples: Dataset, settings: TrainConfig) -> int:
    """How many updates of `model` take `seconds` of processor time on this machine; `model` is not changed."""
    trial = deepcopy(model).train()
    optimizer = torch.optim.AdamW(trial.parameters(), fused=True)
    batches = BatchSampler(examples.lengths(), settings.tokens, settings.seed).epoch(0)
    spent = []
    for number in range(TRIALS):
        start = time.process_time()
        for rows in batches[number * settings.accumulate % len(batches) :][: settings.accumulate]:
            batch = examples.batch(rows)
            with autocast(settings.precision, torch.device("cpu")):
                loss = loss_of(trial(**batch.inputs), batch.labels, settings.smoothing)
            loss.backward()
        nn.utils.clip_grad_norm_(trial.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        spent.append(time.process_time() - start)
    # The mean, not the median: batches of long texts are few and cost most.
    return max(1, int(seconds / (sum(spent[2:]) / len(spent[2:]))))
