"""What the page says, against the Reading: numbers in the document, colours in the picture."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from limelight.readings.render.colours import RAMP
from limelight.viewer import template
from limelight.viewer.notebook import Answers
from limelight.viewer.subject import Subject
from tests.viewer import cases

DECADES = 3
"""What web/src/colour/scale.ts has."""


def listed(page: Any) -> list[tuple[int, float]]:
    """(unit, value) of the list of the strongest."""
    found = page.eval_on_selector_all(
        ".panel .ranks button", "all => all.map(one => [one.dataset.unit, one.dataset.value])"
    )
    return [(int(unit), float(value)) for unit, value in found]


def strongest(values: np.ndarray, count: int = 10) -> list[tuple[int, float]]:
    order = [int(unit) for unit in np.argsort(-values, kind="stable")[:count] if values[unit] > 0]
    return [(unit, float(values[unit])) for unit in order]


def test_the_listed_numbers_are_those_of_the_reading(
    opened: Callable[..., Any], file: str, subject: Subject
) -> None:
    page = opened(file)
    for level, place, direction in (("word", 11, "from"), ("word", 2, "to"), ("sentence", 3, "from")):
        chosen = f"level={level}&by={level}&direction={direction}&place={place}"
        page.evaluate("link => { location.hash = link }", chosen)
        expected = cases.ask(subject, "row", level=level, by=level, place=place, direction=direction)
        values = np.asarray(expected.arrays["values"])
        best = strongest(values)
        assert len(best) > 1
        page.wait_for_function(
            "place => document.querySelector('.panel .ranks')?.childElementCount > 0"
            " && document.querySelector('.panel .chosen') && location.hash.includes(place)",
            arg=f"place={place}",
        )
        page.wait_for_function(
            "first => document.querySelector('.panel .ranks button')?.dataset.unit === first",
            arg=str(best[0][0]),
        )
        shown = listed(page)
        assert [unit for unit, _ in shown] == [unit for unit, _ in best]
        # A file's rows were added up in another order than the row that is asked for here.
        assert [value for _, value in shown] == pytest.approx([value for _, value in best], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["file", "served"])
def test_a_cell_of_the_map_has_the_colour_of_its_number(
    opened: Callable[..., Any], source: str, subject: Subject, request: pytest.FixtureRequest
) -> None:
    page = opened(f"{request.getfixturevalue(source)}#view=map&scale=linear", offline=source == "file")
    page.wait_for_function("() => document.querySelector('.map-view .legend .ticks')?.childElementCount > 0")
    values = np.asarray(cases.ask(subject, "tile", zoom=0, row=0, column=0).arrays["cells"])
    side = len(values)
    got = page.evaluate(
        """side => {
            const canvas = document.querySelector('.map-field canvas');
            const dense = window.devicePixelRatio, left = 118 * dense, top = 104 * dense;
            const cell = Math.min((canvas.width - left) / side, (canvas.height - top) / side);
            const copy = new OffscreenCanvas(canvas.width, canvas.height);
            const context = copy.getContext('2d', {willReadFrequently: true});
            context.drawImage(canvas, 0, 0);
            const read = (row, column) => [...context.getImageData(
                Math.floor(left + (column + 0.5) * cell), Math.floor(top + (row + 0.5) * cell), 1, 1).data];
            const all = [...Array(side).keys()];
            return all.map(row => all.map(column => read(row, column)));
        }""",
        side,
    )
    colours = np.array(got)[:, :, :3]
    expected = ramp(values / values.max())
    below = np.tril(np.ones_like(values, dtype=bool))
    far = np.abs(colours - expected).max(axis=2)[below]
    # A file holds the map's numbers in 255 steps of a logarithm; a server sends them as they are.
    assert far.max() <= (12 if source == "file" else 3)
    assert np.ptp(expected) > 200, "a test of one colour says nothing"


def ramp(shares: np.ndarray) -> np.ndarray:
    """(…) between 0 and 1 → (…, 3) colours of the project's ramp."""
    stops = np.array([[int(name[at : at + 2], 16) for at in (1, 3, 5)] for name in RAMP], float)
    place = np.clip(shares, 0, 1) * (len(stops) - 1)
    low = np.minimum(place.astype(int), len(stops) - 2)
    share = (place - low)[..., None]
    return stops[low] * (1 - share) + stops[low + 1] * share


