"""Find attention in any module that computes it by hand with plain torch operations.

Transformers' models of that kind have a table (model_families/registry.py). Everywhere else all torch functions
of the model pass by one tape: whatever it multiplies, scales, adds, hides and puts through softmax, up to the
values, makes a matrix or is told as missed. It belongs to the innermost module that encloses all of it. Models
made of modules that are known to call attention by its name run without a tape, at full speed.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from torch import nn

from limelight.capture.hooks import hooked_everywhere
from limelight.capture.inputs.attention_inputs import AttentionInputs, Kind
from limelight.capture.listeners import Listener, is_quiet, listeners, reporting
from limelight.capture.sources.call_site import Running, kind_of, running_modules
from limelight.capture.sources.code_origin import any_foreign
from limelight.capture.sources.flex_and_torchscript import (
    FLEX,
    SCRIPTED,
    SCRIPTS,
    is_scripted_attention,
)
from limelight.capture.sources.model_families.registry import family_of
from limelight.capture.sources.module_protocol import tells_of_itself
from limelight.capture.sources.op_tracing.axis_origins import Origins
from limelight.capture.sources.op_tracing.module_tape import follow
from limelight.capture.sources.op_tracing.scores import Owners
from limelight.capture.sources.op_tracing.tape import Tape
from limelight.capture.sources.torch_compile import uses_flex
from limelight.capture.sources.torch_functions import ear_of_this_thread

_NEAREST = 4
"""How many modules outward an operation may belong to."""


@contextmanager
def handmade(modules: Sequence[nn.Module], listener: Listener) -> Iterator[None]:
    """The source: follows what is computed by hand in modules that no other source hears."""
    with ExitStack() as stack:
        if any_foreign(modules):
            stack.enter_context(_Everywhere(modules, listener).open())
        else:
            record, missed = reporting(listener)
            by_hand = [module for module in modules if _is_handmade(module)]
            told = {
                id(inner) for outer in modules if by_hand and family_of(outer) for inner in outer.modules()
            }
            for module in by_hand:
                inside = list(module.modules())[1:]
                if id(module) not in told and not any(map(_is_handmade, inside)):
                    stack.enter_context(follow(module, record, missed.only_noticed()))
        yield


def _is_handmade(module: nn.Module) -> bool:
    return _multiplies_and_weighs(type(module)) and family_of(module) is None  # type: ignore[arg-type]


@cache
def _multiplies_and_weighs(kind: type[nn.Module]) -> bool:
    """Whether the code of a class multiplies matrices and computes softmax, other than as a backend of attention."""
    names: set[str] = set()
    for each in kind.__mro__:
        if each.__module__.startswith("transformers.models."):
            for one in vars(each).values():
                if isinstance(one, FunctionType):
                    names |= _names(one.__code__)
    return "softmax" in names and bool(names & {"matmul", "bmm", "baddbmm", "einsum", "@"})


def _names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    if any(step.argrepr in ("@", "@=") for step in dis.get_instructions(code)):
        names.add("@")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


class _Everywhere:
    """The place of a tape over a whole model, in every thread in which it runs."""

    def __init__(self, modules: Sequence[nn.Module], listener: Listener) -> None:
        self._listener = listener
        self._record, self._missed = reporting(listener)
        self._names = getattr(listener, "names", None)
        self._constants = [
            tensor for module in modules for tensor in module._buffers.values() if tensor is not None
        ]
        self._uses_flex = uses_flex(modules)
        self._thread = threading.local()

    @contextmanager
    def open(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(hooked_everywhere(self._before, self._after))
            stack.enter_context(SCRIPTS.held())
            if not self._uses_flex:  # transformers compiles it, and tells of it
                stack.enter_context(FLEX.held())
            stack.enter_context(self._on_tape())
            yield

    @contextmanager
    def _on_tape(self) -> Iterator[None]:
        """The tape lies in this thread."""
        tape = _TapeOfModel(self, Origins(self._constants))
        self._thread.tape = tape
        try:
            with tape:
                yield
        finally:
            self._thread.tape = None
            tape.finish()

    # ---- other threads --------------------------------------------------------------------------------

    def _before(self, module: nn.Module, args: Any) -> None:
        if is_scripted_attention(module):
            self._missed.noticed(module, SCRIPTED)
        tape = getattr(self._thread, "tape", None)
        if tape is not None:
            if module is getattr(self._thread, "opened_by", None):
                self._thread.depth += 1
            return
        if any(one is self._listener for one in listeners(module)):
            stack = ExitStack()
            stack.enter_context(ear_of_this_thread())
            stack.enter_context(self._on_tape())
            self._thread.opened_by, self._thread.depth, self._thread.stack = module, 1, stack

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        if module is not getattr(self._thread, "opened_by", None):
            return
        self._thread.depth -= 1
        if self._thread.depth == 0:
            self._thread.opened_by = None
            self._thread.stack.close()

    # ---- the place of the tape ------------------------------------------------------------------------

    def owners(self) -> Owners:
        return tuple((id(each.module), id(each.frame)) for each in self._near())

    def find(self, owners: Owners) -> tuple[nn.Module, Kind] | None:
        near = self._near()
        if not near:
            return None
        shared = set(owners)
        both = [each for each in near if (id(each.module), id(each.frame)) in shared]
        module = (both or near)[0].module
        if family_of(module) is not None or tells_of_itself(module):
            return None
        call = next((each for each in reversed(near) if each.module is module), near[0])
        return module, kind_of(module, call.given())

    def _near(self) -> list[Running]:
        """The innermost modules of the model that run, each with all its frames."""
        near: list[Running] = []
        modules: set[int] = set()
        foreign = False
        for each in running_modules(sys._getframe(1)):
            if not any(one is self._listener for one in listeners(each.module)):
                foreign = True
                continue
            if foreign and not modules and not each.is_call:
                continue  # another model may run inside a method of this one
            modules.add(id(each.module))
            if len(modules) > _NEAREST:
                break
            near.append(each)
        return near

    def record(self, module: nn.Module, inputs: AttentionInputs) -> None:
        self._record(module, inputs)

    def missed(self, module: nn.Module, why: str) -> None:
        self._missed.noticed(module, why)

    def note(self, line: str) -> None:
        self._missed.note(line)

    def name(self, module: nn.Module) -> str:
        name = "" if self._names is None else self._names.of(module)
        return name or type(module).__name__


class _TapeOfModel(Tape):
    def silent(self) -> bool:
        return is_quiet()
