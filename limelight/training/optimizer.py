"""AdamW with a learning rate a parameter group, and the running average of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from limelight.errors import InputError


def adamw(model: nn.Module, rate: float, output_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with the paper's β and ε (§5.3)."""
    return torch.optim.AdamW(
        by_rate(model, output_rate),
        lr=rate,
        betas=(0.9, 0.98),
        eps=1e-9,
        weight_decay=weight_decay,
        fused=True,
    )


def set_rate(optimizer: Any, rate: float) -> None:
    """The rate of the next update; the last layer may learn at a multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["times"]


def by_rate(model: nn.Module, output_rate: float) -> list[dict[str, Any]]:
    """All parameters in their order, in groups that learn at one rate: `times` that of the settings.

    Raises InputError where the last layer is to have a rate of its own, and the model has no `output`.
    """
    if output_rate == 1:
        return [{"params": list(model.parameters()), "times": 1.0}]
    output = getattr(model, "output", None)
    if not isinstance(output, nn.Module):
        raise InputError(
            f"output_rate must be 1 for a model without an output layer of its own, as {type(model).__name__} is; "
            f"got {output_rate}."
        )
    last = set(output.parameters())
    parts = groupby(model.parameters(), lambda parameter: output_rate if parameter in last else 1.0)
    return [{"params": list(parameters), "times": times} for times, parameters in parts]


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """A running average of the weights, quick at first: after n updates the decay is at most (1 + n) / (10 + n)."""

    @torch.no_grad()
    def mix(averages: Sequence[Tensor], weights: Sequence[Tensor], updates: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(updates)) / (10 + int(updates)))
        for mean, weight in zip(averages, weights, strict=True):
            mean.lerp_(weight, share)

    return AveragedModel(model, multi_avg_fn=mix)
