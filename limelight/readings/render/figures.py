"""Reading → picture, for print and for the screen: PNG, SVG, PDF.

Figures are made without pyplot, so nothing changes for the rest of the program. They are laid out in inches
and grow with what is on them, so that no label is cut. Matplotlib is the optional extra `plot`; it is imported
when the first picture is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from limelight.errors import InputError, ShapeError
from limelight.readings.alignment import Alignment
from limelight.readings.reading import (
    MOST_HEADS_NAMED,
    Head,
    Reading,
    digits_after_point,
    name_heads,
    visible,
)
from limelight.readings.render.canvas import Sheet
from limelight.readings.render.colours import INK, LIGHT_ON, PEAK, QUIET, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_NAME = 28
LARGEST_MAP = 10.0
"""Inches; cells shrink to keep a map within it, down to the smallest cell."""
CELL = (0.17, 0.45)
CELL_FOR_NUMBERS = 0.28


# ---- maps ---------------------------------------------------------------------------------------------


def alignment_picture(alignment: Alignment, sink_free: bool = False, title: str | None = None) -> Figure:
    """Target words × source words, the peak of every row outlined, the heads named below the title.

    Raw weights come with one column more, set apart: what went to source tokens of no word.
    """
    aside = None if sink_free else alignment.elsewhere.values
    heading = title or f"What each {alignment.raw.axes[0]} attends to"
    return _map(alignment.reading(sink_free), heading, aside)


def map_picture(reading: Reading, title: str | None = None) -> Figure:
    """Any reading with two axes as a map: the first axis runs down, the second to the right."""
    _want_axes(reading, 2, "A map")
    return _map(reading, title or f"{reading.axes[0].capitalize()}s × {reading.axes[1]}s", None)


def _map(reading: Reading, title: str, aside: NDArray[Any] | None) -> Figure:
    rows, columns = _names(reading, 0), _names(reading, 1)
    if not rows or not columns:
        raise InputError(f"A map needs an entry on either axis; got {len(rows)} × {len(columns)}.")
    apart = [len(columns) + 0.5] if aside is not None else []
    places = [*range(len(columns)), *apart]
    grid = reading.values if aside is None else np.column_stack([reading.values, aside])
    cell = float(np.clip(LARGEST_MAP / max(len(rows), len(places)), *CELL))
    font = float(np.clip(45 * cell, 7, 10))

    sheet = Sheet()
    axes = sheet.axes(0, 0, cell * (places[-1] + 1), cell * len(rows))
    highest = _draw_cells(axes, grid, places)
    names = columns + ["no word"] * len(apart)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(places, names, fontsize=font)
    if max(map(len, names)) > 2:
        for label in axes.get_xticklabels():
            label.set(rotation=50, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows, fontsize=font)
    for axis, name in zip((axes.yaxis, axes.xaxis), reading.axes, strict=True):
        axis.set_label_text(name, color=QUIET, fontsize=9)
    if cell >= CELL_FOR_NUMBERS:
        _write_numbers(axes, grid, places, highest, 0.75 * font)
    _outline_peaks(axes, reading.values)
    sheet.colour_bar(axes, shades(), highest, reading.unit)
    return sheet.finish(title, _heads_line(reading), reading.how)


def heads_picture(reading: Reading, chosen: Sequence[Head] = (), title: str | None = None) -> Figure:
    """A grid of small maps, a row of it a layer, a column a head, all in one scale of colours.

    reading: with the axes ("head", rows, columns), as `word_attention` gives it.
    chosen: the heads to outline, such as those that align.
    """
    _want_axes(reading, 3, "A grid of heads")
    if reading.axes[0] != "head" or len(reading.heads) != len(reading.labels[0]) or not reading.heads:
        raise InputError(
            "A grid of heads needs the first axis 'head' and which heads they are, as word_attention() gives."
        )
    layers, heads = (sorted({head[part] for head in reading.heads}) for part in (0, 1))
    side = float(np.clip(LARGEST_MAP / len(heads), 0.5, 1.4))
    rows, columns = max(reading.values.shape[1], 1), max(reading.values.shape[2], 1)
    width, height = side * min(1, columns / rows), side * min(1, rows / columns)
    gap = 0.1 * side + 0.04
    highest = _highest(reading.values)

    sheet = Sheet()
    for place, (layer, head) in enumerate(reading.heads):
        x, y = heads.index(head), layers.index(layer)
        axes = sheet.axes(x * (width + gap), -y * (height + gap), width, height)
        _draw_cells(axes, reading.values[place], list(range(reading.values.shape[2])), highest)
        axes.set_xticks([])
        axes.set_yticks([])
        if (layer, head) in set(chosen):
            axes.spines[:].set(visible=True, edgecolor=PEAK, linewidth=1.6, zorder=4)
        if y == 0 or not any((above, head) in reading.heads for above in layers[:y]):
            axes.set_title(f"head {head}", fontsize=8, color=INK, pad=3)
        if x == 0 or not any((layer, before) in reading.heads for before in heads[:x]):
            axes.set_ylabel(f"layer {layer}", fontsize=8, color=INK, labelpad=3)
    sheet.colour_bar(sheet.first, shades(), highest, reading.unit)
    line = f"Each map: {reading.axes[1]}s down, {reading.axes[2]}s to the right."
    if chosen:
        line += f" Outlined: {name_heads(chosen)}."
    return sheet.finish(title or "Attention of every head", line, reading.how)


# ---- bars ---------------------------------------------------------------------------------------------


def bars_picture(reading: Reading, most: int | None = None, title: str | None = None) -> Figure:
    """The entries of a reading with one axis as bars, the highest on top; at most the `most` highest."""
    _want_axes(reading, 1, "A picture of bars")
    entries = [entry for entry in reading.ranked() if entry.value == entry.value]
    shown = entries[:most]
    if not shown:
        raise InputError("A picture of bars needs at least one value; the reading has none.")
    values = [entry.value for entry in shown]
    sheet = Sheet()
    axes = sheet.axes(0, 0, 4.5, 0.24 * len(shown) + 0.1)
    top = max(values) if max(values) > 0 else 1.0
    decimals = digits_after_point(top)
    colours = shades()(0.35 + 0.5 * np.clip(np.array(values) / top, 0, 1))
    axes.barh(range(len(shown)), values, height=0.78, color=colours)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_yticks(
        range(len(shown)), [f"{visible(e.label, LONGEST_NAME)}  {e.rank}" for e in shown], fontsize=9
    )
    for place, value in enumerate(values):
        axes.annotate(f"{value:.{decimals}f}", (max(value, 0.0), place), (4, 0), textcoords="offset points",
                      va="center", fontsize=8, color=INK)  # fmt: skip
    axes.set_xlabel(reading.unit, fontsize=9, color=QUIET)
    axes.tick_params(axis="x", labelsize=8, length=3, color=QUIET, labelcolor=QUIET)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)
    left_out = len(entries) - len(shown)
    line = " ".join(
        filter(None, [_heads_line(reading), f"{left_out} lower ones not shown." if left_out else ""])
    )
    return sheet.finish(title or f"{reading.axes[0].capitalize()}s from high to low", line, reading.how)


# ---- shared -------------------------------------------------------------------------------------------


def _draw_cells(
    axes: Axes, grid: NDArray[Any], places: Sequence[float], highest: float | None = None
) -> float:
    """One square a number, those of column i at `places[i]`; gives the value that is darkest."""
    highest = _highest(grid) if highest is None else highest
    rows = np.arange(len(grid) + 1) - 0.5
    # Cells and not an image: an SVG of cells stays sharp in every viewer. Columns set apart are drawn apart.
    starts = [i for i in range(len(places)) if i == 0 or places[i] != places[i - 1] + 1] if len(grid) else []
    for start, stop in zip(starts, [*starts[1:], len(places)], strict=True):
        edges = np.append(np.array(places[start:stop]) - 0.5, places[stop - 1] + 0.5)
        axes.pcolormesh(
            edges, rows, np.ma.masked_invalid(grid[:, start:stop]), cmap=shades(), vmin=0, vmax=highest
        )
        x, width = edges[0], edges[-1] - edges[0]
        axes.add_patch(_frame(x, -0.5, width, len(grid), QUIET, 0.6))
    axes.set_xlim((places[0] if places else 0) - 0.5, (places[-1] if places else 0) + 0.5)
    axes.set_ylim(len(grid) - 0.5, -0.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=4, labelcolor=INK)
    return highest


def _write_numbers(
    axes: Axes, grid: NDArray[Any], places: Sequence[float], highest: float, font: float
) -> None:
    """The values in their cells, two digits after the point; none where it would read 0.00."""
    for (row, column), value in np.ndenumerate(grid):
        text = f"{value:.2f}"
        if value == value and text != "0.00":
            colour = "white" if value > LIGHT_ON * highest else INK
            short = text.removeprefix("0")
            axes.text(
                places[column], row, short, ha="center", va="center_baseline", fontsize=font, color=colour
            )


def _outline_peaks(axes: Axes, values: NDArray[Any]) -> None:
    for row, weights in enumerate(np.nan_to_num(values)):
        if weights.max() > 0:
            axes.add_patch(_frame(int(weights.argmax()) - 0.5, row - 0.5, 1, 1, PEAK, 1.5))


def _frame(x: float, y: float, width: float, height: float, colour: str, line: float) -> Any:
    from matplotlib.patches import Rectangle

    frame = Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=line, zorder=3)
    frame.set_clip_on(False)
    return frame


def _highest(values: NDArray[Any]) -> float:
    """The largest value, which gets the darkest colour; 1 if nothing is above 0."""
    return float(np.nanmax(values, initial=0.0)) or 1.0


def _names(reading: Reading, axis: int) -> list[str]:
    return [visible(name, LONGEST_NAME) for name in reading.labels[axis]]


def _heads_line(reading: Reading) -> str:
    """Which heads, in a line below the title; where they have an axis of their own, nothing is a mean of them."""
    count = len(reading.heads)
    mean = not {"layer", "head"} & set(reading.axes)
    named = name_heads(reading.heads, MOST_HEADS_NAMED)
    return f"Mean of {named}" if mean and count > 1 else named[:1].upper() + named[1:]


def _want_axes(reading: Reading, count: int, what: str) -> None:
    if len(reading.axes) != count:
        raise ShapeError(
            f"{what} shows a reading with {count} axes; got {len(reading.axes)}: {', '.join(reading.axes)}. "
            "Choose a place on the others: reading.at(axis, place); heads: average_heads(reading)."
        )
