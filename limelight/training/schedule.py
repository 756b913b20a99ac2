"""The learning rate at every step, as a pure function: nothing to save, nothing to restore.

paper      warms up, then falls with 1/√step (§5.3, eq. 3, with `rate` as the peak)
trapezoid  warms up, stays, then falls in a straight line over the last part of the run
cosine     warms up, then half a cosine down to zero
constant   warms up, then stays
"""

from __future__ import annotations

import math
from collections.abc import Callable

from limelight.errors import InputError, one_of


def _paper(step: int, steps: int, warmup: int, decay: float) -> float:
    return math.sqrt(max(warmup, 1) / step)


def _trapezoid(step: int, steps: int, warmup: int, decay: float) -> float:
    return min(1.0, (steps - step + 1) / max(decay * steps, 1.0))


def _cosine(step: int, steps: int, warmup: int, decay: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(steps - warmup, 1))))


def _constant(step: int, steps: int, warmup: int, decay: float) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[int, int, int, float], float]] = {
    "paper": _paper,
    "trapezoid": _trapezoid,
    "cosine": _cosine,
    "constant": _constant,
}


def learning_rate(kind: str, peak: float, step: int, steps: int, warmup: int, decay: float = 0.25) -> float:
    """The rate of update `step` (1 … `steps`); `decay` is the falling part of a trapezoid, 0 … 1.

    >>> [learning_rate("trapezoid", 1.0, step, steps=8, warmup=2, decay=0.5) for step in (1, 2, 4, 8)]
    [0.5, 1.0, 1.0, 0.25]
    """
    if kind not in SCHEDULES:
        raise InputError(one_of("schedule", SCHEDULES, kind))
    if step < warmup:
        return peak * step / warmup
    return peak * SCHEDULES[kind](max(step, 1), steps, warmup, decay)
