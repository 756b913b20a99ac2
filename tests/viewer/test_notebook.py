"""The widget: the same answers over the kernel's channel, and, slow, a notebook that is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limelight as ll
from limelight.viewer import template
from limelight.viewer.notebook import Answers, widget
from limelight.viewer.protocol.responses import from_bytes
from tests.viewer import cases

PAGE = {"page.js": "", "page.css": "p { color: red }", "widget.js": "export default { render() {} }"}


def test_a_message_is_answered_by_a_message() -> None:
    answers = Answers(cases.subject())
    for _ in range(2):
        asked = {"type": "ask", "id": 7, "kind": "row", "params": {"place": 3}}
        told, [data] = answers.reply(asked)
        assert told == {"type": "answer", "id": 7}
        head, arrays = from_bytes(data)
        assert head["params"]["place"] == "3"
        np.testing.assert_array_equal(
            arrays["values"], cases.ask(cases.subject(), "row", place=3).arrays["values"]
        )
    about, _ = from_bytes(answers.reply({"id": 1, "kind": "about"})[1][0])
    assert about["mode"] == "notebook"


@pytest.mark.parametrize(
    "asked", [{}, {"kind": 3}, {"kind": "row", "params": {"place": []}}, {"kind": "row", "params": 3}]
)
def test_what_is_wrong_is_told(asked: dict[str, Any]) -> None:
    told, buffers = Answers(cases.subject()).reply(asked | {"id": 4})
    assert (told["type"], told["id"], buffers) == ("error", 4, [])
    assert told["error"]


def test_the_widget_sends_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("anywidget", reason="the extra notebook is not installed")
    monkeypatch.setattr(template, "built", PAGE.get)
    sent: list[Any] = []
    page = widget(cases.subject(), height=321)
    monkeypatch.setattr(page, "send", lambda content, buffers: sent.append((content, buffers)))
    page._handle_custom_msg({"type": "ask", "id": 1, "kind": "thumbs", "params": {}}, [])
    page._handle_custom_msg({"type": "other"}, [])
    [(told, [data])] = sent
    assert told == {"type": "answer", "id": 1}
    assert from_bytes(data)[0]["kind"] == "thumbs"
    assert page.height == 321


def test_a_reading_and_what_was_captured_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("anywidget", reason="the extra notebook is not installed")
    monkeypatch.setattr(template, "built", PAGE.get)
    reading = ll.attention_between(cases.matrices(), cases.context().segments)
    assert ll.show(reading).answers.subject.title == " by ".join(reading.axes)
    attention = ll.MultiHeadAttention(width=6, heads=2)
    with ll.watch(attention) as seen:
        attention(cases.torch.randn(1, 5, 6))
    page = ll.show(seen, list("abcde"), height=100)
    assert page.answers.subject.sides[0].groups("token").names == tuple("abcde")


@pytest.mark.slow
@pytest.mark.skipif(template.built(template.WIDGET) is None, reason="the front end was not built")
def test_a_notebook_runs_and_holds_the_page(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.v4.new_notebook()
    book.cells = [
        nbformat.v4.new_code_cell(
            "import torch, limelight as ll\n"
            "matrix = ll.AttentionMatrix(torch.randn(1, 2, 5, 3), torch.randn(1, 2, 5, 3))\n"
            "page = ll.show(matrix, list('abcde'), height=400)\n"
            "page"
        )
    ]
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    [output] = book.cells[0].outputs
    view = output["data"]["application/vnd.jupyter.widget-view+json"]
    state = book.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert view["model_id"] in state
    assert state[view["model_id"]]["state"]["height"] == 400
