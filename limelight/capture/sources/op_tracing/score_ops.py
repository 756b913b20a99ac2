"""Torch operations allowed on scores before softmax, and what each does to the traced scores.

number ·, ÷          the scale                     masked_fill, where      the mask
tensor +, −          a term of the bias            view, permute, casts    the shape alone (`shape_ops.py`)
tanh                 the softcap                   gather by distance      no scores, but a lookup
a mixture of heads   wider queries                                         (`relative_lookups.py`), which may be added
                     (`head_mixing.py`)                                    to scores
softmax, also in parts: log_softmax and exp; minus the largest, exp, divided by the sum
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limelight.capture.sources.op_tracing.head_mixing import MIXTURES
from limelight.capture.sources.op_tracing.relative_lookups import Lookup, index_by_distance
from limelight.capture.sources.op_tracing.scores import (
    FAR,
    PerQuery,
    ScoreMemo,
    Softmax,
    Step,
    TracedScores,
    filling,
    number,
)
from limelight.capture.sources.op_tracing.shape_ops import MOVES

# ---- arithmetic ---------------------------------------------------------------------------------------


def _times(scores: TracedScores, result: Tensor, known: ScoreMemo, a: Any, b: Any) -> TracedScores | None:
    other = b if isinstance(a, Tensor) and known.get(a) is scores else a
    if scores.stage != "scores":
        return None
    factor = number(other)
    if factor is not None:
        return _scaled(scores, factor)
    if not isinstance(other, Tensor) or other in known or tuple(result.shape) != scores.laid_out:
        return None
    beside = scores.canonical(other)
    if beside.dim() and beside.shape[-1] == 1 and scores.cap is None and not (scores.terms or scores.lookups):
        return replace(scores, q=scores.q * beside)  # a factor a head or a query belongs to Q
    if bool(((beside == 0) | (beside == 1)).all()):
        return replace(scores, hidden=(*scores.hidden, (beside == 0, 0.0)))
    return None


def _divided(
    scores: TracedScores, result: Tensor, known: ScoreMemo, a: Any, b: Any, **more: Any
) -> TracedScores | None:
    if not (isinstance(a, Tensor) and known.get(a) is scores) or more.get("rounding_mode"):
        return None
    if isinstance(b, Tensor) and isinstance(total := known.get(b), PerQuery):
        return _normalised(scores, total) if total.what == "sum" else None
    divisor = number(b)
    if divisor is not None:
        return _scaled(scores, 1 / divisor) if scores.stage == "scores" else None
    return _times(scores, result, known, a, 1 / b) if isinstance(b, Tensor) and b not in known else None


def _scaled(scores: TracedScores, factor: float) -> TracedScores:
    return replace(
        scores,
        scale=scores.scale * factor,
        cap=None if scores.cap is None else scores.cap * factor,
        terms=tuple((tensor, own * factor) for tensor, own in scores.terms),
        hidden=tuple((places, fill * factor) for places, fill in scores.hidden),
        lookups=tuple(replace(lookup, factor=lookup.factor * factor) for lookup in scores.lookups),
    )


def _negative(scores: TracedScores, result: Tensor, known: ScoreMemo, *_: Any) -> TracedScores | None:
    return _scaled(scores, -1.0) if scores.stage == "scores" and not scores.hidden else None


def _plus(
    scores: TracedScores, result: Tensor, known: ScoreMemo, a: Any, b: Any, *, alpha: float = 1.0
) -> TracedScores | None:
    first = isinstance(a, Tensor) and known.get(a) is scores
    other, factor = (b, float(alpha)) if first else (a, 1.0)
    if (not first and alpha != 1) or scores.stage != "scores":
        return None
    if number(other) is not None:  # the same for every key: softmax does not see it
        return replace(scores, shifted=True)
    if factor == 1 and isinstance(other, Tensor) and isinstance(beside := known.get(other), TracedScores):
        together = _with_lookups(scores, beside) or _with_lookups(beside, scores)
        if together is not None:
            return together
    return _joined(scores, result, other, factor)


def _with_lookups(scores: TracedScores, looked: TracedScores) -> TracedScores | None:
    """Scores, or lookups, with the lookups of another tensor added; None where that is something else."""
    if looked.product or looked.hidden or looked.cap is not None or scores.shape != looked.shape:
        return None
    if scores.at != looked.at:
        return None
    return replace(scores, terms=(*scores.terms, *looked.terms), lookups=(*scores.lookups, *looked.lookups))


def _minus(
    scores: TracedScores, result: Tensor, known: ScoreMemo, a: Any, b: Any, *, alpha: float = 1.0
) -> TracedScores | None:
    if not (isinstance(a, Tensor) and known.get(a) is scores):
        return None
    if isinstance(b, Tensor) and isinstance(least := known.get(b), PerQuery):
        return _shifted(scores, least) if alpha == 1 else None
    if scores.stage != "scores":
        return None
    if number(b) is not None:
        return replace(scores, shifted=True)
    return _joined(scores, result, b, -float(alpha))


def _joined(scores: TracedScores, result: Tensor, other: Any, factor: float) -> TracedScores | None:
    if not isinstance(other, Tensor) or result.dim() < len(scores.shape):
        return None
    shape = scores.shape_of(result)
    if result.dim() != len(scores.shape):
        scores = replace(scores, lead=None)
    beside = replace(scores, shape=shape)
    return replace(beside, terms=(*scores.terms, (beside.canonical(other), factor)))


def _tanh(scores: TracedScores, result: Tensor, known: ScoreMemo, *_: Any) -> TracedScores | None:
    return replace(scores, cap=1.0) if scores.bare and scores.stage == "scores" else None


# ---- masks --------------------------------------------------------------------------------------------


def _filled(
    scores: TracedScores, result: Tensor, known: ScoreMemo, _: Tensor, mask: Tensor, value: Any
) -> TracedScores | None:
    fill = number(value)
    if fill is None or scores.stage != "scores":
        return None
    return replace(scores, hidden=(*scores.hidden, (scores.canonical(mask).bool(), fill)))


def _where(
    scores: TracedScores, result: Tensor, known: ScoreMemo, condition: Tensor, a: Any, b: Any
) -> TracedScores | None:
    first = isinstance(a, Tensor) and known.get(a) is scores
    fill = filling(b if first else a)
    if fill is None or tuple(result.shape) != scores.laid_out or scores.stage != "scores":
        return None
    condition = scores.canonical(condition)
    return replace(scores, hidden=(*scores.hidden, (~condition if first else condition, fill)))


def _gathered(
    scores: TracedScores, result: Tensor, known: ScoreMemo, _: Tensor, dim: int, index: Tensor, **__: Any
) -> TracedScores | None:
    """Products of each row with a few vectors, of which one is taken by distance."""
    last = scores.at == (-2, -1) and dim in (-1, result.dim() - 1)
    of = index_by_distance(index) if scores.bare and last and scores.stage == "scores" else None
    if of is None:
        return None
    lookup = Lookup(scores.q, scores.k, of, factor=scores.scale)
    return replace(scores, shape=tuple(result.shape), scale=1.0, lookups=(lookup,), product=False)


def _clamped(
    scores: TracedScores, result: Tensor, known: ScoreMemo, _: Tensor, min: Any = None, max: Any = None
) -> TracedScores | None:
    """Scores with a least number so small that it hides: models lift -inf to it."""
    return scores if max is None and _hides(min) and scores.stage == "scores" else None


def _maximum(
    scores: TracedScores, result: Tensor, known: ScoreMemo, a: Any, b: Any = None
) -> TracedScores | None:
    """The same, the least number being a tensor."""
    least = b if isinstance(a, Tensor) and known.get(a) is scores else a
    return scores if _hides(least) and scores.stage == "scores" else None


def _hides(least: Any) -> bool:
    lowest = number(least)
    return lowest is not None and lowest <= FAR


# ---- softmax ------------------------------------------------------------------------------------------


def _towards(scores: TracedScores, result: Tensor, dim: Any) -> TracedScores | None:
    """The scores with the axis `dim` for keys; None where it is neither that of N nor that of M."""
    if not isinstance(dim, int) or not scores.product:
        return None
    axis = dim % result.dim() - result.dim()
    if axis == scores.at[1]:
        return scores
    return scores.turned() if axis == scores.at[0] else None


def _softmax(
    scores: TracedScores,
    result: Tensor,
    known: ScoreMemo,
    _: Tensor,
    dim: int | None = None,
    *__: Any,
    **___: Any,
) -> TracedScores | None:
    keyed = _towards(scores, result, dim) if scores.stage == "scores" else None
    return None if keyed is None else replace(keyed, stage="weights", softmax=Softmax())


def _log_softmax(
    scores: TracedScores,
    result: Tensor,
    known: ScoreMemo,
    _: Tensor,
    dim: int | None = None,
    *__: Any,
    **___: Any,
) -> TracedScores | None:
    keyed = _towards(scores, result, dim) if scores.stage == "scores" else None
    return None if keyed is None else replace(keyed, stage="logarithms")


def _exp(scores: TracedScores, result: Tensor, known: ScoreMemo, *_: Any) -> TracedScores | None:
    if scores.stage == "logarithms":
        return replace(scores, stage="weights", softmax=Softmax())
    return replace(scores, stage="exponentials") if scores.stage == "scores" and scores.product else None


def _shifted(scores: TracedScores, least: PerQuery) -> TracedScores | None:
    """Minus one number a query: the largest score, which softmax does not see, or the logarithm of its sum."""
    if scores.stage != "scores":
        return None
    if least.what == "max":
        return replace(scores, shifted=True)
    return replace(scores, stage="logarithms") if least.what == "lse" and least.of is scores else None


def _normalised(scores: TracedScores, total: PerQuery) -> TracedScores | None:
    if scores.stage != "exponentials" or total.of is not scores:
        return None
    weights = replace(scores, stage="weights", softmax=Softmax())
    if total.plus == 0:
        return weights
    if total.plus < 0 or scores.shifted:
        return None
    heads = scores.shape[-3] if len(scores.shape) > 2 else 1
    return replace(weights, sink=torch.full((heads,), math.log(total.plus), device=scores.q.device))


def per_query(name: str, scores: TracedScores, result: Tensor, args: Any, kwargs: Any) -> PerQuery | None:
    """One number a query, kept beside its scores: the largest, or the sum after exp."""
    dim = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    keep = kwargs.get("keepdim", args[2] if len(args) > 2 else False)
    dim = dim[0] if isinstance(dim, (tuple, list)) and len(dim) == 1 else dim
    if not isinstance(dim, int) or keep is not True or dim % result.dim() - result.dim() != scores.at[1]:
        return None
    if name in ("amax", "max") and scores.stage == "scores":
        return PerQuery("max", scores)
    if name == "logsumexp" and scores.stage == "scores":
        return PerQuery("lse", scores)
    return PerQuery("sum", scores) if name == "sum" and scores.stage == "exponentials" else None


def is_of_all_pairs(args: Any) -> bool:
    """Whether each of two tensors is spread along an axis of the other, as queries and keys are for products."""
    if len(args) != 2 or not all(isinstance(one, Tensor) and one.dim() > 3 for one in args):
        return False
    sizes = list(zip(*(one.shape[-3:-1] for one in args), strict=True))
    return any(a == 1 < b for a, b in sizes) and any(b == 1 < a for a, b in sizes)


def still_of_pairs(scores: TracedScores, result: Tensor, args: Any, kwargs: Any) -> bool:
    """Whether an operation that summed, or took the largest, left the axes of queries and keys alone."""
    dim = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    axes = len(scores.shape)
    if not result.is_floating_point() or not all(isinstance(one, int) for one in dims):
        return False
    return not {one % axes - axes for one in dims} & set(scores.at)


STEPS: dict[str, Step] = {
    **MOVES,
    **MIXTURES,
    **dict.fromkeys(("mul", "imul", "rmul", "multiply"), _times),
    **dict.fromkeys(("div", "truediv", "itruediv", "divide", "true_divide", "idiv"), _divided),
    **dict.fromkeys(("add", "iadd", "radd"), _plus),
    **dict.fromkeys(("sub", "isub", "subtract"), _minus),
    **dict.fromkeys(("clamp", "clip", "clamp_min"), _clamped),
    **dict.fromkeys(("max", "maximum"), _maximum),
    **dict.fromkeys(("neg", "negative"), _negative),
    "tanh": _tanh,
    "gather": _gathered,
    "masked_fill": _filled,
    "where": _where,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "exp": _exp,
}
"""What may happen before softmax, by the name of the torch function without underscores."""
