"""Validate the arguments of AttentionMatrix, once, with errors that name the argument."""

from __future__ import annotations

import math
from types import EllipsisType
from typing import SupportsIndex

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, OutOfRangeError, ShapeError
from limelight.matrix import masks
from limelight.matrix.biases import Bias
from limelight.matrix.biases.custom import combined
from limelight.matrix.checks import finite_number, whole_number
from limelight.matrix.index_functions import PlaceFunction, ScoreFunction, TileIndex
from limelight.matrix.logits import Logits
from limelight.matrix.masks import Mask
from limelight.matrix.memory import demand_memory
from limelight.shapes import sizes

Index = SupportsIndex | slice | EllipsisType
Ranges = tuple[range, range, range, range]
"""Of batches, heads, queries and keys."""


def scores_of(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    mask: Mask | Tensor | None,
    scale: float | None,
    bias: Tensor | Bias | PlaceFunction | None,
    softcap: float | None,
    sink: Tensor | None,
    score_mod: ScoreFunction | None = None,
) -> Logits:
    """The logits that these inputs make, or an error that says which of them does not fit."""
    floats = {"query": query, "key": key, "value": value, "sink": sink}
    for name, tensor in floats.items():
        if isinstance(tensor, Tensor):
            demand_memory(name, tensor)
    size = sizes(query_BHND=query, key_BGMD=key)
    B, H, N, M = shape = size.B, size.H, size.N, size.M
    if (size.G == 0) != (H == 0) or (size.G and H % size.G):
        raise ShapeError(
            f"The query heads must be a multiple of the key heads; got {H} query heads and {size.G} "
            "key heads."
        )
    for name, tensor in floats.items():
        if tensor is not None and not (isinstance(tensor, Tensor) and tensor.is_floating_point()):
            came = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ArgumentTypeError(f"{name} must be a float tensor; got {came}.")
    if query.device != key.device:
        raise InputError(f"query and key must be on one device; got {query.device} and {key.device}.")
    if value is not None and (value.dim() != 4 or value.shape[:3] != key.shape[:3]):
        raise ShapeError(
            f"value must have a row for every key, ({B}, {size.G}, {M}, any width); "
            f"got shape {tuple(value.shape)}."
        )
    if sink is not None and sink.shape != (H,):
        raise ShapeError(f"sink must hold one score a query head, ({H},); got shape {tuple(sink.shape)}.")
    if sink is not None and not bool((sink < torch.inf).all()):  # NaN is not below it either
        raise InputError(
            f"sink must hold finite scores, or -inf for none; got {sink.tolist()}. A sink at the dtype's largest "
            "number takes all there is."
        )
    scale = (
        1 / math.sqrt(max(size.D, 1))
        if scale is None
        else finite_number("scale", scale, "Leave it out for 1/√D.")
    )
    if softcap is not None:
        softcap = finite_number("softcap", softcap, "Leave it out for no cap.")
        if softcap <= 0:
            raise InputError(f"softcap must be above 0; got {softcap}. Leave it out for no cap.")
    wide = any(isinstance(x, Tensor) and x.dtype == torch.float64 for x in (*floats.values(), bias))
    rule = _as_mask(mask).fit(B, H, N, M)
    for table in rule.tensors:
        demand_memory("mask", table)
    scores = Logits(
        q_BHND=query.detach(),
        k_BGMD=key.detach(),
        mask=rule,
        scale=scale,
        bias=_as_bias(bias, score_mod, shape),
        softcap=softcap,
        sink_H=None if sink is None else sink.detach().to(query.device),
        dtype=torch.float64 if wide else torch.float32,
        batches=range(B),
        heads=range(H),
        value_width=0 if value is None else value.shape[3],
    )
    _try_functions(scores)
    return scores


