"""Pictures of numbers on the way to attention: curves in panels, and ranked words as bars.

curves_picture     lines in one or several panels
bars_picture_row   ranked words side by side
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from limelight.errors import InputError
from limelight.readings.reading import visible
from limelight.readings.render.canvas import Sheet
from limelight.readings.render.colours import INK, QUIET, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = (("#015e7f", "-"), ("#e4572e", "--"), ("#0fc2a0", "-."), ("#1a2444", ":"))
LONGEST_NAME = 16


# ---- curves -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Curve:
    """A named line through the points (x, y)."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes; the labels say the unit. `log` names the axes that count in factors."""

    across: str
    up: str
    curves: tuple[Curve, ...]
    log: Literal["", "x", "y", "xy"] = ""


def curves_picture(panels: Sequence[Panel], title: str, line: str = "") -> Figure:
    """One panel beside the other, at most four curves in each, every curve named at its end."""
    if not panels or not all(0 < len(panel.curves) <= len(LINES) for panel in panels):
        raise InputError(f"A picture of curves needs panels with 1 to {len(LINES)} curves each.")
    sheet = Sheet()
    width = 5.2 if len(panels) == 1 else 3.0
    for number, panel in enumerate(panels):
        axes = sheet.axes(number * (width + 1.6), 0, width, 2.5)
        ends = []
        for curve, (colour, dashes) in zip(panel.curves, LINES, strict=False):
            marks = "o" if len(curve.x) <= 12 else None
            axes.plot(
                curve.x, curve.y, color=colour, linestyle=dashes, linewidth=1.6, marker=marks, markersize=4
            )
            ends.append((curve, colour))
        if "x" in panel.log:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if "y" in panel.log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(lambda value, _: "")
        _name_ends(axes, ends)
        axes.set_xlabel(panel.across, fontsize=9, color=QUIET)
        axes.set_ylabel(panel.up, fontsize=9, color=QUIET)
        axes.tick_params(labelsize=8, length=3, color=QUIET, labelcolor=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(QUIET)
        axes.grid(visible=True, color="#e5e7eb", linewidth=0.6)
    names = ", ".join(curve.name for panel in panels for curve in panel.curves)
    return sheet.finish(title, line, f"{title}: {names}.")


def _name_ends(axes: Axes, ends: Sequence[tuple[Curve, str]]) -> None:
    """Names to the right of the last points, pushed apart where they would overlap."""
    axes.autoscale_view()  # or the limits that the transform takes are not those of the curves yet
    transform = axes.transData + axes.transAxes.inverted()
    heights = [float(transform.transform((curve.x[-1], curve.y[-1]))[1]) for curve, _ in ends]
    least = 0.075
    place = -math.inf
    for number in sorted(range(len(ends)), key=heights.__getitem__):
        place = max(heights[number], place + least)
        curve, colour = ends[number]
        axes.annotate(curve.name, (1.0, place), (5, 0), "axes fraction", "offset points",
                      va="center", fontsize=9, color=colour, annotation_clip=False)  # fmt: skip


# ---- bars ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bars:
    """Names and their values, drawn from the top in the order given."""

    title: str
    names: tuple[str, ...]
    values: tuple[float, ...]


def bars_picture_row(groups: Sequence[Bars], unit: str, title: str, line: str = "") -> Figure:
    """Groups of bars side by side, on one scale."""
    if not groups or not all(group.names and len(group.names) == len(group.values) for group in groups):
        raise InputError("A picture of bars needs groups with a name for each value, and at least one value.")
    sheet = Sheet()
    top = max(max(group.values) for group in groups) or 1.0
    colours = shades()
    for number, group in enumerate(groups):
        axes = sheet.axes(number * 2.9, 0, 1.7, 0.24 * len(group.names) + 0.1)
        shares = np.clip(np.array(group.values) / top, 0, 1)
        axes.barh(range(len(group.names)), group.values, height=0.76, color=colours(0.35 + 0.5 * shares))
        axes.set(xlim=(0, 1.05 * top), ylim=(len(group.names) - 0.4, -0.6))
        axes.set_yticks(
            range(len(group.names)), [visible(name, LONGEST_NAME) for name in group.names], fontsize=9
        )
        for place, value in enumerate(group.values):
            axes.annotate(f"{value:#.2g}", (max(value, 0.0), place), (3, 0), textcoords="offset points",
                          va="center", fontsize=8, color=INK)  # fmt: skip
        axes.set_title(group.title, fontsize=10, fontweight="bold", color=INK, loc="left", pad=4)
        axes.set_xlabel(unit, fontsize=9, color=QUIET)
        axes.tick_params(axis="x", labelsize=8, length=3, color=QUIET, labelcolor=QUIET)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(QUIET)
    return sheet.finish(title, line, f"{title}: {', '.join(group.title for group in groups)}; {unit}.")
