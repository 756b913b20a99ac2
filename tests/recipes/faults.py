"""A process that is killed, or a disk that is full, at the nth change of a file: what no test can wait for
by chance."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import safetensors.torch
from safetensors import SafetensorError

Fault = Literal["kill", "full"]
WRITING = set("wax+")
CREATES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Killed(BaseException):
    """The process is gone: nothing can be written, renamed or removed any more."""


class Changes:
    """Counts the changes of files, and lets the nth, and all later ones, go wrong."""

    def __init__(self, fault: Fault, at: int) -> None:
        self.fault, self.at, self.done = fault, at, 0

    def next(self, name: object, room: bool) -> None:
        """One more change; `room` where it needs some on the disk."""
        self.done += 1
        if self.done < self.at:
            return
        if self.fault == "kill":
            raise Killed(self.done)
        if room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(name))

    @property
    def happened(self) -> bool:
        return self.done >= self.at


@contextmanager
def fault_at(fault: Fault, at: int) -> Iterator[Changes]:
    """Inside the block the `at`th change of a file goes wrong, half done, and all after it."""
    changes = Changes(fault, at)

    def counted(change: Callable[..., Any], room: bool) -> Callable[..., Any]:
        def wrapper(path: Any, *args: Any, **keywords: Any) -> Any:
            changes.next(path, room)
            return change(path, *args, **keywords)

        return wrapper

    real_open, real_os_open, real_save = builtins.open, os.open, safetensors.torch.save_file

    def opened(file: Any, mode: str = "r", *args: Any, **keywords: Any) -> Any:
        if WRITING & set(mode) and not isinstance(file, int):
            try:
                changes.next(file, room=True)
            except BaseException:
                if changes.done == changes.at and "w" in mode:
                    real_open(file, "wb").close()  # emptied, and nothing in it yet
                raise
        return real_open(file, mode, *args, **keywords)

    def os_opened(path: Any, flags: int, *args: Any, **keywords: Any) -> Any:
        if flags & CREATES:
            changes.next(path, room=bool(flags & os.O_CREAT))
        return real_os_open(path, flags, *args, **keywords)

    def saved(tensors: Any, file: Any, *args: Any, **keywords: Any) -> Any:
        try:
            changes.next(file, room=True)
        except BaseException as error:
            if changes.done == changes.at:
                real_save(tensors, file, *args, **keywords)
                whole = Path(file).read_bytes()
                with real_open(file, "wb") as half:
                    half.write(whole[: len(whole) // 2])
            if isinstance(error, OSError):  # as the library says it
                raise SafetensorError(f"I/O error: {error.strerror} (os error {error.errno})") from None
            raise
        return real_save(tensors, file, *args, **keywords)

    with (
        mock.patch.object(builtins, "open", opened),
        mock.patch.object(io, "open", opened),
        mock.patch.object(os, "open", os_opened),
        mock.patch.object(safetensors.torch, "save_file", saved),
        mock.patch.multiple(
            os,
            **{
                name: counted(getattr(os, name), False)
                for name in ("replace", "rename", "unlink", "rmdir", "fsync")
            },
            mkdir=counted(os.mkdir, True),
        ),
    ):
        yield changes
