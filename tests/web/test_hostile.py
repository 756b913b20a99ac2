"""Texts that try to get out of the page: they are shown, and do nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import limelight as ll
from limelight.explain.explanation import Check, Explanation, Numbers, Picture, Stage
from limelight.viewer.builders.from_matrices import build_subject
from limelight.viewer.compute.next_tokens import Step
from limelight.viewer.subject import Subject
from tests.web.conftest import saved, serving

pytestmark = pytest.mark.slow

HOSTILE = {
    "</script><script>alert(1)</script>": "</script><script>document.title='owned'</script> </style> <!-- ]]>",
    "<img src=x onerror=alert(2)>": "<img src=x onerror=document.title='owned'> <svg/onload=alert(3)> &lt;b&gt;",
    "\u202eevil\u202c": "a \u202egnirts\u202c b \u200bzero\u200b c \u2066x\u2069 \ufeff \u200f שלום עולם مرحبا d",
    "": "javascript:alert(4) ${alert(5)} {{6}} \x00\x07\x1b[2J \u2028 \u2029 e\u0301 👩‍👩‍👧 \U000e0041",
}
VIEWS = {
    "text": ".panel .ranks button",
    "heads": ".heads .head canvas",
    "map": ".map-view .legend .ticks span",
    "documents": ".documents-view .panel h2",
    "steps": ".steps-view .panel .ranks .value",
    "process": "article[data-stage] figure",
}
"""View → what is there when it was drawn."""


def subject_of_texts(texts: dict[str, str]) -> Subject:
    context = ll.Context.of(ll.Tokenizer.train(list(texts.values()), "characters"), texts)
    N = len(context.ids)
    query, key = torch.randn(2, 1, 1, N, 3)
    return build_subject(ll.AttentionMatrix(query, key), context, title="</title><script>alert(0)</script>")


def hostile_answer(evil: str) -> Subject:
    """Every word that a page shows of an answer, its steps and its process is `evil`."""
    made = subject_of_texts(HOSTILE if len(evil) < 1000 else {evil: f"{evil} one two three"})
    steps = tuple(
        Step(place, evil, 0.5, ((evil, 0.5), (f"{evil}!", 0.25))) for place in range(made.attentions[0].N)
    )
    both, values = (evil, evil), ((0.25, None), (0.5, 0.75))
    numbers = tuple(Numbers(evil, kind, both, both, values, evil, (0,)) for kind in get_args(Picture))
    check = Check(evil, 0.0, 0.0)
    stage = Stage(evil, evil, evil, evil, ((evil, (1, 2)),), f"It says “{evil}”. {evil}", numbers, check)
    told = Explanation(evil, evil, evil, (f"Token “{evil}”.", evil), (stage, stage)).to_json()
    attention = replace(made.attentions[0], name=evil, note=evil, names={0: evil})
    return replace(
        made,
        title=evil,
        model=evil,
        how=evil,
        notes=(evil,),
        question=evil,
        answer_text=evil,
        attentions=[attention, attention],
        steps=steps,
        explain=lambda _: told,
    )


EVIL = (
    "</script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>"
    "<a href=javascript:alert(1)>x</a> ” \u202egnirts \u2066y \u200bz \ufeff \x00 \u2028 \u200f שלום"
)
TURNED = ("\u202e", "\u2066", "\u200b", "\ufeff", "\x00", "\u2028", "\u200f")


def harmless(page: Any) -> None:
    """Nothing of the text became a part of the page, and none of its unseen signs stands in it as such."""
    assert page.title() != "owned"
    inside = "#limelight"
    for tag in ("script", "img", "style", "iframe", "a", "svg[onload]", "[onerror]"):
        assert page.locator(f"{inside} {tag}").count() == 0, tag
    told = page.locator(inside).text_content()
    assert not {f"U+{ord(sign):04X}" for sign in TURNED if sign in told}
    titles = page.eval_on_selector_all(
        f"{inside} [title], {inside} [aria-label]",
        "all => all.map(one => (one.title || '') + (one.getAttribute('aria-label') || '')).join(' ')",
    )
    assert not {f"U+{ord(sign):04X} in a title" for sign in TURNED if sign in titles}


@pytest.mark.parametrize("source", ["file", "served"])
def test_hostile_words_are_shown_and_do_nothing_in_every_view(
    opened: Callable[..., Any], tmp_path: Path, source: str
) -> None:
    subject = hostile_answer(EVIL)
    if source == "file":
        everywhere(opened, saved(subject, tmp_path / "hostile.html"), offline=True)
    else:
        with serving(subject) as address:
            everywhere(opened, address, offline=False)


def everywhere(opened: Callable[..., Any], address: str, *, offline: bool) -> None:
    for view, words in VIEWS.items():
        page = opened(f"{address}#view={view}&place=3&level=word&step=1&stage=1", offline=offline)
        page.wait_for_selector(words)
        page.wait_for_timeout(300)
        assert page.locator("main").get_attribute("data-view") == view
        harmless(page)
        assert page.locator("#limelight h1").text_content().startswith("</script><script>")
        page.locator("summary", has_text="About").click()
        assert "⟨202E⟩gnirts" in page.locator(".about").text_content()
        if view in ("steps", "process"):
            assert "⟨202E⟩" in page.locator("#limelight").text_content()
            assert page.locator("main").text_content().count("</script>") > 3


def test_hostile_texts_are_shown_and_do_nothing(opened: Callable[..., Any], tmp_path: Path) -> None:
    address = saved(subject_of_texts(HOSTILE), tmp_path / "hostile.html")
    for view in ("text", "heads", "map", "documents"):
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


def test_a_word_of_ten_megabytes_is_shortened_in_every_view(
    opened: Callable[..., Any], tmp_path: Path
) -> None:
    word = "x" * 10_000_000
    text = f"before {word} after"
    ends = len(text)
    spans = [(0, 6), (7, ends - 6), (ends - 5, ends)]
    segments = ll.Segments.from_spans(text, spans)
    query, key = torch.randn(2, 1, 1, 3, 3)
    bare = build_subject(ll.AttentionMatrix(query, key), segments, title=word)
    stage = hostile_answer(word[:10]).explain({})["stages"][0] | {"text": f"“{word}” {word}"}
    told = {"text": text, "answer": word, "model": word, "choice": [f"Token “{word}”."], "stages": [stage]}
    steps = tuple(Step(place, word, 0.5, ((word, 0.5),)) for place in range(3))
    made = replace(bare, model=word, question=word, notes=(word,), steps=steps, explain=lambda _: told)
    address = saved(made, tmp_path / "long.html")
    for view, words in VIEWS.items():
        page = opened(f"{address}#view={view}&place=1&step=1&stage=1")
        page.wait_for_selector(words)
        page.wait_for_timeout(300)
        assert page.locator("main").get_attribute("data-view") == view
        assert len(page.locator("#limelight").text_content()) < 30_000
        if view == "text":
            said = page.locator(".pane").text_content()
            assert "[10,000,000 characters]" in said
            assert "before" in said
            assert "after" in said
            assert len(said) < 1000


def test_a_link_from_a_stranger_changes_nothing_but_the_view(opened: Callable[..., Any], file: str) -> None:
    page = opened(
        f"{file}#view=%3Cimg%20src=x%3E&place=99999999&attention=77&slice=%3Cscript%3E&pin=word:1:from:9.9"
    )
    page.wait_for_selector(".block")
    assert page.locator("main").get_attribute("data-view") == "text"
