"""Who listens to the attention of a model, and how what is computed reaches them.

A source (see `sources`) notices that attention is computed, translates what the backend was given into `Inputs`,
and tells it. Whoever listens hears of the modules that it owns, in its own context alone: a ContextVar keeps
other threads out, and `owns` other models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, Protocol

from torch import nn

from limelight.capture.inputs import Inputs


class Listener(Protocol):
    """Whoever wants to hear of attention that is computed."""

    def owns(self, module: nn.Module) -> bool:
        """Whether this module belongs to the model that is listened to."""

    def hear(self, module: nn.Module, inputs: Inputs) -> Any:
        """One call of attention. What is returned, unless None, stands in the place of the weights that the
        backend does not give."""

    # It may have `missed(module, why)`, to be told of attention that was computed and could not be followed.


Record = Callable[[nn.Module, Inputs], None]
"""Called once a call of attention, in order of execution."""

Missed = Callable[[nn.Module, str], None]
"""Called when a module has run and its attention could not be followed: the module, and why."""

Source = Callable[[Sequence[nn.Module], Listener], AbstractContextManager[None]]
"""Opened with all modules of the model, it tells the listener of the attention that it notices."""

_LISTENERS: ContextVar[tuple[Listener, ...]] = ContextVar("limelight_listeners", default=())
_QUIET: ContextVar[bool] = ContextVar("limelight_quiet", default=False)


@contextmanager
def listening(modules: Sequence[nn.Module], listener: Listener, sources: Sequence[Source]) -> Iterator[None]:
    """Inside the block `listener` hears of the attention in these modules; after it everything is as before."""
    with ExitStack() as stack:
        _LISTENERS.set((*_LISTENERS.get(), listener))
        stack.callback(_dismiss, listener)
        for source in sources:
            stack.enter_context(source(modules, listener))
        yield


def _dismiss(listener: Listener) -> None:
    _LISTENERS.set(tuple(other for other in _LISTENERS.get() if other is not listener))


def listeners(module: nn.Module) -> list[Listener]:
    """Who listens to this module, in this context; the innermost last."""
    if _QUIET.get():
        return []
    return [listener for listener in _LISTENERS.get() if listener.owns(module)]


def anyone_listens() -> bool:
    """Whether anyone listens to anything, in this context."""
    return bool(_LISTENERS.get()) and not _QUIET.get()


def tell(module: nn.Module, inputs: Inputs) -> Any:
    """Let everyone who listens to this module hear of a call; the innermost answer, if there is one."""
    answer = None
    for listener in listeners(module):
        own = listener.hear(module, inputs)
        answer = answer if own is None else own
    return answer


def miss(module: nn.Module, why: str) -> None:
    """Let everyone who listens to this module, and wants to, know of attention that could not be followed."""
    for listener in listeners(module):
        _tell_missed(listener, module, why)


def note(module: nn.Module, line: str) -> None:
    """Let everyone who listens to this module, and keeps notes, know what to tell its reader."""
    for listener in listeners(module):
        keeps = getattr(listener, "note", None)
        if keeps is not None:
            keeps(line)


def _tell_missed(listener: Listener, module: nn.Module, why: str) -> None:
    told = getattr(listener, "missed", None)
    if told is not None:
        told(module, why)


def reporting(listener: Listener) -> tuple[Record, Missed]:
    """For sources that hook modules for one listener: what tells it of a call, and of one that was missed."""

    def record(module: nn.Module, inputs: Inputs) -> None:
        if listener in listeners(module):
            listener.hear(module, inputs.cast())

    def missed(module: nn.Module, why: str) -> None:
        if listener in listeners(module):
            _tell_missed(listener, module, why)

    return record, missed


def unheard(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function within which nobody listens: what it computes is told by who calls it."""
    token = _QUIET.set(True)
    try:
        return function(*args, **kwargs)
    finally:
        _QUIET.reset(token)


class Shared:
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
