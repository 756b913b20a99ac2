"""Intercept scaled_dot_product_attention and nn.MultiheadAttention.

A TorchFunctionMode sees every torch function of its thread, however it was imported. Beside it the names of the
attention functions are patched, over whatever other people have put there (`replaced_functions.py`). PyTorch's fused
inference path looks whether a mode is on; it does not find ours (`fused_layers.py`).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from limelight.capture.head_axes import heads_apart
from limelight.capture.inputs import mask_inference
from limelight.capture.inputs.attention_inputs import AttentionInputs, Kind
from limelight.capture.listeners import (
    Listener,
    anyone_listens,
    note,
    notify,
    notify_missed,
    without_listeners,
)
from limelight.capture.recordable import (
    memory_of,
    outside_of_transforms,
    side_by_side,
    unrecorded,
    why_unreadable,
)
from limelight.capture.sources import fused_layers
from limelight.capture.sources.call_site import kind_of, running
from limelight.capture.sources.code_origin import any_patched
from limelight.capture.sources.module_protocol import tells_of_itself
from limelight.capture.sources.replaced_functions import (
    Kernel,
    Name,
    accept,
    in_words,
    runs_inside,
)
from limelight.capture.verification import TOLERANCE
from limelight.matrix import Mask, masks


class SdpaMode(TorchFunctionMode):
    """Lets every torch function pass, and tells of attention."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is _SDPA and anyone_listens():
            return _scaled_dot_product(_SDPA, args, kwargs)
        if MHA.as_handed_to_modes(func) is _MHA:
            return _multihead(_MHA, args, kwargs) if anyone_listens() else _MHA(*args, **kwargs)
        if func in fused_layers.HEARD and anyone_listens():
            return fused_layers.HEARD[func](*args, **kwargs)
        return func(*args, **kwargs)


class _ThreadState(threading.local):
    """The ear of this thread, how many watches need it, and which kind `multi_head_attention_forward` computes."""

    def __init__(self) -> None:
        self.ear = SdpaMode()
        self.watches = 0
        self.kind: Kind | None = None
        self.others: list[Kernel] = []
        """What runs in the place of `multi_head_attention_forward`."""

    def hears(self) -> bool:
        """Whether the ear hears what is called now; while it hears of one call, it is deaf to those within."""
        return self.watches > 0 and any(mode is self.ear for mode in _get_current_function_mode_stack())


_THREAD = _ThreadState()


@contextmanager
def pytorch(modules: Sequence[nn.Module], listener: Listener) -> Iterator[None]:
    """The source: hears PyTorch's own attention functions, and those in their place, in this thread."""
    with ExitStack() as stack:
        for name in NAMES:
            stack.enter_context(name.listened_to())
        if not all(map(_calls_it_by_name, modules)) or any_patched(modules):
            stack.enter_context(fused_layers.PATH.held())
            stack.enter_context(ear_of_this_thread())
        yield


def _calls_it_by_name(module: nn.Module) -> bool:
    """Whether a module, if it computes attention at all, calls it by its name in `torch.nn.functional`.

    So do those of transformers; then it is enough to put an ear on the names, and the model runs at full speed.
    """
    home = type(module).__module__
    return home.startswith(("transformers.", "torch.nn.")) and not isinstance(module, nn.MultiheadAttention)


@contextmanager
def ear_of_this_thread() -> Iterator[None]:
    """Inside the block the torch functions of this thread are heard."""
    if _THREAD.watches == 0:
        _THREAD.ear.__enter__()
    _THREAD.watches += 1
    try:
        yield
    finally:
        _THREAD.watches -= 1
        if _THREAD.watches == 0:
            _THREAD.ear.__exit__(None, None, None)


# ---- scaled_dot_product_attention ---------------------------------------------------------------------


