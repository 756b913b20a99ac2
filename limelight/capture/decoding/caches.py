"""The cache that a call of attention is computed with: found in the frames of the running call.

How much of the text a cache holds is what it says itself, once the keys of the call are in it. No mask says so: a
mask may hide a token from itself, as sparse attention does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any
from weakref import ReferenceType, ref

from torch import nn

_HOME = "transformers.cache_utils"
_LAYER = ("layer_idx", "layer_id")
"""What a module calls its place in the cache."""
_DRAFTING = "get_candidates"
"""The method of transformers in which a helper writes the draft of speculative decoding."""


@dataclass(frozen=True)
class Held:
    """A cache after the keys of one call went into it.

    owner   the cache itself, weakly
    name    its class, for people
    length  the tokens of the text that went into it, those of the call included; None where it does not say
    fixed   whether it writes all of a text into the same memory
    """

    owner: ReferenceType[Any]
    name: str
    length: int | None
    fixed: bool = False


def cache_of(module: nn.Module, frame: FrameType | None) -> Held | None:
    """The cache of transformers that `module`, which runs in or above `frame`, was given; None if there is none."""
    home = sys.modules.get(_HOME)
    if home is None:
        return None
    inside = False
    while frame is not None:
        variables = frame.f_locals
        runs = variables.get("self")
        if inside and isinstance(runs, nn.Module) and runs is not module:
            return None
        inside |= runs is module
        for value in _values(variables):
            if isinstance(value, home.Cache):
                both = isinstance(value, home.EncoderDecoderCache)
                return _held(value.self_attention_cache if both else value, _layer_of(module, variables))
        frame = frame.f_back
    return None


def is_drafting(frame: FrameType | None) -> bool:
    """Whether what runs is the draft of speculative decoding, which the model has yet to accept."""
    while frame is not None:
        if frame.f_code.co_name == _DRAFTING:
            return True
        frame = frame.f_back
    return False


def _values(variables: Mapping[str, Any]) -> Iterator[Any]:
    yield from variables.values()
    given = variables.get("kwargs")
    if isinstance(given, dict):
        yield from given.values()


def _layer_of(module: nn.Module, variables: Mapping[str, Any]) -> int:
    told = [variables.get(name) for name in _LAYER] + [getattr(module, name, None) for name in _LAYER]
    return next((layer for layer in told if isinstance(layer, int)), 0)


def _held(cache: Any, layer: int) -> Held | None:
    try:
        owner = ref(cache)
    except TypeError:  # a class that allows no weak references
        return None
    layers = getattr(cache, "layers", ())
    fixed = any(hasattr(one, "max_cache_len") for one in layers)
    return Held(owner, type(cache).__name__, _length(cache, layer), fixed)


def _length(cache: Any, layer: int) -> int | None:
    """What the cache says of this layer, or of the first that says anything: all layers read the same text."""
    for given in ((layer,), ()):
        try:
            return int(cache.get_seq_length(*given))
        except Exception:  # a cache of one's own may not say, in whichever way
            continue
    return None
