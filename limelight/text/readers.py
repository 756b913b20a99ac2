"""Files → texts: plain text, folders of text, pairs (TSV), JSON lines.

decoding.py turns bytes into text, the same way for every file and pipe. Beyond that:

- an empty file (or one of white space only) is refused: it is mostly a wrong path or an unfinished copy;
- a line may have any length; a blank line is no row;
- white space and a byte order mark at the ends of a TSV's fields, and of labels, fall away.

Every refusal is a TextError that names the file and, where there is one, the line.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from limelight.errors import TextError
from limelight.text.decoding import decoded, lines_of, trimmed

TEXT_SUFFIXES = (".txt", ".md", ".rst", ".text")
"""The files that `read_texts` takes out of a folder."""

HALF_A_PAIR = re.compile("[\ud800-\udfff]")
"""What no text may hold; JSON can, by its escapes."""


def read_text(path: str | Path) -> str:
    """One file of UTF-8 text, line ends made `\\n`."""
    path = Path(path)
    with opened(path) as file:
        text = decoded(file.read(), path)
    if not text.strip():
        raise TextError(f"{path} must hold text; it is empty. Check that it was written completely.")
    return text


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file of the user's, to be read in the block. Raises TextError where it cannot be, or has no end."""
    try:
        with path.open("rb") as file:
            if _endless(file):
                raise TextError(f"{path}: cannot be read; it is a device. Give a file or a pipe.")
            yield file
    except TextError:
        raise
    except FileNotFoundError as error:
        raise TextError(f"{path}: cannot be read; there is no such file. Check the path.") from error
    except (OSError, ValueError) as error:  # ValueError: a path with what no path may hold
        raise TextError(
            f"{path}: cannot be read; it must be a text file: {getattr(error, 'strerror', None) or error}."
        ) from error


def read_texts(paths: str | Path | Iterable[str | Path]) -> dict[str, str]:
    """Several files, or every text file below a folder in sorted order: {path as given: text}.

    From a folder come the files with the endings of `TEXT_SUFFIXES`, at any depth and through links, hidden ones
    left out; a folder without any, and a link that leads nowhere, is refused. Files given by name may have any
    ending.
    """
    given = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    files = [file for path in given for file in (_files_below(path) if path.is_dir() else [path])]
    if not files:
        raise TextError("At least one file or folder must be given to read texts from; got none.")
    return {str(file): read_text(file) for file in files}


def read_pairs(path: str | Path) -> list[tuple[str, str]]:
    """A file of source<TAB>target lines → pairs, white space (and byte order marks) at the ends stripped.

    Blank lines are skipped. A line with no tab, more than one, or an empty side is refused.
    """
    path = Path(path)
    pairs = []
    for number, line in _numbered_lines(read_text(path)):
        fields = [trimmed(field) for field in line.split("\t")]
        if len(fields) != 2 or not all(fields):
            raise TextError(
                f"{path}, line {number}: a line must be source<TAB>target; found {_field_count(fields)}: "
                f"{_shortened(line)}. Put exactly one tab between two texts that are not empty."
            )
        pairs.append((fields[0], fields[1]))
    return pairs


def read_jsonl(path: str | Path, *fields: str) -> list[Any]:
    """A file with one JSON value a line → those values; with `fields`, tuples of these strings.

    `read_jsonl(path)` gives the values as they stand; `read_jsonl(path, "text", "label")` gives
    `[(text, label), …]` and refuses a line that is no object or lacks one of the fields as a string.
    Blank lines are skipped; a string that is no valid Unicode (half a surrogate pair) is refused.
    """
    path = Path(path)
    return [_row(path, number, line, fields) for number, line in _numbered_lines(read_text(path))]


def read_labelled(path: str | Path) -> list[tuple[str, str]]:
    """A file of JSON objects with "text" and "label", one a line → (text, label) rows.

    The ends of labels are stripped as `read_pairs` does it; an empty text or label is refused.
    """
    path = Path(path)
    rows = []
    for number, line in _numbered_lines(read_text(path)):
        text, label = _row(path, number, line, ("text", "label"))
        label = trimmed(label)
        for name, value in (("text", text.strip()), ("label", label)):
            if not value:
                raise TextError(
                    f"{path}, line {number}: the field {name!r} must not be empty. Fill it in, or take the line out."
                )
        rows.append((text, label))
    return rows


def _numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of the lines that are not blank; only `\\n` ends a line."""
    return ((number, line) for number, line in enumerate(lines_of(text), 1) if line.strip())


def _endless(file: IO[bytes]) -> bool:
    """Whether this is a device that never ends, such as /dev/zero; a terminal is none."""
    return stat.S_ISCHR(os.fstat(file.fileno()).st_mode) and not file.isatty() and file.name != os.devnull


def _row(path: Path, number: int, line: str, fields: tuple[str, ...]) -> Any:
    """The JSON value of one line; with `fields`, these strings of it."""
    where = f"{path}, line {number}"
    try:
        value = json.loads(line)
        # The escapes of JSON are the only way for half a pair to come in.
        half = "\\u" in line and HALF_A_PAIR.search(json.dumps(value, ensure_ascii=False))
    except (ValueError, RecursionError) as error:
        raise TextError(f"{where}: a line must be one JSON value; {error}: {_shortened(line)}.") from error
    if half:
        raise TextError(
            f"{where}: a text must be valid Unicode; this line holds half of a surrogate pair (\\ud800 to \\udfff "
            f"without its other half): {_shortened(line)}. It was cut within a character: mend or drop the line."
        )
    return _picked(value, fields, where) if fields else value


def _files_below(folder: Path) -> list[Path]:
    files = sorted(_texts_below(folder, set()))
    if not files:
        raise TextError(
            f"The folder {folder} must hold files ending in {', '.join(TEXT_SUFFIXES)}; it has none."
        )
    return files


def _texts_below(folder: Path, above: set[Path]) -> Iterator[Path]:
    """Links are followed, but for one that leads back to a folder that it lies in."""
    real = folder.resolve()
    if real in above:
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_symlink() and not path.exists():
            raise TextError(
                f"{path} is a link to {path.readlink()}, where there is nothing. Mend the link, or remove it."
            )
        if path.is_dir():
            yield from _texts_below(path, above | {real})
        elif path.suffix.lower() in TEXT_SUFFIXES and path.is_file():
            yield path


def _picked(value: Any, fields: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The named strings of one JSON object."""
    if not isinstance(value, dict):
        raise TextError(
            f"{where}: a line must be a JSON object with {', '.join(fields)}; found {_shortened(value)}."
        )
    for field in fields:
        if not isinstance(value.get(field), str):
            found = _shortened(value[field]) if field in value else f"only {', '.join(value) or 'nothing'}"
            raise TextError(f"{where}: the field {field!r} must be a string; found {found}.")
    return tuple(value[field] for field in fields)


def _field_count(fields: list[str]) -> str:
    if len(fields) == 2:
        return f"an empty {'source' if not fields[0] else 'target'}"
    return "no tab" if len(fields) == 1 else f"{len(fields) - 1} tabs"


def _shortened(value: Any, most: int = 60) -> str:
    """`repr`, cut so that a line of a million characters does not fill the screen."""
    shown = repr(value[: most + 1] if isinstance(value, str) else value)
    return shown if len(shown) <= most + 2 else shown[:most] + "…"
