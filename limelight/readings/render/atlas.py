"""The atlas of heads in the terminal, a block a head, and as a picture, a map a measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from limelight.errors import InputError
from limelight.readings.atlas import MEASURES, Atlas
from limelight.readings.reading import Reading, digits_after_point
from limelight.readings.render.canvas import Sheet
from limelight.readings.render.colours import INK, PEAK, QUIET, shades
from limelight.readings.render.glyphs import Pen, level_of
from limelight.readings.render.terminal import shade

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = 4
FULL_SHARE = 0.2
"""A share below this is drawn fainter than full, even where it is the highest: 0.03 makes no head of the kind."""
BEST = 3
"""Heads named below each map of the picture, and in the terminal's table."""


class AtlasTable:
    """For each measure the layers as lines of blocks, low to high, and the heads that have most of it."""

    def __init__(self, atlas: Atlas, best: int = BEST) -> None:
        self.atlas, self.best = atlas, best

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pen = Pen(options)
        layers, heads = self.atlas["entropy"].labels
        label = max((len(name.removeprefix("layer ")) for name in layers), default=1) + 1
        width = max(label + len(heads), *(cell_len(f"{name}, {self.atlas[name].unit}") for name in MEASURES))
        across = max(1, (options.max_width + GAP) // (width + GAP))
        for first in range(0, len(MEASURES), across):
            names = MEASURES[first : first + across]
            yield self._line(
                [Text(f"{name}, {_short(self.atlas[name].unit)}", style="bold") for name in names], width
            )
            for row, layer in enumerate(layers):
                parts = []
                for name in names:
                    values = self.atlas[name].values
                    part = Text(f"{layer.removeprefix('layer '):>{label - 1}} ", style="dim")
                    for value in values[row]:
                        level = level_of(float(value), _full(self.atlas[name]))
                        part.append(pen.block(level), style=shade(level))
                    parts.append(part)
                yield self._line(parts, width)
            yield Text()
        yield self._best()
        yield Text(
            "Rows: layers; blocks: heads, counted from 0; ▁ low to █ the highest of a measure, of a share "
            f"{FULL_SHARE:g} at least.",
            style="dim",
        )
        for name in MEASURES:
            yield Text(f"{name}: {self.atlas[name].how} Unit: {self.atlas[name].unit}.", style="dim")

    @staticmethod
    def _line(parts: list[Text], width: int) -> Text:
        line = Text(no_wrap=True)
        for part in parts:
            line.append_text(part).append(" " * (width - part.cell_len + GAP))
        line.rstrip()
        return line

    def _best(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("most of")
        heads = max(len(self.atlas.ranked(name)) for name in MEASURES)
        for rank in range(1, min(self.best, heads) + 1):
            table.add_column(f"{rank}. head")
            table.add_column("", justify="right")
        for name in MEASURES:
            ranked = self.atlas.ranked(name)[: self.best]
            digits = digits_after_point(max((value for _, value in ranked), default=0.0))
            cells = [
                cell for (layer, head), value in ranked for cell in (f"{layer}.{head}", f"{value:.{digits}f}")
            ]
            table.add_row(name, *cells)
        return table


def atlas_picture(atlas: Atlas, title: str = "What kind of reader each head is") -> Figure:
    """Six maps, layers down and heads to the right, each in a scale of its own, the highest head outlined."""
    from matplotlib.patches import Rectangle

    layers, heads = atlas["entropy"].labels
    if not layers or not heads:
        raise InputError("A picture of an atlas needs at least one head; this one has none.")
    cell = float(np.clip(2.6 / max(len(heads), len(layers)), 0.11, 0.34))
    width, height = cell * len(heads), cell * len(layers)
    column, row = max(width, 1.5) + 0.7, height + 0.85
    ramp = shades()
    sheet = Sheet()
    for number, name in enumerate(MEASURES):
        reading = atlas[name]
        x, y = (number % 3) * column, -(number // 3) * row
        axes = sheet.axes(x, y, width, height)
        values = np.ma.masked_invalid(reading.values)
        highest = float(values.max()) if values.count() else 0.0
        axes.pcolormesh(
            np.arange(len(heads) + 1) - 0.5, np.arange(len(layers) + 1) - 0.5, values,
            cmap=ramp, vmin=0, vmax=_full(reading) or 1.0, edgecolors="white", linewidth=0.4,
        )  # fmt: skip
        axes.set_xlim(-0.5, len(heads) - 0.5)
        axes.set_ylim(len(layers) - 0.5, -0.5)
        for axis, count, label in ((axes.xaxis, len(heads), "head"), (axes.yaxis, len(layers), "layer")):
            step = max(1, -(-count // 12))
            axis.set_ticks(range(0, count, step))
            axis.set_label_text(label, color=QUIET, fontsize=8)
        axes.tick_params(length=0, labelsize=7, labelcolor=INK, pad=2)
        axes.spines[:].set(edgecolor=QUIET, linewidth=0.6)
        best = atlas.ranked(name)
        said = name
        if best and highest > 0:
            (layer, head), value = best[0]
            place = layers.index(f"layer {layer}")
            axes.add_patch(
                Rectangle((head - 0.5, place - 0.5), 1, 1, fill=False, edgecolor=PEAK, linewidth=1.4)
            )
            said += (
                f"\nhighest {value:.{digits_after_point(value)}f} {_short(reading.unit)}, head {layer}.{head}"
            )
        axes.set_title(said, fontsize=8.5, color=INK, loc="left", pad=4)
    how = " ".join(f"{name}: {atlas[name].how}" for name in MEASURES)
    return sheet.finish(
        title,
        f"Darker is more, each map from 0 to its own highest value, which is outlined, of shares to "
        f"{FULL_SHARE:g} at least.",
        how,
    )


def _full(reading: Reading) -> float:
    """The value that is drawn full."""
    highest = float(np.nanmax(reading.values, initial=0.0))
    return max(highest, FULL_SHARE) if reading.unit == "probability" else highest


def _short(unit: str) -> str:
    return "share" if unit == "probability" else unit
