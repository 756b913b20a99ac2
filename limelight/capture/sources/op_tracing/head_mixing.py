"""Linear mixtures of heads: talking heads (Shazeer et al. 2020), re-attention (Zhou et al. 2021).

Before softmax a mixture of heads is itself a product: Σ_h w[g,h]·q[h]·k[h] = (w[g,1]·q[1], …, w[g,H]·q[H])·(k[1], …,
k[H]). So its scores are those of queries and keys that are H times as wide, the keys being one head for all. After
softmax it is no softmax any more; what can be told there are the weights before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limelight.capture.sources.op_tracing.matmuls import einsum_of
from limelight.capture.sources.op_tracing.scores import ScoreMemo, Step, TracedScores


def _linear(
    scores: TracedScores, result: Tensor, known: ScoreMemo, x: Any, weight: Any, *_: Any, **__: Any
) -> TracedScores | None:
    axis = linear_axis(scores, known, x, weight)
    return None if axis is None else mixed(scores, axis, weight)


def _convolution(
    scores: TracedScores, result: Tensor, known: ScoreMemo, x: Any, weight: Any, *more: Any, **kwargs: Any
) -> TracedScores | None:
    axis = convolution_axis(scores, known, result, x, weight)
    return None if axis is None else mixed(scores, axis, weight[:, :, 0, 0])


def _einsum(
    scores: TracedScores, result: Tensor, known: ScoreMemo, equation: Any, *operands: Any
) -> TracedScores | None:
    read = einsum_axis(scores, known, equation, *operands)
    return None if read is None else mixed(scores, *read)


MIXTURES: dict[str, Step] = {"linear": _linear, "conv2d": _convolution, "einsum": _einsum}
"""Of heads, before softmax."""


def mixes_heads(name: str, scores: TracedScores, result: Tensor, known: ScoreMemo, args: Any) -> bool:
    """Whether this operation mixes the heads of weights."""
    if name == "linear":
        return linear_axis(scores, known, *args[:2]) is not None
    if name == "conv2d":
        return convolution_axis(scores, known, result, *args[:2]) is not None
    return name == "einsum" and einsum_axis(scores, known, *args) is not None


def linear_axis(scores: TracedScores, known: ScoreMemo, x: Any, weight: Any) -> int | None:
    """The axis of heads (of the lead, from its end) that a linear layer mixes: the last one of the tensor."""
    if not isinstance(x, Tensor) or known.get(x) is not scores or -1 in scores.at or weight in known:
        return None
    return -1


def convolution_axis(
    scores: TracedScores, known: ScoreMemo, result: Tensor, x: Any, weight: Any
) -> int | None:
    """The same for a convolution of single pixels, whose channels are the heads."""
    one_by_one = isinstance(weight, Tensor) and weight.dim() == 4 and tuple(weight.shape[2:]) == (1, 1)
    whole = one_by_one and weight.shape[1] == scores.laid_out[-3] if len(scores.shape) == 4 else False
    if known.get(x) is not scores or not whole or sorted(scores.at) != [-2, -1]:
        return None
    return -1 if tuple(result.shape[-2:]) == scores.laid_out[-2:] else None


def einsum_axis(
    scores: TracedScores, known: ScoreMemo, equation: Any, *operands: Any
) -> tuple[int, Tensor] | None:
    """The same for einsum with a table of two axes, and that table as (heads after, heads before)."""
    read = einsum_of(equation, operands)
    if read is None:
        return None
    (left, a), (right, b), out = read
    if known.get(a) is not scores:
        left, a, right, b = right, b, left, a
    if known.get(a) is not scores or b in known or len(right) != 2:
        return None
    summed = [letter for letter in right if letter in left]
    new = [letter for letter in right if letter not in left]
    if len(summed) != 1 or len(new) != 1 or out != left.replace(summed[0], new[0]):
        return None
    ends = [len(left) + scores.at[0], len(left) + scores.at[1]]
    place = left.index(summed[0])
    if place in ends:
        return None
    lead = [axis for axis in range(len(left)) if axis not in ends]
    return lead.index(place) - len(lead), b if right[0] == new[0] else b.mT


def mixed(scores: TracedScores, axis: int, weight_GH: Tensor) -> TracedScores | None:
    """Scores whose heads, along `axis` of the lead, are mixed; None where something was hidden before."""
    if (
        scores.hidden
        or scores.lookups
        or scores.cap is not None
        or scores.stage != "scores"
        or scores.shifted
    ):
        return None
    w = weight_GH.detach()
    G, H = w.shape
    lead = scores.shape[:-2]
    if lead[axis] != H:
        return None
    N, M = scores.shape[-2:]

    def heads_last(tensor: Tensor, *ends: int) -> Tensor:
        return tensor.expand(*lead, *ends).movedim(axis - 2, -3)

    D = scores.q.shape[-1]
    q = heads_last(scores.q, N, D).transpose(-3, -2)  # (…, N, H, D)
    q = (q[..., None, :, :, :] * w[:, None, :, None].to(q.dtype)).flatten(-2)  # (…, G, N, H·D)
    k = heads_last(scores.k, M, D).transpose(-3, -2).flatten(-2)[..., None, :, :]  # (…, 1, M, H·D)
    terms = tuple(
        (
            torch.einsum("...hnm,gh->...gnm", heads_last(tensor, N, M), w.to(tensor.dtype)).movedim(
                -3, axis - 2
            ),
            own,
        )
        for tensor, own in scores.terms
    )
    shape = list(scores.shape)
    shape[axis - 2] = G
    known = None
    if scores.lead is not None:
        known = tuple(
            (("features", G),) if i == len(lead) + axis else own for i, own in enumerate(scores.lead)
        )
    return replace(
        scores,
        q=q.movedim(-3, axis - 2),
        k=k.movedim(-3, axis - 2),
        terms=terms,
        shape=tuple(shape),
        lead=known,
    )
