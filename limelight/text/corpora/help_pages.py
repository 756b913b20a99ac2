"""LibreOffice's help pages in two languages → pairs of paragraphs that say the same.

Every paragraph and heading carries an id (`<p id="par_id3149052">`, `<h2 id="hd_id3146322">`) that is the
same in every language, so that two paragraphs with one page and one id are translations of each other.
No guessing by length or order is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from limelight.errors import TextError

_BLOCKS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6"})
_ID_PREFIXES = ("par_", "hd_")

SHORTEST_RATIO, LONGEST_RATIO = 0.5, 2.0
"""Target length over source length, in characters; outside of it a pair is no faithful translation."""

SLACK = 12
"""Characters that are forgiven before the ratio counts: a short label may well double its length."""


@dataclass(frozen=True)
class Paragraph:
    """A source and its translation, and the page (path below the language's folder) they stand on."""

    page: str
    source: str
    target: str


class _HelpPage(HTMLParser):
    """Collects {id: text} of one page, in the order of the page; of a repeated id the first counts.

    Inside `<span class="switchinline">` the page holds one wording for each system (macOS, default) and a
    script shows one of them; we keep the default.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: dict[str, str] = {}
        self._block: tuple[str, str] | None = None  # (tag, id) of the block that is open
        self._pieces: list[str] = []
        self._spans: list[str] = []  # open spans: "switch", "hidden" or "plain"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        identity = attributes.get("id") or ""
        if tag in _BLOCKS:
            self._close()
            if identity.startswith(_ID_PREFIXES):
                self._block = (tag, identity)
        elif tag == "br":
            self._pieces.append(" ")
        elif tag == "span" and self._block:
            inside_switch = bool(self._spans) and self._spans[-1] == "switch"
            if inside_switch and not identity.startswith("default"):
                self._spans.append("hidden")
            elif "switchinline" in (attributes.get("class") or ""):
                self._spans.append("switch")
            else:
                self._spans.append("plain")

    def handle_endtag(self, tag: str) -> None:
        if self._block and tag == self._block[0]:
            self._close()
        elif tag == "span" and self._spans:
            self._spans.pop()

    def handle_data(self, data: str) -> None:
        if self._block and "hidden" not in self._spans:
            self._pieces.append(data)

    def _close(self) -> None:
        if self._block:
            self.texts.setdefault(self._block[1], " ".join("".join(self._pieces).split()))
        self._block, self._pieces, self._spans = None, [], []


def page_texts(html: str) -> dict[str, str]:
    """The paragraphs of one help page by id, white space made single spaces.

    >>> page_texts('<h1 id="hd_1">One <b>bold</b><br>word</h1><p>no id</p><p id="par_2">Two &amp; three</p>')
    {'hd_1': 'One bold word', 'par_2': 'Two & three'}
    """
    parser = _HelpPage()
    parser.feed(html)
    parser.close()
    return parser.texts


def lengths_agree(source: str, target: str) -> bool:
    """Whether the two lengths are those of a text and its translation.

    >>> lengths_agree("Undo", "Rückgängig machen"), lengths_agree("Undo", "Es macht alles wieder rückgängig.")
    (True, False)
    """
    return (
        len(target) <= LONGEST_RATIO * len(source) + SLACK
        and len(target) >= SHORTEST_RATIO * len(source) - SLACK
    )


def aligned_paragraphs(source_folder: Path, target_folder: Path) -> Iterator[Paragraph]:
    """All faithful pairs of the pages that stand in both folders, page by page in sorted order.

    Left out: empty texts, pairs whose two texts are equal (nobody translated them), texts without a letter,
    odd lengths (see `lengths_agree`), and every repetition of a pair that an earlier page had.
    """
    pages = sorted(path.relative_to(source_folder).as_posix() for path in source_folder.rglob("*.html"))
    if not pages:
        raise TextError(
            f"The folder of help pages must hold .html files; {source_folder} has none. "
            f"Give the folder of one language, such as …/libreoffice/help/en-US."
        )
    seen: set[tuple[str, str]] = set()
    for page in pages:
        if not (target_folder / page).is_file():
            continue
        sources = page_texts((source_folder / page).read_text(encoding="utf-8", errors="replace"))
        targets = page_texts((target_folder / page).read_text(encoding="utf-8", errors="replace"))
        for identity, source in sources.items():
            pair = (source, targets.get(identity, ""))
            if pair in seen or not all(pair) or source == pair[1]:
                continue
            if not any(map(str.isalpha, source)) or not lengths_agree(*pair):
                continue
            seen.add(pair)
            yield Paragraph(page, *pair)
