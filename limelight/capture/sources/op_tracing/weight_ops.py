"""Torch operations allowed on weights between softmax and the product with V.

Weights may be cast and turned, zeroed where nothing was seen, and dropped. Some models mix them: their heads with
each other, or with the weights of another softmax. What can be told then are the weights before, and a note says so.
Any other change makes them something else than softmax of scores, and they are refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from limelight.capture.sources.op_tracing.scores import ScoreMemo, Step, TracedScores, filling, number
from limelight.capture.sources.op_tracing.shape_ops import MOVES, same


def _zeroed(
    scores: TracedScores, result: Tensor, known: ScoreMemo, _: Tensor, mask: Tensor, value: Any
) -> TracedScores | None:
    if number(value) != 0 or scores.changed:
        return None
    return _set_to_zero(scores, scores.canonical(mask).bool(), "masked_fill")


def _where(
    scores: TracedScores, result: Tensor, known: ScoreMemo, condition: Tensor, a: Any, b: Any
) -> TracedScores | None:
    first = isinstance(a, Tensor) and known.get(a) is scores
    if filling(b if first else a) != 0 or tuple(result.shape) != scores.laid_out or scores.changed:
        return None
    condition = scores.canonical(condition).bool()
    return _set_to_zero(scores, ~condition if first else condition, "where")


def _set_to_zero(scores: TracedScores, places: Tensor, by: str) -> TracedScores:
    return replace(scores, zeroed=(*scores.zeroed, places), zeroed_by=scores.zeroed_by or by)


def _dropped(
    scores: TracedScores,
    result: Tensor,
    known: ScoreMemo,
    _: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> TracedScores | None:
    return replace(scores, dropout=p if training else 0.0)


def _times(scores: TracedScores, result: Tensor, known: ScoreMemo, a: Any, b: Any) -> TracedScores | None:
    """Times 1 or 0, the weights are zeroed; times anything else they may still be mixed with others."""
    other = b if isinstance(a, Tensor) and known.get(a) is scores else a
    if isinstance(other, Tensor) and (other in known or tuple(result.shape) != scores.laid_out):
        return None
    if number(other) == 1:
        return scores
    if isinstance(other, Tensor) and other.numel() > 1 and not scores.changed:
        beside = scores.canonical(other)
        if bool(((beside == 0) | (beside == 1)).all()):
            return _set_to_zero(scores, beside == 0, "mul")
    return replace(scores, changed=scores.changed or "mul")


AFTER_SOFTMAX: dict[str, Step] = {
    **MOVES,
    **dict.fromkeys(("mul", "imul", "rmul", "multiply"), _times),
    "masked_fill": _zeroed,
    "where": _where,
    "dropout": _dropped,
    "nan_to_num": same,
}
"""What may happen to the weights before they meet the values."""

MEETINGS = frozenset(("add", "iadd", "radd", "sub", "isub", "subtract"))
"""How the weights of two softmaxes are put together."""
