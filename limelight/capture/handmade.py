"""Attention that other people's modules compute by hand, in plain operations.

Transformers' models of that kind have a table (`families`). Elsewhere a module is followed, by the same tape, if the
name of its class speaks of attention: what it multiplies, scales, adds, hides and puts through softmax, up to the
values, makes a matrix or is told as missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import nn

from limelight.capture.families import family_of
from limelight.capture.families.tape import follow
from limelight.capture.listening import Listener, reporting

_HEARD_OTHERWISE = ("torch.", "transformers.", "limelight.")


@contextmanager
def handmade(modules: Sequence[nn.Module], listener: Listener) -> Iterator[None]:
    """The source: follows every innermost module that speaks of attention and that no other source hears."""
    record, missed = reporting(listener)
    with ExitStack() as stack:
        for module in modules:
            if _is_followed(module) and not any(map(_is_followed, list(module.modules())[1:])):
                stack.enter_context(follow(module, record, missed))
        yield


def _is_followed(module: nn.Module) -> bool:
    kind = type(module)
    if kind.__module__.startswith(_HEARD_OTHERWISE) or family_of(module) is not None:
        return False
    return "attention" in kind.__name__.lower() or kind.__name__ in ("Attn", "Attend")
