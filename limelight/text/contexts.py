"""Several documents and a question as one input of a model, with the borders marked.

Any tokenizer that tells which characters each token covers will do: those of Hugging Face (byte-level, wordpiece,
sentencepiece, in any script), those of the `tokenizers` package, and our own. The whole text is cut into tokens at
once, as the model knows it, and each token then finds its word, sentence and document by its characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from limelight.checked import checked, checked_class
from limelight.errors import ArgumentTypeError, InputError
from limelight.text.chat_template import plain_message, rendered_with_places
from limelight.text.offsets import spelled_out
from limelight.text.segmentation import Span
from limelight.text.segments import BETWEEN_DOCUMENTS, NO_UNIT, Segments
from limelight.text.tokenizers import Tokenizer

QUESTION = "question"
"""The name of the part that asks."""


@checked_class
@dataclass(frozen=True)
class Context:
    """What a model reads: its token ids, and what each of them belongs to.

    ids        the tokens, special ones too
    segments   the text, the characters of every token, and the parts: the documents in order, then the question
    asked      whether the last part is a question
    note       what was left out, in a sentence; empty where nothing was

    >>> words = Tokenizer.train(["Cats sleep. Dogs bark. Who sleeps?"] * 2, "words", 30)
    >>> context = Context.of(words, {"cats.txt": "Cats sleep.", "dogs.txt": "Dogs bark."}, "Who sleeps?")
    >>> context.segments.names, context.segments.index("document").tolist()
    (('cats.txt', 'dogs.txt', 'question'), [0, 0, 1, 1, 2, 2])
    """

    ids: tuple[int, ...]
    segments: Segments
    asked: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.segments):
            raise InputError(
                f"A context must have a span for every token; got {len(self.ids)} tokens and "
                f"{len(self.segments)} spans."
            )

    @classmethod
    @checked
    def of(
        cls,
        tokenizer: Any,
        documents: Mapping[str, str] | Sequence[str] | str,
        question: str | None = None,
        chat: bool = False,
    ) -> Context:
        """One text of the documents, a blank line between them, and the question at its end.

        documents: name → text; texts without names are numbered.
        chat: put all of it into the tokenizer's chat template, as what the user says.
        """
        parts = named(documents)
        asked = question is not None and bool(question.strip())
        texts = [*parts.values(), *([question] if asked and question else [])]
        text, places = _joined([each.strip() for each in texts] if chat else texts)
        if chat:
            said, message = text.strip(), {"role": "user", "content": text.strip()}
            before = len(text) - len(text.lstrip())  # a first document may be empty
            text, [(low, high)] = rendered_with_places(tokenizer, [message], answer_next=True)
            assert text[low:high] == said
            places = [tuple(min(max(low, at - before + low), high) for at in place) for place in places]  # type: ignore[misc]
        ids, spans = encode(tokenizer, text, special=not chat)
        names = [*parts, *([QUESTION] if asked else [])]
        return cls(tuple(ids), Segments.from_spans(text, spans, places, names), asked)

    @classmethod
    @checked
    def chat(
        cls, tokenizer: Any, messages: Sequence[Mapping[str, str]], answer_next: bool = False
    ) -> Context:
        """A conversation in the tokenizer's chat template: the parts are the messages, named by their roles.

        A role that speaks several times is numbered: "user 1", "assistant 1", "user 2". What the template
        writes around the messages belongs to no part. `answer_next` ends it where the assistant would begin.
        """
        messages = [plain_message(message) for message in messages]
        text, places = rendered_with_places(tokenizer, messages, answer_next)
        roles = [message["role"] for message in messages]
        names = [
            role if roles.count(role) == 1 else f"{role} {roles[: number + 1].count(role)}"
            for number, role in enumerate(roles)
        ]
        order = sorted(
            range(len(messages)), key=places.__getitem__
        )  # some templates move the system's message
        ids, spans = encode(tokenizer, text, special=False)
        segments = Segments.from_spans(
            text, spans, [places[number] for number in order], [names[number] for number in order]
        )
        return cls(tuple(ids), segments)

    # ---- parts ------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts."""
        return self.segments.names

    def tokens_of(self, part: str | int) -> list[int]:
        """The places of a part's tokens, by its name or its number, which may count from the end.

        Raises InputError for a part that is none.
        """
        known: list[str | int] = [*self.names, *range(-len(self.names), len(self.names))]
        if part not in known:
            raise InputError(
                f"part must be one of {', '.join(map(repr, self.names))}, or its number from {-len(self.names)} to "
                f"{len(self.names) - 1}; got {part!r}."
            )
        number = self.names.index(part) if isinstance(part, str) else part % len(self.names)
        return [
            token for token, home in enumerate(self.segments.index("document").tolist()) if home == number
        ]

    def head(self, tokens: int) -> Context:
        """The first tokens alone."""
        old = self.segments
        segments = Segments(old.text, old.spans[:tokens], old.documents, old.names)
        return replace(self, ids=self.ids[:tokens], segments=segments)

    def followed_by(self, ids: Sequence[int], text: str, spans: Sequence[Span], name: str) -> Context:
        """The same with one part more at its end, such as the answer: its tokens, its text and their spans in it."""
        before = self.segments
        at = len(before.text) + len(BETWEEN_DOCUMENTS)
        segments = Segments.from_spans(
            before.text + BETWEEN_DOCUMENTS + text,
            [*before.spans, *((start + at, end + at) for start, end in spans)],
            [*before.documents, (at, at + len(text))],
            [*before.names, name],
        )
        return replace(self, ids=(*self.ids, *ids), segments=segments)

    # ---- texts that are longer than the model reads -------------------------------------------------

    def cut(self, longest: int) -> Context:
        """The same in at most `longest` tokens: the end of the documents is left out, and `note` says so.

        What stands around the documents (start and end tokens, the question) is kept.
        Raises InputError where that alone is too long.
        """
        if len(self.ids) <= longest:
            return self
        first, last = self._documents()
        room = self._room(longest, first, last)
        left_out = self._told(range(first + room, last + 1), longest)
        return self._only(range(first, first + room), (first, last), left_out)

    def windows(self, longest: int, overlap: int | None = None) -> list[Context]:
        """The same as windows of at most `longest` tokens that go through the documents from start to end.

        Each holds what stands around the documents (the question too) and a piece of them; neighbouring pieces
        share `overlap` tokens, a quarter of a piece unless given. `note` says which piece it is.
        """
        if len(self.ids) <= longest:
            return [self]
        first, last = self._documents()
        room = self._room(longest, first, last)
        shared = room // 4 if overlap is None else overlap
        if not 0 <= shared < room:
            raise InputError(
                f"overlap must be from 0 to {room - 1}, less than a piece has tokens; got {shared}."
            )
        starts = [first]
        while starts[-1] + room <= last:
            starts.append(starts[-1] + room - shared)
        pieces = [range(start, min(start + room, last + 1)) for start in starts]
        total = last + 1 - first
        return [
            self._only(
                piece,
                (first, last),
                f"Window {number} of {len(pieces)}: tokens {piece.start - first + 1} to {piece.stop - first} of the "
                f"documents' {total}.",
            )
            for number, piece in enumerate(pieces, 1)
        ]

    def _documents(self) -> tuple[int, int]:
        """The first and the last token of the documents, both inclusive."""
        parts = len(self.names) - self.asked
        inside = [
            token for token, home in enumerate(self.segments.index("document").tolist()) if 0 <= home < parts
        ]
        return (inside[0], inside[-1]) if inside else (0, -1)

    def _room(self, longest: int, first: int, last: int) -> int:
        around = len(self.ids) - (last + 1 - first)
        if longest - around < 1:
            raise InputError(
                f"The model reads {longest} tokens at once, and the question and what stands around the documents "
                f"take {around}. Ask a shorter question, or take a model that reads more."
            )
        return longest - around

    def _only(self, piece: range, documents: tuple[int, int], note: str) -> Context:
        """Of the documents, which go from a first to a last token, only a piece: the text, too, is cut there, so that
        a window costs what it holds."""
        first, last = documents
        old = self.segments
        begin, end = old.spans[first][0], old.spans[last][1]
        low, high = old.spans[piece.start][0], old.spans[piece.stop - 1][1]

        def moved(place: int) -> int:
            """Where a character stands in the shorter text."""
            if place >= end:
                return place - (end - begin) + (high - low)
            return place if place < begin else begin + min(max(place, low), high) - low

        kept = [*range(first), *piece, *range(last + 1, len(self.ids))]
        places = [(moved(start), moved(stop)) for start, stop in old.documents]
        held = [number for number, (start, stop) in enumerate(places) if start < stop]
        segments = Segments(
            old.text[:begin] + old.text[low:high] + old.text[end:],
            tuple((moved(start), moved(stop)) for start, stop in (old.spans[token] for token in kept)),
            tuple(places[number] for number in held),
            tuple(old.names[number] for number in held),
        )
        return replace(self, ids=tuple(self.ids[token] for token in kept), segments=segments, note=note)

    def _told(self, left_out: range, longest: int) -> str:
        homes = self.segments.index("document").tolist()
        before = {homes[token] for token in range(left_out.start)}
        gone = sorted({homes[token] for token in left_out} - {NO_UNIT})
        whole = [self.names[home] for home in gone if home not in before]
        said = [f"all of {', '.join(whole)}"] if whole else []
        for home in gone:
            if home in before:
                first = self.segments.spans[left_out.start][0] - self.segments.documents[home][0]
                said.insert(0, f"{self.names[home]} from its character {first + 1} on")
        return (
            f"The text has {len(self.ids)} tokens and the model reads {longest}: the last {len(left_out)} tokens "
            f"of the documents were left out ({'; '.join(said)})."
        )


