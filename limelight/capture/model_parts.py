"""Which heads and layers this process holds under tensor or pipeline parallelism.

Tensor parallelism splits the projections of queries, keys and values among processes, so that each computes some of
the heads; what they are in the whole model is read off the shards. Pipeline stages leave out whole layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.matrix.head_range import HeadRange

_QUERY = re.compile(
    r"(^|[._])(q|wq|to_q|query|queries|q_?(proj|lin|b_proj|proj_b)|query_(proj|projection))[._]"
)


REPLICATED = (
    "nn.DataParallel runs copies of the model in threads of its own, one a device, and nobody watches those; run the "
    "model itself on one device, or use DistributedDataParallel and watch in each process"
)


def is_replicated(model: nn.Module) -> bool:
    """Whether it is a copy that nn.DataParallel has made for a device, or runs as such copies."""
    if isinstance(model, nn.DataParallel):
        return len(model.device_ids) > 1
    return bool(getattr(model, "_is_replica", False))


def part_of(module: nn.Module, inputs: AttentionInputs) -> HeadRange | None:
    """Which of the model's heads a call of attention has; None for all of them."""
    if not _in_several_processes():
        return None
    H, D = inputs.query.shape[1], inputs.query.shape[3]
    known = getattr(getattr(module, "config", None), "num_attention_heads", None)
    if known == H:
        return None
    for name, weight in _projections(module):
        split = _split_of(weight)
        if split is None:
            continue
        place, shards, along = split
        whole = H * shards
        if along == 0 and _QUERY.search(name) and weight.shape[0] == H * D:
            return None  # what was computed in parts was put together before
        if known is not None and known != whole:
            return HeadRange(None, H, int(known), f"rank {place} of {shards}")
        return HeadRange(place * H, H, whole, f"rank {place} of {shards}")
    if isinstance(known, int) and known > H and known % H == 0:
        return HeadRange(None, H, known, f"rank {torch.distributed.get_rank()}")
    return None


def _in_several_processes() -> bool:
    there = torch.distributed
    return there.is_available() and there.is_initialized() and there.get_world_size() > 1


def _projections(module: nn.Module) -> list[tuple[str, Any]]:
    """The matrices in a module, those of queries first."""
    weights = [(name, weight) for name, weight in module.named_parameters() if weight.dim() == 2]
    return sorted(weights, key=lambda named: _QUERY.search(named[0]) is None)


def _split_of(weight: Any) -> tuple[int, int, int] | None:
    """Which of how many shards this process has, and along which axis; None for a weight that is whole."""
    if not hasattr(weight, "placements"):
        return None
    coordinate = weight.device_mesh.get_coordinate()
    for axis, placement in enumerate(weight.placements):
        shards = weight.device_mesh.size(axis)
        if placement.is_shard() and shards > 1 and coordinate is not None:
            return coordinate[axis], shards, placement.dim
    return None


def note_of(part: HeadRange) -> str:
    """What a reader must know of a part."""
    return (
        f"Tensor parallelism: this process ({part.where}) has {part}; the others are in other processes, and nothing "
        "here is of the whole model."
    )


def missing_layers(model: nn.Module) -> Iterator[str]:
    """What to tell of a model some of whose layers are elsewhere, or nowhere."""
    stage: Any = getattr(model, "_pp_stage", None)
    for name, layers in model.named_modules():
        if not isinstance(layers, nn.ModuleList) or len(layers) < 2:
            continue
        gone = [number for number, layer in enumerate(layers) if layer is not None and _is_gone(layer)]
        there = {type(layer) for number, layer in enumerate(layers) if number not in gone}
        if gone and len(there) == 1 and (stage is not None or _are_as_many(model, layers)):
            why = "they are in other processes" if stage is not None else "nothing stands in their place"
            yield (
                f"Of {name} the layers {_in_words(gone)} of {len(layers)} are not here: {why}, and their attention "
                "is not among what was seen."
            )


def _are_as_many(model: nn.Module, layers: nn.ModuleList) -> bool:
    """Whether the list holds the layers of a model: some parts have places for layers that nobody means to fill."""
    return hasattr(model, "config") or len(layers) > 2


def _is_gone(layer: nn.Module) -> bool:
    if (
        isinstance(layer, nn.Identity)
        or "Identity" in type(layer).__name__
        or "Missing" in type(layer).__name__
    ):
        return not any(True for _ in layer.parameters())
    weights: list[Tensor] = list(layer.parameters())
    return bool(weights) and all(weight.device.type == "meta" for weight in weights)


def _in_words(numbers: list[int]) -> str:
    """Numbers with their runs: 0–3, 6."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
