"""Cut off the unused slots of a static KV cache: allocated keys after the end of the text.

Where the text ends is what the cache says. A cache that is not known does not say it; there, what is hidden from
every query is room if it is all zeros, or if every query sees up to its own place and no further. What remains in
doubt stays: a column that no query sees has a weight of 0, and is wrong nowhere.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from limelight.capture.decoding.caches import CacheState
from limelight.capture.inputs import mask_inference
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.matrix import Mask
from limelight.matrix.masks.base import Dense
from limelight.matrix.masks.by_token import Function


def without_room(inputs: AttentionInputs, length: int | None, fixed: bool = False) -> AttentionInputs:
    """Without the columns behind the text, and apart from the memory of the cache, which will be written to.

    `length` is how many tokens the cache says that it holds; None where it does not say. A `fixed` cache is known to
    write into the same memory again.
    """
    N, M = inputs.query.shape[2], inputs.key.shape[2]
    if inputs.kind == "cross":
        return _copied(inputs) if fixed or _is_static(inputs.key) else inputs
    end, doubt = M, False
    if M > N:
        if length is not None and length >= N:
            end = min(length, M)
        else:
            end, doubt = _end(inputs)
        if not hides_from(inputs, end):
            end = M
    if end == M and not (fixed or doubt or _will_be_written_to(inputs.key)):
        return inputs
    return cut(inputs, end)


def without_room_of(inputs: AttentionInputs, held: CacheState | None) -> AttentionInputs:
    """The same, of the call's own cache, if it is known."""
    return without_room(inputs, None) if held is None else without_room(inputs, held.length, held.fixed)


def cut(inputs: AttentionInputs, end: int) -> AttentionInputs:
    """With the first `end` columns alone, copied."""
    M = inputs.key.shape[2]
    value = None if inputs.value is None else inputs.value[:, :, :end].clone()
    key, bias, mask = inputs.key[:, :, :end].clone(), inputs.bias, inputs.mask
    if end < M:
        if isinstance(bias, Tensor) and bias.shape[-1] == M:
            bias = first_columns(bias, end)
        if mask is not None and not isinstance(mask, Function):  # a function knows no number of columns
            mask = mask_inference.shortest(_seen(inputs, mask, 0, end))
    return replace(inputs, key=key, value=value, mask=mask, bias=bias)


def hides_from(inputs: AttentionInputs, end: int) -> bool:
    """Whether no query sees a column from `end` on."""
    M = inputs.key.shape[2]
    if end >= M:
        return True
    if inputs.mask is not None and not bool(_seen(inputs, inputs.mask, end, M).any()):
        return True
    bias = inputs.bias
    return isinstance(bias, Tensor) and bias.shape[-1] == M and not bool(not_hidden(bias)[..., end:].any())


def not_hidden(bias: Tensor) -> Tensor:
    """Where what is added to the scores does not hide them; some models scale it with them."""
    return bias > torch.finfo(bias.dtype).min / 64


def first_columns(bias: Tensor, end: int) -> Tensor:
    """The first columns of what is added. A row in which all are hidden alike, as padding is, looked at the room as
    much as at the text; of the text alone it looks at nothing."""
    nothing = ~not_hidden(bias).any(-1, keepdim=True)
    return bias[..., :end].masked_fill(nothing, -torch.inf) if bool(nothing.any()) else bias[..., :end]


# ---- inside -------------------------------------------------------------------------------------------


def _seen(inputs: AttentionInputs, mask: Mask, j0: int, j1: int) -> Tensor:
    """What the mask lets the queries see of columns j0:j1."""
    M = inputs.key.shape[2]
    if isinstance(mask, Dense):
        table = mask.seen_BHNM
        return table[..., j0:j1] if table.shape[-1] == M else table.expand(-1, -1, -1, M)[..., j0:j1]
    B, H, N = inputs.query.shape[:3]
    return mask.fit(B, H, N, M).block(0, N, j0, j1, N, M, inputs.query.device)


def _end(inputs: AttentionInputs) -> tuple[int, bool]:
    """Where the text of a cache that is not known ends, and whether it may have ended before."""
    N, M = inputs.query.shape[2], inputs.key.shape[2]
    if isinstance(inputs.mask, Dense):
        seen_BHNM = inputs.mask.seen_BHNM
    elif isinstance(inputs.bias, Tensor):
        seen_BHNM = not_hidden(inputs.bias[(None,) * (4 - inputs.bias.dim())])
    else:
        return M, False
    if seen_BHNM.shape[-1] != M:
        return M, False
    seen_NM = seen_BHNM.flatten(0, 1).any(0)
    seen_M = seen_NM.any(0)
    end = max(int(seen_M.nonzero().max()) + 1 if bool(seen_M.any()) else 0, N)
    if end == M or not bool(inputs.key[:, :, end:].any()):  # nothing was written there
        return end, False
    places_M = torch.arange(1, M + 1, device=seen_NM.device)
    last_N = (seen_NM * places_M).amax(-1)  # how far each query sees
    each_its_own = len(last_N) > 1 and bool((last_N.diff() == 1).all())
    return (end, False) if each_its_own else (M, True)


def _copied(inputs: AttentionInputs) -> AttentionInputs:
    """With keys and values of its own; where they stood is remembered, since the next step is known by that."""
    value = None if inputs.value is None else inputs.value.clone()
    memory = inputs.key.data_ptr() if inputs.memory is None else inputs.memory
    return replace(inputs, key=inputs.key.clone(), value=value, memory=memory)


def _is_static(key_BGMD: Tensor) -> bool:
    """Whether it is marked for the compiler as memory that stays in its place."""
    return hasattr(key_BGMD, "_dynamo_static_input_type")


def _will_be_written_to(key_BGMD: Tensor) -> bool:
    """Whether it is the memory of a cache: marked as such, or with room for another key behind those of a head."""
    if _is_static(key_BGMD):
        return True
    (B, G, M, D), stride = key_BGMD.shape, key_BGMD.stride()
    if B == 0 or G == 0 or M == 0 or stride[2] <= 0:
        return False
    if G > 1:
        return stride[1] > M * stride[2]
    if B > 1:
        return stride[0] > M * stride[2]
    size = key_BGMD.untyped_storage().nbytes() // key_BGMD.element_size()
    behind = size - key_BGMD.storage_offset() - (M - 1) * stride[2] - D
    return behind >= max(stride[2], D)
