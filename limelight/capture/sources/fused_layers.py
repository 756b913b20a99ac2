"""PyTorch's fused inference path: a whole encoder layer, or MultiheadAttention, as one C++ call.

It stays on inside a watch, with nested tensors for padded texts, so that a model computes the same to the bit. Nobody
can look into the function: its queries, keys and values are projected once more from what it was given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack

from limelight.capture.inputs import mask_inference
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.listeners import RefCountedPatch, listeners, notify, notify_missed
from limelight.capture.recordable import (
    outside_of_transforms,
    side_by_side,
    unrecorded,
    why_unreadable,
)
from limelight.capture.sources.call_site import running
from limelight.matrix import Mask

ENCODER_LAYER = torch._transformer_encoder_layer_fwd
ATTENTION = torch._native_multi_head_attention


def encoder_layer(*args: Any, **kwargs: Any) -> Any:
    """A whole encoder layer, as nn.TransformerEncoderLayer calls it; whoever listens is told of its attention."""
    output = ENCODER_LAYER(*args, **kwargs)
    place = running(sys._getframe(1))
    if place is None:
        return output
    module = getattr(place[0], "self_attn", place[0])
    states, _, heads, weight, bias, _, _, _, norm_first, eps, norm_weight, norm_bias, *rest = args

    def normed(states_BNE: Tensor) -> Tensor:
        return functional.layer_norm(states_BNE, states_BNE.shape[-1:], norm_weight, norm_bias, eps)

    _tell(module, states, normed if norm_first else None, heads, weight, bias, *rest[-2:])
    return output


def attention(*args: Any, **kwargs: Any) -> Any:
    """Self-attention with its projections, as nn.MultiheadAttention calls it; whoever listens is told."""
    output = ATTENTION(*args, **kwargs)
    place = running(sys._getframe(1))
    if place is not None:
        query, _, _, _, heads, weight, bias, _, _, mask, _, _, mask_type = args
        _tell(place[0], query, None, heads, weight, bias, mask, mask_type)
    return output


HEARD: dict[Any, Callable[..., Any]] = {ENCODER_LAYER: encoder_layer, ATTENTION: attention}
"""Each fused function, and the one that tells of it as well."""


def _tell(
    module: nn.Module,
    states: Tensor,
    normed: Callable[[Tensor], Tensor] | None,
    heads: int,
    weight: Tensor,
    bias: Tensor,
    mask: Tensor | None,
    mask_type: int | None,
) -> None:
    with torch.no_grad(), unrecorded():
        dense = (
            states.to_padded_tensor(0.0) if states.is_nested and states.layout == torch.strided else states
        )
        seen = None if mask is None else _with_four_axes(mask.logical_not(), mask_type)
        if dense is not states:
            dense = _as_long_as_given(dense, sys._getframe(1))
            real_BN = torch.arange(dense.shape[1]) < states._nested_tensor_size()[:, :1]
            seen = real_BN[:, None, None, :] & real_BN[:, None, :, None]
        x_BNE = dense if normed is None else normed(dense)
        parts = functional.linear(x_BNE, weight, bias).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
        output = None
        if any(getattr(listener, "verifies", False) for listener in listeners(module)):
            output = _output(x_BNE, heads, weight, bias, seen).unflatten(-1, (heads, -1)).transpose(1, 2)
    with outside_of_transforms():
        q, k, v, output, seen = side_by_side((q, k, v, output, seen))
        why = why_unreadable(q, k, v, output, seen)
        if why is not None:
            notify_missed(module, why)
            return
        rule = _rule(seen)
        notify(
            module,
            AttentionInputs(
                query=q, key=k, value=v, mask=rule, output=output, backend="multi_head_attention_forward"
            ),
        )


def _rule(seen: Tensor | None) -> Mask | None:
    return None if seen is None else mask_inference.read(seen).mask


def _with_four_axes(seen: Tensor, mask_type: int | None) -> Tensor:
    """The function's masks stand for queries and keys, for texts and keys, or for everything."""
    if mask_type == 0:
        return seen[None, None]
    return seen[:, None, None] if mask_type == 1 else seen


def _as_long_as_given(dense_BNE: Tensor, frame: FrameType | None) -> Tensor:
    """As many places as the texts had before their padding was left out."""
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), nn.TransformerEncoder):
            given = frame.f_locals.get("src")
            if isinstance(given, Tensor) and given.dim() == 3 and given.shape[0] == dense_BNE.shape[0]:
                return functional.pad(dense_BNE, (0, 0, 0, given.shape[1] - dense_BNE.shape[1]))
        frame = frame.f_back
    return dense_BNE


def _output(x_BNE: Tensor, heads: int, weight: Tensor, bias: Tensor, seen: Tensor | None) -> Tensor:
    """What the function's attention gives before the last projection: the same function with none."""
    B, N, E = x_BNE.shape
    hidden = None if seen is None else seen.logical_not().expand(B, heads, N, N).contiguous()
    same = torch.eye(E, dtype=x_BNE.dtype, device=x_BNE.device)
    states = (x_BNE, x_BNE, x_BNE, E, heads)
    found: tuple[Tensor, Tensor] = ATTENTION(
        *states, weight, bias, same, x_BNE.new_zeros(E), hidden, False, False, None if hidden is None else 2
    )
    return found[0]


# ---- that it stays on ---------------------------------------------------------------------------------


def _let_the_fused_path_be() -> Callable[[], None]:
    """PyTorch asks by this name whether anything overrides torch functions: modes that only listen do not."""
    before = torch.overrides.has_torch_function

    def has_torch_function(given: Any) -> bool:
        if not before(given):
            return False
        modes = _get_current_function_mode_stack()
        if not modes or not all(type(mode).__module__.startswith("limelight.capture.") for mode in modes):
            return True
        return any(_overrides(each) for each in given)

    torch.overrides.has_torch_function = has_torch_function  # type: ignore[assignment]

    def undo() -> None:
        if torch.overrides.has_torch_function is has_torch_function:
            torch.overrides.has_torch_function = before

    return undo


def _overrides(given: Any) -> bool:
    kind = type(given)
    if kind in (Tensor, nn.Parameter):
        return False
    own = getattr(kind, "__torch_function__", None)
    return own is not None and own is not torch._C._disabled_torch_function_impl


PATH = RefCountedPatch(_let_the_fused_path_be)
"""While it is held, PyTorch takes its fused path as it does without a watch."""
