"""What was measured, as pictures: lines with the seeds' band, and grids of numbers.

A rival has the same colour and the same sign in every picture. The colours are Okabe and Ito's (2008), which
every kind of colour vision tells apart; signs and dashes do it without colour.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.common.plan import Grid, Line, Panel, Picture
from limelight.errors import InputError
from limelight.readings.render.canvas import Sheet, save
from limelight.readings.render.colours import INK, LIGHT_ON, QUIET, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "attention": "#0072b2",
    "luong": "#009e73",
    "bahdanau": "#56b4e9",
    "lstm": "#d55e00",
    "gru": "#cc79a7",
}
SIGNS = {"attention": "o", "luong": "^", "bahdanau": "v", "lstm": "s", "gru": "D"}
OTHER = ("#6b7280", "#e69f00", "#1f2430")
"""For what is no rival: an aligner, copying the source."""

WIDTH, HEIGHT, GAP, BELOW = 3.1, 2.5, 0.6, 1.05
"""Inches: of a pair of axes, between two, and between two rows."""
A_ROW = 3
"""Panels side by side; four stand two by two."""
LETTER = 0.075
"""Inches of a letter of a panel's title, which may be wider than a grid of few columns."""
SAMPLE, SMALL = 0.5, 0.8
"""Inches of a piece of line in the legend and the room around its name; how much smaller its letters are."""
FIELD = (0.52, 0.36)
"""Inches of one field of a grid."""


def draw(picture: Picture, folder: Path) -> Path:
    """`folder`/name.png. Raises MissingExtraError without matplotlib, InputError for a picture without panels."""
    return save(drawn(picture), folder / f"{picture.name}.png")


def drawn(picture: Picture) -> Figure:
    """The picture as a figure."""
    if not picture.panels:
        raise InputError(f"A picture needs at least one panel; {picture.name!r} has none.")
    sheet = Sheet()
    x, top, deepest, widest = 0.0, 0.0, 0.0, 0.0
    scales: dict[str, list[Axes]] = {}
    a_row = 2 if len(picture.panels) == 4 else A_ROW
    for number, panel in enumerate(picture.panels):
        if number and number % a_row == 0:
            x, top = 0.0, deepest - BELOW
        width, height = _size(panel)
        axes = sheet.axes(x, top, width, height)
        if isinstance(panel, Grid):
            _grid(axes, panel)
        else:
            _lines(axes, panel)
        _words(axes, panel, first=number % a_row == 0 or panel.y != picture.panels[number - 1].y)
        x, deepest = x + max(width, LETTER * len(panel.title)) + GAP, min(deepest, top - height)
        widest = max(widest, x - GAP)
        if isinstance(panel, Panel):
            scales.setdefault(panel.y, []).append(axes)
    for alike in scales.values():
        _one_scale(alike)
    _legend(sheet.first, picture, widest)
    return sheet.finish(picture.title, "", picture.caption)


def _size(panel: Panel | Grid) -> tuple[float, float]:
    if isinstance(panel, Grid):
        return FIELD[0] * len(panel.columns), FIELD[1] * len(panel.rows)
    return WIDTH, HEIGHT


def _one_scale(alike: list[Axes]) -> None:
    """Panels of the same measure go from the same lowest to the same highest, and have the same marks."""
    limits = [axes.get_ylim() for axes in alike]
    for axes in alike:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        if axes.get_yscale() == "log":
            _decades(axes)


