"""A family of models: how the attention of one class of modules is captured, or why it is not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import nn

from limelight.capture.listeners import Missed, Record

Watch = Callable[[nn.Module, Record, Missed], AbstractContextManager[None]]


@dataclass(frozen=True)
class Family:
    """How the attention of one class of modules is captured, or why it is not.

    how     one line for people: what is captured and what it holds in memory, or the reason of the refusal
    watch   hooks one module and calls `record` or `missed`; None where the family is refused
    """

    how: str
    watch: Watch | None
