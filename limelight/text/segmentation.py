"""Where words, sentences and paragraphs begin and end: three functions from a text to character spans.

The rules, on characters of any script:

- **word**: a run of letters, digits and underscores with what is written over them, and with apostrophes
  inside (`don't`, `l'été`); a number keeps its inner points (`3.14`, `12:30`). Every Chinese character, every
  kana and every other visible character (punctuation, an emoji with what joins it) is a word of its own.
  White space is in no word. Scripts without spaces other than these (Thai, Khmer) are not cut.
- **sentence**: ends at `.`, `!`, `?`, `…` and the quotes and brackets that close there, if white space comes
  next and then no lower-case letter; not at a full stop after a common abbreviation (`e.g.`, `Dr.`, `z.B.`),
  after a single capital letter (`J. Smith`) or after a number at a line's start (`1. Open the file`).
  `。！？` always end one, and so does the end of a paragraph.
- **paragraph**: what stands between blank lines.

Units lie in each other: a word in one sentence, a sentence in one paragraph.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

Span = tuple[int, int]
"""Characters of a text, `text[start:end]`."""

_IDEOGRAPHS = r"\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_BLANK_LINES = re.compile(r"\n[^\S\n]*+\n\s*+")
_LIST_NUMBER = re.compile(r"\d{1,3}\.")
_ABBREVIATION = re.compile(  # words whose full stop ends no sentence, English and German
    r"(abb|abs|approx|aug|bzw|ca|cf|chap|co|corp|d\.h|dec|dept|dr|e\.g|eds?|eq|evtl|feb|figs?|ggf|hr|i\.e|inkl|jan|jr"
    r"|kap|mr|mrs|ms|nov|nr|oct|pp?|prof|s\.o|s\.u|sect?|sept?|sog|st|u\.a|v|vgl|vol|vs|z\.b|z\.t)\.",
    re.IGNORECASE,
)
_INITIAL = re.compile(r"[\"'“‘«(\[]*[^\W\d_]\.")
_OPENING = "\"'“‘«„‚(["


def words(text: str) -> list[Span]:
    """Cut a text into words (see the rules at the top of the file).

    >>> text = "Don't pay 3.50 €, 東京!"
    >>> [text[start:end] for start, end in words(text)]
    ["Don't", 'pay', '3.50', '€', ',', '東', '京', '!']
    """
    return [match.span() for match in _patterns().word.finditer(text)]


def sentences(text: str) -> list[Span]:
    """Cut a text into sentences (see the rules at the top of the file).

    >>> text = "Dr. Fu asks: why? Because, e.g. here, it is so."
    >>> [text[start:end] for start, end in sentences(text)]
    ['Dr. Fu asks: why?', 'Because, e.g. here, it is so.']
    """
    found = []
    for first, last in paragraphs(text):
        start = first
        for end in _sentence_ends(text, first, last):
            found.append(_trimmed(text, start, end))
            start = end
    return [(start, end) for start, end in found if start < end]


def paragraphs(text: str) -> list[Span]:
    """Cut a text at its blank lines.

    >>> paragraphs("One\\nline.\\n \\n\\nTwo.")
    [(0, 9), (13, 17)]
    """
    borders = [0, *(place for gap in _BLANK_LINES.finditer(text) for place in gap.span()), len(text)]
    cut = [_trimmed(text, start, end) for start, end in zip(borders[::2], borders[1::2], strict=True)]
    return [(start, end) for start, end in cut if start < end]


def _sentence_ends(text: str, first: int, last: int) -> Iterator[int]:
    """The places after the last character of each sentence of the paragraph [first, last)."""
    for match in _patterns().sentence_end.finditer(text, first, last):
        end = match.end()
        if end >= last:
            break
        if text[match.start()] in "。！？" or not _goes_on(text, first, match.start(), end):
            yield end
    yield last


def _goes_on(text: str, first: int, stop: int, end: int) -> bool:
    """Whether the sentence goes on after the mark [stop, end) that might end it."""
    rest = text[end : end + 80].lstrip().lstrip(_OPENING)
    if rest[:1].islower():
        return True
    if text[stop:end] != ".":
        return False
    word = text[max(first, end - 12) : end].split()[-1]
    start = end - len(word)
    opens_line = start == first or text[start - 1] == "\n"
    return (
        _ABBREVIATION.fullmatch(word.lstrip(_OPENING)) is not None
        or (_INITIAL.fullmatch(word) is not None and word[-2].isupper())
        or (opens_line and _LIST_NUMBER.fullmatch(word) is not None)
    )


def _trimmed(text: str, start: int, end: int) -> Span:
    """The span without white space at its ends."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M") or "\U0001f3fb" <= character <= "\U0001f3ff"


@dataclass(frozen=True)
class _Patterns:
    word: re.Pattern[str]
    sentence_end: re.Pattern[str]


@cache
def _patterns() -> _Patterns:
    r"""Compiled at the first use; `\w` holds no combining marks, so they are looked up by category."""
    planes = (*range(0x300, 0x1F400), *range(0xE0100, 0xE01F0))
    mark = "[" + "".join(filter(_is_mark, map(chr, planes))) + "]"
    joined = rf"{mark}*+(?:\u200d[^\s\w]{mark}*+)*+"  # accents, skin tones, emoji joined by U+200D
    letters = rf"(?:[^\W{_IDEOGRAPHS}]++(?:{mark}|[\u200c\u200d])*+)++"  # both joiners occur inside words
    word = (
        r"\d++(?:[.,:]\d++)++(?!\w)"
        rf"|{letters}(?:['’]{letters})*+"
        r"|[\U0001f1e6-\U0001f1ff]{2}"  # a flag is two letters
        rf"|\S{joined}"
    )
    sentence_end = rf"[.!?…]++[\"'”’»)\]]*+(?=\s|\Z)|(?:[。！？]++[」』”’）]*+{joined})++"
    return _Patterns(re.compile(word), re.compile(sentence_end))
