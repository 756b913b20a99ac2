"""Intercept attention in transformers through its AttentionInterface.

Every model asks `AttentionInterface.get_interface` for the function that computes its attention. While someone
listens, the answer is that same function with an ear on it: the model's backend, its masks and its outputs stay what
they are. (A backend of our own, under a name of its own, would change all three.)
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from limelight.capture.inputs.attention_inputs import Kind
from limelight.capture.listeners import (
    Listener,
    RefCountedPatch,
    anyone_listens,
    listeners,
    notify,
    notify_missed,
    without_listeners,
)
from limelight.capture.recordable import (
    is_vmapped,
    outside_of_transforms,
    side_by_side,
    unrecorded,
    why_unreadable,
)
from limelight.capture.sources.call_site import kind_of
from limelight.capture.sources.replaced_functions import accept
from limelight.capture.sources.torch_functions import SDPA
from limelight.capture.sources.transformers_backends import (
    Backend,
    Convention,
    convention,
    is_own,
    understand,
)
from limelight.errors import CaptureError

_HOME = "transformers.modeling_utils"


@contextmanager
def hugging_face(modules: Sequence[nn.Module], listener: Listener) -> Iterator[None]:
    """The source: hears every attention function that a transformers model asks for."""
    if _HOME not in sys.modules:  # then no model can be one of its
        yield
        return
    with _INTERFACE.held():
        yield


def _listen() -> Callable[[], None]:
    interface = sys.modules[_HOME].AttentionInterface
    original = getattr(interface, "get_interface", None)
    if original is None:
        raise CaptureError(
            "Capture needs the attention interface of transformers, which came with its version 5. "
            "Install it with: pip install -U 'limelight[hf]'"
        )

    @functools.wraps(original)
    def get_interface(self: Any, attn_implementation: str, default: Backend) -> Backend:
        function = original(self, attn_implementation, default)
        if not anyone_listens():
            return function
        return _with_ear(function, attn_implementation, convention(function, default))

    interface.get_interface = get_interface

    def undo() -> None:
        if interface.get_interface is get_interface:
            interface.get_interface = original

    return undo


_INTERFACE = RefCountedPatch(_listen)


@functools.lru_cache(maxsize=256)
def _with_ear(function: Backend, name: str | None, words: Convention) -> Backend:
    """The same backend; what it was given is told when it is done."""

    @functools.wraps(function)
    def heard(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not listeners(module):
            return function(module, *args, **kwargs)
        with unrecorded():
            kind = kind_of(module, sys._getframe(1).f_locals)
        output, weights = without_listeners(function, module, *args, **kwargs)
        given = dict(zip(_ARGUMENTS, args, strict=False)) | kwargs
        with outside_of_transforms():
            answer = _tell(function, words, name, module, given, output, kind)
        return output, answer if weights is None else weights

    return heard


_ARGUMENTS = ("query", "key", "value", "attention_mask")
_WITH_RUNS = (*_ARGUMENTS, "position_bias")
"""What may differ from run to run of `torch.func.vmap`."""


def _tell(
    function: Backend,
    words: Convention,
    name: str | None,
    module: nn.Module,
    given: dict[str, Any],
    output: Any,
    kind: Kind,
) -> Any:
    """Let whoever listens hear of a call, or of why it cannot be kept; their answer, if there is one."""
    if any(is_vmapped(each) for key, each in given.items() if key not in _WITH_RUNS):
        notify_missed(
            module, "it ran inside torch.func.vmap, with other settings of its attention in every run"
        )
        return None
    with_runs = [key for key in _WITH_RUNS if key in given]
    *plain, output = side_by_side([*(given[key] for key in with_runs), output])
    given |= dict(zip(with_runs, plain, strict=True))
    why = why_unreadable(*given.values(), output)
    if why is not None:
        notify_missed(module, why)
        return None
    inputs = understand(function, words, name, module, (), given, output, kind).cast()
    kernel = SDPA.foreign()
    if kernel is not None and words == "sdpa":
        if not accept(module, SDPA.name, kernel, inputs):
            return None
    if not is_own(function, module):
        inputs = replace(inputs, sure=False)
    return notify(module, inputs)
