"""Find the KV cache of the running attention call, and how much of the text it holds.

How much of the text a cache holds is what it says itself, once the keys of the call are in it. No mask says so: a
mask may hide a token from itself, as sparse attention does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from types import FrameType
from typing import Any
from weakref import ReferenceType, ref

from torch import nn

from limelight.capture.listeners import RefCountedPatch, everyone

_HOME = "transformers.cache_utils"
_LAYER = ("layer_idx", "layer_id")
"""What a module calls its place in the cache."""
_SPECULATING = frozenset(["_assisted_decoding", "get_candidates"])
"""The methods of transformers in which tokens are guessed, and taken back where they were wrong."""


@dataclass(frozen=True)
class CacheState:
    """A cache after the keys of one call went into it.

    owner   the cache itself, weakly
    name    its class, for people
    length  the tokens of the text that went into it, those of the call included; None where it does not say
    fixed   whether it writes all of a text into the same memory
    layer   the place in it of the attention that was called
    """

    owner: ReferenceType[Any]
    name: str
    length: int | None
    fixed: bool = False
    layer: int = 0

    def now(self) -> CacheState | None:
        """What the cache says by now; None if it is gone."""
        cache = self.owner()
        return None if cache is None else _held(cache, self.layer)


def cache_of(module: nn.Module, frame: FrameType | None) -> CacheState | None:
    """The cache of transformers that `module`, which runs in or above `frame`, was given; None if there is none.

    A decoder's has two, of the text and of what the encoder made. A module may go on with one of them, as Whisper's
    does; how far the text is stands in the first, whichever that is.
    """
    home = sys.modules.get(_HOME)
    if home is None:
        return None
    inside = False
    found: tuple[Any, int] | None = None
    while frame is not None:
        variables = frame.f_locals
        runs = variables.get("self")
        if inside and isinstance(runs, nn.Module) and runs is not module:
            break
        inside |= runs is module
        for value in _values(variables):
            if isinstance(value, home.Cache):
                if isinstance(value, home.EncoderDecoderCache):
                    return _held(value.self_attention_cache, _layer_of(module, variables))
                found = found or (value, _layer_of(module, variables))
        frame = frame.f_back
    return None if found is None else _held(*found)


@contextmanager
def crops_heard() -> Iterator[None]:
    """Inside the block everyone who listens, and has a method `cropped(cache)`, hears of tokens that are taken back
    out of a cache: after the last of its calls nothing else would tell."""
    if _HOME not in sys.modules:
        yield
        return
    with _CROPS.held():
        yield


def _hear_crops() -> Callable[[], None]:
    kind = sys.modules[_HOME].Cache
    original = kind.crop

    @wraps(original)
    def crop(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        for listener in everyone():
            cropped = getattr(listener, "cropped", None)
            if cropped is not None:
                cropped(self)
        return result

    kind.crop = crop
    return lambda: setattr(kind, "crop", original)


_CROPS = RefCountedPatch(_hear_crops)


def is_speculating(frame: FrameType | None) -> bool:
    """Whether what runs is speculative decoding: tokens that are taken back were guesses of no text."""
    while frame is not None:
        if frame.f_code.co_name in _SPECULATING:
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


def _held(cache: Any, layer: int) -> CacheState | None:
    try:
        owner = ref(cache)
    except TypeError:  # a class that allows no weak references
        return None
    layers = getattr(cache, "layers", ())
    fixed = any(hasattr(one, "max_cache_len") for one in layers)
    return CacheState(owner, type(cache).__name__, _length(cache, layer), fixed, layer)


def _length(cache: Any, layer: int) -> int | None:
    """What the cache says of this layer, or of the first that says anything: all layers read the same text."""
    for given in ((layer,), ()):
        try:
            return int(cache.get_seq_length(*given))
        except Exception:  # a cache of one's own may not say, in whichever way
            continue
    return None