def _decades(axes: Axes) -> None:
    """Marks of a logarithmic axis: powers of ten, and 2 and 5 between them where there are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axes.get_ylim()
    subs = (1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=9))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value)))
    axes.yaxis.set_minor_locator(NullLocator())


def _words(axes: Axes, panel: Panel | Grid, first: bool) -> None:
    axes.set_title(panel.title, fontsize=10, color=INK, loc="left", pad=6)
    axes.set_xlabel(panel.x, fontsize=9, color=QUIET)
    if first:
        axes.set_ylabel(panel.y, fontsize=9, color=QUIET)
    axes.tick_params(labelsize=8, length=2, color=QUIET, labelcolor=INK)


# ------------------------------------------------------------------------------------------------------------ lines


def _lines(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import PercentFormatter

    others: dict[str, str] = {}
    for line in panel.lines:
        _line(axes, line, _colour(line.rival, others))
    if panel.x_log:
        axes.set_xscale("log", base=2)
        _powers(axes, sorted({x for line in panel.lines for x in line.x}))
    if panel.classes:
        axes.set_xticks(range(len(panel.classes)), panel.classes)
        axes.set_xlim(-0.3, len(panel.classes) - 0.7)
    if panel.y_log:
        axes.set_yscale("log")
    if panel.y_range is not None:
        low, high = panel.y_range
        margin = 0.0 if panel.y_log else 0.03 * (high - low)
        axes.set_ylim(low - margin, high + margin)
    if panel.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    for word, value in panel.marks:
        axes.axhline(value, color=QUIET, linewidth=0.8, linestyle=":", zorder=1)
        axes.annotate(
            word,
            (0.995, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=7,
            color=QUIET,
            ha="right",
        )
    for word, value in panel.bounds:
        axes.axvline(value, color=QUIET, linewidth=0.8, linestyle="--", zorder=1)
        axes.annotate(
            word,
            (value, 0.75),
            xycoords=("data", "axes fraction"),
            fontsize=7,
            color=QUIET,
            rotation=90,
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.6)
    axes.set_axisbelow(True)


def _line(axes: Axes, line: Line, colour: str) -> None:
    style: dict[str, Any] = {"color": colour, "linewidth": 1.6, "marker": SIGNS.get(line.rival, "P")}
    style |= {"markersize": 4, "markeredgewidth": 0, "linestyle": line.style}
    axes.plot(line.x, line.y, **style, zorder=3)
    if line.low and line.high:
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0, zorder=2)


def _powers(axes: Axes, values: list[float]) -> None:
    """A mark at what was measured, where that is not too much; thousands as k."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if 1 < len(values) <= 10:
        axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def amount(value: float) -> str:
    """A number on a logarithmic axis, in letters that every font has.

    >>> amount(0.05), amount(20_000), amount(1e6), amount(1e-14)
    ('0.05', '20k', '1M', '10⁻¹⁴')
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    if value >= 0.001:
        return f"{value:g}"
    exponent = round(math.log10(value)) if value > 0 else 0
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def short(value: float) -> str:
    """A size in few letters.

    >>> short(512), short(2048), short(3000)
    ('512', '2k', '3,000')
    """
    return f"{value / 1024:.0f}k" if value >= 1024 and value % 1024 == 0 else f"{value:,g}"


def _colour(rival: str, others: dict[str, str]) -> str:
    """The rival's colour; what is none gets the next that is free in these axes."""
    if rival in COLOURS:
        return COLOURS[rival]
    return others.setdefault(rival, OTHER[len(others) % len(OTHER)])


def _legend(axes: Axes, picture: Picture, width: float) -> None:
    """One for all panels, above the first, where a line has a name; as wide as the panels, in inches, at most.
    A name that several rivals' lines have stands for its dashes alone, without a colour and a sign."""
    from matplotlib.lines import Line2D

    lines = [line for panel in picture.panels if isinstance(panel, Panel) for line in panel.lines]
    whose = {line.label: {each.rival for each in lines if each.label == line.label} for line in lines}
    handles: dict[str, Any] = {}
    for panel in picture.panels:
        others: dict[str, str] = {}
        for line in panel.lines if isinstance(panel, Panel) else ():
            colour = _colour(line.rival, others)
            if line.label and line.label not in handles:
                shared = len(whose[line.label]) > 1
                handles[line.label] = Line2D(
                    [],
                    [],
                    color=INK if shared else colour,
                    marker="" if shared else SIGNS.get(line.rival, "P"),
                    markersize=4,
                    markeredgewidth=0,
                    linewidth=1.6,
                    linestyle=line.style,
                    label=line.label,
                )
    if handles:
        longest = SAMPLE + SMALL * LETTER * max(map(len, handles))
        axes.legend(
            handles=list(handles.values()),
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.1),
            ncols=max(1, min(len(handles), int(width / longest))),
            frameon=False,
            fontsize=8,
            labelcolor=INK,
            borderaxespad=0.0,
            handlelength=2.2,
        )


# ------------------------------------------------------------------------------------------------------------ grids


def _grid(axes: Axes, panel: Grid) -> None:
    ramp = shades().with_extremes(bad="#f3f4f6")
    values = [[math.nan if value is None else value for value in row] for row in panel.values]
    axes.pcolormesh(values, cmap=ramp, vmin=0.0, vmax=1.0, edgecolors="white", linewidth=0.8)
    axes.set_ylim(len(panel.rows), 0)
    axes.set_xticks([column + 0.5 for column in range(len(panel.columns))], panel.columns)
    axes.set_yticks([row + 0.5 for row in range(len(panel.rows))], panel.rows)
    for row, shares in enumerate(values):
        for column, share in enumerate(shares):
            if not math.isnan(share):
                colour = "white" if share > LIGHT_ON else INK
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    f"{100 * share:.0f}",
                    fontsize=7.5,
                    color=colour,
                    ha="center",
                    va="center",
                )
    for side in axes.spines.values():
        side.set_visible(False)
