"""Two Bibles that carry Strong's numbers → pairs of verses, and which phrases people say translate each other.

A Strong's number names a word of the Hebrew or Greek original. In both modules an editor has written after every
phrase the number of the word that it translates: `los cielos` has H8064, and so has `heaven`. A number that
stands once in a verse of either language links two phrases, and nobody has asked a model.

The modules are in SWORD's zText format: a file of verses (block, start, size; 10 bytes each), one of blocks (start,
size, size unpacked; 12 bytes each), and the blocks, packed with zlib. Titles of books and chapters stand in the
row of verses too; a chapter's title says which chapter it is, and so every verse gets its name.
"""

from __future__ import annotations

import json
import re
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from limelight.errors import TextError
from limelight.files import write_text
from limelight.text.corpora.fetch import (
    Corpus,
    Pair,
    find_deb,
    part_of,
    run,
    write_notice,
    write_parts,
)
from limelight.text.segmentation import Span

MODULES = {"kjv": "engKJV2006eb", "sparv": "spaRV1909eb"}
"""The Debian packages sword-text-… and the folder of their module: King James, and Reina-Valera 1909."""
SHARED = 0.2
"""Two verses of which fewer of the shorter one's numbers are in the other are no translation of each other: in
three chapters of Job the two count their verses differently."""

_CHAPTER = re.compile(r'<chapter [^>]*osisID="([^"]+)"[^>]*sID=')
_LEFT_OUT = re.compile(r"<note\b.*?</note>|<title(?![^>]*canonical=\"true\").*?</title>|¶", re.DOTALL)
_PIECE = re.compile(r"<(/?)(\w+)([^>]*)>|([^<]+)")
_NUMBER = re.compile(r"strong:(\w+)")


@dataclass(frozen=True)
class Phrase:
    """Some words of a verse, `text[start:end]`, and the Strong's numbers of what they translate."""

    start: int
    end: int
    numbers: tuple[str, ...]

    @property
    def span(self) -> Span:
        return self.start, self.end


@dataclass(frozen=True)
class Verse:
    """A verse's text and its numbered phrases, in the order of the text."""

    text: str
    phrases: tuple[Phrase, ...]

    @property
    def counts(self) -> Counter[str]:
        """How often each number stands in it."""
        return Counter(number for phrase in self.phrases for number in phrase.numbers)


