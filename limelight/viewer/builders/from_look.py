"""Subjects out of `look` and `look_documents`: an answer, and all the attention behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch

from limelight.errors import InputError
from limelight.explain import explain_text
from limelight.looking.documents import look_documents
from limelight.looking.documents_look import DocumentsLook
from limelight.looking.limelight_reader import OwnReader
from limelight.looking.look import Look, look, word_groups
from limelight.looking.readers import ForwardPass, Reader
from limelight.predicting.predictor import Predictor, Trace
from limelight.predicting.search import NEVER
from limelight.readings.alignment_heads import AlignmentHeads
from limelight.readings.reading import Head
from limelight.readings.words import by_layer
from limelight.text.contexts import Context, encode
from limelight.text.segments import Segments
from limelight.text.tokenizers import END, START
from limelight.viewer.compute.attention_layers import AttentionLayers
from limelight.viewer.compute.next_tokens import Step, steps_of
from limelight.viewer.compute.token_axis import TokenAxis
from limelight.viewer.subject import Subject

BEGINS, ENDS = "⟨start⟩", "⟨end⟩"
"""How the tokens are shown that stand around a text."""
LINE = 2000
"""Characters of a line, at most."""
PREDICTS = "A row is what the model looked at when it predicted that token."


# ---- one text and its answer, of Limelight's own models -------------------------------------------------


def subject_from_look(predictor: Predictor, seen: Look, heads: Sequence[Head] | None = None) -> Subject:
    """A page of one `look`: the attention behind the answer first, the steps, and the process on demand.

    heads: those that `look` was told to read, for the page to begin with.
    """
    answer = seen.prediction
    trace = predictor.trace(answer)
    chosen = predictor.saved.prediction.get("alignment")
    if heads is None and chosen:
        heads = AlignmentHeads.from_json(chosen).heads
    attentions = _attentions(predictor, trace, slice_text(heads) if heads else "mean")
    return Subject(
        title=answer.source,
        attentions=attentions,
        model=f"{predictor.saved.task}: {type(predictor.model).__name__}",
        how=seen.heads,
        answer_text=answer.text,
        steps=_steps(predictor, trace),
        explain=lambda asked: explained(predictor, answer.source, asked),
        level="word" if word_groups(trace.source).level == "word" else "token",
    )


def _attentions(predictor: Predictor, trace: Trace, start: str) -> list[AttentionLayers]:
    """Those that the model has: of a recurrent network the cross-attention alone, if any."""
    answer = trace.prediction
    if predictor.model.role == "language":
        read = with_special("text", trace.source, before=1)
        predicted = with_special("next token", trace.source, after=1)
        layers = by_layer(trace.layers("decoder"))
        return [AttentionLayers("decoder", "self", predicted, read, layers, start=start, note=PREDICTS)]
    source = with_special("text", trace.source, after=1)
    found = []
    if trace.target is not None:
        predicted = with_special("answer", trace.target, after=1)
        layers = by_layer(trace.layers("cross"))
        found += [AttentionLayers("cross-attention", "cross", predicted, source, layers, note=PREDICTS)]
    if layers := by_layer(trace.layers("encoder")):
        found += [AttentionLayers("encoder", "self", source, source, layers, ids=(*answer.source_ids, END))]
    if trace.target is not None and (layers := by_layer(trace.layers("decoder"))):
        read = with_special("answer so far", trace.target, before=1)
        found += [AttentionLayers("decoder", "self", read, read, layers, ids=(START, *answer.target_ids))]
    return [replace(found[0], start=start), *found[1:]]


@torch.inference_mode()
def _steps(predictor: Predictor, trace: Trace) -> tuple[Step, ...]:
    """What else might have come, token by token; a classifier writes none."""
    model, answer = predictor.model, trace.prediction
    device = next(model.parameters()).device
    if model.role == "classes":
        return ()
    if model.role == "pairs":
        source = torch.tensor([[*answer.source_ids, END]], device=device)
        scores_NV = model(source, torch.tensor([[START, *answer.target_ids]], device=device))[0]
        first = 0
    else:
        ids = [START, *answer.source_ids, *answer.target_ids]
        scores_NV = model(torch.tensor([ids], device=device))[0][trace.answer_start :]
        first = trace.answer_start
    written = [*answer.target_ids, END] if answer.complete else answer.target_ids

    def spell(id: int) -> str:
        return ENDS if id == END else predictor.saved.target.token(id)

    steps = steps_of(scores_NV.cpu(), written, spell, NEVER)
    return tuple(replace(step, place=step.place + first) for step in steps)


def explained(predictor: Predictor, text: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """The tree of `explain` for what the page asks: token, answer_token, layer, head. Raises InputError."""
    whole = {name: asked[name] for name in ("layer", "head") if asked.get(name)}
    for name, given in whole.items():
        if not _number(given):
            raise InputError(f"{name} is a whole number, counted from 0; got {given[:60]!r}.")
    tokens = {
        name: int(asked[name]) if _number(asked[name]) else asked[name]
        for name in ("token", "answer_token")
        if asked.get(name)
    }
    numbers = {name: int(given) for name, given in whole.items()}
    return explain_text(predictor, text, **tokens, **numbers).to_json()  # type: ignore[arg-type]


def _number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def with_special(name: str, segments: Segments, before: int = 0, after: int = 0) -> TokenAxis:
    """A text with start or end tokens around it, which cover no characters."""
    end = len(segments.text)
    spans = (*[(0, 0)] * before, *segments.spans, *[(end, end)] * after)
    labels = dict.fromkeys(range(before), BEGINS)
    labels |= dict.fromkeys(range(len(spans) - after, len(spans)), ENDS)
    return TokenAxis(name, Segments(segments.text, spans, segments.documents, segments.names), labels)


def slice_text(heads: Sequence[Head], layers: Sequence[int] = ()) -> str:
    """Whole layers and heads as a page's slice: "3.5,4.1", "3", "3,4.1"."""
    return ",".join([*map(str, layers), *(f"{layer}.{head}" for layer, head in heads)])


