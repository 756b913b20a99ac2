"""Calls: the arguments, inner outputs and result of one call of a module."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from limelight.capture.hooks import After, hooked


@dataclass
class Calls:
    """The arguments by name, the outputs of inner modules by name in order, and the result."""

    given: dict[str, Any]
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)
    result: Any = None


@contextmanager
def calls_of(module: nn.Module, inner: Sequence[str], done: Callable[[Calls], None]) -> Iterator[None]:
    """Inside the block, `done` hears of every call of `module` that came to its end."""
    running = threading.local()
    signature = inspect.signature(module.forward)

    def before(_: nn.Module, args: Any, kwargs: Any) -> None:
        running.stack = [
            *getattr(running, "stack", []),
            Calls(dict(signature.bind(*args, **kwargs).arguments)),
        ]

    def within(name: str) -> After:
        def keep(_: nn.Module, args: Any, output: Tensor | None) -> None:
            if output is not None and getattr(running, "stack", None):
                running.stack[-1].outputs.setdefault(name, []).append(output.detach())

        return keep

    def after(_: nn.Module, args: Any, result: Any) -> None:
        call = running.stack.pop()
        if result is not None:  # None: it has raised
            call.result = result
            done(call)

    with ExitStack() as stack:
        for name in inner:
            child = getattr(module, name, None)
            if isinstance(child, nn.Module):
                stack.enter_context(hooked(child, after=within(name)))
        stack.enter_context(hooked(module, before, after))
        yield
