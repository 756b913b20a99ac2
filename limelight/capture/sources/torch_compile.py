"""Disables torch.compile inside a watch, so that the other sources see eager calls.

A model that was compiled before has no place left to listen at. The stance is the process's: other compiled models
that run meanwhile in other threads run as written, too, and compute the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from limelight.capture.listeners import Listener, RefCountedPatch


@contextmanager
def compiled(modules: Sequence[nn.Module], listener: Listener) -> Iterator[None]:
    """The source that is none: it makes the others hear a compiled model."""
    if is_compiled(modules) or not uses_flex(modules):
        with _AS_WRITTEN.held():
            yield
    else:  # flex attention is fast, and linear in memory, by being compiled
        yield


def is_compiled(modules: Iterable[nn.Module]) -> bool:
    """Whether torch.compile was called on the model, or `compile()` on a part of it."""
    return any("_orig_mod" in m._modules or m._compiled_call_impl is not None for m in modules)


def uses_flex(modules: Iterable[nn.Module]) -> bool:
    """Whether a transformers model runs on flex attention."""
    configs = {
        id(config): config for m in modules if (config := m.__dict__.get("config")) is not None
    }.values()
    return any(getattr(config, "_attn_implementation", None) == "flex_attention" for config in configs)


def _force_eager() -> Callable[[], None]:
    stance = torch.compiler.set_stance("force_eager")
    return lambda: stance.__exit__(None, None, None)


_AS_WRITTEN = RefCountedPatch(_force_eager)
