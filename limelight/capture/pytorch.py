"""Attention in plain PyTorch: `scaled_dot_product_attention`, and `nn.MultiheadAttention`, which may go without it.

A TorchFunctionMode sees every torch function of its thread, however it was imported, and nothing in the process is
changed; it costs a little at each. While it is there, PyTorch leaves its fused inference path for
nn.TransformerEncoderLayer and nn.MultiheadAttention, which computes all in one step that nobody can look into.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from limelight.capture import rules
from limelight.capture.heads import heads_apart
from limelight.capture.inputs import Inputs, Kind
from limelight.capture.listening import Listener, Shared, anyone_listens, miss, note, tell
from limelight.capture.own import tells_of_itself
from limelight.capture.places import kind_of, running
from limelight.matrix import Mask, masks

_SDPA = functional.scaled_dot_product_attention
_MHA = functional.multi_head_attention_forward

# The same function, which does not ask whether a mode is on, and so runs to its end under one.
_MHA_UNDER_A_MODE = FunctionType(
    _MHA.__code__,
    {**_MHA.__globals__, "has_torch_function": lambda _: False},
    _MHA.__name__,
    _MHA.__defaults__,
    _MHA.__closure__,
)


class Ear(TorchFunctionMode):
    """Lets every torch function pass, and tells of attention."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _SDPA and anyone_listens():
            return _fused(None, *args, **kwargs)
        if func is _MHA and anyone_listens():
            return _multihead(*args, **kwargs)
        return func(*args, **kwargs)


class _Here(threading.local):
    """The ear of this thread, and how many watches need it."""

    def __init__(self) -> None:
        self.ear = Ear()
        self.watches = 0


_HERE = _Here()


@contextmanager
def pytorch(modules: Sequence[nn.Module], listener: Listener) -> Iterator[None]:
    """The source: hears PyTorch's own attention functions in this thread."""
    with _FUSED.held() if all(map(_calls_it_by_name, modules)) else _ear():
        yield


def _calls_it_by_name(module: nn.Module) -> bool:
    """Whether a module, if it computes attention at all, calls it by its name in `torch.nn.functional`.

    So do those of transformers; then it is enough to put an ear on the names, and the model runs at full speed.
    """
    home = type(module).__module__
    return home.startswith(("transformers.", "torch.nn.")) and not isinstance(module, nn.MultiheadAttention)


@contextmanager
def _ear() -> Iterator[None]:
    if _HERE.watches == 0:
        _HERE.ear.__enter__()
    _HERE.watches += 1
    try:
        yield
    finally:
        _HERE.watches -= 1
        if _HERE.watches == 0:
            _HERE.ear.__exit__(None, None, None)


def _listen_to_the_names() -> Callable[[], None]:
    def heard(*args: Any, **kwargs: Any) -> Tensor:
        if _HERE.watches or not anyone_listens():  # this thread's ear hears it anyway
            return _SDPA(*args, **kwargs)
        return _fused(None, *args, **kwargs)

    def heard_with_projections(*args: Any, **kwargs: Any) -> Any:  # as WavLM calls it
        return (_MHA if _HERE.watches or not anyone_listens() else _multihead)(*args, **kwargs)

    functional.scaled_dot_product_attention = heard
    functional.multi_head_attention_forward = heard_with_projections

    def undo() -> None:
        functional.scaled_dot_product_attention = _SDPA
        functional.multi_head_attention_forward = _MHA

    return undo


_FUSED = Shared(_listen_to_the_names)


# ---- scaled_dot_product_attention ---------------------------------------------------------------------


def _fused(
    kind: Kind | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **rest: Any,
) -> Tensor:
    output: Tensor = _SDPA(query, key, value, attn_mask, dropout_p, is_causal, **rest)
    place = running(sys._getframe(1))
    if place is None:  # of a model that nobody listens to
        return output
    module, variables = place
    if tells_of_itself(module):
        return output
    if query.is_nested or query.device.type == "meta":
        kind_of_tensor = (
            "nested tensors" if query.is_nested else "tensors without numbers, on the device 'meta'"
        )
        miss(module, f"it was given {kind_of_tensor}")
        return output
    if query.dim() > 4:
        key, value, attn_mask = _spread(query, key, value, attn_mask)
    told = output
    if query.dim() == 3 and key.shape[0] == query.shape[0]:
        query, key, value, attn_mask, told, said = heads_apart(module, query, key, value, attn_mask, output)
        if said:
            note(module, said)
    q_BHND, k_BGMD, v_BGMX, o_BHNX = _four_axes(query, key, value, told)
    rule, bias = _mask(attn_mask, is_causal, query.dim())
    inputs = Inputs(
        query=q_BHND,
        key=k_BGMD,
        value=v_BGMX,
        mask=rule,
        bias=bias,
        scale=rest.get("scale"),
        output=o_BHNX,
        dropout=dropout_p,
        backend="sdpa",
        kind=kind or kind_of(module, variables),
    )
    tell(module, inputs.cast())
    return output


