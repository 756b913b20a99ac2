"""`python web/fixtures.py OUT`: the answers of small real subjects, one file each, to build the page with.

translation  our translator's cross- and self-attention on a sample sentence, its steps and its process
documents    three documents and a question, read by the same model's encoder
hostile      texts that try to get out of the page
file.html    the translation as one offline file, once the page is built
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from limelight.looking.documents import look_documents
from limelight.looking.limelight_reader import OwnReader
from limelight.looking.look import look
from limelight.predicting.predictor import Predictor
from limelight.viewer.builders.from_look import RecordingReader, of_documents, subject_from_look
from limelight.viewer.compute.attention_layers import TILE
from limelight.viewer.protocol.requests import LEVELS, Question
from limelight.viewer.subject import Subject

MODEL = "translate-en-de"
TEXT = "To save the document under a new name, choose File - Save As."
DOCUMENTS = {
    "saving.txt": "To save the document under a new name, choose File - Save As. Choose a folder. Click Save.",
    "printing.txt": "To print the document, choose File - Print. Select the printer. Click OK.",
    "fonts.txt": "Select the text. Choose Format - Character. Select a font and a size.",
}
FIRST = 12
"""So many rows of a level are written, and the last."""
QUESTION = "How can I give the document a new name?"
HOSTILE = {
    "</script><script>alert(1)</script>": "</script><script>alert(1)</script> <img src=x onerror=alert(2)>",
    "\u202eright to left": "abc \u202efile\u202c \u200bzero\u200bwidth \u2066x\u2069 שלום עולם "
    "👩‍👩‍👧 e\u0301 \x00\x1b[2J",
    "<b>&amp;": "&lt;b&gt; ${x} {{y}} <!-- --> <![CDATA[ ]]> javascript:alert(3) " + "a" * 300,
}


def subjects() -> Iterator[tuple[str, Subject]]:
    """Name → subject."""
    predictor = Predictor.load(MODEL)
    [seen] = look(predictor, [TEXT])
    yield "translation", subject_from_look(predictor, seen)
    for name, documents in (("documents", DOCUMENTS), ("hostile", HOSTILE)):
        kept = RecordingReader(OwnReader(predictor, MODEL))
        yield name, of_documents(kept, look_documents(kept.reader, documents, QUESTION))


def questions(subject: Subject) -> Iterator[Question]:
    """A good part of what a page would ask: everything, but of rows the first and last few."""
    yield from (Question.of("about", {}), Question.of("progress", {}))
    if subject.steps:
        yield Question.of("steps", {})
    if subject.explain is not None:
        yield Question.of("process", {})
    for number, attention in enumerate(subject.attentions):
        told = {"attention": number}
        yield Question.of("thumbs", told)
        for measure in ("entropy", "distance", "sink", "agreement"):
            yield Question.of("heads", told | {"measure": measure})
        last = attention.heads[-1]
        slices = dict.fromkeys(["mean", attention.start, str(last[0]), f"{last[0]}.{last[1]}"])
        for chosen, level in product(slices, LEVELS):
            given = told | {"slice": chosen, "level": level}
            yield Question.of("received", given)
            for direction in ("from", "to"):
                side = attention.queries if direction == "from" else attention.keys
                yield Question.of("rows", given | {"direction": direction, "by": level})
                count = side.count(level)
                for place in sorted({*range(min(count, FIRST)), *range(max(0, count - 1), count)}):
                    yield Question.of("row", given | {"direction": direction, "by": level, "place": place})
                    if level in ("sentence", "document"):
                        yield Question.of(
                            "row", given | {"direction": direction, "by": "word", "place": place}
                        )
        for chosen, reduce in product(slices, ("mean", "max")):
            for zoom in range(attention.deepest + 1):
                cut = TILE * attention.step(zoom)
                for row, column in product(range(-(-attention.N // cut)), range(-(-attention.M // cut))):
                    place = {"zoom": zoom, "row": row, "column": column}
                    yield Question.of("tile", told | place | {"slice": chosen, "reduce": reduce})
        for rows, columns in product(("document", "sentence"), repeat=2):
            yield Question.of("between", told | {"rows": rows, "columns": columns})


def write(folder: Path) -> None:
    """A folder a subject, with index.json: key → file."""
    for name, subject in subjects():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        index = {}
        for number, question in enumerate(questions(subject)):
            index[question.key] = f"{number:05}.bin"
            answer = subject.answer(question).to_bytes(question.params)
            (place / index[question.key]).write_bytes(answer)
        (place / "index.json").write_text(json.dumps(index, indent=0), encoding="utf-8")
        print(f"{place}: {len(index)} answers")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "samples"))