def _by_name(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not anyone_listens() or (kernel is _SDPA and _THREAD.hears()):
        return kernel(*args, **kwargs)
    return _scaled_dot_product(kernel, args, kwargs)


def _scaled_dot_product(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call PyTorch's function, or what stands in its place, and tell of it."""
    output = kernel(*args, **kwargs) if kernel is _SDPA else without_listeners(kernel, *args, **kwargs)
    place = running(sys._getframe(1))
    if place is None or tells_of_itself(place[0]):  # of a model that nobody listens to
        return output
    module = place[0]
    with outside_of_transforms():
        kind = _THREAD.kind or kind_of(*place)
        try:
            inputs = _inputs(module, kind, output, *args, **kwargs)
        except TypeError as error:
            if kernel is _SDPA:
                raise
            inputs = (
                f"its attention is computed by {in_words(kernel)}, which takes more than PyTorch's ({error})"
            )
        above = SDPA.over_the_ear()
        if isinstance(inputs, str):
            notify_missed(module, inputs)
        elif above is not None and runs_inside(above, sys._getframe(1)):
            notify_missed(module, _put_inside(SDPA.name, above))
        elif kernel is _SDPA or accept(module, SDPA.name, kernel, inputs.cast()):
            notify(module, inputs.cast())
    return output


def _put_inside(name: str, kernel: Kernel) -> str:
    return (
        f"torch.nn.functional.{name} was replaced by {in_words(kernel)} inside the block, and only what that calls "
        "was heard. Replace it first, then open the watch"
    )


def _inputs(
    module: nn.Module,
    kind: Kind,
    output: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> AttentionInputs | str:
    """What the function was given, or why it cannot be kept."""
    query, key, value, attn_mask, output = side_by_side((query, key, value, attn_mask, output))
    why = why_unreadable(query, key, value, attn_mask, output)
    if why is not None:
        return why
    if not isinstance(output, Tensor):
        return f"its attention function gave no tensor, but {type(output).__name__}"
    if query.dim() > 4:
        key, value, attn_mask = _spread(query, key, value, attn_mask)
    told = output
    if query.dim() == 3 and key.shape[0] == query.shape[0]:
        query, key, value, attn_mask, told, said = heads_apart(module, query, key, value, attn_mask, output)
        if said:
            note(module, said)
    q_BHND, k_BGMD, v_BGMX, o_BHNX = _four_axes(query, key, value, told)
    rule, bias = _mask(attn_mask, is_causal, query.dim())
    return AttentionInputs(
        query=q_BHND,
        key=k_BGMD,
        value=v_BGMX,
        mask=rule,
        bias=bias,
        scale=scale,
        output=o_BHNX,
        dropout=dropout_p,
        backend="sdpa",
        kind=kind,
    )


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
    told = mask_inference.read(mask)
    return told.mask, told.bias


# ---- nn.MultiheadAttention ----------------------------------------------------------------------------


def _multihead_by_name(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """As WavLM calls it, and nn.MultiheadAttention."""
    if any(kernel is other for other in _THREAD.others):  # PyTorch's own, called by it, has asked a mode
        return _under_a_mode()(*args, **kwargs)
    if not anyone_listens() or (kernel is _MHA and _THREAD.hears()):
        return _by_itself(kernel, args, kwargs)
    return _multihead(kernel, args, kwargs)


def _by_itself(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if kernel is _MHA:
        return kernel(*args, **kwargs)
    _THREAD.others.append(kernel)
    try:
        return kernel(*args, **kwargs)
    finally:
        _THREAD.others.pop()


def _multihead(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call PyTorch's function, or what stands in its place, and tell of it."""
    if kernel is not _MHA:
        return _other_multihead(kernel, args, kwargs)
    above = MHA.over_the_ear()
    if above is not None and runs_inside(above, sys._getframe(1)):
        if (place := running(sys._getframe(1))) is not None:
            notify_missed(place[0], _put_inside(MHA.name, above))
        return without_listeners(_under_a_mode(), *args, **kwargs)
    query, key, _, _, heads = args[:5]
    with unrecorded():
        kind: Kind = "self" if _same(query, key) else "cross"
    before, _THREAD.kind = _THREAD.kind, kind
    try:
        with MhaMode(kind, heads):
            return _under_a_mode()(*args, **kwargs)
    finally:
        _THREAD.kind = before


def _under_a_mode() -> Kernel:
    """PyTorch's function, which does not ask whether a mode is on, and so runs to its end under one."""
    return FunctionType(
        _MHA.__code__,
        {**_MHA.__globals__, "has_torch_function": lambda _: False},
        _MHA.__name__,
        _MHA.__defaults__,
        _MHA.__closure__,
    )


def _other_multihead(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What stands in the place of the whole function: it is heard as PyTorch's own where that gives the same."""
    output = without_listeners(_by_itself, kernel, args, kwargs)
    place = running(sys._getframe(1))
    if place is None:
        return output
    with torch.no_grad(), unrecorded():
        gap: float | str
        try:
            gap = _gap(without_listeners(_under_a_mode(), *args, **kwargs)[0], output[0])
        except (TypeError, RuntimeError, IndexError) as error:
            gap = f"{type(error).__name__}: {error}"
        if isinstance(gap, float) and gap <= TOLERANCE[output[0].dtype]:
            _multihead(_MHA, args, kwargs)
            replaced = f"torch.nn.functional.{MHA.name} is replaced by {in_words(kernel)}"
            note(
                place[0],
                f"{replaced}, whose every output was compared with PyTorch's, and is it within rounding.",
            )
            return output
    how = (
        f"differs by {gap:.1e} of the largest entry"
        if isinstance(gap, float)
        else f"could not be compared: {gap}"
    )
    notify_missed(
        place[0],
        f"torch.nn.functional.{MHA.name} is replaced by {in_words(kernel)}, and its output {how}. The model computed "
        "with it all the same. For weights that are the model's own, put PyTorch's function back",
    )
    return output


def _gap(expected: Tensor, found: Tensor) -> float:
    """The largest difference beside the largest entry."""
    largest = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float((found - expected).abs().max() / largest)


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether these are the same numbers in the same memory: with batch_first both were turned, each by itself."""
    if one is other:
        return True
    where = memory_of(one)
    return where is not None and (
        (where, one.shape, one.stride(), one.dtype)
        == (memory_of(other), other.shape, other.stride(), other.dtype)
    )


class MhaMode(TorchFunctionMode):
    """Inside `multi_head_attention_forward`: asked for the weights, it multiplies matrices itself."""

    def __init__(self, kind: Kind, heads: int) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.heads = heads
        self.scores: tuple[Tensor | None, Tensor, Tensor] | None = None
        self.dropout = 0.0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
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
        with outside_of_transforms():
            self._tell_plain(place[0], *side_by_side((q, k_turned, v, output, added)))

    def _tell_plain(
        self, module: nn.Module, q: Tensor, k_turned: Tensor, v: Tensor, output: Tensor, added: Tensor | None
    ) -> None:
        why = why_unreadable(added, q, k_turned, v, output)
        if why is not None:
            notify_missed(module, why)
            return

        def apart(tensor: Tensor) -> Tensor:
            return tensor.unflatten(0, (-1, self.heads)) if len(tensor) > 1 else tensor[None]

        rule, bias = _mask(None if added is None else apart(added), False, axes=4)
        inputs = AttentionInputs(
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
        notify(module, inputs.cast())


SDPA = Name("scaled_dot_product_attention", _by_name)
MHA = Name("multi_head_attention_forward", _multihead_by_name)
NAMES = (SDPA, MHA)
_SDPA, _MHA = SDPA.own, MHA.own


def replaced_inside_the_block() -> Iterator[str]:
    """A note for each function that somebody has replaced since it is listened to."""
    for name in NAMES:
        kernel = name.over_the_ear()
        if kernel is not None:
            yield (
                f"torch.nn.functional.{name.name} was replaced by {in_words(kernel)} inside the block: what that "
                "computes may be missing here. Replace it first, then open the watch."
            )
