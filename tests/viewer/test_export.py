"""One offline file: what it holds is right, it holds what fits, and no text gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limelight as ll
from limelight.errors import InputError
from limelight.explain.render.page import page as explain_page
from limelight.viewer import template
from limelight.viewer.builders.from_matrices import build_subject
from limelight.viewer.export.html_file import packed, save
from limelight.viewer.protocol.requests import Question
from limelight.viewer.protocol.responses import Scale, from_bytes
from tests.examples import mostly_slow
from tests.explain import models
from tests.viewer import cases
from tests.viewer.cases import ask

SCRIPT = "const a = '</SCRIPT><!--', b = /<\\/script>/; go(a);"
PAGE = {"page.js": SCRIPT, "page.css": "p { color: red }", "widget.js": "export default {}"}
HOSTILE = (
    "</script><script>x()</script>",
    "<!--",
    "]]>",
    "\u2028\u202e\x00",
    "\ud800",
    "𝔸",
    '"><img onerror=x>',
)


@pytest.fixture(autouse=True)
def _built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "built", PAGE.get)


class Elements(HTMLParser):
    """The elements of a page, as a browser would find them: (name, attributes, text)."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None], str]] = [("", {}, "")]
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        tag, attrs, text = self.found[-1]
        self.found[-1] = tag, attrs, text + data