@dataclass(frozen=True)
class LinkedVerse:
    """A verse in two languages. links: (source phrase, target phrase), numbers into `phrases`."""

    name: str
    source: Verse
    target: Verse
    links: tuple[tuple[int, int], ...]

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`; phrases as (start, end) in characters."""
        return {
            "verse": self.name,
            "source": self.source.text,
            "target": self.target.text,
            "source phrases": [phrase.span for phrase in self.source.phrases],
            "target phrases": [phrase.span for phrase in self.target.phrases],
            "links": self.links,
        }


def bible_corpus(folder: str | Path, debs: str | Path | None = None) -> Corpus:
    """Build English → Spanish from the King James Bible and the Reina-Valera of 1909, with links between phrases.

    debs: a folder with both packages (`sword-text-kjv_*.deb`, `sword-text-sparv_*.deb`); None fetches them with
    `apt-get download`. Chapters, not verses, are dealt out to the parts. Beside each PART.tsv stands
    `links-PART.jsonl`, a line for each of its verses (`LinkedVerse.to_json`).
    """
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        packages = [
            find_deb(f"sword-text-{each}", scratch if debs is None else Path(debs), debs is None)
            for each in MODULES
        ]
        for package in packages:
            run(["dpkg-deb", "-x", str(package.resolve()), "."], scratch, f"Unpacking {package.name}")
        bibles = [
            read_module(scratch / "usr/share/sword/modules/texts/ztext" / each) for each in MODULES.values()
        ]
    parts: dict[str, list[LinkedVerse]] = {"train": [], "valid": [], "test": []}
    for verse in linked_verses(*bibles):
        parts[part_of(verse.name.rpartition(".")[0], valid=0.02, test=0.03)].append(verse)
    pairs: dict[str, list[Pair]] = {
        part: [(verse.source.text, verse.target.text) for verse in verses] for part, verses in parts.items()
    }
    counts = write_parts(folder, pairs)
    for part, verses in parts.items():
        lines = (json.dumps(verse.to_json(), ensure_ascii=False) + "\n" for verse in verses)
        write_text(folder / f"links-{part}.jsonl", "".join(lines))
    origin = "The King James Bible and the Reina-Valera Bible of 1909, out of the Debian packages\n"
    write_notice(folder, origin + " and\n".join(package.name for package in packages), _LICENCE)
    return Corpus(folder, counts | {"links": sum(len(each.links) for row in parts.values() for each in row)})


def read_module(folder: Path) -> dict[str, str]:
    """The verses of a zText module in OSIS's markup, by their names: "Gen.1.1"."""
    found: dict[str, str] = {}
    for testament in ("ot", "nt"):
        chapter, number = "", 0
        for entry in _entries(folder, testament):
            if title := _CHAPTER.search(entry):
                chapter, number = title[1], 0
            elif '<div canonical="true" osisID=' in entry:
                chapter = ""  # a book begins, and its first chapter's title comes next
            elif chapter:
                number += 1
                if entry:
                    found[f"{chapter}.{number}"] = entry
    return found


def _entries(folder: Path, testament: str) -> Iterator[str]:
    try:
        verses, blocks, packed = (
            (folder / f"{testament}.{ending}").read_bytes() for ending in ("bzv", "bzs", "bzz")
        )
        texts = [
            zlib.decompress(packed[start : start + size])
            for start, size, _ in struct.iter_unpack("<III", blocks)
        ]
        for block, start, size in struct.iter_unpack("<IIH", verses):
            yield texts[block][start : start + size].decode("utf-8") if size else ""
    except (OSError, struct.error, zlib.error, IndexError, UnicodeDecodeError) as error:
        raise TextError(
            f"{folder} must hold a SWORD module in the zText format, packed with zlib, in blocks of books; "
            f"{testament} cannot be read: {error}."
        ) from error


def read_verse(osis: str) -> Verse:
    """OSIS's markup → text and phrases. Notes and titles that are not the Bible's own are left out.

    >>> read_verse('The <w lemma="strong:H8064">sky</w><note>or: heaven</note>.')
    Verse(text='The sky.', phrases=(Phrase(start=4, end=7, numbers=('H8064',)),))
    """
    text = ""
    phrases: list[Phrase] = []
    begun: tuple[int, tuple[str, ...]] | None = None
    for closing, tag, attributes, characters in _PIECE.findall(_LEFT_OUT.sub("", osis)):
        if characters:
            spaced = re.sub(r"\s+", " ", characters)
            text += spaced.lstrip() if text[-1:] in ("", " ") else spaced
        elif tag == "w" and closing and begun is not None:
            start, numbers = begun
            if numbers and start < len(text):
                phrases.append(Phrase(start, len(text), numbers))
            begun = None
        elif tag == "w":
            if text and text[-1].isalnum():
                text += " "  # the markup has forgotten the space between two words
            begun = len(text), tuple(_NUMBER.findall(attributes))
    return Verse(text.rstrip(), tuple(phrases))


def linked_verses(source: Mapping[str, str], target: Mapping[str, str]) -> Iterator[LinkedVerse]:
    """The verses that both have, with their links, where they are translations of each other."""
    for name, osis in source.items():
        if name not in target:
            continue
        one, other = read_verse(osis), read_verse(target[name])
        numbers = one.counts, other.counts
        shared = len(numbers[0].keys() & numbers[1].keys())
        if one.text and other.text and shared > SHARED * min(map(len, numbers)):
            yield LinkedVerse(name, one, other, links(one, other))


def links(source: Verse, target: Verse) -> tuple[tuple[int, int], ...]:
    """(source phrase, target phrase) for each number that stands exactly once in either verse."""
    places = [
        {number: place for place, phrase in enumerate(verse.phrases) for number in phrase.numbers}
        for verse in (source, target)
    ]
    counts = source.counts, target.counts
    return tuple(
        dict.fromkeys(
            (place, places[1][number])
            for number, place in places[0].items()
            if counts[0][number] == 1 == counts[1][number]
        )
    )


def read_links(path: Path) -> list[LinkedVerse]:
    """A `links-PART.jsonl` back into verses; the numbers themselves are not in it."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        each = json.loads(line)
        source, target = (
            Verse(each[side], tuple(Phrase(start, end, ()) for start, end in each[f"{side} phrases"]))
            for side in ("source", "target")
        )
        found.append(LinkedVerse(each["verse"], source, target, tuple((a, b) for a, b in each["links"])))
    return found


_LICENCE = """\
Both texts are in the public domain: "This work is not copyrighted. It is in the Public Domain. You may copy and
publish this work freely, but you may not claim copyright on it." In the United Kingdom letters patent of the
Crown restrict the printing of the King James Bible.

The verses in these files were taken out of the modules by Limelight (experiments/data/bibles.py) and are otherwise
unchanged. The modules come from https://ebible.org.
"""
