"""Every error that Limelight raises on purpose, as one tree.

    LimelightError
    ├── InputError (ValueError)        an argument does not fit
    │   ├── OutOfRangeError (IndexError) a place that there is not: query 9 of 5
    │   ├── ShapeError                 tensors whose sizes disagree
    │   ├── TextError                  a file or a text that cannot be read
    │   ├── DivergedError              a training whose loss or gradient is no number any more
    │   └── RecipeError                a training recipe that makes no sense
    ├── ArgumentTypeError (TypeError)  an argument of the wrong type or dtype
    ├── TooLargeError (MemoryError)    an answer that would not fit the stated limit
    ├── CheckpointError (RuntimeError) a folder that holds no usable model or training state
    ├── FileError (OSError)            a file or folder that the system does not let be read or written
    ├── CaptureError (RuntimeError)    attention that could not be seen, or not exactly
    └── MissingExtraError (ImportError) an optional package that is not installed

A message has four parts: what must hold, what came, what to do, and, where it surprises, why.
"""

from __future__ import annotations

import errno
import importlib
import math
import operator
import os
import reprlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any, SupportsFloat, SupportsIndex, cast


class LimelightError(Exception):
    """The root of the tree: catch this to catch everything that Limelight refuses."""


class InputError(LimelightError, ValueError):
    """An argument has the right type and a value that cannot be used."""


class OutOfRangeError(InputError, IndexError):
    """A place, counted from 0, that there is not."""


class ShapeError(InputError):
    """Tensors whose sizes disagree with each other or with their names."""


class TextError(InputError):
    """A file or text that cannot be read as what it claims to be."""


class DivergedError(InputError):
    """A training whose loss or gradient is no number any more: its rate is too high, or its warmup too short."""


class RecipeError(InputError):
    """A training recipe with an unknown, missing or contradictory entry."""


class ArgumentTypeError(LimelightError, TypeError):
    """An argument of the wrong type, or a tensor of the wrong dtype."""


class TooLargeError(LimelightError, MemoryError):
    """An answer that would take more memory than the limit allows."""


class CheckpointError(LimelightError, RuntimeError):
    """A folder that does not hold the model or the training state it should."""


class FileError(LimelightError, OSError):
    """A file or folder that the system does not let be read or written: no right to it, no room, no such place.

    It is what the system raised, too: of one for a missing file, `except FileNotFoundError` catches it.
    """

    def __str__(self) -> str:
        return f"{self.what_came} {_WAYS_OUT.get(self.errno or 0, 'Give another path.')}"

    @property
    def what_came(self) -> str:
        """The path, and what the system says of it."""
        paths = " → ".join(_spelled(each) for each in (self.filename, self.filename2) if each is not None)
        return f"{paths or 'A file'}: {self.strerror}."

    def __reduce__(self) -> tuple[Any, ...]:
        return file_error, (OSError(self.errno, self.strerror, self.filename, None, self.filename2),)


_WAYS_OUT = {
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        "Give another path, or let this user read it and write there (chmod, chown).",
    ),
    errno.EROFS: "Nothing can be written on that disk: give a path on another.",
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "Make room for it, or give a path on another disk, and do the same again.",
    ),
    errno.ENOENT: "Give the path of something that is there.",
    errno.EEXIST: "Give another path, or move away what is there.",
    errno.EISDIR: "Give the path of a file.",
    errno.ENOTDIR: "A part of the path is a file; give one that leads through folders.",
    errno.ENAMETOOLONG: "Give a shorter path.",
    errno.ELOOP: "Its links lead to each other; give the path of what is meant.",
    errno.EIO: "The disk fails: try again, or give a path on another disk.",
    errno.EMFILE: "Too many files are open: close some, or raise the limit (ulimit -n).",
}
"""What to do, by the system's number of the error."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Where a write finds no room, Python names no file."""


def tells_of_a_file(error: OSError) -> bool:
    """Whether the system says this of a file or folder, and not of a connection or a pipe.

    >>> tells_of_a_file(PermissionError(13, "Permission denied", "run")), tells_of_a_file(TimeoutError("timed out"))
    (True, False)
    """
    named = (
        error.filename is not None and isinstance(error.errno, int) and not isinstance(error, ConnectionError)
    )
    return isinstance(error, FileError) or (named and not hasattr(error, "url")) or error.errno in NO_ROOM


