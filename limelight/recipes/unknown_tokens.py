"""Characters and words that a tokenizer does not know, and that no answer can hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Literal

from limelight.readings.reading import visible
from limelight.text.tokenizers import UNKNOWN, Tokenizer

NAMED = 8
"""Unknown characters or words that are named."""
NORMAL_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")


def unknown_in(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str]:
    """Every character or word of the texts that becomes UNKNOWN, in their order, repetitions too."""
    texts = list(texts)
    if tokenizer.kind == "bpe":  # it writes every text in bytes
        return []
    return [
        text[slice(*encoded.spans[place])]
        for text, encoded in zip(texts, tokenizer.encode_batch(texts), strict=True)
        for place, id in enumerate(encoded.ids)
        if id == UNKNOWN
    ]


def named(unknown: Iterable[str]) -> str:
    """A few of them, each once, so that they can be seen."""
    different = [*dict.fromkeys(map(_shown, unknown))]
    return " ".join(different[:NAMED]) + (" …" if len(different) > NAMED else "")


def _shown(text: str) -> str:
    """A text in which what has no shape of its own, such as a space or a joiner, stands by its number in Unicode."""
    if len(text) == 1 and unicodedata.category(text).startswith("M"):  # an accent without its letter
        return _number(text)
    return "".join(_number(sign) if unicodedata.category(sign)[0] in "CZ" else sign for sign in text)


def _number(sign: str) -> str:
    return f"U+{ord(sign):04X}"


def unit(tokenizer: Tokenizer, count: int) -> str:
    """What the tokenizer cuts a text into: "1 word", "3 characters"."""
    one = "character" if tokenizer.kind == "characters" else "word"
    return f"{count:,} {one}{'s' if count > 1 else ''}"


def told_unknown(tokenizer: Tokenizer, texts: Iterable[str], where: str = "the input") -> str:
    """A sentence about what texts hold that the model has never seen, and whether it knows it in small letters,
    or in another normal form.

    "" where there is nothing to say.
    """
    texts = list(texts)
    unknown = unknown_in(tokenizer, texts)
    if not unknown:
        return ""
    said = f"{unit(tokenizer, len(unknown))} in {where} that this model does not know: {named(unknown)}"
    small = [each.lower() for each in dict.fromkeys(map(visible, unknown)) if each.lower() != each]
    if small and all(UNKNOWN not in tokenizer.encode(each).ids for each in small):
        said += f"; it knows {' '.join(small[:NAMED])}"
    for form in NORMAL_FORMS:
        other = [unicodedata.normalize(form, text) for text in texts]
        if other != texts and not unknown_in(tokenizer, other):
            said += f"; it knows all of it in the normal form {form}: unicodedata.normalize({form!r}, text)"
            break
    return said
