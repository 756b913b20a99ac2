"""Operations that keep every score and change only shape or dtype: view, permute, cast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from limelight.capture.sources.op_tracing.axis_origins import Axis, regrouped
from limelight.capture.sources.op_tracing.scores import ScoreMemo, Step, TracedScores


def same(scores: TracedScores, result: Tensor, *_: Any, **__: Any) -> TracedScores | None:
    return scores if tuple(result.shape) == scores.laid_out else None


def _reshaped(scores: TracedScores, result: Tensor, *_: Any, **__: Any) -> TracedScores | None:
    """New leading axes; or queries that were folded into one axis with heads come apart."""
    if tuple(result.shape) == scores.laid_out:
        return scores
    if scores.at == (-1, -2) and not scores.weights:
        scores = scores.turned()
    if sorted(scores.at) != [-2, -1] or result.dim() < 2:
        return None
    new, old = scores.shape_of(result), scores.shape
    if new[-2:] == old[-2:]:

        def moved(tensor: Tensor) -> Tensor:  # the last two axes stay as they are, also where they are 1 long
            own = tensor.shape[-2:] if tensor.dim() > 1 else (1, *tensor.shape)
            return tensor.expand(*old[:-2], *own).reshape(*new[:-2], *own)

        lead = None if scores.lead is None else regrouped(scores.lead, new[:-2])
        return _moved(scores, new, moved(scores.q), moved(scores.k), moved, lead)
    if new[-1] == old[-1] and new[: len(old) - 2] == old[:-2] and not (scores.weights or scores.lookups):
        D = scores.q.shape[-1]
        q = scores.q.expand(*old[:-1], D).reshape(*new[:-1], D)
        k = scores.k[(..., *(None,) * (len(new) - len(old)), slice(None), slice(None))]
        return _moved(scores, new, q, k, lambda tensor: tensor.expand(old).reshape(new), None)
    return None


def _permuted(
    scores: TracedScores, result: Tensor, known: ScoreMemo, _: Tensor, *dims: Any, **kwargs: Any
) -> TracedScores | None:
    order = kwargs.get("dims", dims[0] if len(dims) == 1 and isinstance(dims[0], Sequence) else dims)
    return _in_order(scores, result, [axis % result.dim() for axis in order])


def _transposed(
    scores: TracedScores, result: Tensor, known: ScoreMemo, _: Tensor, *dims: Any, **kwargs: Any
) -> TracedScores | None:
    one, other = (*dims, *kwargs.values())
    order = list(range(result.dim()))
    order[one], order[other] = order[other], order[one]
    return _in_order(scores, result, order)


def _turned(scores: TracedScores, result: Tensor, *_: Any, **__: Any) -> TracedScores | None:
    axes = result.dim()
    return _in_order(scores, result, [*range(axes - 2), axes - 1, axes - 2])


def _axis_moved(
    scores: TracedScores, result: Tensor, known: ScoreMemo, _: Tensor, source: Any, destination: Any
) -> TracedScores | None:
    axes = result.dim()
    sources, destinations = (
        [at % axes for at in ((each,) if isinstance(each, int) else each)] for each in (source, destination)
    )
    there = dict(zip(destinations, sources, strict=True))
    rest = iter(axis for axis in range(axes) if axis not in sources)
    return _in_order(scores, result, [there[i] if i in there else next(rest) for i in range(axes)])


def _in_order(scores: TracedScores, result: Tensor, order: list[int]) -> TracedScores:
    """The axes before N and M keep the order that they have in the tensor; where N and M stand is noted."""
    axes = result.dim()
    ends = [axes + scores.at[0], axes + scores.at[1]]
    at = (order.index(ends[0]) - axes, order.index(ends[1]) - axes)
    before = [axis for axis in range(axes) if axis not in ends]
    lead = [before.index(axis) for axis in order if axis not in ends]
    if lead == sorted(lead):
        return _and_turned(replace(scores, at=at))

    def moved(tensor: Tensor) -> Tensor:
        return _wide(tensor, axes).permute(*lead, axes - 2, axes - 1)

    shape = (*(scores.shape[axis] for axis in lead), *scores.shape[-2:])
    known = None if scores.lead is None else tuple(scores.lead[axis] for axis in lead)
    turned = _moved(scores, shape, moved(scores.q), moved(scores.k), moved, known)
    return _and_turned(replace(turned, at=at))


def _and_turned(scores: TracedScores) -> TracedScores:
    """What was looked up is added to scores, which have queries before keys."""
    return scores.turned() if not scores.product and scores.at == (-1, -2) else scores


def _moved(
    scores: TracedScores,
    shape: tuple[int, ...],
    q: Tensor,
    k: Tensor,
    moved: Callable[[Tensor], Tensor],
    lead: tuple[Axis, ...] | None,
) -> TracedScores:
    return replace(
        scores,
        q=q,
        k=k,
        shape=shape,
        terms=tuple((moved(tensor), factor) for tensor, factor in scores.terms),
        hidden=tuple((moved(places), fill) for places, fill in scores.hidden),
        zeroed=tuple(moved(places) for places in scores.zeroed),
        lookups=tuple(lookup.moved(moved) for lookup in scores.lookups),
        lead=lead,
    )


def _wide(tensor: Tensor, axes: int) -> Tensor:
    return tensor[(None,) * (axes - tensor.dim())]


CASTS = (
    "contiguous",
    "clone",
    "to",
    "float",
    "half",
    "bfloat16",
    "double",
    "type",
    "type_as",
    "detach",
    "cuda",
    "cpu",
)
SHAPES = ("view", "reshape", "unflatten", "flatten", "unsqueeze", "squeeze")

MOVES: dict[str, Step] = {
    **dict.fromkeys((*CASTS, "expand", "expand_as", "broadcast_to"), same),
    **dict.fromkeys(SHAPES, _reshaped),
    "permute": _permuted,
    "transpose": _transposed,
    "swapaxes": _transposed,
    "swapdims": _transposed,
    "movedim": _axis_moved,
    "moveaxis": _axis_moved,
    "mT": _turned,
    "T": _turned,
    "t": _turned,
}
