"""`limelight look`: an answer, and for each of its words what the model attended to, from low to high."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from limelight.errors import InputError
from limelight.predicting.predictor import Prediction, Predictor, Trace
from limelight.readings.alignment import Alignment, alignment
from limelight.readings.groups import Groups
from limelight.readings.heads import AlignmentHeads
from limelight.readings.measures import average_heads, received_words
from limelight.readings.reading import Head, Reading
from limelight.text.segments import Segments


@dataclass(frozen=True)
class Look:
    """What a person wants to see of one answer.

    received   what each word of the source receives: axis ("source word",) or ("word",)
    alignment  answer words × source words; None for a classifier, which writes no words
    heads      how the heads that these numbers come from were chosen
    """

    prediction: Prediction
    received: Reading
    alignment: Alignment | None
    heads: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "prediction": asdict(self.prediction),
            "received": self.received.to_json(),
            "alignment": self.alignment.to_json() if self.alignment else None,
            "heads": self.heads,
        }


def look(
    predictor: Predictor, texts: Sequence[str], heads: Sequence[Head] | None = None, beam: int | None = None
) -> list[Look]:
    """Answer each text and read its attention.

    heads: the (layer, head) pairs to read, counted from 0; None takes those that the model's folder names for
    alignment, or else all of them.
    """
    return [
        _look(predictor, predictor.trace(answer), heads) for answer in predictor.predict(texts, beam=beam)
    ]


def _look(predictor: Predictor, trace: Trace, heads: Sequence[Head] | None) -> Look:
    if heads is not None:
        how = "Heads as asked for."
    elif chosen := predictor.saved.prediction.get("alignment"):
        found = AlignmentHeads.from_json(chosen)
        heads, how = found.heads, found.how
    else:
        how = "All heads of all layers, each with equal weight."
    cross = trace.layers("cross")
    if cross and trace.target is not None:
        _need_words(trace.target, "answer")
        aligned = alignment(
            cross, word_groups(trace.target, after=1), word_groups(trace.source, after=1), heads
        )
        return Look(trace.prediction, aligned.received(), aligned, how)
    own = trace.layers("decoder")
    if own:
        aligned = alignment(own, *_continued(trace), heads)
        return Look(trace.prediction, aligned.received(), aligned, how)
    received = received_words(trace.layers("encoder"), word_groups(trace.source, after=1), heads)
    return Look(trace.prediction, average_heads(received.per_query), None, how)


def word_groups(segments: Segments, before: int = 0, after: int = 0) -> Groups:
    """Words, or, in a text of one word, its tokens: the letters of a word to pronounce."""
    groups = Groups.of(segments, "word", before, after)
    if len(groups) > 1 or len(segments) == 1:
        return groups
    return Groups.tokens([segments.text[start:end] for start, end in segments.spans], before, after, "letter")


def _continued(trace: Trace) -> tuple[Groups, Groups]:
    """Rows and columns of a language model's matrices: the words of the answer, and all words before them."""
    every = Groups.of(trace.source, "word")
    start, count = trace.answer_start, len(every.index)
    rows = tuple(every.index[i] if i >= start else -1 for i in range(count))
    _need_words(trace.source, "text")
    kept = sorted({number for number in rows if number >= 0})
    place = {number: new for new, number in enumerate(kept)} | {-1: -1}
    names = tuple(every.names[number] for number in kept)
    # Row i predicts token i, and the last row the token after the last one.
    return Groups(names, (*(place[number] for number in rows), -1)), Groups(every.names, (-1, *every.index))


def _need_words(segments: Segments, what: str) -> None:
    if not segments.units("word"):
        raise InputError(f"There is nothing to look at: the {what} holds no word. Give another text.")
