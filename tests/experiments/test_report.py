"""The page is made from the numbers beside it; what has not been run says so; pictures hold what they should."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from experiments.common import report, store
from experiments.common.machine import machine
from experiments.common.plan import PARTS, Grid, Line, Panel, Part, Picture, Spread, Table
from limelight.errors import CheckpointError, InputError
from tests.experiments import made_up

GOOD, BAD = (0.99, 0.98), (0.07, 0.06)
HERE = machine()
ROOT = Path(__file__).parents[2]


def kept(folder: Path, attention: tuple[float, ...], lstm: tuple[float, ...]) -> store.Kept:
    runs = made_up.scope({"attention": attention, "lstm": lstm})
    return store.keep(
        folder, "scope", "python -m experiments scope --seeds 2", runs, dict.fromkeys(runs, HERE)
    )


def page(folder: Path) -> str:
    return report.text({name: store.kept(folder, name) for name in PARTS}, "beside")


def test_a_changed_number_changes_the_page(tmp_path: Path) -> None:
    kept(tmp_path, GOOD, BAD)
    before = page(tmp_path)
    assert "Attention is ahead by 92 points" in before
    file = tmp_path / "scope.json"
    numbers = json.loads(file.read_text())
    for run in numbers["runs"].values():
        for place in run["grid"]:
            place["accuracy"] = 1 - place["accuracy"]
    file.write_text(json.dumps(numbers))
    assert "LSTM is ahead by 92 points" in page(tmp_path)
    assert "Attention is ahead" not in page(tmp_path)


def test_in_short_every_part_answers_its_question(tmp_path: Path) -> None:
    kept(tmp_path, GOOD, BAD)
    _, short, _ = re.split("## In short|## How it was measured", page(tmp_path))
    [scope] = [line for line in short.splitlines() if line.startswith("- **[Scope]")]
    assert "At least 90% of the answers are right" in scope
    assert short.count("Not run yet.") == len(PARTS) - 1
    several = Part("scope", ("One.", "Two.", "Three."), (), (), (), short=("One.", "Three."))
    assert report.summary({"scope": several}).splitlines()[2:] == [
        "- **[Scope](#scope).**",
        "  - One.",
        "  - Three.",
    ]


def test_what_has_not_been_run_says_so(tmp_path: Path) -> None:
    assert page(tmp_path).count("Not run yet: `python -m experiments") == len(PARTS)
    assert "Not run yet: `python -m experiments efficiency --device cuda` measures it." in page(tmp_path)
    kept(tmp_path, GOOD, BAD)
    told = page(tmp_path)
    assert told.count("Not run yet: `python -m experiments") == len(PARTS) - 1
    assert "by `python -m experiments scope --seeds 2`, the last of it" in told
    assert f"- Machine: {HERE['processor']}" in told
    for place in PARTS.values():
        assert f"## {place.title}\n\n*{place.question}*" in told


def test_runs_of_several_machines_say_so(tmp_path: Path) -> None:
    runs = made_up.scope({"attention": GOOD, "lstm": BAD})
    other = HERE | {"processor": "Another"}
    first, *rest = runs
    store.keep(
        tmp_path, "scope", "python -m experiments scope", runs, {first: other, **dict.fromkeys(rest, HERE)}
    )
    told = page(tmp_path)
    assert f"- Machine (1 of {len(runs)} runs): Another" in told
    assert f"- Machine ({len(rest)} of {len(runs)} runs): {HERE['processor']}" in told
    assert "worth more on a faster machine" in told


def test_numbers_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "scope.json").write_text('{"part": "scope"}')
    with pytest.raises(CheckpointError, match=r"scope\.json does not hold"):
        store.kept(tmp_path, "scope")


def test_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    written = kept(tmp_path / "new", GOOD, BAD)
    assert store.kept(tmp_path / "new", "scope") == written
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["scope.json"]


def test_a_table_in_markdown() -> None:
    table = Table("t", ("", "right | wrong"), (("a|b", Spread((0.25, 0.75))), ("c", None)), ("", ".0%"))
    assert report.markdown(table) == [
        "|  | right \\| wrong |",
        "| :--- | ---: |",
        "| a\\|b | 50% (25%–75%) |",
        "| c | — |",
    ]


def test_the_page_of_the_project_is_made_from_its_numbers() -> None:
    file = ROOT / "docs" / "advantages.md"
    parts = {name: store.kept(file.with_suffix(""), name) for name in PARTS}
    assert file.read_text(encoding="utf-8") == report.text(parts, "advantages")


class TestPictures:
    """Drawn with matplotlib, looked at through its own objects."""

    def line(self, rival: str, *values: float) -> Line:
        spreads = [Spread((value - 0.1, value + 0.1)) for value in values]
        return Line.over_seeds(rival.upper(), rival, [4, 64, 512][: len(values)], spreads)

    def test_lines(self) -> None:
        figures = pytest.importorskip("experiments.common.figures")
        pytest.importorskip("matplotlib")
        lines = (self.line("lstm", 0.2, 0.3), self.line("attention", 0.7, 0.8))
        panel = Panel(
            "p", "x", "y", lines, x_log=True, y_range=(0, 1), marks=(("chance", 0.5),), percent=True
        )
        figure = figures.drawn(Picture("name", "Title", (panel, panel), "caption"))
        first, second = figure.axes[:2]
        assert [list(line.get_ydata()) for line in first.lines[:2]] == [
            [pytest.approx(0.2), pytest.approx(0.3)],
            [pytest.approx(0.7), pytest.approx(0.8)],
        ]
        # A rival's colour does not depend on who else is there, and the bands reach over the seeds.
        assert first.lines[0].get_color() == figures.COLOURS["lstm"]
        band = first.collections[0].get_paths()[0].vertices
        assert band[:, 1].min() == pytest.approx(0.1)
        assert band[:, 1].max() == pytest.approx(0.4)
        assert first.get_ylim() == second.get_ylim()
        assert [text.get_text() for text in first.get_legend().get_texts()] == ["LSTM", "ATTENTION"]

    def test_a_name_of_several_rivals_stands_for_its_dashes(self) -> None:
        figures = pytest.importorskip("experiments.common.figures")
        pytest.importorskip("matplotlib")
        panels = tuple(
            Panel(
                rival, "x", "y", (Line("fresh", rival, (1, 2), (0.1, 0.2), style="--"), self.line("gru", 0.5))
            )
            for rival in ("lstm", "attention")
        )
        figure = figures.drawn(Picture("name", "Title", panels, "caption"))
        shared, own = figure.axes[0].get_legend().legend_handles
        assert (shared.get_color(), shared.get_marker(), shared.get_linestyle()) == (figures.INK, "", "--")
        assert own.get_color() == figures.COLOURS["gru"]

    def test_grid(self, tmp_path: Path) -> None:
        figures = pytest.importorskip("experiments.common.figures")
        pytest.importorskip("matplotlib")
        grid = Grid("g", "x", "y", ("4", "64", "512"), ("1", "2"), ((0.1, 0.25, None), (0.5, 0.875, 1.0)))
        picture = Picture("name", "Title", (grid,), "caption")
        figure = figures.drawn(picture)
        texts = [text.get_text() for text in figure.axes[0].texts]
        assert texts == ["10", "25", "50", "88", "100"]
        assert figures.draw(picture, tmp_path) == tmp_path / "name.png"
        assert (tmp_path / "name.png").stat().st_size > 1000

    def test_nothing_to_draw(self) -> None:
        figures = pytest.importorskip("experiments.common.figures")
        with pytest.raises(InputError, match="at least one panel"):
            figures.drawn(Picture("name", "Title", (), "caption"))
