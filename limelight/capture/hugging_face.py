"""Attention in Hugging Face transformers, heard through its attention interface.

Every model asks `AttentionInterface.get_interface` for the function that computes its attention. While someone
listens, the answer is that same function with a listener's ear around it: the model's backend, its masks and its
outputs stay what they are.

What the function was given means different things to different backends:

    sdpa    mask bool (B, 1, N, M), or None: causal from the top left if `is_causal` says so, and more than one query
    eager   mask float, or None: everything; softcap, position bias and sinks if the model's own function takes them
    flash   mask (B, M) of padding, or None; causal from the bottom right, window, softcap and sinks
    flex    a BlockMask, which is a rule; softcap, position bias and sinks
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from limelight.capture.inputs import Inputs, Kind
from limelight.capture.listening import Listener, Shared, anyone_listens, listeners, tell
from limelight.errors import CaptureError
from limelight.matrix import Mask, masks

Backend = Callable[..., Any]

# In the frame that calls the interface: where the keys come from, if not from the queries' own sequence.
_OTHERS = ("key_value_states", "encoder_hidden_states", "cross_attention_states", "vision_hidden_states")


@contextmanager
def hugging_face(model: nn.Module, listener: Listener) -> Iterator[None]:
    """The source: hears every attention function that a transformers model asks for."""
    if "transformers.modeling_utils" not in sys.modules:  # then no model can be one of its
        yield
        return
    with _INTERFACE.held():
        yield


def _listen_to_the_interface() -> Callable[[], None]:
    from transformers.modeling_utils import AttentionInterface

    original = AttentionInterface.get_interface

    @functools.wraps(original)
    def get_interface(self: Any, attn_implementation: str, default: Backend) -> Backend:
        function = original(self, attn_implementation, default)
        return _with_ear(function, attn_implementation) if anyone_listens() else function

    AttentionInterface.get_interface = get_interface

    def undo() -> None:
        AttentionInterface.get_interface = original

    return undo


_INTERFACE = Shared(_listen_to_the_interface)


def _with_ear(function: Backend, name: str) -> Backend:
    @functools.wraps(function)
    def heard(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not listeners(module):
            return function(module, *args, **kwargs)
        result = function(module, *args, **kwargs)
        output, weights = result
        kind = _kind(module, sys._getframe(1).f_locals)
        inputs = understand(function, name, module, args, kwargs, output, kind)
        answer = tell(module, inputs)
        return result if answer is None or weights is not None else (output, answer)

    return heard


def understand(
    function: Backend,
    name: str,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output_BNHX: Tensor,
    kind: Kind,
) -> Inputs:
    """What the backend `name` computed from these arguments, `function(module, *args, **kwargs)`."""
    given = dict(zip(("query", "key", "value", "attention_mask"), args, strict=False)) | kwargs
    query, key, value = given["query"], given["key"], given["value"]
    takes = _takes(function)
    position_bias = given.get("position_bias") if "position_bias" in takes else None
    mask, bias = _mask(name, module, given, query, key)
    if position_bias is not None:
        bias = position_bias if bias is None else bias + position_bias
    sink = given.get("s_aux") if "s_aux" in takes else None
    if "sinks" in takes and sink is None:  # eager functions read it from the module
        sink = getattr(module, "sinks", None)
    return Inputs(
        query=query,
        key=key,
        value=value,
        mask=mask,
        bias=bias,
        scale=given.get("scaling"),
        softcap=given.get("softcap") if "softcap" in takes else None,
        sink=sink,
        output=output_BNHX.transpose(1, 2),
        dropout=float(given.get("dropout") or 0.0),
        backend=name or "eager",
        kind=kind,
    )


@functools.lru_cache(maxsize=256)
def _takes(function: Backend) -> frozenset[str]:
    """Which parameters, and attributes of the module, a backend makes use of."""
    code = inspect.unwrap(function).__code__
    return frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]) | frozenset(code.co_names)


def _kind(module: nn.Module, caller: dict[str, Any]) -> Kind:
    told = caller.get("is_cross_attention", getattr(module, "is_cross_attention", None))
    if isinstance(told, bool):
        return "cross" if told else "self"
    if "Cross" in type(module).__name__ or any(isinstance(caller.get(name), Tensor) for name in _OTHERS):
        return "cross"
    return "self"


def _mask(
    name: str, module: nn.Module, given: dict[str, Any], query: Tensor, key: Tensor
) -> tuple[Mask | None, Tensor | None]:
    mask = given.get("attention_mask")
    if mask is None:
        if name == "sdpa":
            told = given.get("is_causal")
            causal = bool(getattr(module, "is_causal", True) if told is None else told) and query.shape[2] > 1
            return (masks.causal(offset=0) if causal else None), None
        return None, None
    if not isinstance(mask, Tensor):
        return masks.function(mask.mask_mod), None
    if mask.dtype == torch.bool:
        return masks.dense(mask), None
    if mask.is_floating_point():
        return None, mask
    raise CaptureError(
        f"The mask of {type(module).__name__} must be bool or float; got {mask.dtype} with backend {name!r}."
    )