def answers_of(page: str) -> dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Key → (head, arrays), as the page opens them."""
    [pack] = [text for tag, attrs, text in Elements(page).found if attrs.get("id") == "limelight-pack"]
    head, arrays = from_bytes(base64.b64decode(pack))
    assert head["kind"] == "pack"
    return {
        entry["key"]: from_bytes(zlib.decompress(arrays[entry["array"]].tobytes(), -zlib.MAX_WBITS))
        for entry in head["entries"]
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(template, "built", PAGE.get)
        path = save(cases.subject(), tmp_path_factory.mktemp("page") / "page.html", again="limelight look x")
    return path.read_text(encoding="utf-8")


def test_every_answer_is_that_of_the_subject(page: str) -> None:
    found = answers_of(page)
    for key, (head, arrays) in found.items():
        kind = key.partition("?")[0]
        if kind == "about":
            continue
        question = Question.of(kind, head["params"])
        assert question.key == key
        wanted = cases.subject().answer(question)
        for name, values in arrays.items():
            if kind == "tile" and name == "cells":
                [told] = [each["scale"] for each in head["arrays"] if each["name"] == "cells"]
                cells = Scale(told["low"], told["high"]).decode(values)
                above = wanted.arrays[name] > told["low"]
                np.testing.assert_allclose(cells[above], wanted.arrays[name][above], rtol=0.03)
            elif kind != "rows":
                np.testing.assert_array_equal(values, wanted.arrays[name])


def test_the_strongest_are_exact_and_enough(page: str) -> None:
    found, slices = answers_of(page), {"mean": None, "2.1": [(2, 1)]}
    sides = cases.subject().sides[0].groups("word")
    for chosen, direction in product(slices, ("from", "to")):
        head, arrays = found[
            f"rows?attention=0&by=word&direction={direction}&level=word&slice={chosen}&weigh=weight"
        ]
        assert head["kept"] >= 32
        for unit in (0, 5, len(sides) - 1):
            row = ask(cases.subject(), "row", place=unit, direction=direction, slice=chosen).arrays["values"]
            there = arrays["place"][unit] != 65535
            np.testing.assert_allclose(
                arrays["value"][unit][there], row[arrays["place"][unit][there]], rtol=2e-6, atol=1e-8
            )
            assert arrays["value"][unit].sum() == pytest.approx(row.sum(), abs=1e-5) or head["kept"] < len(
                row
            )


def test_about_says_what_is_in_it(page: str) -> None:
    found = answers_of(page)
    about = found["about"][0]
    assert about["mode"] == "file"
    assert "limelight look x" in about["file"]["said"]
    [attention] = about["attentions"]
    assert attention["slices"][0] == "mean"
    assert {"0", "2", "0.0", "2.2"} < set(attention["slices"])
    assert attention["weighs"] == ["weight"]
    assert "without sinks" in about["file"]["said"]
    for chosen in attention["slices"]:
        for key in ("rows?attention=0&by=word&direction=to&level=word", "received?attention=0&level=word"):
            assert f"{key}&slice={chosen}&weigh=weight" in found
    for measure in attention["measures"]:
        assert f"heads?attention=0&measure={measure['name']}" in found


@pytest.mark.parametrize("budget", mostly_slow([200_000, 300_000], 300_000))
def test_a_file_has_the_size_that_it_may_have(budget: int, tmp_path: Path) -> None:
    about, _ = cases.large()
    path = save(about, tmp_path / "page.html", budget=budget)
    assert budget * 0.5 < path.stat().st_size <= budget
    found = answers_of(path.read_text(encoding="utf-8"))
    [attention] = found["about"][0]["attentions"]
    assert attention["slices"] == ["mean"]
    assert "tile?attention=0&column=0&reduce=mean&row=0&slice=mean&weigh=weight&zoom=0" in found
    assert found["about"][0]["file"]["kept"] >= 8


def test_a_budget_that_is_too_small_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="raise the budget"):
        save(cases.subject(), tmp_path / "page.html", budget=5_000)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_map_of_a_sweep_is_that_of_the_matrix() -> None:
    about, _ = cases.large()
    pack = packed(about)
    for zoom, row, column in ((1, 0, 0), (1, 1, 0), (2, 2, 1)):
        question = Question.of("tile", {"zoom": zoom, "row": row, "column": column})
        head, arrays = from_bytes(zlib.decompress(pack.entries[question.key], -zlib.MAX_WBITS))
        told = head["arrays"][0]["scale"]
        wanted = about.answer(question)
        cells = Scale(told["low"], told["high"]).decode(arrays["cells"])
        above = wanted.arrays["cells"] > told["low"]
        np.testing.assert_allclose(cells[above], wanted.arrays["cells"][above], rtol=0.03)
        assert ("seen" in arrays) == ("seen" in wanted.arrays)
        np.testing.assert_array_equal(arrays.get("seen"), wanted.arrays.get("seen"))


@pytest.mark.slow
def test_slices_that_are_asked_for_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limelight.viewer.export.contents.CHEAP", 1)  # so that nothing more goes in by itself
    entries = packed(cases.large()[0], slices=["0.1"]).entries
    chosen = {key.partition("slice=")[2].partition("&")[0] for key in entries if "slice=" in key}
    assert chosen == {"mean", "0.1"}


def test_a_head_that_is_offered_has_all_that_the_page_asks_of_one(page: str) -> None:
    found = answers_of(page)
    [attention] = found["about"][0]["attentions"]
    rows, columns = attention["between"]["rows"], attention["between"]["columns"]
    for chosen in attention["slices"]:
        assert f"between?attention=0&columns={columns}&rows={rows}&slice={chosen}&weigh=weight" in found


@pytest.mark.slow
def test_a_head_that_was_asked_for_keeps_as_much_as_it_got() -> None:
    asked = packed(cases.subject(), slices=["2.1"]).entries
    key = Question.of("rows", {"attention": 0, "slice": "2.1", "level": "word", "by": "word"}).key
    head, _ = from_bytes(zlib.decompress(asked[key], -zlib.MAX_WBITS))
    other, _ = from_bytes(zlib.decompress(asked[key.replace("2.1", "2.0")], -zlib.MAX_WBITS))
    assert head["kept"] >= other["kept"]


def test_texts_stay_in_their_place(tmp_path: Path) -> None:
    documents = {name: f"{name} word {name}" for name in HOSTILE}
    title = "".join(HOSTILE)
    text = " ".join(documents.values()).encode("utf-8", "replace").decode()
    segments = ll.Segments.from_spans(text, [(i, i + 1) for i in range(len(text))], names=[title])
    query = cases.torch.randn(1, 1, len(text), 3)
    path = save(
        build_subject(ll.AttentionMatrix(query, query), segments, title=title), tmp_path / "page.html"
    )
    page = path.read_text(encoding="utf-8")
    elements = Elements(page)
    tags = [tag for tag, _, _ in elements.found]
    assert tags.count("script") == 2
    assert not {"img", "svg", "iframe"} & set(tags)
    about = answers_of(page)["about"][0]
    assert about["sides"][0]["text"] == text
    assert about["title"] == title


def test_nothing_but_the_two_that_are_named_may_run(page: str) -> None:
    elements = Elements(page)
    [policy] = [attrs["content"] for tag, attrs, _ in elements.found if attrs.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert not {"unsafe-inline", "unsafe-eval", "http", "*"} & set(re.split(r"[\s;']+", policy))
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    bodies = [
        page[m.end() : page.index("</" + m[1], m.end())]
        for m in re.finditer(r"<(script|style)(?: [^>]*)?>", page)
    ]
    digests = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies]
    assert allowed == {digests[0], digests[2]}  # style, pack, script
    assert bodies[2].replace(r"\x3c", "<") == SCRIPT
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_without_a_front_end_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "built", lambda name: None)
    with pytest.raises(InputError, match=template.BUILD):
        save(cases.subject(), tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_no_numbers_are_no_values(tmp_path: Path) -> None:
    query, key, value = cases.torch.randn(3, 1, 2, 9, 5)
    query[0, 0, 3] = float("nan")
    path = ll.save_html(ll.AttentionMatrix(query, key, value), tmp_path / "page.html")
    found = answers_of(path.read_text(encoding="utf-8"))
    assert found["about"][0]["attentions"][0]["rows"] == 9


@pytest.mark.slow
def test_the_public_door_takes_what_people_have(tmp_path: Path) -> None:
    for number, what in enumerate((cases.matrices(), cases.matrices()[0], list(cases.matrices().values()))):
        path = ll.save_html(what, tmp_path / f"{number}.html", cases.context(), budget=400_000)
        assert answers_of(path.read_text(encoding="utf-8"))["about"][0]["question"] == cases.ASKED
    pair = ll.AttentionMatrix(*cases.torch.randn(2, 2, 1, 5, 3))
    about = answers_of(ll.save_html(pair, tmp_path / "b.html", batch=1).read_text(encoding="utf-8"))["about"][
        0
    ]
    assert about["attentions"][0]["note"] == "Text 2 of 2 of the batch."
    explanation = ll.explain_text(models.predictor("classifier"), models.TEXT)
    kept = ll.save_html(explanation, tmp_path / "explain.html").read_text(encoding="utf-8")
    assert kept == explain_page(explanation)
    with pytest.raises(ll.LimelightError, match="bare string"):
        ll.save_html(cases.matrices(), tmp_path / "x.html", "text")
    with pytest.raises(ll.LimelightError, match="Special tokens count too"):
        ll.save_html(cases.matrices(), tmp_path / "x.html", ["a", "b"])
    with pytest.raises(ll.LimelightError, match="got int"):
        ll.save_html(3, tmp_path / "x.html")
    with pytest.raises(ll.LimelightError, match="must end in .html or .htm; got 'x.txt'"):
        ll.save_html(cases.matrices(), tmp_path / "x.txt")
