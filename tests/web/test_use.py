"""The page in use: keyboard alone, links, files of what is seen, and what axe-core finds."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from limelight.viewer.subject import Subject

pytestmark = pytest.mark.slow

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = ("text", "heads", "map", "documents")
FOCUSABLE = """() => [...document.querySelectorAll(
    '#limelight button, #limelight select, #limelight input, #limelight summary, #limelight [tabindex="0"]')]
    .filter(one => one.checkVisibility() && !one.disabled && !(one.type === 'radio' && !one.checked))"""


@pytest.mark.parametrize("view", VIEWS)
def test_the_keyboard_reaches_everything(opened: Callable[..., Any], file: str, view: str) -> None:
    page = opened(f"{file}#view={view}&place=4")
    page.wait_for_timeout(500)
    wanted = page.evaluate(
        f"({FOCUSABLE})().map((one, place) => {{ one.dataset.key = place; return place }})"
    )
    assert len(wanted) > 8
    reached = set()
    for _ in range(len(wanted) + 10):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement?.dataset.key"))
    assert {str(place) for place in wanted} <= reached


def test_words_are_chosen_by_arrow_and_by_search(
    opened: Callable[..., Any], file: str, subject: Subject
) -> None:
    page = opened(file)
    page.wait_for_selector(".block")
    page.locator(".pane").focus()
    for key, place in (("ArrowRight", 0), ("ArrowRight", 1), ("End", None), ("Home", 0)):
        page.keyboard.press(key)
        if place is not None:
            page.wait_for_function("link => location.hash.includes(link)", arg=f"place={place}")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => !location.hash.endsWith('place=0')")
    page.keyboard.press("/")
    page.keyboard.type("printer")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.chosen')?.textContent === 'printer'")
    assert "printer" in page.locator(".status").text_content()
    assert page.locator(".told").text_content() == "1 of 1"


def test_the_map_is_used_by_keyboard_and_leads_into_the_text(opened: Callable[..., Any], file: str) -> None:
    page = opened(f"{file}#view=map")
    page.wait_for_function("() => document.querySelector('.map-view .legend .ticks')?.childElementCount > 0")
    page.locator(".map-field").focus()
    page.keyboard.press("+")
    page.wait_for_function("() => location.hash.includes('map=')")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(".map-view .figure")
    assert "attends to" in page.locator(".status").text_content()
    page.keyboard.press("0")
    page.wait_for_function("() => !location.hash.includes('map=')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".text-view .chosen")


def test_a_link_restores_what_was_seen(opened: Callable[..., Any], file: str) -> None:
    page = opened(f"{file}#level=sentence&by=sentence&direction=to&place=2&scale=linear&theme=dark")
    page.wait_for_selector(".chosen")
    page.get_by_role("button", name="Pin").click()
    page.wait_for_selector(".pin .ranks")
    page.wait_for_function("() => location.hash.includes('pin=sentence:2:to')")
    before = page.locator(".text-view").inner_text()
    link = page.url
    again = opened(link)
    again.wait_for_selector(".pin .ranks")
    assert again.locator(".text-view").inner_text() == before
    assert again.locator("#limelight").get_attribute("data-theme") == "dark"
    again.get_by_role("button", name="Heads").click()
    again.wait_for_selector(".heads-view")
    again.go_back()
    again.wait_for_selector(".text-view .chosen")


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_seen_is_saved(opened: Callable[..., Any], file: str, view: str) -> None:
    page = opened(f"{file}#view={view}&place=4")
    page.wait_for_timeout(800)
    saved = {kind: downloaded(page, name) for kind, name in (("svg", "SVG"), ("png", "PNG"), ("csv", "CSV"))}
    root = ElementTree.fromstring(saved["svg"])
    kinds = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert kinds.count("text") > 10
    assert "script" not in kinds
    assert saved["png"].startswith(b"\x89PNG")
    assert int.from_bytes(saved["png"][16:20]) == 2 * int(root.attrib["width"])
    rows = list(csv.reader(io.StringIO(saved["csv"].decode("utf-8-sig"))))
    assert len(rows) > 2
    assert len({len(row) for row in rows}) == 1


def downloaded(page: Any, name: str) -> bytes:
    page.locator("summary", has_text="Save").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    page.keyboard.press("Escape")
    return Path(download.value.path()).read_bytes()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_no_serious_violation(
    opened: Callable[..., Any], file: str, view: str, scheme: str
) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not here: python web/build.py --checks")
    page = opened(f"{file}#view={view}&place=4&pin=word:3:from:mean", color_scheme=scheme, bypass_csp=True)
    page.wait_for_timeout(800)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then(result => result.violations)"
    )
    serious = [
        (one["id"], one["nodes"][0]["html"][:200])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_a_text_view_repaints_without_touching_the_text(opened: Callable[..., Any], file: str) -> None:
    page = opened(f"{file}#place=1")
    page.wait_for_selector(".panel .chosen")
    page.evaluate(
        """() => {
            window.changes = 0;
            const count = changes => { window.changes += changes.length };
            new MutationObserver(count).observe(
                document.querySelector('.pane'), {childList: true, characterData: true, subtree: true});
        }"""
    )
    page.locator(".pane").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("() => location.hash.includes('place=6')")
    assert page.evaluate("window.changes") == 0


def test_level_and_direction_are_chosen_in_the_bar(opened: Callable[..., Any], file: str) -> None:
    page = opened(f"{file}#place=4")
    page.locator(".bar label", has_text="Choose a").locator("select").select_option("sentence")
    page.wait_for_function("() => location.hash.includes('level=sentence')")
    page.locator(".bar input[value=to]").check()
    page.wait_for_function("() => location.hash.includes('direction=to')")
    assert "receives from" in page.locator(".panel h2").text_content()
