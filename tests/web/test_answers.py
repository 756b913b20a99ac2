"""What Steps and Process say in the document, against the subject's own numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.viewer import cases
from tests.web.test_numbers import listed, strongest

pytestmark = pytest.mark.slow

SOURCES = ("answered", "answering")
"""An offline file and a server."""
DIGITS = 5.1e-4
"""What rounding to four significant digits may change: 0.0005 of the number."""
FEWER = 5.1e-3
"""Of numbers with an exponent, which have three."""


@pytest.fixture(params=SOURCES)
def address(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def shown(page: Any, selector: str, inside: str) -> list[Any]:
    """`inside` of every element, an expression about `one`."""
    return list(page.eval_on_selector_all(selector, f"all => all.map(one => {inside})"))


def test_every_step_says_its_own_numbers(opened: Callable[..., Any], address: str) -> None:
    subject = cases.translation()
    told = cases.ask(subject, "steps").head
    chosen = subject.attentions[told["attention"]].start
    page = opened(f"{address}#view=steps", offline=address.startswith("file:"))
    assert len(told["steps"]) > 2, "a test of one step says nothing"
    for number, step in enumerate(told["steps"]):
        page.evaluate("link => { location.hash = link }", f"view=steps&step={number}")
        page.wait_for_function(
            "said => document.querySelector('.status').textContent.startsWith(said)",
            arg=f"Step {number + 1}:",
        )
        assert page.locator(".count").text_content() == f"step {number + 1} of {len(told['steps'])}"
        assert number_of(page.locator(".panel h2 span").text_content()) == pytest.approx(
            step["probability"], rel=DIGITS
        )
        values = shown(page, ".ranks[tabindex] .value", "[Number(one.dataset.value), one.textContent]")
        assert [value for value, _ in values] == [share for _, share in step["candidates"]]
        for value, text in values:
            assert number_of(text) == pytest.approx(value, rel=DIGITS)
        names = shown(page, ".ranks[tabindex] .name", "one.textContent")
        assert names == [text for text, _ in step["candidates"]]
        taken = shown(page, ".ranks .taken .value", "Number(one.dataset.value)")
        assert taken == [share for text, share in step["candidates"] if text == step["text"]]
        row = cases.ask(
            subject,
            "row",
            attention=told["attention"],
            slice=chosen,
            level="token",
            by="token",
            place=step["place"],
        )
        best = strongest(np.asarray(row.arrays["values"]))
        assert [unit for unit, _ in listed(page)] == [unit for unit, _ in best]
        assert [value for _, value in listed(page)] == pytest.approx([value for _, value in best], rel=1e-6)


def test_every_stage_says_its_own_numbers(opened: Callable[..., Any], address: str) -> None:
    subject = cases.translation()
    stages = cases.ask(subject, "process").head["explanation"]["stages"]
    page = opened(f"{address}#view=process", offline=address.startswith("file:"))
    page.wait_for_selector("article[data-stage]")
    assert page.locator("article[data-stage]").count() == len(stages)
    kinds = set()
    for number, stage in enumerate(stages, start=1):
        page.evaluate("link => { location.hash = link }", f"view=process&stage={number}")
        article = f"[data-stage='{number}']"
        if stage["numbers"]:
            page.wait_for_selector(f"{article} figure")
        texts = shown(page, f"{article} .shapes li", "one.textContent")
        for text, (_, sizes) in zip(texts, stage["shapes"], strict=True):
            assert [int(part) for part in text.split(":")[1].split() if part.isdecimal()] == list(sizes)
        check = page.locator(f"{article} .check").text_content()
        assert check.startswith("✓" if stage["check"]["ok"] else "✗")
        assert number_of(check.rpartition(": ")[0].rpartition(": ")[2].split()[0]) == pytest.approx(
            stage["check"]["difference"], rel=0.051
        )
        for place, figure in enumerate(stage["numbers"]):
            said_by(page, article, place, figure)
            kinds.add(figure["picture"])
    assert kinds == {"bars", "strip", "cells", "table"}, "a kind of picture was not looked at"


def said_by(page: Any, article: str, place: int, figure: dict[str, Any]) -> None:
    """One figure: the numbers that it holds are those of the stage, row by row."""
    inside = f"{article} .figures > figure:nth-child({place + 1})"
    values = figure["values"]
    if figure["picture"] == "strip":
        facts = shown(page, f"{inside} .strip-line .quiet", "one.textContent")
        for fact, row in zip(facts, values, strict=True):
            known = [value for value in row if value is not None]
            count, length, least, most = (number_of(part) for part in fact_parts(fact))
            assert count == len(known)
            assert length == pytest.approx(math.hypot(*known), rel=DIGITS)
            assert (least, most) == pytest.approx((min(known), max(known)), rel=DIGITS)
        return
    rows = shown(
        page,
        f"{inside} tbody tr:not(.gap)",
        "[...one.querySelectorAll('td:not(.drawn)')].map(cell => [cell.dataset.value ?? null, cell.textContent])",
    )
    names = shown(page, f"{inside} tbody tr:not(.gap) th", "one.textContent")
    assert len(rows) == len(names)
    assert 0 < len(rows) <= len(values)
    hidden = sum(int(text.split()[1]) for text in shown(page, f"{inside} tbody tr.gap td", "one.textContent"))
    assert len(rows) + hidden == len(values)
    if hidden:  # both ends of a long list, and what is marked
        return
    drawn = figure["picture"] == "cells"
    for cells, row in zip(rows, values, strict=True):
        for (number, text), value in zip(cells, row, strict=True):
            if value is None:
                assert text == ("" if drawn else "–")
                continue
            assert float(number) == value
            if text:
                assert number_of(text) == pytest.approx(
                    value, rel=FEWER if "e" in text else DIGITS, abs=0.0051 if drawn else 0
                )


def fact_parts(fact: str) -> list[str]:
    """ "24 features, ‖·‖ 4.9, from −1 to 2" → its four numbers."""
    features, length, both = fact.split(", ")
    least, most = both.removeprefix("from ").split(" to ")
    return [features.split()[0], length.split()[1], least, most]


def number_of(text: str) -> float:
    return float(text.replace("\u202f", "").strip())
