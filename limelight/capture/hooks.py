"""Hooks on other people's modules, which a copy of the model does not carry.

A model may be copied, pickled or saved while it is watched. What is made of it then is the model as it was before:
without the hooks of this file, and without the function by which a module of ours reports (`module_protocol.py`).

PyTorch's fused encoder layer does not run while a module in it has hooks. A layer of that kind is listened to through
the hooks that PyTorch has for all modules, so that it runs as it does by itself. A compiled model warns its user of
such hooks, which run once more for what torch.compile has put around the model: ours may, and are not counted.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module

from limelight.capture.listeners import RefCountedPatch
from limelight.capture.recordable import unrecorded

Before = Callable[[nn.Module, Any, Mapping[str, Any]], None]
"""Called with a module, and the positional and the named arguments of its call."""

After = Callable[[nn.Module, Any, Any], None]
"""Called with a module, its positional arguments and its output; with None as the output where it failed."""


class Ours:
    """What is put on a module for a while, and must not be in a copy of it."""

    was_there = False
    """Whether something stood in its place, which a copy has."""
    before: Any = None
    """What that was."""


_CALL = nn.Module._call_impl.__code__


class Hook(Ours):
    """A hook of ours; where a copy cannot leave it out, it does nothing there."""

    def __init__(self, call: Callable[..., None]) -> None:
        self.call = call

    def __call__(self, *given: Any) -> None:
        with unrecorded():
            self.call(*given)

    def __reduce__(self) -> Any:
        return Hook, (_nothing,)


def _nothing(*_: Any) -> None:
    """The hook of a copy."""


_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


@contextmanager
def hooked(module: nn.Module, before: Before | None = None, after: After | None = None) -> Iterator[None]:
    """Inside the block `before` is called with every call of `module`, and `after` at its end, even if it failed."""
    with ExitStack() as stack:
        for held in (_COPIES, _UNCOUNTED, _UNSCRIPTED):
            stack.enter_context(held.held())
        put = _put_for_all if isinstance(module, nn.TransformerEncoderLayer) else _put
        for handle in put(module, before, after):
            stack.callback(handle.remove)
        yield


def _put(module: nn.Module, before: Before | None, after: After | None) -> Iterator[Any]:
    if before is not None:
        yield module.register_forward_pre_hook(Hook(before), with_kwargs=True)
    if after is not None:
        yield module.register_forward_hook(Hook(after), always_call=True)


def _put_for_all(module: nn.Module, before: Before | None, after: After | None) -> Iterator[Any]:
    def at_its_call(called: nn.Module, args: Any) -> None:
        if called is module and before is not None:
            # PyTorch gives these hooks no named arguments; they are a variable where it calls them.
            frame = sys._getframe(1)
            while frame.f_code is not _CALL and frame.f_back is not None:
                frame = frame.f_back
            before(called, args, frame.f_locals.get("kwargs", {}))

    def at_its_end(called: nn.Module, args: Any, output: Any) -> None:
        if called is module and after is not None:
            after(called, args, output)

    return _everywhere(at_its_call, at_its_end)


@contextmanager
def hooked_everywhere(
    before: Callable[[nn.Module, Any], None], after: Callable[[nn.Module, Any, Any], None]
) -> Iterator[None]:
    """Inside the block both are called with every module that runs in the process, whoever it belongs to."""
    with ExitStack() as stack:
        stack.enter_context(_UNCOUNTED.held())
        for handle in _everywhere(before, after):
            stack.callback(handle.remove)
        yield


def _everywhere(
    before: Callable[[nn.Module, Any], None], after: Callable[[nn.Module, Any, Any], None]
) -> Iterator[Any]:
    yield torch_module.register_module_forward_pre_hook(Hook(before))
    yield torch_module.register_module_forward_hook(Hook(after), always_call=True)


_EVERY_MODULES = (
    "_global_backward_pre_hooks",
    "_global_backward_hooks",
    "_global_forward_pre_hooks",
    "_global_forward_hooks",
)
_ASKED = "_has_any_global_hook"


def _leave_ours_uncounted() -> Callable[[], None]:
    """PyTorch asks by this name whether all modules have hooks: it is told of those that are somebody else's."""
    before = getattr(torch_module, _ASKED, None)
    if before is None:  # of a PyTorch that does not ask
        return lambda: None

    def has_any_global_hook() -> bool:
        hooks = [hook for name in _EVERY_MODULES for hook in getattr(torch_module, name, {}).values()]
        return any(not isinstance(hook, Ours) for hook in hooks)

    setattr(torch_module, _ASKED, has_any_global_hook)

    def undo() -> None:
        if getattr(torch_module, _ASKED) is has_any_global_hook:
            setattr(torch_module, _ASKED, before)

    return undo