def _four_axes(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Leading axes as (batch, heads): of three the first is the batch, of more than four the last is the heads."""
    axes = tensors[0].dim()
    if axes == 4:
        return tensors
    if axes < 4:
        return tuple(tensor.reshape(-1, 1, *tensor.shape[-2:]) for tensor in tensors)
    return tuple(tensor.flatten(0, -4) for tensor in tensors)


def _spread(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys, values and mask with the leading axes that the query has: there the kernel lets one stand for all."""
    leading = query.shape[:-3]

    def spread(tensor: Tensor) -> Tensor:
        wide = tensor[(None,) * (query.dim() - tensor.dim())]
        return wide.expand(*leading, *wide.shape[-3:])

    return spread(key), spread(value), None if mask is None else spread(mask)


def _mask(mask: Tensor | None, is_causal: bool, axes: int) -> tuple[Mask | None, Tensor | None]:
    if mask is None:
        return (masks.causal(offset=0) if is_causal else None), None
    if axes == 3 and mask.dim() == 3:
        mask = mask[:, None]
    elif mask.dim() > 4:
        mask = mask.flatten(0, -4)
    told = rules.read(mask)
    return told.mask, told.bias


# ---- nn.MultiheadAttention ----------------------------------------------------------------------------


def _multihead(*args: Any, **kwargs: Any) -> Any:
    query, key, _, _, heads = args[:5]
    with EarInside("self" if _same(query, key) else "cross", heads):
        return _MHA_UNDER_A_MODE(*args, **kwargs)


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether these are the same numbers in the same memory: with batch_first both were turned, each by itself."""
    return one is other or (
        one.device.type != "meta"
        and (one.data_ptr(), one.shape, one.stride(), one.dtype)
        == (other.data_ptr(), other.shape, other.stride(), other.dtype)
    )


class EarInside(TorchFunctionMode):
    """Inside `multi_head_attention_forward`: asked for the weights it multiplies matrices itself, otherwise it calls
    `scaled_dot_product_attention`."""

    def __init__(self, kind: Kind, heads: int) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.heads = heads
        self.scores: tuple[Tensor | None, Tensor, Tensor] | None = None
        self.dropout = 0.0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _SDPA:
            return _fused(self.kind, *args, **kwargs)
        result = func(*args, **kwargs)
        if func is functional.dropout:
            self.dropout = kwargs.get("p", 0.5)
        elif func is torch.baddbmm:
            added, q, k_turned = args
            self.scores = added, q, k_turned
        elif func is torch.bmm and self.scores is None:
            q, k_turned = args
            self.scores = None, q, k_turned
        elif func is torch.bmm and self.scores is not None:
            self._tell(*self.scores, args[1], result)
        return result

    def _tell(self, added: Tensor | None, q: Tensor, k_turned: Tensor, v: Tensor, output: Tensor) -> None:
        """From (batch · heads, …) tensors; the scale is in q already."""
        place = running(sys._getframe(1))
        if place is None:
            return

        def apart(tensor: Tensor) -> Tensor:
            return tensor.unflatten(0, (-1, self.heads)) if len(tensor) > 1 else tensor[None]

        rule, bias = _mask(None if added is None else apart(added), False, axes=4)
        inputs = Inputs(
            query=q.unflatten(0, (-1, self.heads)),
            key=k_turned.transpose(1, 2).unflatten(0, (-1, self.heads)),
            value=v.unflatten(0, (-1, self.heads)),
            mask=rule,
            bias=bias,
            scale=1.0,
            output=output.unflatten(0, (-1, self.heads)),
            dropout=self.dropout,
            backend="multi_head_attention_forward",
            kind=self.kind,
        )
        tell(place[0], inputs.cast())
