"""Let Ctrl-C take effect between two updates, so that a checkpoint is always a state of the run.

What a system sends to end a process in good time (SIGTERM, of `kill`, a batch system or a container; SIGHUP, of a
terminal that is closed) is the same to it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDS = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]


class Terminated(KeyboardInterrupt):
    """The process was asked to end by a signal other than Ctrl-C's: `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_interrupt(number: int, frame: FrameType | None = None) -> None:
    """What a signal that ends the process does: KeyboardInterrupt, so that what is half written is cleared away."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(number)


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Inside the block `handler` is asked at Ctrl-C, SIGTERM and SIGHUP.

    Somebody else's handling of a signal is left as it is, and threads cannot change it: there nothing happens.
    """
    usual = {signal.SIGINT: (signal.default_int_handler,)}
    usual |= dict.fromkeys(_ENDS, (signal.SIG_DFL, raise_interrupt))
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {
            number: signal.getsignal(number)
            for number, ours in usual.items()
            if signal.getsignal(number) in ours
        }
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def interrupts_wait() -> Iterator[Callable[[], int]]:
    """Inside the block Ctrl-C, SIGTERM and SIGHUP only make the function that it yields give the signal's number.

    Until then it gives 0. A second one interrupts at once.
    """
    asked = 0

    def keep(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise_interrupt(number)
        asked = number

    with handled(keep):
        yield lambda: asked
