"""`limelight look` at several files as one text: reads them, asks the model, prints what it looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console

from limelight.cli.arguments import conversation, named_documents
from limelight.cli.console import print_json
from limelight.cli.messages import how_far
from limelight.cli.output_files import save_page, save_picture
from limelight.errors import InputError
from limelight.text.segments import Level

if TYPE_CHECKING:
    from limelight.viewer.builders.from_look import RecordingReader

LEVELS = ("document", "sentence", "word")


def look_at_documents(
    model: str,
    texts: Sequence[str],
    question: str | None,
    *,
    remove: str | None,
    trust_remote_code: bool,
    png: Path | None,
    svg: Path | None,
    html: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Every file a document of its own; a text that is no file, too. With `chat`, one JSON file is a conversation."""
    from limelight.looking.documents import look_conversation, look_documents
    from limelight.looking.documents_render import picture, shown
    from limelight.looking.load import load_reader

    if remove is not None and remove not in LEVELS:
        raise InputError(f"--remove takes {', '.join(LEVELS)}; got {remove!r}.")
    messages = conversation(texts, question) if options["chat"] else None
    documents = {} if messages is not None else named_documents(texts)
    reader = load_reader(model, trust_remote_code)
    kept = kept_for_a_page(reader) if html is not None else None
    reader = kept.reader if kept is not None else reader
    options["remove"] = cast("Level | None", remove)
    with how_far() as options["progress"]:
        if messages is not None:
            del options["chat"]
            found = look_conversation(reader, messages, **options)
        else:
            found = look_documents(reader, documents, question, **options)
    if as_json:
        print_json(found.to_json())
    else:
        Console().print(shown(found))
    for path in (png, svg):
        if path is not None:
            save_picture(picture(found), path)
    if html is not None and kept is not None:
        from limelight.viewer.builders.from_look import of_documents

        heads, layers = options.get("heads"), options.get("layers")
        save_page(of_documents(kept, found, heads, layers), html, heads, layers)


def kept_for_a_page(reader: Any) -> RecordingReader:
    """The reader, keeping the matrices that a page shows."""
    from limelight.viewer.builders.from_look import RecordingReader

    return RecordingReader(reader)
