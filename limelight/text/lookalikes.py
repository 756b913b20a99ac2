"""Names that look alike and are different: the other normal form of Unicode, or a character that cannot be seen.

`é` is one character (NFC) or an `e` and the accent over it (NFD); keyboards write the first, file names and some
exports the second. On the screen nobody can tell them apart, so an error about such a name has to say it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

UNSEEN = dict.fromkeys(map(ord, "\ufeff\u200b\u2060\u00ad\u200e\u200f"))
"""Characters without a shape that mean nothing within a name: byte order mark, zero-width space, word joiner, soft
hyphen, the two direction marks. (The joiners U+200C and U+200D do mean something, in Persian and Hindi.)"""


def folded(name: str) -> str:
    """What names that look the same have in common: the normal form NFC, without what cannot be seen.

    >>> folded("cafe\\u0301\\u200b") == folded("caf\\u00e9")
    True
    """
    return " ".join(unicodedata.normalize("NFC", name.translate(UNSEEN)).split())


def twins(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of different names that look alike, in the order of the names."""
    first: dict[str, str] = {}
    found = []
    for name in dict.fromkeys(names):
        known = first.setdefault(folded(name), name)
        if known != name:
            found.append((known, name))
    return found


def told_apart(name: str, names: Iterable[str]) -> str:
    """Of which of `names` this one cannot be told by eye, with the characters that differ; "" where there is none.

    >>> told_apart("cafe\\u0301", ["tea", "caf\\u00e9"])
    "It looks like 'café', which is written with other characters: here e U+0301, there é U+00E9. Bring both to one \
normal form (NFC): unicodedata.normalize('NFC', text)."
    """
    looks = folded(name)
    other = next((each for each in names if each != name and folded(each) == looks), None)
    if other is None:
        return ""
    start = 0
    while start < min(len(name), len(other)) and name[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(name), len(other)) - start and name[-1 - end] == other[-1 - end]:
        end += 1
    here, there = (_spelled(each[start : len(each) - end]) for each in (name, other))
    way = (
        "Bring both to one normal form (NFC): unicodedata.normalize('NFC', text)."
        if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
        else "Write both alike."
    )
    return (
        f"It looks like {other!r}, which is written with other characters: here {here}, there {there}. {way}"
    )


MOST_SPELLED = 8


def _spelled(characters: str) -> str:
    """Each as itself, or by its number where it has no shape of its own."""
    signs = [
        character
        if character.isascii() and character.isalnum()
        else f"{_shape(character)}U+{ord(character):04X}"
        for character in characters[:MOST_SPELLED]
    ]
    return " ".join(signs) + (" …" if len(characters) > MOST_SPELLED else "") or "nothing"


def _shape(character: str) -> str:
    return f"{character} " if character.isalpha() else ""
