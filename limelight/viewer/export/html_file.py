"""One offline file of a subject: as many answers as a budget of bytes has room for, in a page of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from limelight.errors import InputError
from limelight.files import PAGE_ENDINGS, folder_for, write_text
from limelight.viewer import template
from limelight.viewer.export.contents import ExportContents
from limelight.viewer.protocol.pack import Pack
from limelight.viewer.protocol.requests import Question
from limelight.viewer.subject import Subject

FILE_BUDGET = 4_800_000
"""Of the whole file."""
LAST = 4_000
"""Kept for `about`, which is written again once it is known what else is in the file."""


def save(
    subject: Subject,
    path: str | Path,
    slices: Sequence[str] = (),
    budget: int = FILE_BUDGET,
    again: str = "",
    heard: Callable[[], None] = lambda: None,
) -> Path:
    """Write the page of a subject as one file that needs no network, aside first and then renamed.

    slices  which heads go in beside those the page begins with: "3.5", "3"
    budget  bytes of the whole file
    again   the command that makes a file with other heads, for the page to tell
    heard   called between tiles; what it raises ends the making

    Raises InputError where the front end was not built, not even the first of it fits, or the path is no page's.
    """
    path = Path(path)
    folder_for(path, "page", PAGE_ENDINGS)
    empty = len(template.offline(subject.title, b"").encode())
    pack = packed(subject, slices, (budget - empty) * 3 // 4, again, heard)
    return write_text(path, template.offline(subject.title, pack.to_bytes()))


def packed(
    subject: Subject,
    slices: Sequence[str] = (),
    room: int = FILE_BUDGET * 3 // 4,
    again: str = "",
    heard: Callable[[], None] = lambda: None,
) -> Pack:
    """The answers that go into a file, within so many bytes."""
    subject.read(heard)
    pack = Pack(room - LAST)
    made = ExportContents(subject, pack, tuple(slices), heard)
    made.needed()
    made.wanted()
    about = Question.of("about", {})
    pack.put(about, made.about(again), must=True)
    if pack.size > room:
        raise InputError(
            f"A file of this takes {pack.size * 4 // 3:,} bytes at least, beside the page itself; raise the budget."
        )
    return pack
