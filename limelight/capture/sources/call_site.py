"""Which module is computing attention: read from the frames of the running call, without hooks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch import Tensor, nn

from limelight.capture.inputs.attention_inputs import Kind
from limelight.capture.listeners import listeners

# What a forward calls the states that the keys are made of, where they are not the queries' own.
_OTHER_STATES = (
    "key_value_states",
    "encoder_hidden_states",
    "encoder_outputs",
    "cross_attention_states",
    "cross_states",
    "vision_hidden_states",
    "context",
    "memory",
)
# Names that other things have, too, unless a forward has them for its arguments.
_OTHER_ARGUMENTS = (
    *(
        "mem",
        "src",
        "source",
        "y",
        "kv",
        "key_value",
        "keys_values",
        "ctx",
        "cond",
        "enc",
        "encoded",
        "other",
    ),
    *(
        "enc_out",
        "encoder_out",
        "encoder_output",
        "encoder_states",
        "enc_states",
        "key",
        "keys",
        "k",
        "kv_states",
    ),
    *("kv_input", "x_kv", "input_kv", "inputs_kv", "x_k", "key_states", "media", "x_other", "x2"),
)
_CACHES = ("past_key_values", "past_key_value", "layer_past", "cache", "kv_cache")

_CALL = nn.Module._call_impl.__code__
_WRAPPER = nn.Module._wrapped_call_impl.__code__


@dataclass(frozen=True)
class Running:
    """A module that runs, and the frame in which it does: of its call, its forward or another of its methods."""

    module: nn.Module
    frame: FrameType

    @property
    def is_call(self) -> bool:
        return self.frame.f_code is _CALL

    def given(self) -> Mapping[str, Any]:
        """What the forward was given, by name, or the variables of the method."""
        if not self.is_call:
            return self.frame.f_locals
        variables = self.frame.f_locals
        return given_to(self.module, variables.get("args", ()), variables.get("kwargs", {}))


def running_modules(frame: FrameType | None) -> Iterator[Running]:
    """All modules that run, the innermost first, each once for every frame of its own."""
    while frame is not None:
        code = frame.f_code
        if code.co_argcount and code.co_varnames[0] == "self" and code is not _WRAPPER:
            module = frame.f_locals.get("self")
            if isinstance(module, nn.Module):
                yield Running(module, frame)
        frame = frame.f_back


def running(frame: FrameType | None) -> tuple[nn.Module, Mapping[str, Any]] | None:
    """The innermost module that runs and is listened to, and the variables there; None if there is none.

    Modules further out count where they were called and run what is no part of the model, such as a module that they
    keep in a list. A model may run another one inside of its own `generate()`: that is no call of it.
    """
    first = True
    for each in running_modules(frame):
        if (first or each.is_call) and listeners(each.module):
            return each.module, each.given()
        first = False
    return None


def given_to(module: nn.Module, args: Any, kwargs: Any) -> Mapping[str, Any]:
    """The arguments of a forward by name, those in its **kwargs included."""
    try:
        given = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        given = dict(kwargs)
    more = given.get("kwargs", {})
    return {**given, **more} if isinstance(more, dict) else given


def kind_of(module: nn.Module, variables: Mapping[str, Any]) -> Kind:
    """ "cross" where the keys are made of other states than the queries.

    Which they are is told by the tensors that a forward was given: states that lie in the same memory as the queries'
    own are these. Where none is given, a module that says so itself is believed, and so is the name of a class whose
    keys may have come out of a cache.
    """
    said = [
        variables.get(name, getattr(module, name, None))
        for name in ("is_cross_attention", "encoder_decoder_attention")
    ]
    told = next((each for each in said if isinstance(each, bool)), None)
    if told is False:
        return "self"
    own, others = _states(module, variables)
    if others:
        return "self" if own is not None and all(same_memory(own, other) for other in others) else "cross"
    if told is True:
        return "cross"
    if "Cross" not in type(module).__name__:
        return "self"
    if type(module).__module__.startswith("transformers."):
        return "cross"
    cached = any(variables.get(name) is not None for name in _CACHES)
    given = _given(module, variables)
    several = any(not same_memory(given[0], other) for other in given[1:])
    return "cross" if cached or several or not given else "self"


def same_memory(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors begin at the same place and lie the same way: one is the other, or a part of it."""
    if one is other:
        return True
    if one.dtype != other.dtype or one.dim() != other.dim() or one.is_nested or other.is_nested:
        return False
    try:
        place = one.data_ptr()
        if place == 0 or place != other.data_ptr():
            return False
    except RuntimeError:  # it has no memory of its own
        return False
    sizes = zip(one.shape, other.shape, one.stride(), other.stride(), strict=True)
    return all(mine == theirs or 1 in (n, m) for n, m, mine, theirs in sizes)


def _states(module: nn.Module, variables: Mapping[str, Any]) -> tuple[Tensor | None, list[Tensor]]:
    """The states that the queries are made of, as far as they are known, and those that are given beside them."""
    named = [name for name in _OTHER_STATES if isinstance(variables.get(name), Tensor)]
    takes = _parameters(type(module).forward)
    first = takes[0] if takes else ""
    named += [
        name
        for name in _OTHER_ARGUMENTS
        if name in takes and name != first and isinstance(variables.get(name), Tensor)
    ]
    own = next((name for name in takes if name not in named and isinstance(variables.get(name), Tensor)), "")
    return variables.get(own), [variables[name] for name in named if _is_states(variables[name])]


def _given(module: nn.Module, variables: Mapping[str, Any]) -> list[Tensor]:
    """All states that a forward has for arguments."""
    found = [variables.get(name) for name in _parameters(type(module).forward)]
    return [each for each in found if isinstance(each, Tensor) and _is_states(each)]


def _is_states(tensor: Tensor) -> bool:
    """Numbers with an axis of tokens and one of features, which no mask of truth values is."""
    return tensor.is_floating_point() and tensor.dim() >= 2


@functools.lru_cache(maxsize=1024)
def _parameters(forward: Callable[..., Any]) -> tuple[str, ...]:
    """The arguments of a module's forward, in order."""
    try:
        return tuple(inspect.signature(forward).parameters)[1:]
    except (TypeError, ValueError):
        return ()
