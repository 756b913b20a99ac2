"""Choose the backend of a pass: a pure function of sizes, device and reductions that says why.

Every loop gives the same readings within the table of tolerances. The quickest that serves is taken; those
that do not serve say so in a sentence, which `AttentionMatrix.why()` prints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from limelight.errors import InputError, TooLargeError, is_one_of, one_of
from limelight.matrix.engine.native import loop as native
from limelight.matrix.engine.plan import Plan, plan_for
from limelight.matrix.engine.tiled import read_tiles
from limelight.matrix.engine.triton import support
from limelight.matrix.engine.triton.loop import read_triton
from limelight.matrix.logits import Logits
from limelight.matrix.reductions.base import Reduction
from limelight.matrix.tile import MatrixSpec, SoftmaxStats

Reductions = Sequence[Reduction[Any]]


def passes_of_tiles(reductions: Reductions, cut: Plan, known: bool) -> tuple[str, ...]:
    """A strip holds all keys, so that one pass is enough; squares take two unless the row stats are known."""
    if known or cut.columns is None:
        return ("finds the row stats and feeds every reduction",)
    return "finds the row stats", "feeds every reduction"


@dataclass(frozen=True)
class Backend:
    """A way of passing over the matrix.

    name           what `read(…, loop=name)` asks for
    runs           what it is, for `why()`: "plain PyTorch"
    rejection      (scores, reductions) → why it cannot read this, without a full stop; None where it can
    plan           (scores, reductions, limit in bytes or None) → how it cuts the matrix; TooLargeError if none fits
    read           (scores, frame, reductions, known stats or None, plan) → each reduction's state, and the row stats
    left_to_plain  reductions → the indices of those that the plain loop is to read, in a pass of its own afterwards
    passes         (reductions, plan, whether the row stats are known) → what each of its passes does
    """

    name: str
    runs: str
    rejection: Callable[[Logits, Reductions], str | None]
    plan: Callable[[Logits, Reductions, int | None], Plan]
    read: Callable[
        [Logits, MatrixSpec, Reductions, SoftmaxStats | None, Plan], tuple[list[Any], SoftmaxStats]
    ]
    left_to_plain: Callable[[Reductions], list[int]] = lambda reductions: []
    passes: Callable[[Reductions, Plan, bool], tuple[str, ...]] = passes_of_tiles


@dataclass(frozen=True)
class BackendChoice:
    """The loop that reads, how it cuts, and why the quicker ones do not."""

    loop: Backend
    cut: Plan
    passed_over: tuple[tuple[str, str], ...]
    """The name of each quicker loop, and its reason."""


PLAIN = Backend(
    name="plain",
    runs="plain PyTorch",
    rejection=lambda scores, reductions: None,
    plan=lambda scores, reductions, limit: plan_for(scores, limit),
    read=read_tiles,
)

NATIVE = Backend(
    name="native",
    runs="C++",
    rejection=native.rejection,
    plan=native.plan,
    read=native.read,
    left_to_plain=native.left_to_plain,
)

TRITON = Backend(
    name="triton",
    runs="Triton",
    rejection=support.rejection,
    plan=support.plan,
    read=read_triton,
    left_to_plain=support.left_to_plain,
    passes=support.passes,
)

BACKENDS = (NATIVE, TRITON, PLAIN)
"""From the quickest to the one that serves always."""


def choose(
    scores: Logits,
    reductions: Reductions,
    limit: int | None = None,
    only: str | None = None,
    loops: Sequence[Backend] | None = None,
) -> BackendChoice:
    """The first loop that can read these reductions within the limit; with `only`, that one or an InputError with its
    reason. Raises TooLargeError where even the last loop's smallest tile is larger than the limit."""
    loops = BACKENDS if loops is None else loops
    names = [loop.name for loop in loops]
    if only is not None and not is_one_of(only, names):
        raise InputError(f"{one_of('loop', names, only)} Leave it out for the quickest.")
    passed_over: list[tuple[str, str]] = []
    for loop in loops:
        if only not in (None, loop.name):
            continue
        reason = loop.rejection(scores, reductions)
        if reason is None:
            try:
                return BackendChoice(loop, loop.plan(scores, reductions, limit), tuple(passed_over))
            except TooLargeError as error:
                if only is not None or loop is loops[-1]:
                    raise
                reason = f"the limit is too small for it: {str(error).partition(';')[0]}"
        passed_over.append((loop.name, reason))
    raise InputError(
        f"The loop {only!r} cannot read this: {passed_over[0][1]}. Leave loop= out, or see why()."
    )
