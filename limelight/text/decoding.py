"""Bytes → text: UTF-8 alone, one rule for the ends of lines, and for whatever else comes what to do about it.

What is done with the oddities of real files, in one place:

- `\\n` ends a line, and so does `\\r\\n` (Windows). A lone `\\r` ends one only in a file that has no `\\n` at all
  (old Mac); elsewhere it is white space: before a line's end it falls away, within a line it becomes a space.
  Nothing else ends a line: not `\\x0b`, `\\x0c`, `\\x1c` to `\\x1e`, `\\x85`, U+2028 or U+2029. So n lines of a file
  are n texts, as `wc -l` counts them;
- a byte order mark (U+FEFF) is dropped at the start of every line, not of the first alone: files that were put
  together by `cat` have several;
- bytes that are no UTF-8, NUL bytes and files of another kind (compressed, UTF-16, PDF) are refused with file, line
  and the way to convert them: nothing is replaced silently.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from limelight.errors import TextError

MARK = "\ufeff"
"""The byte order mark, as a character."""

KINDS_OF_FILE = (
    (b"\x1f\x8b", "compressed with gzip", "gunzip < {file} > new.txt"),
    (b"BZh", "compressed with bzip2", "bunzip2 < {file} > new.txt"),
    (b"\xfd7zXZ\0", "compressed with xz", "unxz < {file} > new.txt"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstandard", "unzstd < {file} > new.txt"),
    (b"PK\x03\x04", "a zip archive (.zip, .docx, .xlsx, .odt)", "unzip {file}, or save it as plain text"),
    (b"%PDF-", "a PDF", "pdftotext {file} new.txt"),
    (codecs.BOM_UTF32_LE, "UTF-32", "iconv -f UTF-32 -t UTF-8 {file} > new.txt"),
    (codecs.BOM_UTF32_BE, "UTF-32", "iconv -f UTF-32 -t UTF-8 {file} > new.txt"),
    (codecs.BOM_UTF16_LE, "UTF-16", "iconv -f UTF-16 -t UTF-8 {file} > new.txt"),
    (codecs.BOM_UTF16_BE, "UTF-16", "iconv -f UTF-16 -t UTF-8 {file} > new.txt"),
)
"""What the first bytes of a file that is no plain UTF-8 say of it, and how to make one that is."""

_MARKS = re.compile(f"^{MARK}+", re.MULTILINE)
_ESCAPED = re.compile(r"[\udc80-\udcff]")
LOOKED_AT = 4096
"""Bytes that show whether a file with NUL bytes is UTF-16."""
UNDEFINED = {chr(0xDC00 + byte) for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}
"""Bytes that stand for nothing in Windows-1252, as Python's `surrogateescape` shows them."""


def decoded(data: bytes, source: str | Path) -> str:
    """Bytes of UTF-8 → text with `\\n` at the ends of its lines; `source`, a file or another name, is told in errors.

    Raises TextError with the line for what is no UTF-8.
    """
    file = source.name if isinstance(source, Path) else "FILE"
    for start, kind, way in KINDS_OF_FILE:
        if data.startswith(start):
            raise TextError(f"{source} must be plain UTF-8; it is {kind}. Convert it with: {_way(way, file)}")
    nul = data.find(0)
    if nul >= 0:
        raise TextError(
            f"{source}, line {_line_at(data, nul)}: text must have no NUL bytes; found one at byte {nul}. "
            f"{_without_mark(data, file)}"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        found = data[error.start : error.end].hex(" ").upper()
        raise TextError(
            f"{source}, line {_line_at(data, error.start)}: text must be UTF-8; found the byte(s) {found} "
            f"({error.reason}). {_advice(data, file)}"
        ) from error
    return line_ends(text)


def line_ends(text: str) -> str:
    """The same text with `\\n` at the end of every line and no byte order mark at the start of any.

    >>> line_ends("one\\rtwo"), line_ends("one\\rtwo\\r\\n"), line_ends("a\\x0bb\\u2028c")
    ('one\\ntwo', 'one two\\n', 'a\\x0bb\\u2028c')
    """
    if "\r" in text:
        if "\n" in text:
            text = re.sub("\r+\n", "\n", text).replace("\r", " ")
        else:
            text = text.replace("\r", "\n")
    return _MARKS.sub("", text) if MARK in text else text


def trimmed(text: str) -> str:
    """A text without white space and byte order marks at its ends: `paste` puts a file's mark behind a tab.

    >>> trimmed(" \\ufeff Save it.\\n")
    'Save it.'
    """
    while text != (shorter := text.strip().strip(MARK)):
        text = shorter
    return text


def lines_of(text: str) -> list[str]:
    """Every line as it stands, without its end; blank ones too. Only `\\n` ends a line.

    >>> lines_of("one\\n\\nthree\\n")
    ['one', '', 'three']
    """
    return text.removesuffix("\n").split("\n")


def _way(way: str, file: str) -> str:
    return way.format(file=file)


def _line_at(data: bytes, place: int) -> int:
    """The line number (from 1) of the byte at `place`, by the rule of `line_ends`."""
    return data[:place].count(b"\n" if b"\n" in data else b"\r") + 1


def _without_mark(data: bytes, file: str) -> str:
    """What a file with NUL bytes most probably is: in UTF-16, every other byte of Latin text is NUL."""
    start = data[:LOOKED_AT]
    for first, order in ((1, "LE"), (0, "BE")):
        every_other = start[first::2]
        if len(every_other) > 1 and every_other.count(0) * 2 > len(every_other):
            return (
                f"The file is probably UTF-16 without its mark; convert it with: "
                f"iconv -f UTF-16{order} -t UTF-8 {file} > new.txt"
            )
    return "The file is probably not plain text; if it is, take them out with: tr -d '\\0' < FILE > new.txt"


def _advice(data: bytes, file: str) -> str:
    """How to convert bytes that are no UTF-8: by the bytes at fault, of which Latin-1 has none from 80 to 9F."""
    text = data.decode("utf-8", errors="surrogateescape")
    wrong = _ESCAPED.findall(text)
    foreign = sum(not character.isascii() for character in text) - len(wrong)
    if foreign > len(wrong):
        return (
            f"The rest of the file is UTF-8, so only these lines need mending; to drop such bytes: "
            f"iconv -c -f UTF-8 -t UTF-8 {file} > new.txt"
        )
    if UNDEFINED & set(wrong):
        return (
            f"The file is neither Latin-1 nor Windows-1252; convert it from the encoding that it was saved in: "
            f"iconv -f ENCODING -t UTF-8 {file} > new.txt (iconv -l lists them)"
        )
    windows = any(character < "\udca0" for character in wrong)
    name, encoding = ("Windows-1252", "WINDOWS-1252") if windows else ("Latin-1", "ISO-8859-1")
    return f"If the file is {name}, convert it with: iconv -f {encoding} -t UTF-8 {file} > new.txt"
