"""The page in use: keyboard alone, links, files of what is seen, and what axe-core finds."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

import limelight as ll
from limelight.viewer.builders.from_matrices import build_subject
from limelight.viewer.subject import Subject
from tests.viewer import cases
from tests.web.conftest import serving

pytestmark = pytest.mark.slow

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = ("text", "heads", "map", "documents", "steps", "process")
OF_AN_ANSWER = ("steps", "process")
"""Views that a text without an answer does not have."""
MOST_STOPS = 40
RING = """() => {
    const one = document.activeElement;
    if (!one || !one.closest('#limelight')) return null;
    const drawn = one.type === 'radio' ? one.nextElementSibling : one;
    const {outlineStyle, outlineWidth, outlineColor} = getComputedStyle(drawn);
    const box = drawn.getBoundingClientRect();
    const light = text => {
        const [r, g, b] = text.match(/[\\d.]+/g).map(n => n / 255)
            .map(n => n <= 0.03928 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let ground = drawn;
    while (getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
    if (drawn === ground && Number.parseFloat(getComputedStyle(drawn).outlineOffset) >= 0) {
        ground = drawn.parentElement;
        while (getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
    }
    const [high, low] = [light(outlineColor), light(getComputedStyle(ground).backgroundColor)]
        .sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    const why = outlineStyle === 'none' || Number.parseFloat(outlineWidth) < 2 ? 'no ring'
        : contrast < 3 ? `a ring of contrast ${contrast.toFixed(2)}`
        : box.bottom <= 0 || box.top >= innerHeight || box.right <= 0 || box.left >= innerWidth ? 'out of sight' : '';
    return {name: `${one.tagName} ${one.getAttribute('aria-label') || one.textContent.slice(0, 40)}`, why};
}"""
"""Whether a ring of 2 pixels or more, 3 to 1 against what is below it (WCAG 1.4.11), stands around the focus."""
FOCUSABLE = """() => [...document.querySelectorAll(
    '#limelight button, #limelight select, #limelight input, #limelight summary, #limelight [tabindex="0"]')]
    .filter(one => one.checkVisibility() && !one.disabled && !(one.type === 'radio' && !one.checked))"""


@pytest.fixture
def seen(file: str, answered: str, request: pytest.FixtureRequest) -> str:
    """The address of the view that a test is about."""
    view = request.getfixturevalue("view")
    return f"{answered if view in OF_AN_ANSWER else file}#view={view}&place=4&step=1&stage=3"


@pytest.mark.parametrize("view", VIEWS)
def test_the_keyboard_reaches_everything(opened: Callable[..., Any], seen: str, view: str) -> None:
    page = opened(seen)
    page.wait_for_timeout(800)
    assert page.locator("main").get_attribute("data-view") == view
    wanted = page.evaluate(
        f"({FOCUSABLE})().map((one, place) => {{ one.dataset.key = place; return place }})"
    )
    assert len(wanted) > 8
    reached = set()
    for _ in range(len(wanted) + 10):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement?.dataset.key"))
    assert {str(place) for place in wanted} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_what_has_the_focus_is_seen(opened: Callable[..., Any], seen: str, view: str, scheme: str) -> None:
    page = opened(seen, color_scheme=scheme)
    page.wait_for_timeout(800)
    count = len(page.evaluate(f"({FOCUSABLE})()"))
    found = []
    for _ in range(min(count, MOST_STOPS)):
        page.keyboard.press("Tab")
        found.append(page.evaluate(RING))
    assert [stop for stop in found if stop and stop["why"]] == []
    assert len({stop["name"] for stop in found if stop}) > 8, "nothing was looked at"


def test_steps_are_walked_by_keyboard(opened: Callable[..., Any], answered: str) -> None:
    page = opened(f"{answered}#view=steps")
    page.wait_for_selector(".steps-view .ranks .value")
    last = len(cases.translation().steps) - 1

    def stands(step: int) -> None:
        text = f"step {step + 1} of {last + 1}"
        page.wait_for_function("text => document.querySelector('.count').textContent === text", arg=text)
        page.wait_for_function(
            "text => document.querySelector('.status').textContent.startsWith(text)", arg=f"Step {step + 1}:"
        )

    page.locator(".lines-of-text .pane").last.focus()
    for key, step in (("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", 0), ("End", last), ("Home", 0)):
        page.keyboard.press(key)
        stands(step)
    page.get_by_role("slider", name="Step").focus()
    for key, step in (("ArrowRight", 1), ("End", last), ("ArrowLeft", last - 1)):
        page.keyboard.press(key)
        stands(step)
    page.get_by_role("button", name="Step on").focus()
    page.keyboard.press("Enter")
    stands(last)
    page.wait_for_function("link => location.hash.includes(link)", arg=f"step={last}")
    page.locator(".ranks[tabindex]").focus()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "What else could have come"
    page.evaluate("location.hash = 'view=steps'")
    stands(0)
    page.evaluate("location.hash = 'view=steps&step=999'")
    stands(last)


def test_stages_are_walked_by_keyboard(opened: Callable[..., Any], answered: str) -> None:
    page = opened(f"{answered}#view=process")
    page.wait_for_selector("article[data-stage]")
    count = page.locator("article[data-stage]").count()
    names = page.locator("article h3").all_text_contents()
    assert page.locator(".count").text_content() == f"{count} stages"

    def stands(stage: int) -> None:
        page.wait_for_function("link => location.hash.includes(link)", arg=f"stage={stage}")
        assert page.locator(".count").text_content() == f"stage {stage} of {count}"
        current = page.locator("nav [aria-current=step]").text_content()
        assert current.split() == names[stage - 1].split()
        assert page.locator(".status").text_content().startswith(f"Stage {stage} of {count}: ")
        page.wait_for_function(IN_SIGHT, arg=stage)

    page.locator(".stages").focus()
    for key, stage in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2)):
        page.keyboard.press(key)
        stands(stage)
    page.get_by_role("button", name="Stage on").focus()
    page.keyboard.press("Enter")
    stands(3)
    page.locator("nav[aria-label=Stages] button").nth(count - 1).focus()
    page.keyboard.press("Enter")
    stands(count)
    assert page.evaluate("document.activeElement.dataset.stage") == str(count)
    page.keyboard.press("ArrowRight")
    stands(count)
    page.keyboard.press("ArrowLeft")
    stands(count - 1)


def test_a_served_page_follows_the_token_that_is_named(opened: Callable[..., Any], answering: str) -> None:
    page = opened(f"{answering}#view=process", offline=False)
    page.wait_for_selector("article[data-stage]")
    followed = page.get_by_text("Token “▁on” (place 8), as asked.")
    assert followed.count() == 0
    page.get_by_label("token", exact=True).fill("on")
    page.get_by_role("button", name="Show", exact=True).click()
    followed.first.wait_for(state="attached")


def test_files_that_are_no_text_are_told_and_left_out(opened: Callable[..., Any]) -> None:
    def read(documents: Mapping[str, str], question: str | None) -> Subject:
        text = "".join(documents.values())
        query = torch.randn(1, 1, len(text), 3)
        return build_subject(ll.AttentionMatrix(query, query), list(text), title=" and ".join(documents))

    with serving(cases.subject(), read) as address:
        page = opened(address, offline=False)
        page.get_by_text("Your text").click()
        page.get_by_label("Files").set_input_files(
            [
                {"name": "utf-8.txt", "mimeType": "text/plain", "buffer": "ü\r\nß".encode()},
                {"name": "latin-1.txt", "mimeType": "text/plain", "buffer": "üß".encode("latin-1")},
                {"name": "utf-16.txt", "mimeType": "text/plain", "buffer": "ab".encode("utf-16-le")},
            ]
        )
        told = page.locator(".typing [role=status]")
        told.get_by_text("utf-16.txt is no text in UTF-8").wait_for()
        assert told.text_content() == (
            "utf-8.txt latin-1.txt is no text in UTF-8: convert it first. "
            "utf-16.txt is no text in UTF-8: convert it first."
        )
        page.get_by_role("button", name="Read it").click()
        page.locator("h1").get_by_text("utf-8.txt", exact=True).wait_for()


IN_SIGHT = """stage => {
    const box = document.querySelector(`[data-stage="${stage}"]`).getBoundingClientRect();
    const frame = document.querySelector('.stages').getBoundingClientRect();
    return box.top < frame.bottom && box.bottom > frame.top;
}"""


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


def test_a_link_moves_an_open_map(opened: Callable[..., Any], file: str) -> None:
    page = opened(f"{file}#view=map&map=4_5_40")
    ready = "() => document.querySelector('.map-view .legend .ticks')?.childElementCount > 0"
    page.wait_for_function(ready)
    cross = "() => document.querySelector('.map-view aside').textContent"

    def middle() -> Any:
        """What stands in the middle of the field."""
        box = page.locator(".map-field").bounding_box()
        page.mouse.move(box["x"] + 118 + (box["width"] - 118) / 2, box["y"] + 104 + (box["height"] - 104) / 2)
        page.wait_for_timeout(100)
        return page.evaluate(cross)

    first = middle()
    page.evaluate("location.hash = '#view=map&map=11_2_40'")
    page.wait_for_function("() => location.hash.includes('map=11')")
    page.wait_for_timeout(100)
    second = middle()
    assert second != first
    page.evaluate("location.hash = '#view=map&map=4_5_40'")
    page.wait_for_timeout(100)
    assert middle() == first
    assert "map=4.00000_5.00000_40.0000" in page.url or "map=4_5_40" in page.url


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


def test_back_and_forward_go_through_the_views_that_were_seen(opened: Callable[..., Any], file: str) -> None:
    page = opened(file)
    page.wait_for_selector(".text-view")
    for name, view in (("Heads", "heads"), ("Map", "map"), ("Documents", "documents")):
        page.get_by_role("button", name=name, exact=True).click()
        page.wait_for_selector(f".{view}-view")
    for view in ("map", "heads", "text"):
        page.go_back()
        page.wait_for_selector(f".{view}-view")
        page.wait_for_timeout(500)  # the link is written a moment later
    for view in ("heads", "map", "documents"):
        page.go_forward()
        page.wait_for_selector(f".{view}-view")
        page.wait_for_timeout(500)


def test_search_goes_on_with_enter_and_is_reached_from_anywhere(
    opened: Callable[..., Any], file: str
) -> None:
    page = opened(file)
    page.wait_for_selector(".text-view .panel .search")
    page.keyboard.press("/")  # nothing has the focus yet
    page.keyboard.type("the")
    page.keyboard.press("Enter")
    page.wait_for_selector(".text-view .chosen")
    page.wait_for_function("() => document.querySelector('.search .told').textContent.startsWith('1 of')")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.search .told').textContent.startsWith('2 of')")


def test_a_map_that_was_zoomed_and_back_is_the_whole_again(opened: Callable[..., Any], file: str) -> None:
    page = opened(f"{file}#view=map")
    page.wait_for_function("() => document.querySelector('.map-view .legend .ticks')?.childElementCount > 0")
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_function("() => location.hash.includes('map=')")
    page.get_by_role("button", name="Zoom out").click()
    page.wait_for_function("() => !location.hash.includes('map=')")
    page.evaluate("location.hash = '#view=map&map=-900_-900_40'")  # nothing of it in sight
    page.wait_for_timeout(500)
    assert downloaded(page, "PNG").startswith(b"\x89PNG")


def test_steps_are_those_of_the_attention_that_wrote_them(opened: Callable[..., Any], answered: str) -> None:
    page = opened(f"{answered}#view=steps&attention=1&step=1")
    page.wait_for_selector(".steps-view .ranks")
    assert page.get_by_role("combobox", name="Attention").count() == 0
    page.wait_for_function("() => !location.hash.includes('attention=1')")
    listed = page.locator(".steps-view .panel").inner_text()
    plain = opened(f"{answered}#view=steps&step=1")
    plain.wait_for_selector(".steps-view .ranks")
    assert plain.locator(".steps-view .panel").inner_text() == listed


def test_numbers_stand_beside_the_side_that_they_are_of(opened: Callable[..., Any], answered: str) -> None:
    page = opened(f"{answered}#direction=to")  # nothing is chosen: what every word of the source receives
    page.wait_for_selector(".text-view .panel h2")
    page.wait_for_timeout(500)
    rows = list(csv.reader(io.StringIO(downloaded(page, "CSV").decode("utf-8-sig"))))
    about = cases.translation()
    assert [row[1] for row in rows[1:]] == list(about.attentions[0].keys.groups("word").names)


def test_a_pinned_words_list_chooses_on_the_other_side(opened: Callable[..., Any], answered: str) -> None:
    page = opened(f"{answered}#place=0")
    page.wait_for_selector(".text-view .chosen")
    page.get_by_role("button", name="Pin").click()
    page.wait_for_selector(".pin .ranks")
    name = page.locator(".pin .ranks li .name").first.inner_text()
    page.locator(".pin .ranks li button").first.click()
    page.wait_for_function("() => location.hash.includes('direction=to')")
    assert page.locator(".text-view .panel h2 .chosen").inner_text() == name
    page.get_by_role("button", name="Remove this pin").click()
    page.wait_for_selector(".pins", state="hidden")


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_seen_is_saved(opened: Callable[..., Any], seen: str, view: str) -> None:
    page = opened(seen)
    page.wait_for_timeout(1000)
    assert page.locator("main").get_attribute("data-view") == view
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
    opened: Callable[..., Any], seen: str, view: str, scheme: str
) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not here: python web/build.py --checks")
    page = opened(f"{seen}&pin=word:3:from:mean", color_scheme=scheme, bypass_csp=True)
    page.wait_for_timeout(1000)
    assert page.locator("main").get_attribute("data-view") == view
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
