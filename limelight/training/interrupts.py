"""Ctrl-C between two updates, never within one: what a checkpoint then holds is a state that a run passes through."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_wait() -> Iterator[Callable[[], bool]]:
    """Inside the block Ctrl-C only makes the function that it yields say True; a second one interrupts at once.

    Somebody else's handling of Ctrl-C is left as it is, and threads cannot change it: there nothing waits.
    """
    asked = False

    def keep(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, keep)
    try:
        yield lambda: asked
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
