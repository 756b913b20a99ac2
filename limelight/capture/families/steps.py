"""What may be done to scores and to weights, and how each operation changes what is known of them.

number ·, ÷          the scale                     masked_fill, where      the mask
tensor +, −          a term of the bias            view, permute, casts    the shape alone (`moves.py`)
tanh                 the softcap                   softmax                 from here on they are weights
gather by distance   no scores, but a lookup (`lookups.py`), which may be added to scores
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from limelight.capture.families.lookups import Lookup, by_distance
from limelight.capture.families.moves import MOVES, same
from limelight.capture.families.scores import FAR, Scores, Step

# ---- arithmetic ---------------------------------------------------------------------------------------


def _times(scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], a: Any, b: Any) -> Scores | None:
    other = b if isinstance(a, Tensor) and a in known else a
    number = _number(other)
    if number is not None:
        return _scaled(scores, number)
    if not isinstance(other, Tensor) or result.shape != scores.shape:
        return None
    if other.dim() and other.shape[-1] == 1 and scores.cap is None and not (scores.terms or scores.lookups):
        return replace(scores, q=scores.q * other)  # a factor a head or a query belongs to Q
    if bool(((other == 0) | (other == 1)).all()):
        return replace(scores, hidden=(*scores.hidden, (other == 0, 0.0)))
    return None


def _divided(
    scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], a: Any, b: Any, **_: Any
) -> Scores | None:
    number = _number(b)
    if number is not None:
        return _scaled(scores, 1 / number)
    return _times(scores, result, known, a, 1 / b) if isinstance(b, Tensor) and b not in known else None


def _scaled(scores: Scores, number: float) -> Scores:
    return replace(
        scores,
        scale=scores.scale * number,
        cap=None if scores.cap is None else scores.cap * number,
        terms=tuple((tensor, factor * number) for tensor, factor in scores.terms),
        hidden=tuple((places, fill * number) for places, fill in scores.hidden),
        lookups=tuple(replace(lookup, factor=lookup.factor * number) for lookup in scores.lookups),
    )


def _plus(
    scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], a: Any, b: Any, *, alpha: float = 1.0
) -> Scores | None:
    first = isinstance(a, Tensor) and a in known
    other, factor = (b, float(alpha)) if first else (a, 1.0)
    if not first and alpha != 1:
        return None
    if _number(other) is not None:  # the same for every key: softmax does not see it
        return scores
    if factor == 1 and isinstance(other, Tensor) and other in known:
        together = _with_lookups(scores, known[other]) or _with_lookups(known[other], scores)
        if together is not None:
            return together
    return _joined(scores, result, other, factor)


def _with_lookups(scores: Scores, looked: Scores) -> Scores | None:
    """Scores, or lookups, with the lookups of another tensor added; None where that is something else."""
    if looked.product or looked.hidden or looked.cap is not None or scores.shape != looked.shape:
        return None
    return replace(scores, terms=(*scores.terms, *looked.terms), lookups=(*scores.lookups, *looked.lookups))


def _minus(scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], a: Any, b: Any) -> Scores | None:
    if not (isinstance(a, Tensor) and a in known):
        return None
    return scores if _number(b) is not None else _joined(scores, result, b, -1.0)


def _joined(scores: Scores, result: Tensor, other: Tensor, factor: float) -> Scores:
    return replace(scores, shape=tuple(result.shape), terms=(*scores.terms, (other, factor)))


def _tanh(scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], *_: Any) -> Scores | None:
    bare = scores.product and not (scores.terms or scores.lookups or scores.hidden) and scores.cap is None
    return replace(scores, cap=1.0) if bare else None


# ---- masks --------------------------------------------------------------------------------------------


def _filled(
    scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], _: Tensor, mask: Tensor, value: Any
) -> Scores | None:
    fill = _number(value)
    return None if fill is None else replace(scores, hidden=(*scores.hidden, (mask.bool(), fill)))


def _where(
    scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], condition: Tensor, a: Any, b: Any
) -> Scores | None:
    first = isinstance(a, Tensor) and a in known
    fill = _number(b if first else a)
    if fill is None or result.shape != scores.shape:
        return None
    return replace(scores, hidden=(*scores.hidden, (~condition if first else condition, fill)))


def _gathered(
    scores: Scores,
    result: Tensor,
    known: Mapping[Tensor, Scores],
    _: Tensor,
    dim: int,
    index: Tensor,
    **__: Any,
) -> Scores | None:
    """Products of each row with a few vectors, of which one is taken by distance."""
    bare = scores.product and not (scores.terms or scores.lookups or scores.hidden) and scores.cap is None
    of = by_distance(index) if bare and dim in (-1, result.dim() - 1) else None
    if of is None:
        return None
    lookup = Lookup(scores.q, scores.k, of, factor=scores.scale)
    return replace(scores, shape=tuple(result.shape), scale=1.0, lookups=(lookup,), product=False)


def _clamped(
    scores: Scores,
    result: Tensor,
    known: Mapping[Tensor, Scores],
    _: Tensor,
    min: Any = None,
    max: Any = None,
) -> Scores | None:
    """Scores with a least number so small that it hides: models lift -inf to it."""
    return scores if max is None and _hides(min) else None


def _maximum(
    scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], a: Any, b: Any = None
) -> Scores | None:
    """The same, the least number being a tensor."""
    return scores if _hides(b if isinstance(a, Tensor) and a in known else a) else None


def _hides(least: Any) -> bool:
    number = _number(least)
    return number is not None and number <= FAR


# ---- softmax ------------------------------------------------------------------------------------------


def _softmax(
    scores: Scores,
    result: Tensor,
    known: Mapping[Tensor, Scores],
    _: Tensor,
    dim: int | None = None,
    *__: Any,
    **___: Any,
) -> Scores | None:
    return replace(scores, weights=True) if scores.product and dim in (-1, result.dim() - 1) else None


def _zeroed(
    scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], _: Tensor, mask: Tensor, value: Any
) -> Scores | None:
    return replace(scores, zeroed=(*scores.zeroed, mask.bool())) if _number(value) == 0 else None


def _dropped(
    scores: Scores,
    result: Tensor,
    known: Mapping[Tensor, Scores],
    _: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Scores | None:
    return replace(scores, dropout=p if training else 0.0)


def _number(value: Any) -> float | None:
    """A plain number, also as a tensor of one entry or of one entry many times."""
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    return None


STEPS: dict[str, Step] = {
    **MOVES,
    **dict.fromkeys(("mul", "imul", "rmul", "multiply"), _times),
    **dict.fromkeys(("div", "truediv", "itruediv", "divide", "true_divide", "idiv"), _divided),
    **dict.fromkeys(("add", "iadd", "radd"), _plus),
    **dict.fromkeys(("sub", "isub"), _minus),
    **dict.fromkeys(("clamp", "clip", "clamp_min"), _clamped),
    **dict.fromkeys(("max", "maximum"), _maximum),
    "tanh": _tanh,
    "gather": _gathered,
    "masked_fill": _filled,
    "where": _where,
    "softmax": _softmax,
}
"""What may happen before softmax, by the name of the torch function without underscores."""

AFTER_SOFTMAX: dict[str, Step] = {**MOVES, "masked_fill": _zeroed, "dropout": _dropped, "nan_to_num": same}
"""What may happen to the weights before they meet the values."""