@pytest.mark.slow
def test_numbers_of_heads_and_documents_stand_in_the_document(
    opened: Callable[..., Any], file: str, subject: Subject
) -> None:
    page = opened(f"{file}#view=heads&measure=entropy")
    page.wait_for_selector(".heads .head[data-value]")
    shown = page.eval_on_selector_all(".heads .head", "all => all.map(one => Number(one.dataset.value))")
    values = np.asarray(cases.ask(subject, "heads", measure="entropy").arrays["values"])
    assert shown == values.ravel().tolist()
    page = opened(f"{file}#view=documents")
    page.wait_for_selector(".between td[data-value]")
    shown = page.eval_on_selector_all(
        ".between td[data-value]", "all => all.map(one => Number(one.dataset.value))"
    )
    values = np.asarray(cases.ask(subject, "between").arrays["values"])
    assert shown == values.ravel().tolist()


@pytest.mark.slow
@pytest.mark.parametrize("source", ["answered", "answering"])
def test_where_there_is_one_document_its_sentences_or_words_are_compared(
    opened: Callable[..., Any], source: str, request: pytest.FixtureRequest
) -> None:
    about = cases.translation()
    page = opened(f"{request.getfixturevalue(source)}#view=documents", offline=source == "answered")
    for number in (0, 1):
        page.get_by_role("combobox", name="Attention").select_option(str(number))
        rows, columns = about.attentions[number].between
        values = np.asarray(
            cases.ask(about, "between", attention=number, rows=rows, columns=columns).arrays["values"]
        )
        assert values.size > 1
        page.wait_for_function(
            "size => document.querySelectorAll('.between td[data-value]').length === size", arg=values.size
        )
        shown = page.eval_on_selector_all(
            ".between td[data-value]", "all => all.map(one => Number(one.dataset.value))"
        )
        assert shown == values.ravel().tolist()
        assert page.get_by_label("From each").input_value() == rows


@pytest.mark.slow
def test_a_server_and_a_notebook_say_exactly_the_numbers_of_the_reading(
    opened: Callable[..., Any], served: str, subject: Subject, browser: Any
) -> None:
    expected = cases.ask(subject, "row", level="word", by="word", place=11, direction="from")
    best = strongest(np.asarray(expected.arrays["values"]))
    page = opened(f"{served}#place=11", offline=False)
    page.wait_for_selector(".panel .chosen")
    assert listed(page) == best

    answers = Answers(subject)

    def ask(question: dict[str, Any]) -> dict[str, Any]:
        reply, buffers = answers.reply(question)
        return {"reply": reply, "buffers": [base64.b64encode(data).decode() for data in buffers]}

    page = browser.new_page()
    page.expose_function("ask", ask)
    page.set_content("<div id=cell></div>")
    page.evaluate(NOTEBOOK, template.needed(template.WIDGET))
    page.wait_for_selector("#cell .pane .block")
    page.locator("#cell .pane").focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "place => document.querySelector('.chosen')?.textContent === place", arg=word(subject, 11)
    )
    assert listed(page) == best
    page.context.close()


def word(subject: Subject, place: int) -> str:
    side = subject.attentions[0].queries
    return str(side.segments.units("word")[place].text)


NOTEBOOK = """async source => {
    const module = await import(URL.createObjectURL(new Blob([source], {type: 'text/javascript'})));
    const heard = [];
    const model = {
        get: () => 640,
        on: (_, hear) => heard.push(hear),
        off: () => {},
        send: question => window.ask(question).then(({reply, buffers}) => {
            const views = buffers.map(text => new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer));
            for (const hear of heard) hear(reply, views);
        }),
    };
    module.default.render({model, el: document.getElementById('cell')});
}"""
"""What anywidget does with the module: a model whose messages go to Python and back."""
