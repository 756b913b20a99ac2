"""Bibles with Strong's numbers, from tiny modules made here."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from experiments.data.bibles import (
    MODULES,
    LinkedVerse,
    Phrase,
    bible_corpus,
    linked_verses,
    links,
    read_links,
    read_module,
    read_verse,
)
from limelight.errors import TextError
from limelight.text.corpora.fetch import part_of
from limelight.text.readers import read_pairs


def word(text: str, *numbers: str) -> str:
    return f'<w lemma="{" ".join(f"strong:{number}" for number in numbers)}">{text}</w>'


def write_module(folder: Path, books: dict[str, list[list[str]]]) -> Path:
    """One module: book → chapters → verses in markup, all in the Old Testament; the New one is empty."""
    folder.mkdir(parents=True)
    blocks, verses = [b"<milestone/>"], [(0, 0, 12)]
    for book, chapters in books.items():
        packed = b""
        entries = [f'<div canonical="true" osisID="{book}" type="book"/>']
        for number, chapter in enumerate(chapters, 1):
            entries += [f'<chapter n="{number}" osisID="{book}.{number}" sID="{book}.{number}"/>', *chapter]
        for entry in entries:
            data = entry.encode()
            verses.append((len(blocks), len(packed), len(data)))
            packed += data
        blocks.append(packed)
    compressed = [zlib.compress(block) for block in blocks]
    starts = [sum(map(len, compressed[:number])) for number in range(len(compressed))]
    (folder / "ot.bzz").write_bytes(b"".join(compressed))
    sizes = zip(starts, map(len, compressed), map(len, blocks), strict=True)
    (folder / "ot.bzs").write_bytes(b"".join(struct.pack("<III", *each) for each in sizes))
    (folder / "ot.bzv").write_bytes(b"".join(struct.pack("<IIH", *each) for each in verses))
    for ending in ("bzz", "bzs", "bzv"):
        (folder / f"nt.{ending}").write_bytes(b"")
    return folder


def test_every_verse_gets_its_name(tmp_path: Path) -> None:
    folder = write_module(tmp_path / "m", {"Gen": [["a", "", "c"], ["d"]], "Exod": [["e"]]})
    assert read_module(folder) == {"Gen.1.1": "a", "Gen.1.3": "c", "Gen.2.1": "d", "Exod.1.1": "e"}


def test_what_is_no_module_is_refused(tmp_path: Path) -> None:
    folder = write_module(tmp_path / "m", {"Gen": [["a"]]})
    (folder / "ot.bzz").write_bytes(b"not packed with zlib")
    with pytest.raises(TextError, match="ot cannot be read"):
        read_module(folder)
    with pytest.raises(TextError, match="must hold a SWORD module"):
        read_module(tmp_path / "nowhere")


def test_a_verse_is_its_text_and_its_phrases() -> None:
    verse = read_verse(
        f'<title>drop me</title><title canonical="true">A {word("Psalm", "H1")}.</title> '
        f"\n¶ The <divineName>{word('LORD', 'H2', 'H3')}</divineName>"
        f'{word("is my", "H4")}<note>or: <w lemma="strong:H9">was</w></note>  shepherd; {word("x")}. '
    )
    assert verse.text == "A Psalm. The LORD is my shepherd; x."
    assert [(verse.text[p.start : p.end], p.numbers) for p in verse.phrases] == [
        ("Psalm", ("H1",)),
        ("LORD", ("H2", "H3")),
        ("is my", ("H4",)),
    ]


def test_only_what_stands_once_on_both_sides_is_linked() -> None:
    one = read_verse(
        " ".join([word("a", "H1"), word("b", "H2"), word("c", "H2"), word("d", "H3"), word("e", "H5")])
    )
    other = read_verse(" ".join([word("E D", "H5", "H3"), word("B", "H2"), word("A", "H1"), word("F", "H6")]))
    assert links(one, other) == ((0, 2), (3, 0), (4, 0))
    assert links(other, one) == ((0, 4), (0, 3), (2, 0))


def test_verses_that_are_counted_differently_are_left_out() -> None:
    heaven, earth = word("heaven", "H1") + " x", word("earth", "H2") + " y"
    found = list(linked_verses({"a": heaven, "b": earth, "c": earth}, {"a": heaven, "b": heaven}))
    assert [verse.name for verse in found] == ["a"]


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb to build two packages")
def test_a_corpus_from_packages(tmp_path: Path) -> None:
    chapters = [[f"{word(f'w{number}', 'H1')} {word('two words', 'H2')}"] for number in range(199)]
    for name, module in MODULES.items():
        root = tmp_path / name
        write_module(root / "usr/share/sword/modules/texts/ztext" / module, {"Gen": chapters})
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN/control").write_text(
            f"Package: sword-text-{name}\nVersion: 1\nArchitecture: all\n"
            "Maintainer: Test <test@example.org>\nDescription: test\n"
        )
        target = tmp_path / f"sword-text-{name}_1_all.deb"
        subprocess.run(["dpkg-deb", "--build", str(root), str(target)], check=True, capture_output=True)
    corpus = bible_corpus(tmp_path / "out", tmp_path)
    assert corpus.counts["links"] == 2 * 199
    rows = {part: read_pairs(corpus.folder / f"{part}.tsv") for part in ("train", "valid", "test")}
    assert sum(map(len, rows.values())) == 199
    for part, pairs in rows.items():
        verses = read_links(corpus.folder / f"links-{part}.jsonl")
        assert [(verse.source.text, verse.target.text) for verse in verses] == pairs
        assert all(part_of(verse.name.rpartition(".")[0], 0.02, 0.03) == part for verse in verses)
    [first, *_] = read_links(corpus.folder / "links-test.jsonl")
    assert isinstance(first, LinkedVerse)
    assert first.links == ((0, 0), (1, 1))
    end = len(first.source.text)
    assert first.source.phrases[1] == Phrase(end - len("two words"), end, ())
    assert "public domain" in (corpus.folder / "NOTICE").read_text()
