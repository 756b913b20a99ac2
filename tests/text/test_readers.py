"""Readers: what a file may hold, and that everything else is refused with file and line."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from limelight.errors import TextError
from limelight.text.readers import read_jsonl, read_pairs, read_text, read_texts


@pytest.fixture
def file(tmp_path: Path):
    def write(data: bytes, name: str = "input.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


# ── Plain text ──


def test_text_comes_back_as_written(file) -> None:
    assert read_text(file("Ein Übel,\n\n東京 😀\n".encode())) == "Ein Übel,\n\n東京 😀\n"


def test_a_byte_order_mark_is_dropped(file) -> None:
    assert read_text(file(codecs.BOM_UTF8 + b"text")) == "text"


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n"])
def test_all_line_ends_become_newlines(file, end: bytes) -> None:
    assert read_text(file(b"one" + end + b"two" + end)) == "one\ntwo\n"


@pytest.mark.parametrize("data", [b"", b" \n\t\r\n", codecs.BOM_UTF8])
def test_an_empty_file_is_refused(file, data: bytes) -> None:
    with pytest.raises(TextError, match=r"input\.txt must hold text; it is empty"):
        read_text(file(data))


@pytest.mark.parametrize(
    ("data", "line", "found"),
    [
        (b"good\ngood\nca\xe9f\n", 3, "E9"),  # Latin-1
        (b"good\r\nb\xffd", 2, "FF"),
        (b"one\rtwo\rcut \xf0\x9f\x98", 3, "F0 9F 98"),  # a character cut off at the end of the file
        (b"\xed\xa0\x80", 1, "ED"),  # a surrogate written as UTF-8
        (b"\xc0\xaf", 1, "C0"),  # an overlong form
    ],
)
def test_malformed_utf8_is_refused_with_its_line(file, data: bytes, line: int, found: str) -> None:
    with pytest.raises(TextError, match=rf"input\.txt, line {line}: .*byte\(s\) {found}.*iconv"):
        read_text(file(data))


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_utf16_is_refused_with_the_way_out(file, mark: bytes) -> None:
    with pytest.raises(TextError, match="UTF-16.*iconv"):
        read_text(file(mark + "text".encode("utf-16-le")))


def test_nul_bytes_are_refused_with_their_line(file) -> None:
    with pytest.raises(TextError, match="line 2: text must have no NUL bytes; found one at byte 5"):
        read_text(file(b"ab\ncd\0ef"))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="no such file"):
        read_text(tmp_path / "absent.txt")
    with pytest.raises(TextError, match="Is a directory"):
        read_text(tmp_path)


def test_a_line_of_a_million_characters_is_read(file) -> None:
    line = "ü" * 1_000_003
    assert read_text(file(line.encode())) == line
    assert read_pairs(file(f"{line}\tx\n".encode())) == [(line, "x")]


@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(data)
    try:
        text = read_text(path)
    except TextError:
        return
    assert text.strip()
    assert not {"\r", "\0"} & set(text)


# ── Folders ──


def test_a_folder_gives_its_text_files_in_order(tmp_path: Path) -> None:
    for name in ["b.txt", "a.md", "deep/er/c.TXT", "picture.png", ".hidden.txt", ".git/d.txt"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    texts = read_texts(tmp_path)
    assert list(texts.values()) == ["a.md", "b.txt", "deep/er/c.TXT"]
    assert list(texts) == [str(tmp_path / name) for name in texts.values()]


def test_named_files_may_have_any_ending(tmp_path: Path, file) -> None:
    first, second = file(b"one", "one.log"), file(b"two", "two")
    assert list(read_texts([second, str(first)]).values()) == ["two", "one"]
    assert read_texts(first) == {str(first): "one"}


def test_a_folder_without_text_and_no_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="it has none"):
        read_texts(tmp_path)
    with pytest.raises(TextError, match="got none"):
        read_texts([])


def test_one_bad_file_in_a_folder_is_named(tmp_path: Path, file) -> None:
    file(b"good", "a.txt")
    file(b"b\xffd", "b.txt")
    with pytest.raises(TextError, match=r"b\.txt, line 1"):
        read_texts(tmp_path)


# ── Pairs ──


def test_pairs_are_read_and_stripped(file) -> None:
    data = codecs.BOM_UTF8 + "a b \t Ä\r\n\r\n  \nc\td\u2028e\x0b\n".encode()
    assert read_pairs(file(data)) == [("a b", "Ä"), ("c", "d\u2028e")]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("no tab here", "no tab: 'no tab here'"),
        ("a\tb\tc", "2 tabs"),
        ("\tb", "an empty source"),
        ("a\t ", "an empty target"),
    ],
)
def test_a_bad_pair_is_refused_with_its_line(file, line: str, found: str) -> None:
    with pytest.raises(TextError, match=rf"input\.txt, line 4: .*{found}"):
        read_pairs(file(f"a\tb\n\nc\td\n{line}\n".encode()))


def test_the_message_about_a_huge_line_is_short(file) -> None:
    with pytest.raises(TextError) as caught:
        read_pairs(file(b"x" * 1_000_003))
    assert len(str(caught.value)) < 400


# ── JSON lines ──


def test_jsonl_gives_values_or_the_named_strings(file) -> None:
    path = file('{"text": "a\\tb", "label": "x", "n": 1}\r\n\n{"text": "Ü", "label": "y"}'.encode())
    assert read_jsonl(path)[0] == {"text": "a\tb", "label": "x", "n": 1}
    assert read_jsonl(path, "text") == [("a\tb",), ("Ü",)]
    assert read_jsonl(path, "label", "text") == [("x", "a\tb"), ("y", "Ü")]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('{"text": "cut', "Unterminated string"),
        ("[" * 100_000, "JSON value"),
        ("1" * 5_000, "JSON value"),
        ("[1, 2]", "found \\[1, 2\\]"),
        ('{"other": "x"}', "'text' must be a string; found only other"),
        ("{}", "found only nothing"),
        ('{"text": 5}', "found 5"),
        ('{"text": null}', "found None"),
    ],
)
def test_a_bad_json_line_is_refused_with_its_line(file, line: str, found: str) -> None:
    with pytest.raises(TextError, match=rf"input\.txt, line 2: .*{found}"):
        read_jsonl(file(f'{{"text": "good"}}\n{line}\n'.encode()), "text")


def test_links_to_folders_are_followed_and_broken_ones_refused(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "texts", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "a.txt").write_text("one")
    (elsewhere / "b.txt").write_text("two")
    (folder / "more").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)  # a circle
    assert [*read_texts(folder).values()] == ["one", "two"]
    (elsewhere / "c.txt").symlink_to(tmp_path / "gone.txt")
    with pytest.raises(TextError, match=r"c.txt is a link to .*gone.txt, where there is nothing"):
        read_texts(folder)
