"""Torch functions grouped by what they do: project, reduce, multiply, write in place."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

PROJECTIONS = frozenset(
    ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "embedding", "bilinear")
)
REDUCTIONS = frozenset(
    ("sum", "mean", "amax", "amin", "max", "min", "argmax", "argmin", "norm", "var", "std", "logsumexp", "prod",
     "any", "all", "cross_entropy", "mse_loss", "kl_div", "nll_loss", "trace", "diagonal", "isnan", "isinf", "item",
     "tolist", "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros",
     "new_ones", "new_full", "new_empty", "new_tensor")
)  # fmt: skip
"""After which nothing is left of scores that could still be attention."""
SOFTMAXES = frozenset(("softmax", "log_softmax", "gumbel_softmax", "softmin"))
PARTS = frozenset(("getitem", "split", "chunk", "unbind", "select", "narrow", "tensor_split"))
OTHER_PRODUCTS = frozenset(("cdist", "tensordot", "inner"))


def in_order(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Arguments with their first two operands by position, however they were given."""
    if "input" in kwargs:
        args, kwargs = (kwargs["input"], *args), {key: one for key, one in kwargs.items() if key != "input"}
    for name in ("other", "mat2", "weight"):
        if name in kwargs and len(args) == 1:
            args, kwargs = (*args, kwargs[name]), {key: one for key, one in kwargs.items() if key != name}
    return args, kwargs


def operands_of(args: Any) -> list[Tensor]:
    return [
        one
        for each in args
        for one in (each if isinstance(each, (tuple, list)) else (each,))
        if isinstance(one, Tensor)
    ]


@lru_cache(maxsize=4096)
def name_of(func: Any) -> str:
    """The name of a torch function without underscores and overload; "" for one that computes nothing."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        return owner if owner in ("T", "mT", "H", "mH") else ""
    if name in _IDLE:
        return ""
    return str(name).partition(".")[0].strip("_")


_IDLE = frozenset(
    ("__set__", "size", "dim", "stride", "numel", "nelement", "is_floating_point", "is_complex", "element_size",
     "storage_offset", "data_ptr", "untyped_storage", "get_device", "is_contiguous", "__len__", "__repr__",
     "__format__", "__hash__", "__bool__", "__int__", "__index__", "__float__", "type_as_string", "backward",
     "register_hook", "requires_grad_", "retain_grad", "_assert", "has_names", "is_inference", "is_nonzero")
)  # fmt: skip


@lru_cache(maxsize=4096)
def is_kernel(func: Any) -> bool:
    """Whether this is an operator that computes attention whole, and is not one that is listened to."""
    if not isinstance(func, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return False
    name = str(func).lower()
    return any(part in name for part in ("attention", "attn", "flash", "sdpa"))


def title_of(func: Any) -> str:
    return str(func) if isinstance(func, torch._ops.OpOverload) else getattr(func, "__name__", "")


def written_by(func: Any, args: Any, kwargs: Any) -> Tensor | None:
    """The tensor that a torch function writes into; None for one that makes a new one."""
    name = getattr(func, "__name__", "")
    in_place = (
        name == "__setitem__"
        or (name.endswith("_") and not name.endswith("__"))
        or (name.startswith("__i") and name not in ("__index__", "__int__", "__invert__"))
    )
    target = args[0] if in_place and args else kwargs.get("out")
    return target if isinstance(target, Tensor) else None


def share_memory(one: Tensor, other: Tensor) -> bool:
    """Whether any entry of two tensors is the same memory. Q, K and V cut out of one product share storage alone."""
    if one is other:
        return True
    storage = one.untyped_storage()
    if storage.data_ptr() == 0 or storage.data_ptr() != other.untyped_storage().data_ptr():
        return False
    if one.dtype != other.dtype:  # one memory read in two ways
        return True
    touched = torch.zeros(storage.nbytes() // one.element_size(), dtype=torch.bool, device=one.device)
    touched.as_strided(other.shape, other.stride(), other.storage_offset()).fill_(True)
    return bool(touched.as_strided(one.shape, one.stride(), one.storage_offset()).any())
