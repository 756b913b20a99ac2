"""The atlas of a model's heads, on a text or on random tokens said again and again."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from limelight.checked import checked
from limelight.errors import InputError
from limelight.files import written_aside
from limelight.looking.readers import Reader, check_reader
from limelight.readings.atlas import Atlas, atlas, repeated_tokens
from limelight.text.contexts import Context
from limelight.text.segmentation import words
from limelight.text.segments import Segments

LENGTH, TIMES = 25, 4
"""Of the random tokens, as in Olsson et al. 2022."""


@dataclass(frozen=True)
class AtlasRun:
    """An atlas, and what was read for it."""

    atlas: Atlas
    read: str

    def __repr__(self) -> str:
        return f"AtlasRun({self.atlas!r}; {self.read})"

    def write(self, path: Path) -> Path:
        """One row a head as CSV; an empty field where there is no value."""
        rows = self.atlas.table()
        with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]) if rows else ["layer", "head"])
            table.writeheader()
            table.writerows(
                {name: "" if math.isnan(value) else value for name, value in row.items()} for row in rows
            )
        return path


@checked
def atlas_of(
    reader: Reader, documents: Mapping[str, str] | None = None, length: int = LENGTH, times: int = TIMES
) -> AtlasRun:
    """Read every head of self-attention: of the encoder in an encoder-decoder, else of the whole model.

    Without documents the model reads `length` random tokens, said `times` times, between what its tokenizer puts
    around a text. A text that is longer than the model reads is cut, and `read` says so. Raises InputError where
    no document holds a word.
    """
    check_reader(reader)
    if documents is None:
        context = _random(reader, length, times)
        read = (
            f"{length} random tokens, said {times} times ({len(context.ids)} tokens with those around them)"
        )
    elif not any(words(text) for text in documents.values()):
        raise InputError("There is nothing to read: no document holds a word.")
    else:
        context = reader.context(documents, None, False)
        if reader.longest is not None:
            context = context.cut(reader.longest)
        read = f"{', '.join(context.names)}: {len(context.ids)} tokens"
        read += f". {context.note}" if context.note else ""
    run = reader.run(context, 0)
    if not run.layers:
        raise InputError(f"There are no heads to read: {reader.name or 'the model'} has no self-attention.")
    return AtlasRun(atlas(run.layers, context.ids), read)


def _random(reader: Reader, length: int, times: int) -> Context:
    """Random tokens in the place of a text, between the special tokens that stand around one."""
    frame = reader.context({"text": "a"}, None, False)
    inside = [place for place, (start, end) in enumerate(frame.segments.spans) if start < end]
    if not inside:
        raise InputError("The tokenizer makes no token of the letter a: give a text to read.")
    before, after = frame.ids[: inside[0]], frame.ids[inside[-1] + 1 :]
    drawn = repeated_tokens(
        [id for id in reader.ordinary if id not in (*before, *after)], length, times
    ).tolist()
    text = "?" * len(drawn)  # a character each, so that every one of them is a token of the text
    spans = [*[(0, 0)] * len(before), *((i, i + 1) for i in range(len(drawn))), *[(0, 0)] * len(after)]
    return replace(frame, ids=(*before, *drawn, *after), segments=Segments.from_spans(text, spans))
