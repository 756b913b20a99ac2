"""Longformer and LED's encoder: a sliding window, and global tokens that attend both ways.

Tokens with global attention have queries and keys of their own, which only they use. One matrix holds both kinds: its
queries and keys are twice as wide, an ordinary query is zero in the second half and a global one in the first. Their
values are their own, too, so that no one V goes with that matrix, and none is kept.

Source: Beltagy, Peters and Cohan, "Longformer" (2020), section 3.1, "Global Attention" and "Linear Projections".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.listeners import Missed, Record
from limelight.capture.sources.model_families.module_calls import Calls, calls_of
from limelight.matrix import Mask, masks


@contextmanager
def follow(module: nn.Module, record: Record, missed: Missed) -> Iterator[None]:
    """Watch one `LongformerSelfAttention` or `LEDEncoderSelfAttention`."""
    projections = ("query", "key", "value", "query_global", "key_global")
    with calls_of(module, projections, lambda call: record(module, _inputs(module, call))):
        yield


def _inputs(module: Any, call: Calls) -> AttentionInputs:
    H = module.num_heads

    def heads(x_NBE: Tensor) -> Tensor:
        return x_NBE.unflatten(-1, (H, -1)).permute(1, 2, 0, 3)

    # The module has already divided both kinds of queries by √D, in place.
    q_BHND, k_BHMD, v_BHMD = (heads(call.outputs[name][0]) for name in ("query", "key", "value"))
    away_BN, far_BN = call.given["is_index_masked"], call.given["is_index_global_attn"]
    any_far = bool(far_BN.any())
    if any_far:
        few_BHND = heads(call.outputs["query_global"][0])
        place_BN = (far_BN.cumsum(1) - 1).clamp_min(0)
        rows = place_BN[:, None, :, None].expand(*q_BHND.shape)
        far_B1N1 = far_BN[:, None, :, None]
        far_q_BHND = few_BHND.gather(2, rows) * far_B1N1
        q_BHND = torch.cat([q_BHND * ~far_B1N1, far_q_BHND], -1)
        k_BHMD = torch.cat([k_BHMD, heads(call.outputs["key_global"][0])], -1)
    output = call.result[0] if isinstance(call.result, tuple) else call.result
    return AttentionInputs(
        query=q_BHND,
        key=k_BHMD,
        value=None if any_far else v_BHMD,
        mask=_mask(module.one_sided_attn_window_size, away_BN, far_BN),
        scale=1.0,
        output=None if any_far else output.unflatten(-1, (H, -1)).transpose(1, 2),
        backend="eager",
    )


def _mask(side: int, away_BN: Tensor, far_BN: Tensor) -> Mask:
    """Keys at most `side` away, and all of and for the tokens with global attention; nothing of and for padding."""
    near = masks.window(side + 1, offset=0)
    if bool(far_BN.any()):
        near = near | masks.dense(far_BN[:, None, None, :]) | masks.dense(far_BN[:, None, :, None])
    if bool(away_BN.any()):
        near = near & masks.dense(~away_BN[:, None, None, :]) & masks.dense(~away_BN[:, None, :, None])
    return near
