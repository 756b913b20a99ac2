"""`limelight look`: an answer, and for each of its words what the model attended to, from high to low."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from limelight.ablation.leave_one_out import AblationResult, leave_one_out
from limelight.ablation.own_models import masked_forward
from limelight.checked import checked
from limelight.errors import ArgumentTypeError, InputError
from limelight.looking.word_alignment import is_tokenized, token_groups
from limelight.predicting.predictor import Prediction, Predictor, Trace
from limelight.readings.alignment import Alignment, alignment
from limelight.readings.alignment_heads import AlignmentHeads
from limelight.readings.reading import Head, Reading
from limelight.readings.token_groups import Groups
from limelight.readings.words import average_heads, received_words
from limelight.text.segmentation import Span, words
from limelight.text.segments import NO_UNIT, Segments
from limelight.text.tokenizers import END


@dataclass(frozen=True)
class Look:
    """What a person wants to see of one answer.

    received   what each word of the source receives: axis ("source word",) or ("word",)
    alignment  answer words × source words; None for a classifier, which writes no words
    heads      how the heads that these numbers come from were chosen
    spans      of the words of the alignment their characters [start, end): those of the answer, those of the text
    line       which of the texts that were given this is, counted from 1: those without a word have no look
    removal    how far the classes' probabilities move without each word; None for what is no classifier
    """

    prediction: Prediction
    received: Reading
    alignment: Alignment | None
    heads: str
    removal: AblationResult | None = None
    spans: tuple[tuple[Span, ...], tuple[Span, ...]] = ((), ())
    line: int = 1

    def __repr__(self) -> str:
        return f"Look({self.prediction.source!r} → {self.prediction.text!r}, {self.received!r})"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "line": self.line,
            "prediction": self.prediction.to_json(),
            "received": self.received.to_json(),
            "alignment": self.alignment.to_json() if self.alignment else None,
            "heads": self.heads,
            "removal": self.removal.to_json() if self.removal else None,
            "spans": {"target": list(map(list, self.spans[0])), "source": list(map(list, self.spans[1]))},
        }


NO_ATTENTION = "There is nothing to look at: this model is a recurrent network without attention."


class NoWordError(InputError):
    """A text, or the answer to it, in which there is no word."""


@checked
def look(
    predictor: Predictor,
    texts: Iterable[str],
    heads: Sequence[Head] | None = None,
    beam: int | None = None,
    passed_over: Callable[[NoWordError], None] | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
    answers: Iterable[str] | None = None,
) -> list[Look]:
    """Answer each text and read its attention.

    heads        the (layer, head) pairs to read, counted from 0; None takes those that the model's folder names for
                 alignment, or else all of them
    passed_over  hears of a text in which, or in whose answer, there is no word to look at; without it that is raised
    progress     hears what is done, how much of it, of how much
    answers      somebody else's, one a text, in the place of the model's own: a translation that is there already.
                 Where both texts are cut into tokens by spaces, punctuation too, these are the words
    """
    texts = _texts("look() takes a list of texts", texts, "Write look(predictor, [text]).")
    given = None if answers is None else _texts("answers must be a list", answers, "Give one for each text.")
    if given is not None and len(given) != len(texts):
        raise InputError(f"answers must be one for each of the {len(texts)} texts; got {len(given)}.")
    if given is not None and beam is not None:
        raise InputError("An answer that is given is not searched for: leave beam out.")
    wanted = list(range(len(texts)))
    for number, text in enumerate(texts):
        if not words(text):
            error = NoWordError(
                f"There is nothing to look at: the text {text!r} holds no word. Give another one."
            )
            if passed_over is None:
                raise error
            passed_over(error)
            wanted.remove(number)
    if given is None:
        made = predictor.predict(
            [texts[number] for number in wanted],
            beam=beam,
            progress=lambda done: progress("answers", done, len(wanted)),
        )
    else:
        made = [predictor.score(texts[number], given[number]) for number in wanted]
    found = []
    for number, answer in enumerate(made):
        progress("looks", number, len(wanted))
        try:
            spaced = given is not None and is_tokenized(answer.source) and is_tokenized(answer.text)
            looked = _look(predictor, predictor.trace(answer), heads, spaced)
            found.append(replace(looked, line=wanted[number] + 1))
        except NoWordError as error:
            if passed_over is None:
                raise
            passed_over(error)
    return found


def _texts(must: str, given: Iterable[str], way: str) -> list[str]:
    """The texts as a list. Raises ArgumentTypeError for one string, and for what holds something else."""
    texts = [] if isinstance(given, str) else list(given)
    if isinstance(given, str) or not all(isinstance(text, str) for text in texts):
        raise ArgumentTypeError(f"{must}; got {reprlib.repr(given)}. {way}")
    return texts


def _look(predictor: Predictor, trace: Trace, heads: Sequence[Head] | None, tokenized: bool = False) -> Look:
    if not trace.matrices:
        raise InputError(NO_ATTENTION)
    if heads is not None:
        how = "Heads as asked for."
    elif chosen := predictor.saved.prediction.get("alignment"):
        found = AlignmentHeads.from_json(chosen)
        heads, how = found.heads, found.how
    else:
        how = "All heads of all layers, each with equal weight."
    answer = trace.prediction
    if predictor.model.role == "classes":
        words_of = word_groups(trace.source, after=1)
        received = average_heads(received_words(trace.layers("encoder"), words_of, heads).per_query)
        output = masked_forward(predictor.model, [*answer.source_ids, END])
        return Look(answer, received, None, how, leave_one_out(output, words_of, received))
    if not words(answer.text):
        raise NoWordError(f"There is nothing to look at: the answer to {answer.source!r} holds no word.")
    target = trace.target
    if target is None:
        sides = _continued(trace)
        aligned = alignment(trace.layers("decoder"), *sides, heads)
        every, shift = trace.source, 1  # row i predicts token i, and column i + 1 is token i
        spans = _spans(sides[0], every), _spans(sides[1], every, shift)
        return Look(answer, aligned.received(), aligned, how, spans=spans)
    if tokenized:
        sides = token_groups(target), token_groups(trace.source)
        how = f"{how} Words are what stands between spaces, as both texts are written."
    else:
        sides = word_groups(target, after=1), word_groups(trace.source, after=1)
    aligned = alignment(trace.layers("cross"), *sides, heads)
    spans = _spans(sides[0], target), _spans(sides[1], trace.source)
    return Look(answer, aligned.received(), aligned, how, spans=spans)


def _spans(groups: Groups, segments: Segments, shift: int = 0) -> tuple[Span, ...]:
    """The characters of each group: its name is written from its first token on."""
    begins: dict[int, int] = {}
    for number, (start, _) in zip(groups.index[shift:], segments.spans, strict=False):
        if number != NO_UNIT:
            begins.setdefault(number, start)
    found = []
    for number, name in enumerate(groups.names):
        start = max(segments.text.find(name, begins.get(number, 0)), 0)
        found.append((start, start + len(name)))
    return tuple(found)


def word_groups(segments: Segments, before: int = 0, after: int = 0) -> Groups:
    """Words, or, in a text of one word, its parts: the letters of a word to pronounce, else its tokens.

    Where every token is one letter, `e-mail` is one word too: it is letters that the model reads.
    """
    groups = Groups.of(segments, "word", before, after)
    letters = all(end - start <= 1 for start, end in segments.spans)
    one_word = len(groups) <= 1 or (letters and len(segments.text.split()) == 1)
    if len(segments) == 1 or not one_word:
        return groups
    return _parts(segments, before, after, "letter" if letters else "token")


def _parts(segments: Segments, before: int, after: int, level: str) -> Groups:
    """One group for each run of tokens that cover the same characters; none for a token that covers nothing."""
    spans: list[Span] = []
    index = []
    for start, end in segments.spans:
        if start < end and (start, end) not in spans[-1:]:
            spans.append((start, end))
        index.append(len(spans) - 1 if start < end else NO_UNIT)
    names = tuple(segments.text[start:end] for start, end in spans)
    return Groups(names, ((NO_UNIT,) * before + tuple(index) + (NO_UNIT,) * after), level)


def _continued(trace: Trace) -> tuple[Groups, Groups]:
    """Rows and columns of a language model's matrices: the words of the answer, and all words before them."""
    every = word_groups(trace.source)
    rows = [number if i >= trace.answer_start else NO_UNIT for i, number in enumerate(every.index)]
    kept = sorted({number for number in rows if number != NO_UNIT})
    place = {number: new for new, number in enumerate(kept)} | {NO_UNIT: NO_UNIT}
    names = tuple(every.names[number] for number in kept)
    # Row i predicts token i, and the last row the token after the last one.
    answer = Groups(names, (*(place[number] for number in rows), NO_UNIT), every.level)
    return answer, Groups(every.names, (NO_UNIT, *every.index), every.level)
