"""flex_attention, and parts compiled by TorchScript: functions that the tape cannot look into.

While a watch is open, PyTorch's `flex_attention` calls an ear, under whatever name somebody has imported it; and so
does every function that torch.jit.script has made. Both compute what they compute, and it is told.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.listeners import (
    RefCountedPatch,
    anyone_listens,
    notify,
    notify_missed,
    without_listeners,
)
from limelight.capture.recordable import unrecorded, why_unreadable
from limelight.capture.sources.call_site import kind_of, running
from limelight.capture.sources.op_tracing.tape import Tape
from limelight.capture.verification import Verified, verify
from limelight.matrix import Mask, masks
from limelight.matrix.biases.custom import Modified

SCRIPTED = "it is TorchScript, which runs outside of Python; watch the model that it was made from"
OTHER = "its output is not what its score_mod and mask_mod make of queries, keys and values"

# ---- flex attention -----------------------------------------------------------------------------------


def _listen_to_flex() -> Callable[[], None]:
    from torch.nn.attention.flex_attention import flex_attention

    function: Any = flex_attention
    code = function.__code__
    original = FunctionType(
        code, function.__globals__, code.co_name, function.__defaults__, function.__closure__
    )
    original.__kwdefaults__ = function.__kwdefaults__
    _ORIGINAL[:] = [original]
    function.__code__ = _with_ear.__code__

    def undo() -> None:
        if function.__code__ is _with_ear.__code__:
            function.__code__ = code

    return undo


def _with_ear(*args: Any, **kwargs: Any) -> Any:
    """The code of `flex_attention` while a watch is open; its globals are those of PyTorch's file."""
    from limelight.capture.sources.flex_and_torchscript import hear_flex

    return hear_flex(*args, **kwargs)


_ORIGINAL: list[Any] = []
FLEX = RefCountedPatch(_listen_to_flex)
"""Inside, `flex_attention` is heard, however it was imported."""


def hear_flex(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
    """PyTorch's flex_attention, and what it computes is told."""
    if torch.compiler.is_dynamo_compiling() or not anyone_listens():
        return _ORIGINAL[0](query, key, value, *args, **kwargs)
    result = without_listeners(_ORIGINAL[0], query, key, value, *args, **kwargs)
    place = running(sys._getframe(1))
    if place is not None:
        names = ("score_mod", "block_mask", "scale")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        output = result[0] if isinstance(result, tuple) else result
        with unrecorded():
            _tell_flex(place[0], query, key, value, output, given, dict(place[1]))
    return result


def _tell_flex(
    module: nn.Module,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    output: Tensor,
    given: dict[str, Any],
    variables: dict[str, Any],
) -> None:
    why = why_unreadable(q, k, v, output)
    if why is not None:
        notify_missed(module, why)
        return
    score_mod, block_mask = given.get("score_mod"), given.get("block_mask")
    mask: Mask | None = None if block_mask is None else masks.function(block_mask.mask_mod)
    inputs = AttentionInputs(
        query=q,
        key=k,
        value=v,
        mask=mask,
        bias=None if score_mod is None else Modified(score_mod),
        scale=given.get("scale"),
        output=output.detach(),
        backend="flex_attention",
        kind=kind_of(module, variables),
    )
    try:
        verified = verify(inputs, inputs.matrix())
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        notify_missed(module, f"its score_mod or mask_mod cannot be followed ({error})")
        return
    if isinstance(verified, Verified) and not verified.error <= verified.tolerance:
        notify_missed(module, OTHER)
    else:
        notify(module, inputs.cast())


# ---- TorchScript --------------------------------------------------------------------------------------


def _listen_to_scripts() -> Callable[[], None]:
    kind: Any = torch._C.ScriptFunction
    original = kind.__call__

    def heard(function: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(function, *args, **kwargs)
        tapes = [mode for mode in _get_current_function_mode_stack() if isinstance(mode, Tape)]
        for tape in tapes[-1:]:
            with unrecorded():
                tape.pass_whole(
                    _title(function), _as_written(function), args, kwargs, result, _attention_in(function)
                )
        return result

    kind.__call__ = heard

    def undo() -> None:
        kind.__call__ = original

    return undo


SCRIPTS = RefCountedPatch(_listen_to_scripts)
"""Inside, the functions that torch.jit.script has made are heard."""

_HAS_ATTENTION: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def is_scripted_attention(module: nn.Module) -> bool:
    """Whether a module is TorchScript and computes attention, to judge by its graph."""
    if not isinstance(module, torch.jit.ScriptModule):
        return False
    if module not in _HAS_ATTENTION:
        _HAS_ATTENTION[module] = _attention_in(module)
    return _HAS_ATTENTION[module]


def _attention_in(scripted: Any) -> bool:
    try:
        graph = str(scripted.inlined_graph)
    except RuntimeError:
        return False
    if "scaled_dot_product_attention" in graph or "multi_head_attention" in graph:
        return True
    return "softmax" in graph and re.search(r"aten::(matmul|bmm|baddbmm|einsum)\(", graph) is not None


def _as_written(function: Any) -> Callable[..., Any] | None:
    """The function in Python that a scripted one was made of, if calling it again changes nothing."""
    graph = str(function.inlined_graph)
    if re.search(r"aten::\w+_\(|rand|dropout|bernoulli|multinomial", graph):
        return None
    return getattr(function, "_torchdynamo_inline", None)


def _title(function: Any) -> str:
    return f"{function.name}, a function of TorchScript"
