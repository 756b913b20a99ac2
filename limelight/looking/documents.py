"""`limelight look` at documents: for a question and its answer, which document, sentence and word was looked at.

A conversation is looked at the same way: its parts are the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from limelight.ablation.leave_one_out import AblationResult, leave_one_out
from limelight.checked import checked
from limelight.errors import InputError, one_of
from limelight.looking.documents_look import DocumentsLook
from limelight.looking.readers import ANSWER, ForwardPass, Reader, check_reader
from limelight.looking.windows import joined
from limelight.readings.documents import LookedAt, attention_between, ways_to_look
from limelight.readings.reading import Head
from limelight.readings.row_attention import Weigh
from limelight.readings.token_groups import Groups
from limelight.readings.words import Matrices
from limelight.text.chat_template import plain_message
from limelight.text.contexts import QUESTION, Context, named
from limelight.text.segmentation import words
from limelight.text.segments import Level

Progress = Callable[[str, int, int], None]
"""Told what is being done, "windows" or "removals", how many of them are done, and how many there are."""

ANSWER_TOKENS = 32
ASSISTANT = "assistant"
"""Who the model is in a conversation."""
VIEWS: tuple[tuple[str, Weigh, bool], ...] = (
    ("weight", "weight", False),
    ("weight, sink-free", "weight", True),
    ("value norm", "value-norm", False),
    ("value norm, sink-free", "value-norm", True),
)
"""How the same attention is told: by weight or by value norm, with the sinks or without."""


@checked
def look_documents(
    reader: Reader,
    documents: Mapping[str, str] | Sequence[str],
    question: str | None = None,
    *,
    heads: Sequence[Head] | None = None,
    layers: Sequence[int] | None = None,
    chat: bool = False,
    windows: bool = False,
    overlap: int | None = None,
    remove: Level | None = None,
    answer_tokens: int = ANSWER_TOKENS,
    progress: Progress = lambda *_: None,
) -> DocumentsLook:
    """Let a model read documents (and answer a question), and read what it looked at.

    Who looks: a decoder's or encoder-decoder's answer, row by row as it is predicted; where nothing is written,
    the question; without a question, all of the text.

    heads, layers  (layer, head) pairs, or all heads of some layers, counted from 0; those that the model's
                   folder names, or all of all layers, if neither
    chat           put the text into the tokenizer's chat template
    windows        read a text that is too long in pieces that overlap; otherwise its end is left out, and `notes`
                   says so
    remove         also take each document, sentence or word away, and measure how far the output moves
    progress       is told how far a long reading has come
    """
    check_reader(reader)
    texts = named(documents)
    if len(texts) > 1 and (empty := [name for name, text in texts.items() if not text.strip()]):
        raise InputError(f"Every document must hold text; {empty[0]!r} is empty. Leave it out.")
    if not any(words(text) for text in texts.values()):
        raise InputError("There is nothing to look at: no document holds a word.")
    if question is not None and not words(question):
        raise InputError(f"A question must hold a word; got {question!r}.")
    for reserved in (QUESTION, ANSWER):
        if reserved in texts:
            raise InputError(f"A document cannot be called {reserved!r}: that is a part of its own.")
    task = _Task(reader, question, heads, layers, remove, answer_tokens, progress)
    return task.read(reader.context(texts, question, chat), windows, overlap)


@checked
def look_conversation(
    reader: Reader,
    messages: Sequence[Mapping[str, str]],
    *,
    heads: Sequence[Head] | None = None,
    layers: Sequence[int] | None = None,
    windows: bool = False,
    overlap: int | None = None,
    remove: Level | None = None,
    answer_tokens: int = ANSWER_TOKENS,
    progress: Progress = lambda *_: None,
) -> DocumentsLook:
    """Let a model go on with a conversation, and read which messages its answer looked at.

    messages  [{"role": "user", "content": "…"}, …], put into the tokenizer's chat template. Each message is a part
              named by its role, "user 2" where a role speaks several times; the last one is answered.

    The rest is as in `look_documents`.
    """
    check_reader(reader)
    last = messages[-1] if messages else {}
    if not messages or (isinstance(last, Mapping) and last.get("role") == ASSISTANT):
        raise InputError(
            "A conversation must end with a message that the model may answer; leave its last reply out."
        )
    context = reader.conversation(messages)
    asked = plain_message(messages[-1])["content"]
    task = _Task(reader, asked, heads, layers, remove, answer_tokens, progress, part="message")
    return task.read(context, windows, overlap)


# ---- inside -------------------------------------------------------------------------------------------


def _room(reader: Reader, context: Context, answer_tokens: int) -> int:
    """How many tokens the text may have, so that the answer still fits behind it."""
    assert reader.longest is not None
    behind = answer_tokens if reader.architecture == "decoder" and context.asked else 0
    if reader.longest - behind < 1:
        raise InputError(
            f"The model reads {reader.longest} tokens, and {behind} are kept for the answer: ask for a shorter one."
        )
    return reader.longest - behind


@dataclass(frozen=True)
class _Task:
    """What is asked of every context: see `look_documents`."""

    reader: Reader
    question: str | None
    heads: Sequence[Head] | None
    layers: Sequence[int] | None
    remove: Level | None
    answer_tokens: int
    progress: Progress
    part: str = "document"

    def read(self, context: Context, windows: bool, overlap: int | None) -> DocumentsLook:
        """Look at all of it at once, or, where it is too long, at its beginning or in windows."""
        room = None if self.reader.longest is None else _room(self.reader, context, self.answer_tokens)
        if room is None or len(context.ids) <= room:
            return self.look(context)
        if not windows:
            return self.look(context.cut(room))
        pieces = context.windows(room, overlap)
        found: list[DocumentsLook] = []
        for piece in pieces:
            self.progress("windows", len(found), len(pieces))
            found.append(self.look(piece))
        return joined(found, len(context.ids), room)

    def look(self, context: Context) -> DocumentsLook:
        run = self.reader.run(context, self.answer_tokens)
        segments = run.context.segments
        names = tuple(name for name in context.names if name != QUESTION or not context.asked)
        own = self.reader.heads if self.heads is None and self.layers is None else self.heads
        chosen = _chosen(run.looking, own, self.layers)
        ways = [(weigh, free) for _, weigh, free in VIEWS]
        seen = ways_to_look(run.looking, segments, run.rows, ways, among=names, heads=chosen)
        views = dict(zip((name for name, _, _ in VIEWS), seen, strict=True))
        # In an encoder-decoder heads are named for the cross-attention; the table then shows all of the encoder's.
        same = run.looking is run.layers
        table = (
            attention_between(run.layers, segments, heads=chosen if same else None) if run.layers else None
        )
        removal = _removal(run, views["weight"], self.remove, self.progress) if self.remove else None
        notes = tuple(note for note in (context.note, run.note) if note)
        kept = set(views["weight"].documents.labels[0])
        documents = tuple(name for name in names if name in kept)
        return DocumentsLook(
            self.reader.name,
            documents,
            self.question,
            run.answer,
            run.who,
            views,
            table,
            removal,
            notes,
            part=self.part,
        )


def _chosen(
    matrices: Matrices, heads: Sequence[Head] | None, layers: Sequence[int] | None
) -> list[Head] | None:
    if heads is None and layers is None:
        return None
    assert isinstance(matrices, Mapping)
    # A tensor or an array of them has no truth value.
    of_layers = () if layers is None else layers
    of_heads = () if heads is None else heads
    strangers = [layer for layer in of_layers if layer not in matrices]
    if strangers:
        there = ", ".join(map(str, sorted(matrices)))
        raise InputError(f"There is no layer {strangers[0]}, counted from 0; there are {there}.")
    whole = [(layer, head) for layer in of_layers for head in range(matrices[layer].shape[1])]
    return [*whole, *(head for head in of_heads if not hasattr(head, "__iter__") or tuple(head) not in whole)]


def _removal(run: ForwardPass, seen: LookedAt, level: Level, progress: Progress) -> AblationResult:
    if run.output is None:
        raise InputError("The removal check is not there for this model.")
    if level not in seen.readings:
        raise InputError(one_of("What is taken away", seen.readings, level))
    segments = run.context.segments
    groups = Groups.of(segments, level)
    homes = segments.index("document").tolist()
    ranked = set(seen.documents.labels[0])
    home_of = {number: homes[token] for token, number in enumerate(groups.index) if number >= 0}
    among = [
        number
        for number in sorted(home_of)
        if home_of[number] >= 0 and segments.names[home_of[number]] in ranked
    ]
    told = partial(progress, "removals")
    return leave_one_out(run.output, groups, seen.readings[level], run.gives, among=among, progress=told)
