"""Operations that move scores and leave their numbers: casts, new axes, axes in another order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from limelight.capture.families.scores import Scores, Step


def same(scores: Scores, result: Tensor, *_: Any, **__: Any) -> Scores | None:
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
    if new[-1] == old[-1] and new[: len(old) - 2] == old[:-2] and not (scores.weights or scores.lookups):
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
    if not scores.product and order[-2:] == [result.dim() - 1, result.dim() - 2]:
        return _turned(scores, result)
    return _in_order(scores, result, order)


def _turned(scores: Scores, result: Tensor) -> Scores | None:
    """Lookups with rows and columns exchanged."""
    if scores.terms or scores.hidden:
        return None
    lookups = tuple(replace(lookup, turned=not lookup.turned) for lookup in scores.lookups)
    return replace(scores, shape=tuple(result.shape), lookups=lookups)


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
        lookups=tuple(lookup.moved(moved) for lookup in scores.lookups),
    )


def _wide(tensor: Tensor, axes: int) -> Tensor:
    return tensor[(None,) * (axes - tensor.dim())]


CASTS = ("contiguous", "clone", "to", "float", "half", "bfloat16", "double", "type", "type_as", "detach")
SHAPES = ("view", "reshape", "unflatten", "flatten", "unsqueeze", "squeeze")

MOVES: dict[str, Step] = {
    **dict.fromkeys(CASTS, same),
    **dict.fromkeys(SHAPES, _reshaped),
    "permute": _permuted,
    "transpose": _transposed,
    "swapaxes": _transposed,
}
