"""The explanation in the terminal and on the page: complete, readable everywhere, harmless."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from limelight.explain import Check, Explanation, explain_text
from limelight.explain.render.page import page, save_page
from limelight.explain.render.terminal import shown
from tests.examples import mostly_slow
from tests.explain.models import TEXT, predictor

HOSTILE = "</script><img src=x onerror=alert(1)> \u202eevil\u202c \x1b[2J& \"quoted\" 'so' </style>“odd”"


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    return explain_text(predictor(), TEXT)


@pytest.fixture(scope="module")
def hostile() -> Explanation:
    return explain_text(predictor("classifier"), HOSTILE)


def printed(explanation: Explanation, width: int = 80, encoding: str = "utf-8", **options: object) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=stream, width=width, **options).print(shown(explanation))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


class Tags(HTMLParser):
    """Collects what a browser would see: tags with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""


# ── Terminal ──


@pytest.mark.parametrize("width", mostly_slow([80, 100, 60], 60))
def test_lines_fit_and_end_without_spaces(explanation: Explanation, width: int) -> None:
    lines = printed(explanation, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert not [line for line in lines if line != line.rstrip()]


def test_piped_it_is_plain_text_and_complete(explanation: Explanation) -> None:
    text = printed(explanation)
    assert "\x1b" not in text
    for number, stage in enumerate(explanation.stages, 1):
        assert f"{number:>2}  {stage.name}" in text
    assert f"✓ all {len(explanation.stages)} checks hold" in text


@pytest.mark.slow
def test_with_colour_the_letters_are_the_same(explanation: Explanation) -> None:
    coloured = printed(explanation, force_terminal=True, color_system="truecolor")
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == printed(explanation)


def test_a_stream_of_letters(explanation: Explanation) -> None:
    text = printed(explanation, encoding="ascii")
    assert f"ok all {len(explanation.stages)} checks hold" in text
    assert text.count("?") < 5  # every sign of ours has its letters; only the user's may be lost


def test_a_failed_check_is_seen(explanation: Explanation) -> None:
    first = replace(explanation.stages[0], check=Check("this", None, 0.0))
    broken = replace(explanation, stages=(first, *explanation.stages[1:]))
    assert "✗ 1 of" in printed(broken)
    assert "✗ 1 of" in page(broken)


def test_a_hostile_text_sends_the_terminal_nothing(hostile: Explanation) -> None:
    text = printed(hostile)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "</script>" in text  # shown as it is


# ── Page ──


def test_the_page_is_well_formed_and_complete(explanation: Explanation) -> None:
    seen = Tags(page(explanation))
    assert not seen.open
    ids = [attributes["id"] for _, attributes in seen.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for tag, attributes in seen.tags if tag == "a"}
    assert links == {f"#{each}" for each in ids}
    assert [tag for tag, _ in seen.tags].count("article") == len(explanation.stages)
    figures = sum(len(stage.numbers) for stage in explanation.stages)
    assert [tag for tag, _ in seen.tags].count("figure") == figures
    assert f"all {len(explanation.stages)} checks hold" in seen.text


def test_a_hostile_text_is_shown_and_does_nothing(hostile: Explanation) -> None:
    text = page(hostile)
    seen = Tags(text)
    assert not {"script", "img", "link", "iframe", "object"} & {tag for tag, _ in seen.tags}
    allowed = {
        "class",
        "id",
        "href",
        "charset",
        "http-equiv",
        "content",
        "name",
        "lang",
        "scope",
        "colspan",
        "d",
    }
    allowed |= {
        "viewbox",
        "preserveaspectratio",
        "aria-hidden",
        "aria-label",
        "role",
        "x",
        "y",
        "width",
        "height",
    }
    assert {name for _, attributes in seen.tags for name in attributes} <= allowed
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "</script><img src=x onerror=alert(1)>" in seen.text


def test_the_page_needs_nothing_and_forbids_the_rest(explanation: Explanation) -> None:
    text = page(explanation)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    policy = next(
        a["content"] for _, a in Tags(text).tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None and policy is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_words_that_attention_does_not_earn(explanation: Explanation) -> None:
    for text in (printed(explanation), Tags(page(explanation)).text):
        assert not re.search(r"important|explains|because", text, re.IGNORECASE)


def test_the_page_is_written_aside_and_renamed(explanation: Explanation, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("old")
    assert save_page(explanation, target) == target
    assert target.read_text(encoding="utf-8") == page(explanation)
    assert list(tmp_path.iterdir()) == [target]
