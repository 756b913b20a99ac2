"""The three ways in which the page shows weights, and which of them an attention has.

weight     α, as the softmax gave it
sink-free  without the weight on sinks, the rest of each query divided by its own sum: what a head that rests on the
           first token looks at otherwise
value-norm ‖α·v‖ = α·‖v‖: a token with a large weight and a value near zero carries little. Each head's own values;
           query heads that share a key head share its values.
           Source: Kobayashi et al. 2020, "Attention is Not Only a Weight" (arXiv 2004.10102).

None of them is a second matrix: each is a number a key and a number a query beside the one that there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from limelight.errors import InputError
from limelight.matrix import AttentionMatrix
from limelight.readings.row_attention import value_lengths
from limelight.viewer.compute.attention_layers import AttentionLayers, Reweighting
from limelight.viewer.compute.first_pass import LayerSummary, sinks_of, sinks_told
from limelight.viewer.protocol.requests import WEIGHS

PLAIN, SINK_FREE, VALUE = WEIGHS
VALUE_NORM = "value norm"


def offered(attention: AttentionLayers) -> list[str]:
    """Those that say something here: without sinks where there are some, by value where values are known."""
    sinks = bool(sinks_of(attention).any())
    return [PLAIN, *([SINK_FREE] if sinks else []), *([VALUE] if _valued(attention) else [])]


def weighed(attention: AttentionLayers, weigh: str, summaries: Mapping[int, LayerSummary]) -> AttentionLayers:
    """The same attention, told in this way. Raises InputError for one that is not offered.

    summaries  layer → what the first pass has kept so far; it may be filled later
    """
    if weigh == PLAIN:
        return attention
    if weigh not in (there := offered(attention)):
        lack = "it has no sinks" if weigh == SINK_FREE else "its matrices were made without values"
        raise InputError(
            f"weigh must be one of {', '.join(there)} for {attention.name}; got {weigh!r}: {lack}."
        )
    if weigh == SINK_FREE:
        reweightings = {layer: _sink_free(attention, layer, summaries) for layer in attention.layers}
        rule = (
            f"Without sinks: the weight on {sinks_told(attention)} is left out, and each query's other weights are "
            "divided by their sum."
        )
        return replace(attention, reweightings=reweightings, rule=rule)
    reweightings = {
        layer: Reweighting(value_lengths(matrix, attention.batch).to(matrix.device, matrix.dtype))
        for layer, matrix in attention.layers.items()
        if isinstance(matrix, AttentionMatrix)
    }
    rule = "By value: each weight is multiplied by the norm of its head's value vector of that key, ‖α·v‖."
    return replace(attention, reweightings=reweightings, unit=VALUE_NORM, rule=rule)


def _valued(attention: AttentionLayers) -> bool:
    return all(
        isinstance(matrix, AttentionMatrix) and matrix.value is not None
        for matrix in attention.layers.values()
    )


def _sink_free(attention: AttentionLayers, layer: int, summaries: Mapping[int, LayerSummary]) -> Reweighting:
    matrix = attention.layers[layer]
    kept_M = (~sinks_of(attention)).float().to(matrix.device)
    return Reweighting(kept_M.expand(matrix.shape[1], -1), _others(layer, summaries, matrix.device.type))


def _others(layer: int, summaries: Mapping[int, LayerSummary], device: str) -> Callable[[], Tensor | None]:
    def others() -> Tensor | None:
        summary = summaries.get(layer)
        return None if summary is None else summary.others.to(device)

    return others
