"""Which characters each token covers, for tokenizers that do not tell: found by spelling the tokens along the text.

Bytes (ByT5) and characters (CANINE) are counted. Pieces of words are matched with the text letter by letter, white
space passed over, capitals apart. What cannot be found that way is refused rather than guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limelight.errors import InputError
from limelight.text.segmentation import Span

BEFORE = ("\u2581", "\u0120", "##")
"""What stands at the beginning of a piece for a space before it, or for none."""
BEHIND = ("@@", "</w>")
"""What stands at its end for a word that goes on, or ends."""


def spelled_out(tokenizer: Any, text: str, special: bool) -> tuple[list[int], list[Span]]:
    """The ids of a slow tokenizer and the characters of each; special tokens cover none.

    Raises InputError where the tokens do not spell the text.
    """
    try:
        ids, plain = (
            [int(number) for number in tokenizer(text, add_special_tokens=each, verbose=False)["input_ids"]]
            for each in (special, False)
        )
    except TypeError as error:
        raise _cannot(tokenizer, f"it is not called as those of transformers are ({error})") from error
    before = _place_of(plain, ids)
    if before is None:
        raise _cannot(tokenizer, "it changes the text's tokens where it puts special ones around them")
    spans = _counted(tokenizer, text, plain) or _matched(tokenizer, text, plain)
    behind = len(ids) - before - len(plain)
    return ids, [*[(0, 0)] * before, *spans, *[(0, 0)] * behind]


def _place_of(plain: list[int], ids: list[int]) -> int | None:
    """Where the tokens of the text stand among all."""
    places = range(len(ids) - len(plain) + 1)
    return next((start for start in places if ids[start : start + len(plain)] == plain), None)


def _counted(tokenizer: Any, text: str, plain: Sequence[int]) -> list[Span] | None:
    """A token for each byte, or for each character; None for a tokenizer of another kind."""
    data = text.encode("utf-8", "surrogatepass")
    tokens = [str(token) for token in tokenizer.convert_ids_to_tokens(list(plain))]
    if len(tokens) == len(data) and all(token == chr(byte) for token, byte in zip(tokens, data, strict=True)):
        lengths = [len(sign.encode("utf-8", "surrogatepass")) for sign in text]
        return [(place, place + 1) for place, bytes_ in enumerate(lengths) for _ in range(bytes_)]
    if len(tokens) == len(text) and (tokens == list(text) or list(plain) == list(map(ord, text))):
        return [(place, place + 1) for place in range(len(text))]
    return None


def _matched(tokenizer: Any, text: str, plain: Sequence[int]) -> list[Span]:
    """Pieces of words, one after the other along the text."""
    spans: list[Span] = []
    at = 0
    for token in tokenizer.convert_ids_to_tokens(list(plain)):
        piece = _surface(str(token))
        if not piece:
            spans.append((at, at))
            continue
        while at < len(text) and text[at].isspace():
            at += 1
        end = at + len(piece)
        if text[at:end] != piece and text[at:end].lower() != piece.lower():
            raise _cannot(tokenizer, f"its token {token!r} is not what the text has at character {at + 1}")
        spans.append((at, end))
        at = end
    if text[at:].strip():
        raise _cannot(tokenizer, f"its tokens end before the text does, at character {at + 1}")
    return spans


def _surface(token: str) -> str:
    """The letters that a piece stands for."""
    for mark in BEFORE:
        token = token.removeprefix(mark)
    for mark in BEHIND:
        token = token.removesuffix(mark)
    return token


def _cannot(tokenizer: Any, why: str) -> InputError:
    return InputError(
        f"The tokenizer must tell which characters each token covers; {type(tokenizer).__name__} cannot, and {why}. "
        "Load its fast version, if it has one: AutoTokenizer.from_pretrained(path, use_fast=True)."
    )
