"""Where in a model attention is computed: found in the frames of the running call, so that nothing is hooked."""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType
from typing import Any

from torch import Tensor, nn

from limelight.capture.inputs import Kind
from limelight.capture.listening import listeners

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


def running(frame: FrameType | None) -> tuple[nn.Module, Mapping[str, Any]] | None:
    """The innermost module that runs, and the variables there; None if nobody listens to it.

    Those further out do not count: a model may run another one inside of its own `generate()`.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_argcount and code.co_varnames[0] == "self":
            variables = frame.f_locals
            module = variables.get("self")
            if isinstance(module, nn.Module):
                return (module, variables) if listeners(module) else None
        frame = frame.f_back
    return None


def kind_of(module: nn.Module, variables: Mapping[str, Any]) -> Kind:
    """ "cross" where a forward was given other states to make its keys of, or says so itself."""
    for name in ("is_cross_attention", "encoder_decoder_attention"):
        told = variables.get(name, getattr(module, name, None))
        if isinstance(told, bool):
            return "cross" if told else "self"
    if "Cross" in type(module).__name__:
        return "cross"
    return "cross" if any(isinstance(variables.get(name), Tensor) for name in _OTHER_STATES) else "self"
