"""What a tokenizer's chat template makes of messages, and where in its text each message stands.

A template is a program that came with the tokenizer: it writes roles and marks around what is said, may move the
system's message, and tells nobody where it has put what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limelight.errors import InputError
from limelight.text.segmentation import Span


def plain_message(message: Mapping[str, Any]) -> dict[str, str]:
    """A message as its role and its text; a content in parts is put together where all of them are text.

    >>> plain_message({"role": "user", "content": [{"type": "text", "text": "Hello."}]})
    {'role': 'user', 'content': 'Hello.'}
    """
    role, content = (
        (message.get(key) for key in ("role", "content")) if isinstance(message, Mapping) else ("", 0)
    )
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        texts = [part.get("text") if part.get("type") == "text" else None for part in content]
        content = "\n".join(map(str, texts)) if None not in texts else content
    if not isinstance(role, str) or not isinstance(content, str):
        raise InputError(f'A message must be {{"role": "user", "content": "…"}}; got {message!r}.')
    return {**message, "role": role, "content": content}


def rendered_with_places(
    tokenizer: Any, messages: Sequence[Mapping[str, str]], answer_next: bool
) -> tuple[str, list[Span]]:
    """What the template makes of the messages, and where each stands in it, without blanks around it.

    The words of a message may also be the template's own ("help" in "You are a helpful assistant"), so marks that
    nobody writes are put in the messages' places, and found again.
    """
    text = _rendered(tokenizer, messages, answer_next)
    contents = [message["content"] for message in messages]
    said = [content.strip() for content in contents]
    marks = [f"\ue000{number}\ue001" for number in range(len(messages))]
    with_marks = [{**message, "content": mark} for message, mark in zip(messages, marks, strict=True)]
    marked = _rendered(tokenizer, with_marks, answer_next)
    for written in (said, contents):
        made, places = _put_back(marked, marks, written)
        if made == text:
            blanks = [len(content) - len(content.lstrip()) for content in written]
            starts = [low + blank for (low, _), blank in zip(places, blanks, strict=True)]
            return text, [(start, start + len(each)) for start, each in zip(starts, said, strict=True)]
    places = []  # a template that treats these words in a way of its own: they are looked for
    for each in said:
        start = _found(text, each, places[-1][1] if places else 0)
        places.append((start, start + len(each)))
    return text, places


def _rendered(tokenizer: Any, messages: Sequence[Mapping[str, str]], answer_next: bool) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "The tokenizer has no chat template: the model was not made for conversations, or its tokenizer was "
            "saved without. Set tokenizer.chat_template, or give the documents as plain text."
        )
    try:
        return str(
            tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=answer_next)
        )
    except Exception as error:  # whatever the template, which is a program, raises to refuse them
        raise InputError(f"The chat template refuses these messages: {error}") from error


def _put_back(marked: str, marks: Sequence[str], contents: Sequence[str]) -> tuple[str, list[Span]]:
    """The text with contents in the places of their marks, and where they are; "" where a mark is not there once."""
    if any(marked.count(mark) != 1 for mark in marks):
        return "", []
    made, at = "", 0
    places: dict[str, Span] = {}
    for mark, content in sorted(zip(marks, contents, strict=True), key=lambda pair: marked.find(pair[0])):
        made += marked[at : marked.find(mark)]
        places[mark] = (len(made), len(made) + len(content))
        made, at = made + content, marked.find(mark) + len(mark)
    return made + marked[at:], [places[mark] for mark in marks]


def _found(text: str, content: str, start: int) -> int:
    place = text.find(content, start)
    if place < 0:
        raise InputError(
            f"The chat template changes what is said: {content[:40]!r} is not in what it writes. "
            "Render it yourself and use Segments.from_spans."
        )
    return place
