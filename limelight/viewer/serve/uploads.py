"""Texts typed or dropped on the page: which are accepted, and the errors for the others."""

from __future__ import annotations

import json

from limelight.errors import InputError, TooLargeError
from limelight.text.decoding import line_ends

TEXT_BYTES = 1_000_000
FILES = 50
MOST_BYTES = 2 * TEXT_BYTES
"""Of a request: JSON may write a character in more bytes than it has."""


def documents_of(body: bytes) -> tuple[dict[str, str], str | None]:
    """Name → text, and the question, of {"documents": [{"name", "text"}], "question"}. Raises InputError.

    The rules of files hold here too: line ends become `\\n`, and NUL is refused.
    """
    try:
        given = json.loads(body)
        listed = [(str(each["name"]), each["text"]) for each in given["documents"]]
        question = given.get("question")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError('A text comes as {"documents": [{"name", "text"}], "question": null}.') from error
    if not listed or len(listed) > FILES:
        raise InputError(f"Give one to {FILES} texts; got {len(listed)}.")
    if not all(isinstance(text, str) for _, text in listed) or not isinstance(question, str | None):
        raise InputError("A text and a question are strings.")
    if any("\0" in text for text in (*(text for _, text in listed), question or "")):
        raise InputError("A text must have no NUL: what was given is probably not plain text, or is UTF-16.")
    size = sum(len(text.encode("utf-8", "surrogatepass")) for _, text in listed)
    if size > TEXT_BYTES:
        raise too_large(f"these have {size:,}")
    documents: dict[str, str] = {}
    for number, (name, text) in enumerate(listed, 1):
        free = name.strip()[:200] or f"text {number}"
        names = (free, *(f"{free} ({again})" for again in range(2, len(listed) + 2)))
        documents[next(each for each in names if each not in documents)] = line_ends(text)
    return documents, question or None


def too_large(got: str) -> TooLargeError:
    """What to say to texts of more bytes than are read."""
    return TooLargeError(f"At most {TEXT_BYTES:,} bytes of text are read; {got}.")
