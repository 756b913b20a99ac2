"""Attention in Hugging Face transformers, heard through its attention interface.

Every model asks `AttentionInterface.get_interface` for the function that computes its attention. While someone
listens, the answer is that same function with an ear on it: the model's backend, its masks and its outputs stay what
they are. (A backend of our own, under a name of its own, would change all three.)
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from limelight.capture.backends import Backend, Convention, convention, understand
from limelight.capture.listening import Listener, Shared, anyone_listens, listeners, tell, unheard
from limelight.capture.places import kind_of
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
    return lambda: setattr(interface, "get_interface", original)


_INTERFACE = Shared(_listen)


@functools.lru_cache(maxsize=256)
def _with_ear(function: Backend, name: str | None, words: Convention) -> Backend:
    """The same backend; what it was given is told when it is done."""

    @functools.wraps(function)
    def heard(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not listeners(module):
            return function(module, *args, **kwargs)
        kind = kind_of(module, sys._getframe(1).f_locals)
        output, weights = unheard(function, module, *args, **kwargs)
        inputs = understand(function, words, name, module, args, kwargs, output, kind)
        answer = tell(module, inputs.cast())
        return output, answer if weights is None else weights

    return heard
