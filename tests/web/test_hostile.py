"""Texts that try to get out of the page: they are shown, and do nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import limelight as ll
from limelight.viewer.making import subject_of
from limelight.viewer.subject import Subject
from tests.web.conftest import saved

pytestmark = pytest.mark.slow

HOSTILE = {
    "</script><script>alert(1)</script>": "</script><script>document.title='owned'</script> </style> <!-- ]]>",
    "<img src=x onerror=alert(2)>": "<img src=x onerror=document.title='owned'> <svg/onload=alert(3)> &lt;b&gt;",
    "\u202eevil\u202c": "a \u202egnirts\u202c b \u200bzero\u200b c \u2066x\u2069 \ufeff \u200f שלום עולם مرحبا d",
    "": "javascript:alert(4) ${alert(5)} {{6}} \x00\x07\x1b[2J \u2028 \u2029 e\u0301 👩‍👩‍👧 \U000e0041",
}
VIEWS = ("text", "heads", "map", "documents")


def subject_of_texts(texts: dict[str, str]) -> Subject:
    context = ll.Context.of(ll.Tokenizer.train(list(texts.values()), "characters"), texts)
    N = len(context.ids)
    query, key = torch.randn(2, 1, 1, N, 3)
    return subject_of(ll.AttentionMatrix(query, key), context, title="</title><script>alert(0)</script>")


def test_hostile_texts_are_shown_and_do_nothing(opened: Callable[..., Any], tmp_path: Path) -> None:
    address = saved(subject_of_texts(HOSTILE), tmp_path / "hostile.html")
    for view in VIEWS:
        page = opened(f"{address}#view={view}&place=3&level=word")
        page.wait_for_selector(f"main[data-view={view}]")
        page.wait_for_timeout(300)
        assert "owned" not in page.title()
        assert page.locator("main script, main img, main style, main iframe").count() == 0
        assert page.locator("main svg[onload]").count() == 0
    page = opened(address)
    page.wait_for_selector(".block")
    told = page.locator(".pane").text_content()
    assert "</script><script>document.title='owned'</script>" in told
    for sign in ("202E", "200B", "2066", "0000", "2028", "E0041"):
        assert f"⟨{sign}⟩" in told, f"U+{sign} is not written out"
    assert not {"\u202e", "\u200b", "\u2066", "\x00"} & set(told)
    assert "e\u0301" in told
    assert "👩‍👩‍👧" in told
    assert "שלום" in told


def test_a_word_of_ten_megabytes_is_shortened(opened: Callable[..., Any], tmp_path: Path) -> None:
    word = "x" * 10_000_000
    text = f"before {word} after"
    ends = len(text)
    spans = [(0, 6), (7, ends - 6), (ends - 5, ends)]
    segments = ll.Segments.from_spans(text, spans)
    query, key = torch.randn(2, 1, 1, 3, 3)
    path = tmp_path / "long.html"
    address = saved(subject_of(ll.AttentionMatrix(query, key), segments), path)
    page = opened(f"{address}#place=1")
    page.wait_for_selector(".panel .ranks button")
    told = page.locator(".pane").text_content()
    assert "[10,000,000 characters]" in told
    assert "before" in told
    assert "after" in told
    assert len(told) < 1000


def test_a_link_from_a_stranger_changes_nothing_but_the_view(opened: Callable[..., Any], file: str) -> None:
    page = opened(
        f"{file}#view=%3Cimg%20src=x%3E&place=99999999&attention=77&slice=%3Cscript%3E&pin=word:1:from:9.9"
    )
    page.wait_for_selector(".block")
    assert page.locator("main").get_attribute("data-view") == "text"
