"""A process that may write in one folder alone, root or not: what broken input must never reach stays as it is.

Python tells its audit hooks of every file that is opened, renamed or removed before it is done; this one refuses what
lies outside, as the system refuses it to a user without the right. So it is also how unwritable places are tried.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATHS = {
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.mkdir": (0,),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.link": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
}
"""Events, and which of their arguments are paths that are changed."""
OPEN_TO_ALL = ("/dev/shm/",)


def write_only_below(folder: Path) -> None:
    """From now on this process changes nothing outside the folder; there is no way back."""
    allowed = f"{os.path.realpath(folder)}/"

    def refuse(event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = given
            if isinstance(path, str | bytes) and flags & WRITES and not _is_device(path):
                _check(path, -1, allowed, follow=True)
        elif event in PATHS:
            dir_fd = given[-1] if isinstance(given[-1], int) and event in ("os.remove", "os.rmdir") else -1
            for place in PATHS[event]:
                if isinstance(given[place], str | bytes):
                    _check(given[place], dir_fd, allowed)

    sys.addaudithook(refuse)


def _is_device(path: str | bytes) -> bool:
    """Whether writing changes nothing there: /dev/null, /dev/full, a terminal."""
    try:
        return stat.S_ISCHR(Path(os.fsdecode(path)).stat().st_mode)
    except (OSError, ValueError):
        return False


def _check(path: str | bytes, dir_fd: int, allowed: str, follow: bool = False) -> None:
    name = os.fsdecode(path)
    if dir_fd >= 0:
        within = Path(f"/proc/self/fd/{dir_fd}").readlink()
        name = f"{within}/{name}"
    # What is renamed or removed is a link itself, what is opened is where it leads.
    place = Path(name).absolute()
    real = os.path.realpath(place) if follow else f"{os.path.realpath(place.parent)}/{place.name}"
    if not real.startswith((allowed, *OPEN_TO_ALL)):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
