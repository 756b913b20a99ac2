"""Pictures of the stages: what they show is what they were given, and what does not fit is refused."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from docs.curve_pictures import Bars, Curve, Panel, bars_picture_row, curves_picture
from docs.stage_pictures import LEGEND, Grid, equation_picture, product_picture
from limelight.errors import InputError, ShapeError
from limelight.readings.render.canvas import save

pytest.importorskip("matplotlib")

WORDS = ["one", "two", "three"]


def texts(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def cells(figure: Any, place: int) -> Any:
    """The numbers that one map of a figure is coloured by, in the order drawn."""
    from matplotlib.collections import QuadMesh

    return figure.findobj(QuadMesh)[place].get_array()


def test_a_grid_shows_its_numbers_its_names_and_its_extent() -> None:
    values = torch.tensor([[0.25, -1.5, 12.0], [0.0, 0.5, 0.07], [0.004, 1.0, -0.3]])
    figure = equation_picture([Grid("S", values, WORDS, WORDS)], "Scores")
    assert cells(figure, 0).tolist() == values.double().tolist()
    shown = texts(figure)
    assert {"Scores", "S", ".25", "−1.5", "12", ".07", "−.30", *WORDS} <= set(shown)
    assert "3 × 3,  −1.5 … 12" in shown
    assert "Blue is above zero" in " ".join(shown)


def test_masked_entries_are_crossed_and_have_no_colour() -> None:
    values = torch.tensor([[1.0, -math.inf], [0.5, 2.0]])
    figure = equation_picture([Grid("S", values, WORDS[:2], WORDS[:2])], "Masked")
    assert cells(figure, 0).mask.tolist() == [[False, True], [False, False]]
    assert len(figure.axes[0].lines) == 2  # one cross, two strokes
    assert LEGEND not in " ".join(texts(figure))  # nothing below zero: no need to say so


def test_signs_stand_between_the_grids_in_order() -> None:
    left, right, total = (torch.full((2, 5), float(i)) for i in (1, 2, 3))
    figure = equation_picture([Grid("a", left), "+", Grid("b", right), "=", Grid("c", total)], "Sum")
    shown = texts(figure)
    assert [text for text in shown if text in ("a", "+", "b", "=", "c")] == ["a", "+", "b", "=", "c"]
    assert [cells(figure, place).max() for place in range(3)] == [1, 2, 3]


def test_factors_meet_in_their_product() -> None:
    left, right = torch.randn(3, 7), torch.randn(7, 2)
    figure = product_picture(
        Grid("L", left, WORDS), [Grid("R", right)], [Grid("L·R", left @ right, WORDS)], "Product"
    )
    boxes = [axes.get_position() for axes in figure.axes[:3]]
    factor_left, factor_right, result = boxes
    assert factor_left.y0 == pytest.approx(result.y0)
    assert factor_left.y1 == pytest.approx(result.y1)
    assert factor_right.x0 == pytest.approx(result.x0)
    assert factor_right.x1 == pytest.approx(result.x1)
    assert factor_right.y0 > result.y1
    assert factor_left.x1 < result.x0


def test_a_product_that_is_none_is_refused() -> None:
    left, right = torch.randn(3, 7), torch.randn(7, 2)
    with pytest.raises(ShapeError, match="must give P"):
        product_picture(Grid("L", left), [Grid("R", right)], [Grid("P", torch.randn(3, 5))], "Product")
    with pytest.raises(ShapeError, match="must give P"):
        product_picture(Grid("L", left), [Grid("R", right.T)], [Grid("P", torch.randn(3, 7))], "Product")


def test_a_grid_needs_a_matrix_and_a_name_for_each_row() -> None:
    with pytest.raises(ShapeError, match="not empty"):
        Grid("S", torch.zeros(0, 3))
    with pytest.raises(ShapeError, match="matrix"):
        Grid("S", torch.zeros(3))
    with pytest.raises(ShapeError, match="each of its columns; got 3 for 5"):
        Grid("S", torch.zeros(3, 5), WORDS, WORDS)
    with pytest.raises(InputError, match="at least one grid"):
        equation_picture(["="], "Nothing")


@pytest.mark.parametrize("log", ["", "x", "y", "xy"])
def test_curves_are_named_beside_their_last_point(log: Any) -> None:
    curves = (Curve("low", (1, 2, 4), (1.0, 2.0, 3.0)), Curve("high", (1, 2, 4), (10.0, 20.0, 300.0)))
    figure = curves_picture([Panel("width", "variance", curves, log)], "Growth")
    axes = figure.axes[0]
    assert [line.get_ydata().tolist() for line in axes.lines] == [list(curve.y) for curve in curves]
    assert axes.get_xlabel() == "width"
    assert axes.get_ylabel() == "variance"
    heights = {note.get_text(): note.xy[1] for note in axes.texts}
    assert heights.keys() == {"low", "high"}
    assert 0 <= heights["low"] < heights["high"] <= 1


def test_names_that_would_overlap_are_pushed_apart() -> None:
    curves = tuple(Curve(name, (0, 1), (0.0, 1.0)) for name in WORDS)
    figure = curves_picture([Panel("x", "y", (*curves, Curve("far", (0, 1), (0.0, 9.0))))], "Close")
    heights = sorted(note.xy[1] for note in figure.axes[0].texts)
    assert min(above - below for below, above in pairwise(heights)) >= 0.07


def test_a_panel_holds_as_many_curves_as_can_be_told_apart() -> None:
    many = tuple(Curve(str(i), (0, 1), (0.0, 1.0)) for i in range(5))
    with pytest.raises(InputError, match="1 to 4 curves"):
        curves_picture([Panel("x", "y", many)], "Too many")


def test_bars_keep_their_order_and_share_a_scale() -> None:
    groups = [Bars("first", ("a", "b"), (0.5, 0.25)), Bars("second", ("c",), (0.125,))]
    figure = bars_picture_row(groups, "cosine", "Near")
    assert [[bar.get_width() for bar in axes.patches] for axes in figure.axes[:2]] == [[0.5, 0.25], [0.125]]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert {"first", "second", "a", "b", "c", "cosine", "0.25", "0.12"} <= set(texts(figure))
    with pytest.raises(InputError, match="a name for each value"):
        bars_picture_row([Bars("none", (), ())], "cosine", "Near")


def test_the_same_numbers_give_the_same_bytes(tmp_path: Any) -> None:
    grid = Grid("S", torch.arange(6.0).view(2, 3))
    paths = [save(equation_picture([grid], "Twice"), tmp_path / f"{i}.png") for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
