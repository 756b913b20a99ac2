"""Arguments that several commands share: texts, files, pipes, head numbers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limelight.errors import InputError

SEPARATORS = {"/", os.sep}
PIPE = "-"
"""In the place of a text: the lines of stdin."""
TEXT_ENDINGS = (".txt", ".md", ".tsv", ".rst")
"""What a text of one word is taken for a path by."""


def is_file(text: str) -> bool:
    """Whether this text is a file's path, or a pipe's. What looks like one, or is a folder's, is refused otherwise.

    A bare word is a text even where a folder has that name.
    """
    path = Path(text)
    try:
        if path.exists() and not path.is_dir():
            return True
        folder = any(sign in text for sign in SEPARATORS) and path.is_dir()
    except (OSError, ValueError):  # a text that is too long to be a path, or holds what no path may
        return False
    if folder:
        raise InputError(f"{text} is a folder; give a text or the path of a text file.")
    spaced = any(sign.isspace() for sign in text)
    if not spaced and (any(sign in text for sign in SEPARATORS) or text.lower().endswith(TEXT_ENDINGS)):
        raise InputError(f"There is no such file: {text}. If it is a text, put a space after it: '{text} '.")
    return False


def text_of(given: str) -> str:
    """A text as it stands, or what the file holds whose path it is, without the end of its last line."""
    from limelight.text.readers import read_text

    return read_text(given).removesuffix("\n") if is_file(given) else given


@dataclass(frozen=True)
class Line:
    """A text that a command was given, and what to call it: `text 2`, `line 7 of in.txt`.

    `in_command` says that it stood in the command itself, and not in a file or a pipe.
    """

    text: str
    name: str
    in_command: bool = False


def named_lines(texts: Sequence[str]) -> list[Line]:
    """Each text itself, each line of each file, and for `-` those of the pipe; blank ones too."""
    from limelight.text.readers import read_text

    found: list[Line] = []
    for number, text in enumerate(texts, 1):
        if text == PIPE:
            found += piped_lines()
        elif is_file(text):
            found += lines_named(read_text(text), text)
        else:
            found.append(Line(text, f"text {number}", in_command=True))
    return found


def piped_lines() -> list[Line]:
    """The lines of stdin; none where nothing comes. Raises InputError for a terminal."""
    from limelight.text.decoding import decoded

    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(f"{PIPE} stands for the lines of a pipe, and there is none. Give a text or a file.")
    text = decoded(sys.stdin.buffer.read(), "What comes through the pipe")
    return lines_named(text, "the pipe") if text else []


def lines_named(text: str, source: str) -> list[Line]:
    """Each line of what was read from `source`, with its number."""
    from limelight.text.decoding import lines_of

    return [Line(line, f"line {number} of {source}") for number, line in enumerate(lines_of(text), 1)]


def lines_from(texts: Sequence[str]) -> list[str]:
    """Each text itself, each line of each file, and for `-` those of the pipe; blank ones too."""
    return [line.text for line in named_lines(texts)]


def named_documents(texts: Sequence[str]) -> dict[str, str]:
    """Files by the shortest end of their path that tells them apart; texts by number."""
    from limelight.text.readers import read_text

    if not texts:
        raise InputError("Give the files to look at: limelight look a.md b.md --model PATH --question TEXT.")
    files = [text for text in texts if is_file(text)]
    names = _short(list(dict.fromkeys(files)))
    found: dict[str, str] = {}
    for number, text in enumerate(texts, 1):
        name = names.get(text, f"text {number}")
        if name in found:
            raise InputError(f"The file {text} is given twice; once is enough.")
        found[name] = read_text(text) if text in names else text
    return found


def _short(files: Sequence[str]) -> dict[str, str]:
    parts = {file: Path(file).parts for file in files}
    names: dict[str, str] = {}
    for file, own in parts.items():
        count = 1
        while count < len(own) and any(
            each[-count:] == own[-count:] for other, each in parts.items() if other != file
        ):
            count += 1
        names[file] = "/".join(own[-count:])
    return names


def conversation(texts: Sequence[str], question: str | None) -> list[dict[str, str]] | None:
    """The messages of one JSON file, and the question as what the user says next; None where it is something else."""
    if len(texts) != 1 or not texts[0].lower().endswith(".json"):
        return None
    from limelight.text.readers import read_text

    try:
        messages = json.loads(read_text(texts[0]))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{texts[0]} must hold a conversation as JSON; it is no JSON ({error}).") from error
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise InputError(
            f'{texts[0]} must hold a list of messages, [{{"role": "user", "content": "…"}}, …]; it holds other JSON.'
        )
    return [*messages, *([{"role": "user", "content": question}] if question else [])]


def parse_heads(words: list[str] | None) -> list[tuple[int, int]] | None:
    """`2.1` → layer 2, head 1."""
    if not words:
        return None
    try:
        return [(int(layer), int(number)) for layer, number in (word.split(".") for word in words)]
    except ValueError as error:
        raise InputError(
            f"--head takes LAYER.HEAD, both counted from 0, such as 2.1; got {' '.join(words)}."
        ) from error
