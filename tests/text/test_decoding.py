"""Bytes to text: which signs end a line, where a byte order mark falls away, and what is advised for other files."""

from __future__ import annotations

import codecs
import gzip
import re
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from limelight.errors import TextError
from limelight.text.decoding import decoded, line_ends, lines_of
from limelight.text.lookalikes import told_apart, twins
from limelight.text.readers import read_jsonl, read_labelled, read_pairs, read_text

NO_LINE_END = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"one\rtwo\rthree", ["one", "two", "three"]),  # old Mac
        (b"one\rtwo\nthree\n", ["one two", "three"]),
        (b"one\r\ntwo\r\r\nthree", ["one", "two", "three"]),  # made twice for Windows
        (b"one\r\ntwo\rtoo\r\n\r\n", ["one", "two too", ""]),
        (b"\r\n\r\none", ["", "", "one"]),
        (NO_LINE_END.encode() + b"\n", [NO_LINE_END]),
    ],
)
def test_a_line_of_the_file_is_a_line(data: bytes, lines: list[str]) -> None:
    assert lines_of(decoded(data, "FILE")) == lines


@given(st.lists(st.text("ab\r\t" + NO_LINE_END + "\ufeffé", max_size=5), min_size=2, max_size=7))
def test_n_line_feeds_give_n_lines(lines: list[str]) -> None:
    read = lines_of(decoded(("\n".join(lines) + "\n").encode(), "FILE"))
    assert len(read) == len(lines)
    assert not any(set("\r\n") & set(line) or line.startswith("\ufeff") for line in read)


def test_marks_fall_away_where_files_were_put_together(tmp_path: Path) -> None:
    one = codecs.BOM_UTF8 + b"ab\tA B\n"
    path = tmp_path / "rows.tsv"
    path.write_bytes(one + one)  # cat
    assert read_pairs(path) == [("ab", "A B")] * 2
    path.write_bytes(codecs.BOM_UTF8 + b"ab\t" + codecs.BOM_UTF8 + b"A B\r\n")  # paste
    assert read_pairs(path) == [("ab", "A B")]
    assert line_ends("a\ufeffb\n\ufeff\ufeffc") == "a\ufeffb\nc"  # within a line it is a character


def test_a_carriage_return_before_a_tab_is_white_space(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes(b"ab\r\tA B\r\nba\tB\rA\n")
    assert read_pairs(path) == [("ab", "A B"), ("ba", "B A")]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"it isn\x92t", "iconv -f WINDOWS-1252"),
        (b"caf\xe9\nisn\x92t", "iconv -f WINDOWS-1252"),  # the first byte at fault fits both
        (b"caf\xe9", "iconv -f ISO-8859-1"),
        (b"\x81\x92", "neither Latin-1 nor Windows-1252"),
        ("Ä Ö Ü ä ö ü ß € ".encode() + b"caf\xe9", "The rest of the file is UTF-8"),
        (gzip.compress(b"text", mtime=0), "compressed with gzip.*gunzip"),
        (b"%PDF-1.7", "PDF.*pdftotext"),
        ("text".encode("utf-32"), "iconv -f UTF-32 "),
        ("one two".encode("utf-16"), "iconv -f UTF-16 "),
        ("one two".encode("utf-16-le"), "iconv -f UTF-16LE"),
        ("one two".encode("utf-16-be"), "iconv -f UTF-16BE"),
        (b"one\0two three", "NUL.*tr -d"),
    ],
)
def test_what_is_no_utf8_is_refused_with_the_way_out(data: bytes, says: str) -> None:
    with pytest.raises(TextError, match=says):
        decoded(data, Path("some.txt"))


def test_the_advised_encoding_gives_the_text() -> None:
    text = "“cat” isn’t – café"
    with pytest.raises(TextError) as caught:
        decoded(text.encode("cp1252"), "FILE")
    advised = re.search(r"iconv -f (\S+)", str(caught.value))
    assert advised is not None
    assert text.encode("cp1252").decode(advised[1]) == text


def test_an_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.tsv", "a\tb\n")
    with pytest.raises(
        TextError, match=r"rows\.zip must be plain UTF-8; it is a zip archive.*unzip rows\.zip"
    ):
        read_pairs(path)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/random"])
def test_a_device_without_an_end_is_refused(device: str) -> None:
    with pytest.raises(TextError, match="it is a device"):
        read_text(device)


def test_labels_of_json_lines_are_stripped_like_those_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": " a b ", "label": " x\\t"}\n\n{"text": "c", "label": "\\ufeffx\\u3000"}\n')
    assert read_labelled(path) == [(" a b ", "x"), ("c", "x")]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"text": "a", "label": " \\ufeff "}', "line 2: the field 'label' must not be empty"),
        ('{"text": " ", "label": "x"}', "line 2: the field 'text' must not be empty"),
        ('{"text": "cut \\ud83d", "label": "x"}', "line 2: .*half of a surrogate pair"),
        ('{"text": "a", "label": "x", "more": {"\\udc00": 1}}', "line 2: .*half of a surrogate pair"),
    ],
)
def test_a_bad_labelled_line_is_refused_with_its_line(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"text": "a", "label": "x"}}\n{line}\n')
    with pytest.raises(TextError, match=says):
        read_labelled(path)


def test_a_whole_pair_of_escapes_is_one_character(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00", "label": "\\\\ud83d"}\n')
    assert read_jsonl(path, "text", "label") == [("😀", "\\ud83d")]


# ── Names that look alike ──


def test_names_that_differ_only_in_what_cannot_be_seen_are_told() -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert twins(["tea", composed, apart, "x", "x\u200b"]) == [(composed, apart), ("x", "x\u200b")]
    assert "e U+0301, there é U+00E9" in told_apart(apart, ["tea", composed])
    assert "NFC" in told_apart(composed, [apart])
    assert "here U+200B, there nothing" in told_apart("x\u200b", ["x"])
    assert told_apart("cafe", [composed, apart]) == ""
    assert twins(["می‌خواهم", "میخواهم"]) == []  # a joiner within a word of Persian means something
