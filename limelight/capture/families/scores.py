"""What a tensor of scores is made of, and how each operation on it changes that.

    number ·, ÷          the scale                     masked_fill, where      the mask
    tensor +, −          a term of the bias            view, permute, casts    the shape alone
    tanh                 the softcap                   softmax                 from here on they are weights

Each step takes what is known of the scores, the result of the operation, the dictionary of all known scores, and the
operation's own arguments; it gives what is known of the result, or None where that is no longer of this form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Scores:
    """cap·tanh(scale·QKᵀ ÷ cap) + the terms, and `fill` where a mask hides, of the given shape (…, N, M).

    q (…, N, D) and k (…, M, D), the terms (tensor, factor) and the hidden places (True = hidden, fill) all broadcast
    to that shape.
    """

    q: Tensor
    k: Tensor
    shape: tuple[int, ...]
    scale: float = 1.0
    cap: float | None = None
    terms: tuple[tuple[Tensor, float], ...] = ()
    hidden: tuple[tuple[Tensor, float], ...] = ()
    zeroed: tuple[Tensor, ...] = ()
    """Places where the weights, after softmax, were set to 0 (True = set)."""
    weights: bool = False
    dropout: float = 0.0


Step = Callable[..., Scores | None]


# ---- arithmetic ---------------------------------------------------------------------------------------


def _times(scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], a: Any, b: Any) -> Scores | None:
    other = b if isinstance(a, Tensor) and a in known else a
    number = _number(other)
    if number is not None:
        return _scaled(scores, number)
    if not isinstance(other, Tensor) or result.shape != scores.shape:
        return None
    if other.dim() and other.shape[-1] == 1 and scores.cap is None and not scores.terms:
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
    return _joined(scores, result, other, factor)


def _minus(scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], a: Any, b: Any) -> Scores | None:
    if not (isinstance(a, Tensor) and a in known):
        return None
    return scores if _number(b) is not None else _joined(scores, result, b, -1.0)


def _joined(scores: Scores, result: Tensor, other: Tensor, factor: float) -> Scores:
    return replace(scores, shape=tuple(result.shape), terms=(*scores.terms, (other.detach(), factor)))


def _tanh(scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], *_: Any) -> Scores | None:
    return None if scores.terms or scores.hidden or scores.cap is not None else replace(scores, cap=1.0)


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


# ---- shapes -------------------------------------------------------------------------------------------


def _same(scores: Scores, result: Tensor, *_: Any, **__: Any) -> Scores | None:
    return scores if tuple(result.shape) == scores.shape else None


def _reshaped(scores: Scores, result: Tensor, *_: Any, **__: Any) -> Scores | None:
    """New leading axes; or queries that were folded into one axis with heads come apart."""
    new, old = tuple(result.shape), scores.shape
    if new == old:
        return scores
    D = scores.q.shape[-1]
    if new[-2:] == old[-2:]:

        def moved(tensor: Tensor) -> Tensor:  # the last two axes stay as they are, also where they are 1 long
            own = tensor.shape[-2:] if tensor.dim() > 1 else (1, *tensor.shape)
            return tensor.expand(*old[:-2], *own).reshape(*new[:-2], *own)

        return _moved(scores, new, moved(scores.q), moved(scores.k), moved)
    if new[-1] == old[-1] and new[: len(old) - 2] == old[:-2] and not scores.weights:
        D = scores.q.shape[-1]
        q = scores.q.expand(*old[:-1], D).reshape(*new[:-1], D)
        k = scores.k[(..., *(None,) * (len(new) - len(old)), slice(None), slice(None))]
        return _moved(scores, new, q, k, lambda tensor: tensor.expand(old).reshape(new))
    return None


def _permuted(
    scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], _: Tensor, *dims: Any
) -> Scores | None:
    order = dims[0] if len(dims) == 1 and isinstance(dims[0], Sequence) else dims
    return _in_order(scores, result, [axis % result.dim() for axis in order])


def _transposed(
    scores: Scores, result: Tensor, known: Mapping[Tensor, Scores], _: Tensor, one: int, other: int
) -> Scores | None:
    order = list(range(result.dim()))
    order[one], order[other] = order[other], order[one]
    return _in_order(scores, result, order)


def _in_order(scores: Scores, result: Tensor, order: list[int]) -> Scores | None:
    if order[-2:] != [result.dim() - 2, result.dim() - 1]:
        return None

    def moved(tensor: Tensor) -> Tensor:
        return _wide(tensor, len(order)).permute(order)

    return _moved(scores, tuple(result.shape), moved(scores.q), moved(scores.k), moved)


def _moved(
    scores: Scores, shape: tuple[int, ...], q: Tensor, k: Tensor, moved: Callable[[Tensor], Tensor]
) -> Scores:
    return replace(
        scores,
        q=q,
        k=k,
        shape=shape,
        terms=tuple((moved(tensor), factor) for tensor, factor in scores.terms),
        hidden=tuple((moved(places), fill) for places, fill in scores.hidden),
        zeroed=tuple(moved(places) for places in scores.zeroed),
    )


def _wide(tensor: Tensor, axes: int) -> Tensor:
    return tensor[(None,) * (axes - tensor.dim())]


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
    return replace(scores, weights=True) if dim in (-1, result.dim() - 1) else None


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


CASTS = ("contiguous", "clone", "to", "float", "half", "bfloat16", "double", "type", "type_as", "detach")
SHAPES = ("view", "reshape", "unflatten", "flatten", "unsqueeze", "squeeze")

_MOVES: dict[str, Step] = {
    **dict.fromkeys(CASTS, _same),
    **dict.fromkeys(SHAPES, _reshaped),
    "permute": _permuted,
    "transpose": _transposed,
    "swapaxes": _transposed,
}

STEPS: dict[str, Step] = {
    **_MOVES,
    **dict.fromkeys(("mul", "imul", "rmul", "multiply"), _times),
    **dict.fromkeys(("div", "truediv", "itruediv", "divide", "true_divide", "idiv"), _divided),
    **dict.fromkeys(("add", "iadd", "radd"), _plus),
    **dict.fromkeys(("sub", "isub"), _minus),
    **dict.fromkeys(("max", "maximum", "clamp", "clamp_min"), _same),  # lifts -inf to the smallest number
    "tanh": _tanh,
    "masked_fill": _filled,
    "where": _where,
    "softmax": _softmax,
}
"""What may happen before softmax, by the name of the torch function without underscores."""

AFTER_SOFTMAX: dict[str, Step] = {**_MOVES, "masked_fill": _zeroed, "dropout": _dropped, "nan_to_num": _same}
"""What may happen to the weights before they meet the values."""
