"""The pages made from the code are what the code says now, and leave nothing out."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

import pytest

import limelight

DOCS = Path(limelight.__file__).parent.parent / "docs"
spec = importlib.util.spec_from_file_location("docs_reference", DOCS / "reference.py")
assert spec is not None and spec.loader is not None
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_page_is_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == reference.PAGES[name](), (
        "write it anew: python docs/reference.py"
    )


def test_no_two_headings_are_linked_alike() -> None:
    anchors = reference._anchors(list(reference._names()))
    assert len(set(anchors.values())) == len(anchors)
    assert anchors["readings.alignment"] == f"{anchors['readings.Alignment']}-1"


def test_another_word_in_the_code_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reference.stale() == []
    monkeypatch.setattr(limelight.Entropy, "__doc__", "How narrow a query looks.")
    assert reference.stale() == ["reference.md"]


@pytest.mark.parametrize("name", sorted(reference.public_names()))
def test_every_public_name_says_what_it_is(name: str) -> None:
    what = getattr(limelight, name)
    assert name == "PRESETS" or len(inspect.getdoc(what) or "") > 30
    assert f"\n### {name}\n" in (DOCS / "reference.md").read_text(encoding="utf-8")


def test_signatures_are_as_they_are_written() -> None:
    def named(one: int, *, two: str = "b", **rest: float) -> list[int]:
        return []

    def open_ended(*many: int, key=print) -> None: ...  # type: ignore[no-untyped-def]

    assert reference.signature(named) == "(one: int, *, two: str = 'b', **rest: float) -> list[int]"
    assert reference.signature(open_ended) == "(*many: int, key=<built-in function print>) -> None"