def reading_with(reader: Reader, **options: Any) -> Callable[[Mapping[str, str], str | None], Subject]:
    """Documents and a question → their subject, read by this model; `options` are those of `look_documents`.

    A single line without a question is answered by one of Limelight's own models as `look` does it.
    """

    def read(documents: Mapping[str, str], question: str | None) -> Subject:
        [*texts] = documents.values()
        line = len(texts) == 1 and question is None and "\n" not in texts[0].strip() and len(texts[0]) <= LINE
        if isinstance(reader, OwnReader) and line:
            heads = options.get("heads")
            [seen] = look(reader.predictor, [texts[0].strip()], heads)
            return subject_from_look(reader.predictor, seen, heads)
        kept = RecordingReader(reader)
        found = look_documents(kept.reader, documents, question, **options)
        return of_documents(kept, found, options.get("heads"), options.get("layers"))

    return read


# ---- documents and a question ---------------------------------------------------------------------------


class RecordingReader:
    """A reader that keeps its first run: `look_documents` gives numbers, and a page wants the matrices too."""

    def __init__(self, reader: Reader) -> None:
        self.inner = reader
        self.first: ForwardPass | None = None
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def run(self, context: Context, answer_tokens: int) -> ForwardPass:
        run = self.inner.run(context, answer_tokens)
        self.first = self.first or run
        self.count += 1
        return run

    @property
    def reader(self) -> Reader:
        """Itself, as whoever takes a reader wants it: but for `run` it is the one inside."""
        return cast(Reader, self)


def of_documents(
    kept: RecordingReader,
    seen: DocumentsLook,
    heads: Sequence[Head] | None = None,
    layers: Sequence[int] | None = None,
) -> Subject:
    """A page of a `look_documents` that was given this reader; of several windows the first is shown.

    heads, layers: those that `look_documents` was told to read, for the page to begin with.
    """
    run, reader = kept.first, kept.inner
    assert run is not None, "the reader has read"
    own = reader.heads if heads is None and layers is None else heads
    notes = list(seen.notes)
    if kept.count > 1:
        notes.append(f"This page shows the first of {kept.count} windows.")
    return Subject(
        title=seen.question or ", ".join(seen.documents),
        attentions=of_run(reader, run, slice_text(own or (), layers or ()) or "mean"),
        model=reader.name,
        how=seen.views["weight"].how,
        notes=tuple(notes),
        question=seen.question,
        answer_text=run.answer,
    )


def of_run(reader: Reader, run: ForwardPass, start: str = "mean") -> list[AttentionLayers]:
    """What wrote the answer first, then what the parts of the text see of each other."""
    context = run.context
    text = TokenAxis("text", context.segments, _special_names(reader, context))
    ids = context.ids if len(context.ids) == len(context.segments) else ()
    within = (
        AttentionLayers("self-attention", "self", text, text, run.layers, ids=ids) if run.layers else None
    )
    if run.looking is not run.layers:
        rows = next(iter(run.looking.values())).shape[2]
        answer = _answer_side(reader, run.answer or "", rows)
        cross = AttentionLayers(
            "cross-attention", "cross", answer, text, run.looking, start=start, note=PREDICTS
        )
        return [cross] if within is None else [cross, within]
    assert within is not None, "what looks is the self-attention"
    if reader.architecture != "decoder" or run.answer is None:
        return [replace(within, start=start)]
    old = context.segments
    spans = (*old.spans[1:], (len(old.text), len(old.text)))
    predicted = TokenAxis(
        "next token", Segments(old.text, spans, old.documents, old.names), {len(spans) - 1: ENDS}
    )
    return [
        AttentionLayers("answer", "self", predicted, text, run.layers, start=start, note=PREDICTS),
        within,
    ]


def _special_names(reader: Reader, context: Context) -> dict[int, str]:
    """What the tokens are called that cover no characters."""
    spell: Callable[[int], str] | None = None
    if isinstance(reader, OwnReader):
        spell = reader.predictor.saved.source.token
    elif (tokenizer := getattr(reader, "tokenizer", None)) is not None:
        spell = lambda id: str(tokenizer.convert_ids_to_tokens(id))  # noqa: E731
    places = [place for place, (start, end) in enumerate(context.segments.spans) if start == end]
    return {place: spell(context.ids[place]) for place in places} if spell else {}


def _answer_side(reader: Reader, answer: str, rows: int) -> TokenAxis:
    """The tokens of an answer whose text alone is known; by number where they are others than were written."""
    tokenizer = (
        reader.predictor.saved.target if isinstance(reader, OwnReader) else getattr(reader, "tokenizer", None)
    )
    if tokenizer is not None and answer:
        _, spans = encode(tokenizer, answer, special=False)
        if rows - len(spans) in (0, 1):
            return with_special("answer", Segments.from_spans(answer, spans), after=rows - len(spans))
    return TokenAxis.numbered("answer", rows)
