"""Detect tensors whose numbers do not lie in plain memory: meta, sparse, sharded or inside vmap.

A loop reads numbers where a tensor says that they lie. A shard of a larger tensor, a tensor inside `torch.func.vmap`,
a sparse one or one without numbers says something else there, or nothing, and must be known before that.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError


class NoMemory(NamedTuple):
    """What a tensor is that has no plain memory, and the way to one that has."""

    what: str
    way_out: str


def without_memory(tensor: Tensor) -> NoMemory | None:
    """What is in the way of reading a tensor's numbers in its memory; None for a tensor as all are.

    >>> without_memory(torch.ones(2)), without_memory(torch.ones(2, device="meta")).what
    (None, "a tensor without numbers, on the device 'meta'")
    """
    with torch._C.DisableTorchFunction():
        return _functorch(tensor) or _of_a_class(tensor) or _of_a_layout(tensor) or _nowhere(tensor)


def demand_memory(name: str, tensor: Tensor) -> None:
    """Raise ArgumentTypeError for a tensor whose numbers do not lie in its own memory."""
    found = without_memory(tensor)
    if found is not None:
        raise ArgumentTypeError(
            f"{name} must be a tensor with its numbers in memory; got {found.what}. {found.way_out}"
        )


def _functorch(tensor: Tensor) -> NoMemory | None:
    functions = torch._C._functorch
    if not functions.is_functorch_wrapped_tensor(tensor):
        return None
    if functions.is_batchedtensor(tensor):
        return NoMemory(
            "a tensor inside torch.func.vmap, one for a whole batch of runs",
            "Compute it outside of vmap, with the batch as an axis of the tensor.",
        )
    return NoMemory(
        "a tensor inside a transform of torch.func, such as grad or functionalize",
        "Compute it outside of the transform.",
    )


def _of_a_class(tensor: Tensor) -> NoMemory | None:
    kind = type(tensor)
    if kind in (Tensor, torch.nn.Parameter):
        return None
    if kind.__name__ == "DTensor" and kind.__module__.startswith("torch.distributed"):
        return NoMemory(
            f"a DTensor, of which each process holds a part or a copy, {tuple(getattr(tensor, 'placements', ()))}",
            "Give x.to_local() for this process's part, or x.full_tensor() for the whole.",
        )
    fake = sys.modules.get("torch._subclasses.fake_tensor")
    if fake is not None and isinstance(tensor, fake.FakeTensor):
        return NoMemory(
            "a FakeTensor, which has a shape and no numbers, as in torch.export",
            "Give a tensor with numbers.",
        )
    return None


def _of_a_layout(tensor: Tensor) -> NoMemory | None:
    if tensor.is_nested:
        return NoMemory(
            "one of PyTorch's nested tensors, with rows of several lengths",
            "Give x.to_padded_tensor(0.0), and mask=limelight.masks.lengths(…) with the lengths.",
        )
    if tensor.layout != torch.strided:
        return NoMemory(f"a tensor of the layout {tensor.layout}", "Give x.to_dense().")
    if tensor.is_quantized:
        return NoMemory("a quantised tensor", "Give x.dequantize().")
    if tensor.device.type == "meta":
        return NoMemory("a tensor without numbers, on the device 'meta'", "Give a tensor with numbers.")
    return None


def _nowhere(tensor: Tensor) -> NoMemory | None:
    """Whatever else has no memory: what is computed when it is asked for, or memory that was given back."""
    try:
        if not tensor.numel() or tensor.untyped_storage().data_ptr():
            return None
    except (RuntimeError, NotImplementedError):
        pass
    return NoMemory(
        f"a {type(tensor).__name__} without memory of its own", "Give a copy of its numbers, x.clone()."
    )