_UNCOUNTED = RefCountedPatch(_leave_ours_uncounted)


# ---- copies -----------------------------------------------------------------------------------------


def _leave_ours_out() -> Callable[[], None]:
    """While anything of ours is on a module, `copy`, `pickle` and `torch.save` are told of the module without it."""

    there = "__getstate__" in nn.Module.__dict__
    before: Callable[[nn.Module], Any] = nn.Module.__getstate__

    def state_of(self: nn.Module) -> Any:
        state = before(self)
        if isinstance(state, tuple):  # of a class with __slots__
            return (_without_ours(state[0]), *state[1:])
        return _without_ours(state)

    nn.Module.__getstate__ = state_of  # type: ignore[method-assign]

    def undo() -> None:
        if nn.Module.__dict__.get("__getstate__") is not state_of:
            return
        if there:
            nn.Module.__getstate__ = before  # type: ignore[method-assign]
        else:
            del nn.Module.__getstate__

    return undo


_COPIES = RefCountedPatch(_leave_ours_out)


def copies_left_alone() -> Any:
    """A block within which a copy of a module is made without what is `Ours`."""
    return _COPIES.held()


def _without_ours(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    clean = dict(state)
    for name in _HOOKS:
        hooks = state.get(name) or {}
        ours = {number for number, hook in hooks.items() if isinstance(hook, Ours)}
        if ours:
            for related in (name, f"{name}_with_kwargs", f"{name}_always_called"):
                if related in state:
                    clean[related] = _without(state[related], ours)
    for name, value in state.items():
        if isinstance(value, Ours):
            clean.pop(name)
            if value.was_there:
                clean[name] = value.before
    return clean


def _without(hooks: Any, numbers: set[int]) -> Any:
    return type(hooks)((number, hook) for number, hook in hooks.items() if number not in numbers)


# ---- scripts ----------------------------------------------------------------------------------------


def _leave_ours_unscripted() -> Callable[[], None]:
    """torch.jit.script compiles the hooks of a module, too: it is given the module without those of ours."""
    from torch.jit import _recursive

    before = _recursive.create_script_module

    @functools.wraps(before)
    def create_script_module(nn_module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        put_away: list[tuple[Any, Any]] = []
        for module in nn_module.modules():
            for name in _HOOKS:
                hooks = getattr(module, name, None) or {}
                if any(isinstance(hook, Ours) for hook in hooks.values()):
                    put_away.append((hooks, dict(hooks)))
        try:
            for hooks, _ in put_away:
                for number in [number for number, hook in hooks.items() if isinstance(hook, Ours)]:
                    del hooks[number]
            return before(nn_module, *args, **kwargs)
        finally:
            for hooks, all_of_them in put_away:
                hooks.clear()
                hooks.update(all_of_them)

    _recursive.create_script_module = create_script_module

    def undo() -> None:
        if _recursive.create_script_module is create_script_module:
            _recursive.create_script_module = before

    return undo


_UNSCRIPTED = RefCountedPatch(_leave_ours_unscripted)
