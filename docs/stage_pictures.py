"""Pictures of the stages of the process: matrices and what is done with them.

    equation_picture   matrices in a row with signs between them      X + P = I
    product_picture    left · right = result, each where its rows and columns meet

A picture of attention itself is made in readings/render/figures.py from a Reading; here are the numbers before it,
which may be negative: they run from orange over white to blue, as far apart for every kind of colour vision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from limelight.errors import InputError, ShapeError
from limelight.readings.reading import visible
from limelight.readings.render.canvas import Sheet
from limelight.readings.render.colours import INK, LIGHT_ON, PEAK, QUIET, RAMP, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIGNED = ("#7a2a10", "#e4572e", "#f9cdbd", "#ffffff", "#bcd8e8", "#1f7fae", "#12305c")

LONGEST_NAME = 16

# Inches.
TOKEN, TOKEN_WITH_NUMBER = 0.24, 0.43
WIDE, HIGH, FEATURE = 7.2, 1.8, 0.2
"""Features share the width among the grids side by side, and the height; a single one is no wider than FEATURE."""
MOST_WITH_NUMBERS = 2
GAP, BELOW_NAME = 0.42, 0.62
LEGEND = "Blue is above zero, orange below; each map has its own scale, written below it."


# ---- matrices -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Grid:
    """A matrix as it is drawn: (rows, columns), with tokens along an axis, or features where it names none.

    Entries of -∞ are masked: drawn as crossed cells. `every` draws a border each so many columns, which is
    where one head ends and the next begins. `marked` are rows and columns to outline (None: all of them).
    Raises ShapeError where the names do not fit.
    """

    name: str
    values: Tensor
    rows: Sequence[str] | None = None
    columns: Sequence[str] | None = None
    every: int = 0
    marked: Sequence[tuple[int | None, int | None]] = ()

    def __post_init__(self) -> None:
        if self.values.dim() != 2 or not self.values.numel():
            raise ShapeError(f"A grid must be a matrix that is not empty; got {tuple(self.values.shape)}.")
        for axis, names in enumerate((self.rows, self.columns)):
            if names is not None and len(names) != self.values.shape[axis]:
                raise ShapeError(
                    f"A grid must have a name for each of its {('rows', 'columns')[axis]}; got {len(names)} for "
                    f"{self.values.shape[axis]} in {self.name!r}."
                )

    @property
    def tokens_by_tokens(self) -> bool:
        """Whether both axes are tokens: then its cells are squares, with numbers where there is room."""
        return self.rows is not None and self.columns is not None

    @property
    def array(self) -> NDArray[Any]:
        return self.values.detach().double().cpu().numpy()


def equation_picture(parts: Sequence[Grid | str], title: str, line: str = "") -> Figure:
    """Grids in a row, signs such as "+", "=" or "→" between them."""
    grids = [part for part in parts if isinstance(part, Grid)]
    if not grids:
        raise InputError("A picture of an equation needs at least one grid.")
    cell = _Cells(grids, len(grids))
    sheet = Sheet()
    x, before = 0.0, None
    for part in parts:
        if isinstance(part, str):
            x += _sign(sheet, part, x, -cell.height(grids[0]) / 2)
            continue
        _draw(sheet, part, cell, x, 0.0, part.rows != before, True)
        x += cell.width(part) + GAP / 2
        before = part.rows
    return sheet.finish(title, _line(line, grids), _told(grids, title))


def product_picture(
    left: Grid, right: Sequence[Grid], results: Sequence[Grid], title: str, line: str = ""
) -> Figure:
    """left · right = result: row i of the left and column j of the right meet in entry (i, j) below and beside.

    Several right factors stand side by side, each above its own result.
    """
    for factor, result in zip(right, results, strict=True):
        wanted = (left.values.shape[0], factor.values.shape[1])
        if left.values.shape[1] != factor.values.shape[0] or tuple(result.values.shape) != wanted:
            raise ShapeError(
                f"{left.name} · {factor.name} must give {result.name}; got the shapes "
                f"{tuple(left.values.shape)}, {tuple(factor.values.shape)}, {tuple(result.values.shape)}."
            )
    grids = [left, *right, *results]
    cell = _Cells(grids, 1 + len(right))
    sheet = Sheet()
    _draw(sheet, left, cell, 0.0, 0.0, True, True)
    x = cell.width(left) + GAP
    for factor, result in zip(right, results, strict=True):
        top = cell.height(factor) + BELOW_NAME
        _draw(sheet, factor, cell, x, top, True, True)
        _draw(sheet, result, cell, x, 0.0, False, False)
        x += cell.width(factor) + GAP
    return sheet.finish(title, _line(line, grids), _told(grids, title))


class _Cells:
    """How large a cell is: the same along the same kind of axis in all grids of a picture."""

    def __init__(self, grids: Sequence[Grid], side_by_side: int) -> None:
        self.numbers = sum(grid.tokens_by_tokens for grid in grids) <= MOST_WITH_NUMBERS
        numbered = self.numbers and any(grid.tokens_by_tokens for grid in grids)
        self.token = TOKEN_WITH_NUMBER if numbered else TOKEN
        self.wide = WIDE / side_by_side

    def width(self, grid: Grid) -> float:
        count = grid.values.shape[1]
        return count * (min(self.wide / count, FEATURE) if grid.columns is None else self.token)

    def height(self, grid: Grid) -> float:
        count = grid.values.shape[0]
        return count * (min(HIGH / count, FEATURE) if grid.rows is None else self.token)


def _draw(
    sheet: Sheet, grid: Grid, cell: _Cells, x: float, top: float, name_rows: bool, name_columns: bool
) -> None:
    axes = sheet.axes(x, top, cell.width(grid), cell.height(grid))
    values = grid.array
    masked = np.isneginf(values)
    seen = values[~masked & np.isfinite(values)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    most = max(abs(low), abs(high)) or 1.0
    colours = shades(RAMP if low >= 0 else SIGNED)
    axes.pcolormesh(
        np.ma.masked_where(masked, values), cmap=colours, vmin=0 if low >= 0 else -most, vmax=most
    )
    rows, columns = values.shape
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.spines[:].set(edgecolor=QUIET, linewidth=0.6)
    axes.tick_params(length=0, pad=3, labelcolor=INK, labelsize=9)
    axes.xaxis.tick_top()
    axes.set_xticks([])
    axes.set_yticks([])
    if grid.rows is not None and name_rows:
        axes.set_yticks(np.arange(rows) + 0.5, [visible(name, LONGEST_NAME) for name in grid.rows])
    if grid.columns is not None and name_columns:
        names = [visible(name, LONGEST_NAME) for name in grid.columns]
        axes.set_xticks(np.arange(columns) + 0.5, names, rotation=50, ha="left", rotation_mode="anchor")
    for border in range(grid.every, columns, grid.every) if grid.every else ():
        axes.axvline(border, color=INK, linewidth=0.8)
    for row, column in zip(*np.nonzero(masked), strict=True):
        axes.plot([column + 0.3, column + 0.7], [row + 0.3, row + 0.7], color=QUIET, linewidth=0.7)
        axes.plot([column + 0.3, column + 0.7], [row + 0.7, row + 0.3], color=QUIET, linewidth=0.7)
    if grid.tokens_by_tokens and cell.numbers:
        _write_numbers(axes, values, low, most)
    for marked_row, marked_column in grid.marked:
        _outline(axes, marked_row, marked_column, rows, columns)
    extent = f"{rows} × {columns},  {_short(low)} … {_short(high)}"
    for text, drop, colour, size, weight in (
        (grid.name, 5, INK, 10, "bold"),
        (extent, 19, QUIET, 8, "normal"),
    ):
        axes.annotate(text, (0, 0), (0, -drop), "axes fraction", "offset points",
                      va="top", fontsize=size, fontweight=weight, color=colour)  # fmt: skip


def _write_numbers(axes: Axes, values: NDArray[Any], low: float, most: float) -> None:
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value) or (low >= 0 and value == 0):
            continue
        dark = abs(value) > LIGHT_ON * most
        axes.text(column + 0.5, row + 0.5, _short(value), ha="center", va="center_baseline", fontsize=8,
                  color="white" if dark else INK)  # fmt: skip


def _outline(axes: Axes, row: int | None, column: int | None, rows: int, columns: int) -> None:
    from matplotlib.patches import Rectangle

    x, width = (0, columns) if column is None else (column, 1)
    y, height = (0, rows) if row is None else (row, 1)
    frame = Rectangle((x, y), width, height, fill=False, edgecolor=PEAK, linewidth=1.6, zorder=4)
    frame.set_clip_on(False)
    axes.add_patch(frame)


def _sign(sheet: Sheet, sign: str, x: float, middle: float) -> float:
    """Write a sign, and give the room that it takes."""
    width = 0.14 + 0.11 * len(sign)
    axes = sheet.axes(x, middle + 0.15, width, 0.3)
    axes.set_axis_off()
    axes.text(0.5, 0.5, sign, ha="center", va="center", fontsize=13, color=INK, transform=axes.transAxes)
    return width + GAP / 2


def _short(value: float) -> str:
    """Two digits, without a zero that says nothing: .07, −1.3, 12."""
    if abs(value) >= 9.95:
        text = f"{value:.0f}"
    else:
        text = f"{value:.2f}" if abs(value) < 0.995 else f"{value:.1f}"
    return text.replace("-", "−").replace("0.", ".", 1) if 0 < abs(value) < 0.995 else text.replace("-", "−")


def _line(line: str, grids: Sequence[Grid]) -> str:
    signed = any(bool((grid.values[grid.values > -math.inf] < 0).any()) for grid in grids)
    return " ".join(filter(None, [line, LEGEND if signed else ""]))


def _told(grids: Sequence[Grid], title: str) -> str:
    return f"{title}: " + "; ".join(f"{grid.name} {tuple(grid.values.shape)}" for grid in grids) + "."
