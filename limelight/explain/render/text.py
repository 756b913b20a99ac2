"""Numbers drawn with letters and blocks: bars, strips, cells and tables of a fixed width."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from limelight.explain.captions import ends
from limelight.explain.explanation import Numbers, Value, number_text
from limelight.readings.render.glyphs import Pen, level_of

LOWEST, HIGHEST = 3, 9
"""Rows that a long list shows at its two ends."""
LONGEST_NAME = 18
LONGEST_BAR = 24
LONGEST_STRIP = 48
MOST_ROWS = 24
"""Rows of a matrix, around the marked one."""


def draw(numbers: Numbers, pen: Pen, width: int) -> Iterator[Text]:
    """The lines of one table, at most `width` columns each."""
    lines = {"bars": _bars, "strip": _strips, "cells": _cells, "table": _table}[numbers.picture]
    for line in lines(numbers, pen, width):
        line.truncate(width)
        line.rstrip()
        yield line


def _bars(numbers: Numbers, pen: Pen, width: int) -> Iterator[Text]:
    entries = list(ends(numbers, LOWEST, HIGHEST))
    rows = [row for row, _ in entries if row is not None]
    largest = max((abs(numbers.values[row][0] or 0.0) for row in rows), default=0.0) or 1.0
    name = pen.names([numbers.rows[row] for row in rows], LONGEST_NAME)
    values = _Columns.of(numbers, rows, pen)
    bar = max(4, min(LONGEST_BAR, width - name - values.width - 5))
    yield Text(" " * (name + bar + 5) + values.head, style="dim")
    for row, hidden in entries:
        if row is None:
            yield _gap(hidden, pen)
            continue
        value = numbers.values[row][0] or 0.0
        minus = value < 0
        filled = pen.bar(abs(value) / largest, bar).ljust(bar)
        marked = row in numbers.marked
        yield Text.assemble(
            (f"{_mark(marked, pen)}{pen.name(numbers.rows[row], name)}", "bold" if marked else ""),
            (f" {'-' if minus else ' '}{filled} ", "red" if minus else "cyan"),
            values.lines[row],
        )


def _table(numbers: Numbers, pen: Pen, width: int) -> Iterator[Text]:
    entries = list(ends(numbers, LOWEST, HIGHEST))
    rows = [row for row, _ in entries if row is not None]
    values = _Columns.of(numbers, rows, pen)
    name = pen.names([numbers.rows[row] for row in rows], max(width - values.width - 4, LONGEST_NAME))
    yield Text(" " * (name + 4) + values.head, style="dim")
    for row, hidden in entries:
        if row is None:
            yield _gap(hidden, pen)
            continue
        marked = row in numbers.marked
        line = f"{_mark(marked, pen)}{pen.name(numbers.rows[row], name)}  {values.lines[row]}"
        yield Text(line, style="bold" if marked else "")


def _strips(numbers: Numbers, pen: Pen, width: int) -> Iterator[Text]:
    """Sizes as blocks, each the largest of its neighbours where there are too many; then the length."""
    name = pen.names(numbers.rows, LONGEST_NAME)
    for label, values in zip(numbers.rows, numbers.values, strict=True):
        known = [value or 0.0 for value in values]
        bins = min(len(known), LONGEST_STRIP, width - name - 16)
        pooled = [max(map(abs, part)) for part in _parts(known, bins)]
        largest = max(pooled, default=0.0) or 1.0
        length = math.sqrt(sum(value * value for value in known))
        blocks = "".join(_block(value / largest, pen) for value in pooled)
        yield Text.assemble(
            f"  {pen.name(label, name)} ",
            (blocks, "cyan"),
            (pen.text(f"  ‖·‖ {number_text(length)}"), "dim"),
        )


def _parts(values: Sequence[float], count: int) -> Iterator[Sequence[float]]:
    """`count` parts of nearly one length, none empty."""
    for part in range(count):
        yield values[len(values) * part // count : len(values) * (part + 1) // count]


def _cells(numbers: Numbers, pen: Pen, width: int) -> Iterator[Text]:
    name = pen.names(numbers.rows, LONGEST_NAME)
    centre = numbers.marked[0] if numbers.marked else 0
    first = max(0, min(centre - MOST_ROWS // 2, len(numbers.rows) - MOST_ROWS))
    rows = range(first, min(first + MOST_ROWS, len(numbers.rows)))
    if first:
        yield Text(pen.text(f"… {first} rows before"), style="dim")
    for row in rows:
        signs = "".join(_cell(value, numbers, pen) for value in numbers.values[row][: width - name - 3])
        marked = row in numbers.marked
        yield Text.assemble(
            (f"{_mark(marked, pen)}{pen.name(numbers.rows[row], name)} ", "bold" if marked else ""),
            (signs, "cyan"),
        )
    if rows.stop < len(numbers.rows):
        yield Text(pen.text(f"… {len(numbers.rows) - rows.stop} rows after"), style="dim")
    if not numbers.unit:
        yield Text(f"  {_cell(1.0, numbers, pen)} may attend  {_block(0.0, pen)} closed", style="dim")


def _cell(value: Value, numbers: Numbers, pen: Pen) -> str:
    """A weight as a block, an open cell of a mask as a full one."""
    if not numbers.unit and value:
        return "#" if pen.ascii else "█"
    return _block(value or 0.0, pen)


def _block(share: float, pen: Pen) -> str:
    """One sign for a share from 0 to 1; 0 itself is a dot, on a stream of letters a blank."""
    return pen.block(level_of(share)) if share > 0 or pen.ascii else "·"


def _mark(marked: bool, pen: Pen) -> str:
    return pen.text("› ") if marked else "  "


@dataclass(frozen=True)
class _Columns:
    """The values of some rows as text, by the row's number, right-aligned under their heads."""

    head: str
    lines: dict[int, str]

    @property
    def width(self) -> int:
        return cell_len(self.head)

    @classmethod
    def of(cls, numbers: Numbers, rows: Sequence[int], pen: Pen) -> _Columns:
        heads = [pen.text(column) for column in numbers.columns]
        cells = [[pen.text(number_text(value)) for value in numbers.values[row]] for row in rows]
        widths = [max(map(cell_len, column)) for column in zip(heads, *cells, strict=True)]

        def line(words: Sequence[str]) -> str:
            return "  ".join(" " * (w - cell_len(word)) + word for word, w in zip(words, widths, strict=True))

        return cls(line(heads), {row: line(words) for row, words in zip(rows, cells, strict=True)})


def _gap(hidden: int, pen: Pen) -> Text:
    return Text(pen.text(f"  … {hidden} between"), style="dim")