def file_error(error: OSError) -> FileError:
    """What the system says of a path, as an error that is both a FileError and of the kind that Python raised.

    >>> said = file_error(PermissionError(13, "Permission denied", "run/card.json"))
    >>> isinstance(said, LimelightError), isinstance(said, PermissionError), said.what_came
    (True, True, 'run/card.json: Permission denied.')
    """
    if isinstance(error, FileError):
        return error
    said = error.strerror or str(error).rstrip(".") or "it cannot be used"
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    return _file_kind(kind)(error.errno or errno.EIO, said, error.filename, None, error.filename2)


_KINDS: dict[type[OSError], type[FileError]] = {OSError: FileError}
"""FileErrors that are one of Python's kinds of OSError, too."""


def _file_kind(kind: type[OSError]) -> type[FileError]:
    if kind not in _KINDS:
        named = {"__module__": __name__, "__qualname__": "FileError", "__doc__": FileError.__doc__}
        _KINDS[kind] = type("FileError", (FileError, kind), named)
    return _KINDS[kind]


def _spelled(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else repr(path)


class CaptureError(LimelightError, RuntimeError):
    """The attention of a model could not be seen, or what was seen is not what the model computed."""


class MissingExtraError(LimelightError, ImportError):
    """An optional package is needed and not installed."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional `module`, or say which install line brings it.

    >>> require("json", extra="plot", purpose="to draw").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise  # it is there, and lacks a package of its own
        raise MissingExtraError(
            f"{purpose} needs the package {module.partition('.')[0]!r}, which is not installed. "
            f"Install it with: pip install 'limelight[{extra}]'"
        ) from error


def is_one_of(value: object, allowed: Iterable[str]) -> bool:
    """Whether `value` is one of these words; False for an array or a tensor, whose comparison is no truth value.

    >>> is_one_of("left", ("left", "right"))
    True
    """
    return isinstance(value, str) and value in tuple(allowed)


def one_of(name: str, allowed: Iterable[object], got: object) -> str:
    """The message for a value that is none of those that are allowed.

    >>> one_of("side", ("left", "right"), "up")
    "side must be one of left, right; got 'up'."
    """
    return f"{name} must be one of {', '.join(map(str, allowed))}; got {reprlib.repr(got)}."


def check_whole(name: str, value: object, least: int | None = None, most: int | None = None) -> None:
    """Raise ArgumentTypeError where `value` is no whole number, InputError where it is below `least` or above `most`.

    >>> check_whole("beam", 5, 1, 1000)
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentTypeError(f"{name} must be a whole number; got {reprlib.repr(value)}.")
    try:
        number = operator.index(cast(SupportsIndex, value))
    except TypeError as error:  # a tensor of several numbers, or of others
        raise ArgumentTypeError(f"{name} must be a whole number; got {reprlib.repr(value)}.") from error
    if (least is not None and number < least) or (most is not None and number > most):
        limit = f"at least {least:,}" if most is None else f"from {least or 0:,} to {most:,}"
        raise InputError(f"{name} must be {limit}; got {name} = {reprlib.repr(number)}.")


def check_number(name: str, value: object, least: float = -math.inf, most: float = math.inf) -> None:
    """Raise ArgumentTypeError where `value` is no number, InputError where it is not finite or out of bounds.

    >>> check_number("temperature", 0.7, 0, 1000)
    """
    if isinstance(value, bool | str) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise ArgumentTypeError(f"{name} must be a number; got {reprlib.repr(value)}.")
    try:
        number = float(cast(SupportsFloat, value))
    except (OverflowError, ValueError, TypeError, RuntimeError):
        number = math.nan
    if not (math.isfinite(number) and least <= number <= most):
        limit = "finite" if (least, most) == (-math.inf, math.inf) else f"from {least} to {most}"
        raise InputError(f"{name} must be {limit}; got {reprlib.repr(value)}.")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory, of the machine or of a GPU.

    PyTorch raises a plain RuntimeError where the system gives it no memory.

    >>> out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    True
    """
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _NO_MEMORY)


_NO_MEMORY = (
    "allocate memory",
    "not enough memory",
    "out of memory",
    "bad alloc",
    "storage size calculation",
)