def _try_functions(scores: Logits) -> None:
    """Ask for the first place of all, so that a function which cannot serve is refused here and not in a pass."""
    if not all((scores.batches, scores.heads, scores.N, scores.M)):
        return
    first = range(1)
    with torch.no_grad():
        scores.mask.at(0, 1, 0, 1).block(0, 1, 0, 1, scores.N, scores.M, scores.device)
        if isinstance(scores.bias, Bias):
            zero = torch.zeros(1, 1, 1, 1, dtype=scores.dtype, device=scores.device)
            scores.bias.apply(zero, TileIndex(first, first, first, first, scores.N, scores.M))


def _as_mask(mask: Mask | Tensor | None) -> Mask:
    if mask is None:
        return masks.everything()
    if isinstance(mask, Mask):
        return mask
    if isinstance(mask, Tensor) and mask.is_floating_point():
        raise ArgumentTypeError(
            f"mask must be a mask of limelight.masks or a bool tensor, True = may attend; got {mask.dtype}. "
            "Pass an additive mask of 0 and -inf as bias=."
        )
    return masks.dense(mask)


def _as_bias(
    bias: Tensor | Bias | PlaceFunction | None,
    score_mod: ScoreFunction | None,
    shape: tuple[int, int, int, int],
) -> Tensor | Bias | None:
    if score_mod is not None and not callable(score_mod):
        raise ArgumentTypeError(
            "score_mod must be a function (score, b, h, q_idx, kv_idx) -> score; "
            f"got {type(score_mod).__name__}."
        )
    if not (bias is None or isinstance(bias, Bias) or (callable(bias) and not isinstance(bias, Tensor))):
        bias = _as_table(bias, shape)
    whole = combined(bias, score_mod)
    if not isinstance(whole, Bias):
        return whole
    for table in whole.tensors:
        demand_memory("bias", table)
    return whole.fit(*shape)


def _as_table(bias: object, shape: tuple[int, int, int, int]) -> Tensor:
    if not isinstance(bias, Tensor) or not bias.is_floating_point():
        came = bias.dtype if isinstance(bias, Tensor) else type(bias).__name__
        raise ArgumentTypeError(
            "bias must be a float tensor, a bias of limelight.biases or a function "
            f"(b, h, q_idx, kv_idx) -> float; got {came}. "
            "Pass a bool tensor, True = may attend, as mask=."
        )
    demand_memory("bias", bias)
    wide = bias.detach()[(None,) * max(0, 4 - bias.dim())]
    if wide.dim() != 4 or any(size not in (1, full) for size, full in zip(wide.shape, shape, strict=True)):
        raise ShapeError(
            f"bias must broadcast to (batch, heads, queries, keys) = {shape}; got shape {tuple(bias.shape)}."
        )
    return wide


def ranges_of(
    index: Index | tuple[Index, ...], shape: tuple[int, int, int, int]
) -> tuple[Ranges, list[bool]]:
    """The range of every axis, and which axes a plain number took away."""
    asked = list(index) if isinstance(index, tuple) else [index]
    dots = [
        place for place, one in enumerate(asked) if one is Ellipsis
    ]  # NumPy's arrays compare entry by entry
    if dots:
        where = dots[0]
        asked[where : where + 1] = [slice(None)] * (len(shape) - len(asked) + 1)
    asked += [slice(None)] * (len(shape) - len(asked))
    if len(asked) > len(shape):
        raise InputError(
            f"An attention matrix has the 4 axes (batch, head, query, key); got {len(asked)} indices."
        )
    ranges, dropped = [], []
    for axis, (one, size) in enumerate(zip(asked, shape, strict=True)):
        name = ("batch", "head", "query", "key")[axis]
        if isinstance(one, slice):
            if one.step not in (None, 1):
                raise InputError(f"A slice of the {name} axis must have step 1; got {one.step}.")
            start, stop, _ = one.indices(size)
            ranges.append(range(start, max(start, stop)))
        else:
            place = whole_number(
                one,
                f"The {name} axis takes a whole number or a slice",
                "rows() takes several queries at once.",
            )
            if not -size <= place < size:
                raise OutOfRangeError(f"{name} {place} is out of range: there are {size}.")
            ranges.append(range(place % size, place % size + 1))
        dropped.append(not isinstance(one, slice))
    return (ranges[0], ranges[1], ranges[2], ranges[3]), dropped
