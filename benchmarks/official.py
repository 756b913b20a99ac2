"""The weights that a model itself gives with `output_attentions=True`, and where they are of another kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

Output = Any


def official_weights(family: str, output: Output, inputs: Mapping[str, Any], config: Any) -> list[Tensor]:
    """Every map of an output; those that a family keeps in a layout of its own are laid out in full."""
    if family in LAYOUTS:
        return LAYOUTS[family](output, inputs, config)
    return list(_maps(output, ""))


def _maps(output: Output, name: str) -> Iterator[Tensor]:
    if isinstance(output, Mapping):
        for key, value in output.items():
            yield from _maps(value, key if "attention" in key else "" if isinstance(value, Mapping) else name)
    elif isinstance(output, (list, tuple)):
        for value in output:
            yield from _maps(value, name)
    elif (
        isinstance(output, Tensor) and "attention" in name and output.dim() > 2 and output.is_floating_point()
    ):
        yield output


def tensors(output: Output) -> Iterator[Tensor]:
    """All tensors of an output, in order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors(value)
    elif isinstance(output, (list, tuple)):
        for value in output:
            yield from tensors(value)


# ---- layouts ------------------------------------------------------------------------------------------


def _longformer(output: Output, inputs: Mapping[str, Any], config: Any) -> list[Tensor]:
    return [
        _opened(near, far, inputs["global_attention_mask"].bool(), _side(config, layer))
        for layer, (near, far) in enumerate(zip(output.attentions, output.global_attentions, strict=True))
    ]


def _led(output: Output, inputs: Mapping[str, Any], config: Any) -> list[Tensor]:
    far_BN = inputs["global_attention_mask"].bool()
    encoder = [
        _opened(near, far, far_BN, _side(config, layer))
        for layer, (near, far) in enumerate(
            zip(output.encoder_attentions, output.encoder_global_attentions, strict=True)
        )
    ]
    return [*encoder, *output.decoder_attentions, *output.cross_attentions]


def _side(config: Any, layer: int) -> int:
    window = config.attention_window
    return (window if isinstance(window, int) else window[layer]) // 2


def _joined(output: Output, inputs: Mapping[str, Any], config: Any) -> list[Tensor]:
    """The decoder attends to its own text and to the encoder's in one softmax; the two parts are given apart."""
    pairs = zip(output.decoder_attentions, output.cross_attentions, strict=True)
    return [*output.encoder_attentions, *(torch.cat(pair, -1) for pair in pairs)]


def _opened(near_BHNW: Tensor, far_BHNX: Tensor, far_BN: Tensor, side: int) -> Tensor:
    """N × M maps from a window of 2·side + 1 keys around each query, after the X tokens with global attention."""
    B, H, N, _ = near_BHNW.shape
    M = -(-N // (2 * side)) * 2 * side  # the model pads the text to whole windows
    X = far_BHNX.shape[-1]
    whole_BHNM = torch.zeros(B, H, M, M)
    for b in range(B):
        places = far_BN[b].nonzero()[:, 0]
        whole_BHNM[b, :, :N, places] += near_BHNW[b, :, :, : len(places)]
        for away in range(-side, side + 1):
            rows = torch.arange(max(0, -away), min(N, M - away))
            whole_BHNM[b, :, rows, rows + away] += near_BHNW[b, :, rows, X + side + away]
        for nth, place in enumerate(places):
            whole_BHNM[b, :, place, : far_BHNX.shape[2]] = far_BHNX[b, :, :, nth]
    return whole_BHNM


LAYOUTS: dict[str, Callable[[Output, Mapping[str, Any], Any], list[Tensor]]] = {
    "led": _led,
    "longformer": _longformer,
    "t5gemma2": _joined,
}

HIDDEN_STATES = "what it gives for its mask decoder are hidden states, no weights"
SINKS_AFTER = "its eager maps are those before its sinks act"

DIFFERENT: dict[str, str] = {
    "cpmant": "its maps are cut to the text, without the prompt that the model puts before it",
    "granite_swa": SINKS_AFTER,
    "granitemoe_swa": SINKS_AFTER,
    "sam": HIDDEN_STATES,
    "sam_hq": HIDDEN_STATES,
    "squeezebert": "its maps are the scores before softmax",
    "wavlm": "its maps are the mean of the heads, once a head",
}
"""Families whose official maps are no weights of the attention that is computed, and why."""
