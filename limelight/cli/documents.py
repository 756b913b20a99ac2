"""`limelight look` at several files as one text: reads them, asks the model, prints what it looked at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console

from limelight.cli.lines import how_far, tell_written
from limelight.errors import InputError
from limelight.text.segments import Level

if TYPE_CHECKING:
    from limelight.viewer.looks import Kept

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
    from limelight.tasks.documents import look_conversation, look_documents
    from limelight.tasks.documents_shown import picture, shown

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
        print(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        Console().print(shown(found))
    for path in (png, svg):
        if path is not None:
            from limelight.readings.canvas import save

            save(picture(found), path)
            tell_written(path)
    if html is not None and kept is not None:
        from limelight.cli.look import save_page
        from limelight.viewer.looks import of_documents

        heads, layers = options.get("heads"), options.get("layers")
        save_page(of_documents(kept, found, heads, layers), html, heads, layers)


def kept_for_a_page(reader: Any) -> Kept:
    """The reader, keeping the matrices that a page shows."""
    from limelight.viewer.looks import Kept

    return Kept(reader)


def load_reader(model: str, trust_remote_code: bool) -> Any:
    """A Hugging Face model, or one of ours."""
    from limelight.tasks.hugging_face import HuggingFaceReader, is_hugging_face

    if is_hugging_face(model):
        return HuggingFaceReader.load(model, trust_remote_code)
    from limelight.predicting.predictor import Predictor
    from limelight.tasks.own import OwnReader

    return OwnReader(Predictor.load(model), model)


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


def named_documents(texts: Sequence[str]) -> dict[str, str]:
    """Files by the shortest end of their path that tells them apart; texts by number."""
    from limelight.cli.look import is_file
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
