"""Weights, weights without sinks and by value norm: the control, the link, and the numbers in the document."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limelight as ll
from limelight.viewer.builders.from_matrices import build_subject
from tests.viewer import cases, valued
from tests.web.conftest import serving
from tests.web.test_numbers import listed, strongest

NAMES = {"weight": "weight", "sink-free": "without sinks", "value-norm": "by value norm"}
UNITS = {"weight": "probability", "sink-free": "probability, without sinks", "value-norm": "value norm"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(valued.subject()) as found:
        yield found


def legend(page: Any, view: str) -> str:
    return str(page.text_content(f".{view} .legend .unit"))


def test_text_and_documents_say_the_numbers_of_each_way(
    opened: Callable[..., Any], address: str, tmp_path: Path
) -> None:
    about = valued.subject()
    page = opened(f"{address}#place=11", offline=False)
    radios = page.locator("fieldset", has_text="Weights").locator("input")
    assert page.locator("fieldset", has_text="Weights").locator("label").all_text_contents() == [
        *NAMES.values()
    ]
    found = {}
    for place, weigh in enumerate(NAMES):
        row = np.asarray(cases.ask(about, "row", place=11, weigh=weigh).arrays["values"])
        best = found[weigh] = strongest(row)
        if place:
            radios.nth(place - 1).focus()
            page.keyboard.press("ArrowRight")
            page.wait_for_function("weigh => location.hash.includes(`weigh=${weigh}`)", arg=weigh)
        page.wait_for_function(
            "first => document.querySelector('.panel .ranks button')?.dataset.value === first",
            arg=page.evaluate("String", best[0][1]),
        )
        assert listed(page) == best
        assert legend(page, "panel").startswith(UNITS[weigh])
    assert len({best[0][1] for best in found.values()}) == 3

    page.get_by_text("Save", exact=True).click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Numbers (CSV)").click()
    assert "by_value_norm" in saved.value.suggested_filename
    saved.value.save_as(tmp_path / "row.csv")
    lines = [*csv.reader((tmp_path / "row.csv").read_text(encoding="utf-8-sig").splitlines())]
    assert lines[0][2] == "value norm"
    assert [float(line[2]) for line in lines[1:]] == row.tolist()

    for weigh in ("value-norm", "sink-free"):
        page = opened(f"{address}#view=documents&weigh={weigh}", offline=False)
        page.wait_for_selector(".between td[data-value]")
        cells = page.eval_on_selector_all(
            ".between td[data-value]", "all => all.map(one => Number(one.dataset.value))"
        )
        values = np.asarray(cases.ask(about, "between", weigh=weigh).arrays["values"])
        assert cells == values.ravel().tolist()
        assert legend(page, "documents-view").startswith(UNITS[weigh])


@pytest.mark.slow
def test_pins_and_the_map_follow(opened: Callable[..., Any], address: str) -> None:
    about = valued.subject()
    page = opened(f"{address}#weigh=sink-free&pin=word:5:from:mean&pin=word:9:to:0.4", offline=False)
    page.wait_for_selector(".pin .ranks button")
    for pin, asked in enumerate(
        ({"place": 5}, {"place": 9, "direction": "to", "slice": "0.4"}),
    ):
        values = np.asarray(cases.ask(about, "row", weigh="sink-free", **asked).arrays["values"])
        shown = page.locator(".pin").nth(pin).locator(".ranks button")
        first = (int(shown.first.get_attribute("data-unit")), float(shown.first.get_attribute("data-value")))
        assert first == strongest(values)[0]
    page = opened(f"{address}#view=map&weigh=value-norm", offline=False)
    page.wait_for_function("() => document.querySelector('.map-view .legend .ticks')?.childElementCount > 0")
    assert legend(page, "map-view").startswith("value norm")
    page.locator(".map-field").focus()
    for key in ("ArrowDown", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    cells = np.asarray(cases.ask(about, "tile", zoom=0, row=0, column=0, weigh="value-norm").arrays["cells"])
    shown = float(page.text_content(".map-view .figure"))
    assert np.isclose(cells, shown, rtol=1e-3).any()
    assert shown >= 0


@pytest.mark.slow
def test_a_map_of_too_much_says_to_zoom_in_and_one_can(browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limelight.viewer.compute.tiles.MOST_WEIGHED", 6 * 256**2)
    query, key, value = cases.torch.randn(3, 1, 6, 557, 7, generator=cases.torch.Generator().manual_seed(3))
    matrix = ll.AttentionMatrix(query * 3, key, value)
    with serving(build_subject(matrix)) as address:
        # A browser's own console tells of every refusal, so this page is not one of `opened`.
        page = browser.new_page(viewport={"width": 700, "height": 700})
        page.goto(f"{address}#view=map&weigh=sink-free&slice=mean")
        refusal = page.locator(".map-view .refusal")
        refusal.wait_for(state="visible")
        assert "Zoom in" in str(refusal.text_content())
        page.goto("about:blank")  # or it would be a link within the page
        page.goto(f"{address}#view=map&weigh=sink-free&map=100_100_3")
        page.wait_for_function(
            "() => document.querySelector('.map-view .legend .unit')?.textContent.includes('without sinks')"
        )
        refusal.wait_for(state="hidden")
        page.close()


def test_where_there_is_no_choice_there_is_no_control(opened: Callable[..., Any], file: str) -> None:
    page = opened(f"{file}#place=11&weigh=value-norm")
    page.wait_for_selector(".panel .ranks button")
    assert not page.locator("fieldset", has_text="Weights").is_visible()
    assert legend(page, "panel").startswith("probability")
