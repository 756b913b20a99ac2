"""How sources report attention: listeners, the modules they own, and which threads they hear.

A source (see `sources`) notices that attention is computed, translates what the backend was given into
`AttentionInputs`, and tells it. Whoever listens hears of the modules that it owns, in its own context; and in other
threads, where nobody who began to listen there owns them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from threading import Lock
from typing import Any, Protocol

import torch
from torch import nn

from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.model_parts import note_of, part_of


class Listener(Protocol):
    """Whoever wants to hear of attention that is computed."""

    def owns(self, module: nn.Module) -> bool:
        """Whether this module belongs to the model that is listened to."""

    def on_call(self, module: nn.Module, inputs: AttentionInputs) -> Any:
        """One call of attention. What is returned, unless None, stands in the place of the weights that the
        backend does not give."""

    # It may have `missed(module, why)`, to be told that the attention of a module could not be followed, and
    # `noticed(module, why)`, to be told of one that was computed and was lost, whatever else of the module was heard;
    # and `note(line)`, for what a reader of the weights should know.


Record = Callable[[nn.Module, AttentionInputs], None]
"""Called once a call of attention, in order of execution."""

Missed = Callable[[nn.Module, str], None]
"""Called when a module has run and its attention could not be followed: the module, and why."""

Source = Callable[[Sequence[nn.Module], Listener], AbstractContextManager[None]]
"""Opened with all modules of the model, it tells the listener of the attention that it notices."""

_EVERYWHERE: list[Listener] = []
"""All who listen, in whichever context."""
_LISTENERS: ContextVar[tuple[Listener, ...]] = ContextVar("limelight_listeners", default=())
_QUIET: ContextVar[bool] = ContextVar("limelight_quiet", default=False)


@contextmanager
def listening(modules: Sequence[nn.Module], listener: Listener, sources: Sequence[Source]) -> Iterator[None]:
    """Inside the block `listener` hears of the attention in these modules; after it everything is as before."""
    with ExitStack() as stack:
        _LISTENERS.set((*_LISTENERS.get(), listener))
        _EVERYWHERE.append(listener)
        stack.callback(_dismiss, listener)
        for source in sources:
            stack.enter_context(source(modules, listener))
        yield


def _dismiss(listener: Listener) -> None:
    _LISTENERS.set(tuple(other for other in _LISTENERS.get() if other is not listener))
    _EVERYWHERE[:] = [other for other in _EVERYWHERE if other is not listener]


def listeners(module: nn.Module) -> list[Listener]:
    """Who listens to this module; the innermost last. Those of this context, or, if it has none, of others."""
    if _QUIET.get():
        return []
    here = [listener for listener in _LISTENERS.get() if listener.owns(module)]
    return here or [listener for listener in list(_EVERYWHERE) if listener.owns(module)]


def anyone_listens() -> bool:
    """Whether anyone listens to anything."""
    return bool(_EVERYWHERE) and not _QUIET.get()


def is_quiet() -> bool:
    """Whether what is computed now is told by who computes it."""
    return _QUIET.get()


def everyone() -> tuple[Listener, ...]:
    """Whoever listens to anything; in this context, or, if nobody does here, in others."""
    return () if _QUIET.get() else _LISTENERS.get() or tuple(_EVERYWHERE)


def notify(module: nn.Module, inputs: AttentionInputs) -> Any:
    """Let everyone who listens to this module hear of a call; the innermost answer, if there is one."""
    inputs = _as_part(module, inputs)
    answer = None
    for listener in listeners(module):
        own = _let_hear(listener, module, inputs)
        answer = answer if own is None else own
    return answer


def _let_hear(listener: Listener, module: nn.Module, inputs: AttentionInputs) -> Any:
    """What the listener computes meanwhile, to verify or to read, is none of the model's own."""
    with torch._C.DisableTorchFunction():
        return listener.on_call(module, inputs)


def _as_part(module: nn.Module, inputs: AttentionInputs) -> AttentionInputs:
    part = part_of(module, inputs)
    if part is None:
        return inputs
    note(module, note_of(part))
    return replace(inputs, part=part)


def notify_missed(module: nn.Module, why: str) -> None:
    """Let everyone who listens to this module, and wants to, know of attention that was computed and was lost."""
    for listener in listeners(module):
        _say(listener, "noticed", module, why)


def note(module: nn.Module, line: str) -> None:
    """Let everyone who listens to this module, and keeps notes, know what to tell its reader."""
    for listener in listeners(module):
        keeps = getattr(listener, "note", None)
        if keeps is not None:
            keeps(line)


def _say(listener: Listener, how: str, module: nn.Module, why: str) -> None:
    told = getattr(listener, how, None) or getattr(listener, "missed", None)
    if told is not None:
        told(module, why)


class Misses:
    """Tells one listener what was missed: called, that a module's attention could not be followed, which counts where
    nothing else of it was heard; `noticed`, that one was computed and was lost."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def __call__(self, module: nn.Module, why: str) -> None:
        self._tell("missed", module, why)

    def noticed(self, module: nn.Module, why: str) -> None:
        self._tell("noticed", module, why)

    def only_noticed(self) -> Misses:
        """The same, but for what is not certain."""
        return _Noticed(self._listener)

    def note(self, line: str) -> None:
        """Let it know what a reader of its matrices should know."""
        told = getattr(self._listener, "note", None)
        if told is not None:
            told(line)

    def _tell(self, how: str, module: nn.Module, why: str) -> None:
        if any(one is self._listener for one in listeners(module)):
            _say(self._listener, how, module, why)


class _Noticed(Misses):
    def __call__(self, module: nn.Module, why: str) -> None:
        """A module that computes no attention in this call is no matter."""


def reporting(listener: Listener) -> tuple[Record, Misses]:
    """For sources that hook modules for one listener: what tells it of a call, and of one that was missed."""

    def record(module: nn.Module, inputs: AttentionInputs) -> None:
        if any(one is listener for one in listeners(module)):
            _let_hear(listener, module, _as_part(module, inputs.cast()))

    return record, Misses(listener)


def without_listeners(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function within which nobody listens: what it computes is told by who calls it."""
    token = _QUIET.set(True)
    try:
        return function(*args, **kwargs)
    finally:
        _QUIET.reset(token)


class RefCountedPatch:
    """A change to the process that stands while anyone needs it: the first one in makes it, the last one out
    undoes it, in whichever order and thread they come and go."""

    def __init__(self, put: Callable[[], Callable[[], None]]) -> None:
        self._put = put
        self._lock = Lock()
        self._users = 0
        self._undo: Callable[[], None] = _nothing

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._undo = self._put()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._undo()
                    self._undo = _nothing


def _nothing() -> None:
    """What there is to undo before anything was done."""
