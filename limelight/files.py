"""Files that are whole or not there: written aside, under another name in the same folder, and then renamed."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limelight.errors import InputError

PAGE_ENDINGS = (".html", ".htm")
"""Of the names of pages for a browser."""


def folder_for(path: Path, what: str = "file", endings: Sequence[str] = ()) -> Path:
    """The folder that a file is to be written to. Whoever works long for what it will hold, asks beforehand.

    Raises InputError where there is no such folder, `path` is one itself, or its name has none of the `endings`.
    """
    if endings and path.suffix.lower() not in endings:
        raise InputError(f"The {what}'s name must end in {' or '.join(endings)}; got {path.name!r}.")
    if not path.parent.is_dir():
        raise InputError(f"The {what}'s folder must exist; there is no {path.parent}. Make it first.")
    if path.is_dir():
        raise InputError(f"The {what} must have a name of its own; {path} is a folder.")
    return path.parent


def own_folder(path: Path, what: str) -> Path:
    """A folder to write into, which need not be there yet.

    Raises InputError where `path` is a file, or lies in one, or a link in it leads nowhere.
    """
    for place in (path, *path.parents):
        try:
            os.fsencode(place)
            there, leads = os.path.lexists(place), place.exists()
        except (OSError, ValueError) as error:  # a name that is too long, or holds what none may
            raise InputError(
                f"{what} is kept in a folder; {place} cannot be one: {getattr(error, 'strerror', None) or error}."
            ) from error
        if there and not leads:
            raise InputError(
                f"{what} is kept in a folder; {place} is a link to {place.readlink()}, where there is nothing. Make "
                "that folder, or give another one."
            )
        if leads and not place.is_dir():
            raise InputError(f"{what} is kept in a folder; {place} is a file. Give another folder.")
    return path


def new_folder(path: Path, what: str) -> Path:
    """A folder to write into that is not there yet, or empty, so that no file in it is written over.

    Raises InputError for any other.
    """
    own_folder(path, what)
    if path.is_dir() and (there := sorted(each.name for each in path.iterdir())):
        some = ", ".join(there[:3]) + (", …" if len(there) > 3 else "")
        raise InputError(
            f"{what} is written to a new folder; {path} holds {some}. Give another, or empty it."
        )
    return path


def replaceable(path: Path, what: str, begins: str) -> Path:
    """A file to write, in an existing folder, which may take the place of an older one of its kind alone.

    `begins` is a regular expression for the first line of such a file.
    Raises InputError for any other file that is there.
    """
    folder_for(path)
    if path.exists():
        with path.open("rb") as file:
            first = file.readline(200)
        if re.fullmatch(begins.encode(), first.strip()) is None:
            raise InputError(
                f"The {what} would take the place of {path}, which is something else. Give another name, or "
                "move it away."
            )
    return path


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the name `path` when the block has ended well, else it is gone.

    A link stays a link, and what it leads to is replaced; a device or a pipe is written to. Raises InputError where
    there is no such folder, or `path` is one itself.
    """
    folder_for(path)
    real = Path(os.path.realpath(path))
    if real.exists() and not real.is_file():
        with tempfile.TemporaryDirectory() as scratch:
            aside = Path(scratch) / path.name
            yield aside
            with real.open("wb") as out:
                out.write(aside.read_bytes())
        return
    handle, name = tempfile.mkstemp(dir=folder_for(real), prefix=f".{real.name}.", suffix=real.suffix)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        mask = os.umask(0)
        os.umask(mask)
        aside.chmod(0o666 & ~mask)  # as a new file has it
        flush(aside)
        os.replace(aside, real)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:  # as a full disk leaves it
            error.filename = str(path)
        raise


def write_text(path: Path, text: str) -> Path:
    """Write a text as UTF-8, its line ends as they are."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")
    return path


def flush(path: Path) -> None:
    """Ask the system to have a file (or a folder's names) on disk before the rename that counts on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_tensors(tensors: Mapping[str, Any], file: Path, about: dict[str, str] | None = None) -> None:
    """Write tensors in the safetensors format. Raises OSError with the file's name where the disk does not take them.

    The library raises an error of its own there, which has the system's number only in its text.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), file, about)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise OSError(errno.EIO, str(error), str(file)) from error
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(file)) from error
