"""Files → texts: plain text, folders of text, pairs (TSV), JSON lines.

What is done with the oddities of real files, in one place:

- a byte order mark at the start is dropped; UTF-16 files are refused (with the way to convert them);
- Windows (`\\r\\n`) and old Mac (`\\r`) line ends become `\\n`;
- bytes that are no UTF-8, and NUL bytes, are refused with file and line: nothing is replaced silently;
- an empty file (or one of white space only) is refused: it is mostly a wrong path or an unfinished copy;
- a line may have any length.

Every refusal is a TextError that names the file and, where there is one, the line.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from limelight.errors import TextError

TEXT_SUFFIXES = (".txt", ".md", ".rst", ".text")
"""The files that `read_texts` takes out of a folder."""


def read_text(path: str | Path) -> str:
    """One file of UTF-8 text, line ends made `\\n`."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise TextError(f"{path} must be a text file; there is no such file. Check the path.") from error
    except OSError as error:
        raise TextError(f"{path} must be a text file that can be read; {error.strerror or error}.") from error
    text = read_bytes(data, path)
    if not text.strip():
        raise TextError(f"{path} must hold text; it is empty. Check that it was written completely.")
    return text


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
    """A file of source<TAB>target lines → pairs, white space at the ends stripped.

    Blank lines are skipped. A line with no tab, more than one, or an empty side is refused.
    """
    path = Path(path)
    pairs = []
    for number, line in _numbered_lines(read_text(path)):
        fields = [field.strip() for field in line.split("\t")]
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
    Blank lines are skipped.
    """
    path = Path(path)
    values: list[Any] = []
    for number, line in _numbered_lines(read_text(path)):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TextError(
                f"{path}, line {number}: a line must be one JSON value; {error}: {_shortened(line)}."
            ) from error
        values.append(_picked(value, fields, f"{path}, line {number}") if fields else value)
    return values


def line_ends(text: str) -> str:
    """The same text with `\\n` at the end of every line."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(data: bytes, source: str | Path) -> str:
    """Bytes of UTF-8 → text, line ends made `\\n`; `source`, a file or another name, is told in the refusal."""
    file = source.name if isinstance(source, Path) else "FILE"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise TextError(
            f"{source} must be UTF-8; it starts with the mark of UTF-16. "
            f"Convert it with: iconv -f UTF-16 -t UTF-8 {file} > new.txt"
        )
    data = data.removeprefix(codecs.BOM_UTF8)
    nul = data.find(0)
    if nul >= 0:
        raise TextError(
            f"{source}, line {_line_at(data, nul)}: text must have no NUL bytes; found one at byte {nul}. "
            f"The file is probably not plain text (or UTF-16 without its mark)."
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        found = data[error.start : error.end].hex(" ").upper()
        raise TextError(
            f"{source}, line {_line_at(data, error.start)}: text must be UTF-8; found the byte(s) {found} "
            f"({error.reason}). If the file is Latin-1, convert it with: "
            f"iconv -f ISO-8859-1 -t UTF-8 {file} > new.txt"
        ) from error
    return line_ends(text)


def _line_at(data: bytes, place: int) -> int:
    """The line number (from 1) of the byte at `place`, with all three kinds of line end."""
    before = data[:place].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return before.count(b"\n") + 1


def _numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of the lines that are not blank; only `\\n` ends a line."""
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


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