# ---- tokenizers ---------------------------------------------------------------------------------------


def encode(tokenizer: Any, text: str, special: bool = True) -> tuple[list[int], list[Span]]:
    """Token ids and the characters that each covers, from any tokenizer that knows them.

    special: with the tokens that the tokenizer puts around a text (start, end); they cover no characters.
    Raises InputError for a tokenizer that cannot tell which characters its tokens cover, and whose tokens do not
    spell the text.
    """
    if isinstance(tokenizer, Tokenizer):
        encoded = tokenizer.encode(text)
        return list(encoded.ids), list(encoded.spans)
    if hasattr(tokenizer, "encode_batch") and not callable(tokenizer):  # of the package `tokenizers`
        found = tokenizer.encode(text, add_special_tokens=special)
        return list(found.ids), [(int(start), int(end)) for start, end in found.offsets]
    if not callable(tokenizer):
        raise ArgumentTypeError(
            f"A tokenizer must be one of Hugging Face or Limelight; got {type(tokenizer).__name__}."
        )
    if not getattr(tokenizer, "is_fast", False):
        return spelled_out(tokenizer, text, special)
    found = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True, verbose=False)
    return list(found["input_ids"]), [(int(start), int(end)) for start, end in found["offset_mapping"]]


def named(documents: Mapping[str, str] | Sequence[str] | str) -> dict[str, str]:
    """Name → text; texts without names are numbered. Raises ArgumentTypeError for what is no text."""
    if isinstance(documents, str):
        documents = [documents]
    if not isinstance(documents, Mapping):
        documents = {f"document {number}": text for number, text in enumerate(documents, 1)}
    for name, text in documents.items():
        if not isinstance(text, str):
            raise ArgumentTypeError(f"A document must be a text; {name} is {type(text).__name__}.")
    return dict(documents)


def _joined(texts: Sequence[str]) -> tuple[str, list[Span]]:
    places: list[Span] = []
    at = 0
    for text in texts:
        places.append((at, at + len(text)))
        at += len(text) + len(BETWEEN_DOCUMENTS)
    return BETWEEN_DOCUMENTS.join(texts), places
