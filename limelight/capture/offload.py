"""Offloader: move captured tensors to another device, such as from GPU memory to the host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.sources.op_tracing.relative_lookups import Looked
from limelight.matrix import Mask, masks
from limelight.matrix.masks.base import And, Dense
from limelight.matrix.masks.by_token import Function


class Offloader:
    """Moves inputs to a device. Layers share their mask: the latest is remembered, and moved once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._latest: tuple[Mask, Mask] | None = None

    def __call__(self, inputs: AttentionInputs) -> AttentionInputs:
        if inputs.query.device == self._device:
            return inputs
        return replace(
            inputs,
            query=self._tensor(inputs.query),
            key=self._tensor(inputs.key),
            value=None if inputs.value is None else self._tensor(inputs.value),
            mask=None if inputs.mask is None else self._mask(inputs.mask, inputs),
            bias=self._bias(inputs.bias),
            sink=None if inputs.sink is None else self._tensor(inputs.sink),
            output=None if inputs.output is None else self._tensor(inputs.output),
            memory=inputs.key.data_ptr(),
        )

    def _tensor(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device)

    def _bias(self, bias: Any) -> Any:
        if isinstance(bias, Looked):
            return bias.moved(self._tensor)
        return self._tensor(bias) if isinstance(bias, Tensor) else bias

    def _mask(self, mask: Mask, inputs: AttentionInputs) -> Mask:
        if self._latest is None or self._latest[0] is not mask:
            self._latest = (mask, self._moved(mask, inputs))
        return self._latest[1]

    def _moved(self, mask: Mask, inputs: AttentionInputs) -> Mask:
        if isinstance(mask, Dense):
            return masks.dense(self._tensor(mask.seen_BHNM))
        if isinstance(mask, And):
            return self._moved(mask.left, inputs) & self._moved(mask.right, inputs)
        if isinstance(mask, Function):  # it may look into tensors of the device: laid out there, then moved
            B, H, N, M = *inputs.query.shape[:3], inputs.key.shape[2]
            return masks.dense(self._tensor(mask.fit(B, H, N, M).dense(N, M, inputs.query.device)))
        return mask
