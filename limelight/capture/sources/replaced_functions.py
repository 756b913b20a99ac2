"""PyTorch's attention functions by name, and replacements that other libraries put there.

Libraries replace `torch.nn.functional.scaled_dot_product_attention` by kernels of their own. While somebody listens,
an ear lies over what stands there; that is what computes, and what stands there afterwards. What a replacement
computes need not be attention as we know it, so its output is compared with the weights times the values.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import CodeType, FrameType, FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional

from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.listeners import note, notify_missed
from limelight.capture.verification import Verified, verify

Kernel = Callable[..., Any]


@dataclass
class _Ear:
    """What an ear lies over, and how many watches need it."""

    before: Kernel
    users: int = 0


class Name:
    """One function of `torch.nn.functional`: PyTorch's own, what stands there, and the ears over it."""

    def __init__(self, name: str, heard: Callable[[Kernel, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        self.name = name
        self.own = _pytorchs_own(name)
        self._heard = heard
        self._lock = Lock()
        self._ears: WeakKeyDictionary[Kernel, _Ear] = WeakKeyDictionary()

    @contextmanager
    def listened_to(self) -> Iterator[None]:
        """Inside the block an ear lies over the function; afterwards what is there stays, unless it is the ear."""
        with self._lock:
            function = getattr(functional, self.name)
            if not self.is_an_ear(function):
                function = self._over(function)
                setattr(functional, self.name, function)
            ear = self._ears[function]
            ear.users += 1
        try:
            yield
        finally:
            with self._lock:
                ear.users -= 1
                if not ear.users and getattr(functional, self.name) is function:
                    setattr(functional, self.name, ear.before)

    def foreign(self) -> Kernel | None:
        """Who computes now when the function is called by its name; None for PyTorch's own."""
        function = getattr(functional, self.name)
        while (ear := self._ear(function)) is not None:
            function = ear.before
        return None if function is self.own else function

    def over_the_ear(self) -> Kernel | None:
        """What was put in the function's place after the ear was."""
        function = getattr(functional, self.name)
        return None if function is self.own or self.is_an_ear(function) else function

    def is_an_ear(self, function: Any) -> bool:
        """Whether it is what lies over the function: PyTorch hands modes whatever stands at the name."""
        return self._ear(function) is not None

    def as_handed_to_modes(self, function: Any) -> Kernel:
        """PyTorch's own where a TorchFunctionMode is handed what stands in its place: calling that would begin anew.

        PyTorch's functions that are written in Python hand modes whatever has their name at the time.
        """
        there = function is getattr(functional, self.name) or self.is_an_ear(function)
        return self.own if there else function

    def _ear(self, function: Any) -> _Ear | None:
        return self._ears.get(function) if isinstance(function, FunctionType) else None

    def _over(self, before: Kernel) -> Kernel:
        @functools.wraps(before)
        def heard(*args: Any, **kwargs: Any) -> Any:
            return self._heard(before, args, kwargs)

        heard.__name__ = getattr(before, "__name__", self.name)
        self._ears[heard] = _Ear(before)
        return heard


def _pytorchs_own(name: str) -> Kernel:
    """The function as PyTorch has it, even if it was replaced before this file was read."""
    builtin: Kernel | None = getattr(torch._C._nn, name, None)
    if builtin is not None:
        return builtin
    there: Any = getattr(functional, name)
    if getattr(getattr(there, "__code__", None), "co_filename", None) == functional.__file__:
        return there
    source = ast.parse(Path(str(functional.__file__)).read_text(encoding="utf-8"))
    defined: list[ast.stmt] = [
        node for node in source.body if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    found: dict[str, Any] = {}
    exec(compile(ast.Module(defined, []), str(functional.__file__), "exec"), functional.__dict__, found)
    return found[name]


def in_words(kernel: Kernel) -> str:
    """The name of a function with its module, as `sageattention.core.sageattn`."""
    name = getattr(kernel, "__qualname__", None) or type(kernel).__qualname__
    return f"{getattr(kernel, '__module__', None) or type(kernel).__module__}.{name}"


def runs_inside(kernel: Kernel, frame: FrameType | None) -> bool:
    """Whether a call comes from within a function; True where that cannot be known."""
    code = _code_of(kernel)
    while frame is not None and code is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return code is None


def _code_of(kernel: Any) -> CodeType | None:
    while isinstance(kernel, functools.partial):
        kernel = kernel.func
    if not inspect.isroutine(kernel):
        kernel = type(kernel).__call__
    return getattr(kernel, "__code__", None)


def is_context_parallel(kernel: Kernel) -> bool:
    """Whether it is what torch's `context_parallel` puts in the place of attention."""
    home = getattr(kernel, "__module__", None) or ""
    return home.startswith("torch.distributed") and "_attention" in home


def accept(module: nn.Module, name: str, kernel: Kernel, inputs: AttentionInputs) -> bool:
    """Whether a replacement computed what the inputs say. Whoever listens is told, of the first or the other."""
    who = in_words(kernel)
    replaced = f"torch.nn.functional.{name} is replaced by {who}"
    if is_context_parallel(kernel):
        notify_missed(
            module,
            f"it ran inside context_parallel ({who}), where each process has a part of the queries and keys; "
            "watch the model outside of it, or one process with the whole text",
        )
        return False
    found = verify(inputs, inputs.matrix())
    if isinstance(found, Verified) and found.error <= found.tolerance:
        note(module, f"{replaced}, whose every output was compared with W @ V, and is it within rounding.")
        return True
    if isinstance(found, str) and inputs.output is not None and not inputs.output.numel():
        return True
    differs = (
        f"its output is not W @ V: the largest difference is {found.error:.1e} of the largest entry, and "
        f"{found.tolerance:.0e} is allowed"
        if isinstance(found, Verified)
        else f"its output could not be compared with W @ V: {found}"
    )
    notify_missed(
        module,
        f"{replaced}, and {differs}. The model computed with it all the same. For weights that are the model's "
        f"own, put PyTorch's function back, or load the model with attn_implementation='eager'",
    )
    return False
