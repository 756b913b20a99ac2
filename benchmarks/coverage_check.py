"""One family: capture what its model attends to, and hold it against the model's own eager weights."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.coverage import Row
from benchmarks.official import DIFFERENT, official_weights, tensors
from benchmarks.tiny_inputs import Inputs, first_inputs
from benchmarks.tiny_models import NotBuiltError, Tiny, tiny
from limelight.capture import CapturedAttention, watch
from limelight.capture.verification import Verified
from limelight.errors import LimelightError

BOUND = 1e-4
"""Largest difference of a weight from the official one that counts as equal."""

OTHER_BACKEND = 1e-3
"""Outputs of two backends that differ by more than this, relative to the largest, are not the same computation."""


@contextmanager
def quietly() -> Iterator[None]:
    """Tiny random models make transformers warn of much that does not matter here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def check(family: str) -> Row:
    """Build it, run it, capture it, compare it."""
    with quietly(), torch.no_grad():
        row = Row(family, "not built")
        try:
            small = tiny(family)
            row.model = type(small.model).__name__
            inputs, plain = first_inputs(small.model, small.config)
        except NotBuiltError as error:
            row.reason = str(error)
            return row
        try:
            row.outcome, row.reason = _judge(row, small, inputs, plain)
        except LimelightError as error:
            row.outcome = "refused" if _refuses(small.model, inputs) else "wrong"
            row.reason = str(error)
        return row


def _judge(row: Row, small: Tiny, inputs: Inputs, plain: Any) -> tuple[str, str]:
    seen, output = _watched(small.model, inputs)
    if not all(_same(a, b) for a, b in zip(tensors(plain), tensors(output), strict=True)):
        return "wrong", "its outputs under capture are not those without"
    row.matrices = len(seen)
    errors = [found.error for found in seen.verified.values() if isinstance(found, Verified)]
    row.product = max(errors, default=None)
    missed = {name: why for name, why in seen.missed.items() if name not in seen}
    if missed:
        return "in part", f"{', '.join(sorted(missed))}: {next(iter(missed.values()))}"
    eager = small.again("eager")
    try:
        theirs = _run(eager, inputs, output_attentions=True)
    except Exception as error:
        return (
            "verified",
            f"no official weights: with output_attentions=True it fails ({type(error).__name__})",
        )
    official = official_weights(row.family, theirs, inputs, small.config)
    compared = compare(official, seen)
    row.official, row.error = compared.official, compared.error
    if compared.equal:
        return "exact", ""
    if not compared.official:
        return "verified", "it gives no weights of its own"
    if any(bool(weights.isnan().any()) for weights in official):
        return "verified", "its own eager weights are NaN"
    apart = _apart(plain, theirs)
    if apart > OTHER_BACKEND:
        seen, theirs = _watched(eager, inputs, output_attentions=True)
        compared = compare(official_weights(row.family, theirs, inputs, small.config), seen)
        row.error = compared.error
        if compared.equal:
            return "exact", f"on eager; its outputs on sdpa differ from those on eager by {apart:.0%}"
    if row.family in DIFFERENT:
        return "verified", DIFFERENT[row.family]
    return (
        "wrong",
        f"{compared.unmatched} official maps differ from what was captured, the nearest by {compared.error}",
    )


def _watched(model: nn.Module, inputs: Inputs, **more: Any) -> tuple[CapturedAttention, Any]:
    with watch(model, verify=True) as seen:
        output = _run(model, inputs, **more)
    return seen, output


def _refuses(model: nn.Module, inputs: Inputs) -> bool:
    """Whether the library refuses without being asked to verify: what only verifying finds would be wrong unseen."""
    try:
        with watch(model):
            _run(model, inputs)
    except LimelightError:
        return True
    return False


def _run(model: nn.Module, inputs: Inputs, **more: Any) -> Any:
    torch.manual_seed(3)
    return model(**inputs, **more)


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal in every bit, as far as NaN is equal to NaN."""
    return a.shape == b.shape and bool(
        ((a == b) | (a.isnan() & b.isnan()) if a.is_floating_point() else a == b).all()
    )


def _apart(one: Any, other: Any) -> float:
    """How far the tensors are that both outputs have under one name, relative to the largest entry."""
    gaps = [0.0]
    for name in one if isinstance(one, Mapping) else ():
        a, b = one[name], other.get(name)
        if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.is_floating_point():
            gaps.append(float((a - b).abs().max() / a.abs().max()))
    return max(gaps)


# ---- official and captured ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """How many official maps there are, how many of them nothing captured equals, and the largest difference of those
    that have the size of something captured."""

    official: int
    unmatched: int
    error: float | None

    @property
    def equal(self) -> bool:
        return self.official > 0 and self.unmatched == 0


def compare(official: Sequence[Tensor], seen: CapturedAttention) -> Compared:
    """Find for each official map the captured matrix nearest to it; each is taken, and each is counted, once."""
    official = [
        one for i, one in enumerate(official) if not any(_twins(one, other) for other in official[:i])
    ]
    left = [(call.matrix.dense(), _blind(call.matrix)) for call in seen]
    unmatched, worst = 0, None
    for weights in official:
        gaps = [(_gap(weights, *captured), place) for place, captured in enumerate(left)]
        gap, place = min(gaps, default=(float("inf"), -1))
        if gap < BOUND:
            left.pop(place)
        else:
            unmatched += 1
        if math.isfinite(gap):
            worst = gap if worst is None else max(worst, gap)
    return Compared(len(official), unmatched, worst)


def _twins(one: Tensor, other: Tensor) -> bool:
    """Some models give the same maps under two names, one of them with heads and batches in one axis."""
    return one.shape[-2:] == other.shape[-2:] and torch.equal(one.flatten(), other.flatten())


def _blind(matrix: Any) -> Tensor:
    from limelight.matrix import RowStats

    return matrix.read(RowStats()).empty


def _gap(official: Tensor, captured_BHNM: Tensor, blind_BHN: Tensor) -> float:
    """The largest difference; queries that may look at nothing are left out, since eager spreads them evenly."""
    if official.shape[-2:] != captured_BHNM.shape[-2:] or official.numel() != captured_BHNM.numel():
        return float("inf")
    gap = (official.reshape(captured_BHNM.shape).float() - captured_BHNM).abs()
    gap = gap.masked_fill(blind_BHN[..., None], 0)
    return float(gap.max()) if not gap.isnan().any() else float("inf")
