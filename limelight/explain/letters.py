"""Numbers drawn with letters and blocks: bars, strips, cells and tables of a fixed width."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from limelight.explain.explanation import Numbers, Value, number_text
from limelight.explain.wording import ends
from limelight.readings.reading import visible
from limelight.readings.terminal import ASCII_BLOCKS, BLOCKS

LOWEST, HIGHEST = 3, 9
"""Rows that a long list shows at its two ends."""
LONGEST_NAME = 18
LONGEST_BAR = 24
LONGEST_STRIP = 48
MOST_ROWS = 24
"""Rows of a matrix, around the marked one."""
LETTERS = {
    "√": "sqrt ", "·": ".", "−": "-", "–": "-", "‖": "||", "Σ": "sum", "∞": "inf", "×": "x", "≤": "<=",
    "→": "->", "←": "<-", "α": "a", "ᵀ": "^T", "′": "'", "…": "...", "ε": "eps", "“": '"', "”": '"',
    "§": "section ", "✓": "ok", "✗": "FAILED", "½": "1/2", "▁": "_", "›": ">",
}  # fmt: skip
"""What stands for our own signs on a stream that has letters only."""


@dataclass(frozen=True)
class Pen:
    """What can be written on this stream: its width in columns, and whether it takes letters only."""

    ascii: bool
    width: int

    def text(self, words: str) -> str:
        """On one line; nothing in it reaches the terminal as a command."""
        words = visible(words)
        if not self.ascii:
            return words
        for sign, letters in LETTERS.items():
            words = words.replace(sign, letters)
        return words.encode("ascii", "replace").decode("ascii")

    def name(self, label: str, width: int) -> str:
        """A label on exactly `width` columns."""
        label = self.text(label)
        if cell_len(label) > width:
            label = set_cell_size(label, width - 1) + ("." if self.ascii else "…")
        return set_cell_size(label, width)

    def names(self, labels: Sequence[str], longest: int) -> int:
        """The columns that a list of labels takes."""
        return min(max((cell_len(self.text(label)) for label in labels), default=1), longest)

    def bar(self, share: float, width: int) -> str:
        eighths = round(share * width * 8)
        if self.ascii:
            return "#" * round(eighths / 8)
        return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()

    def block(self, share: float) -> str:
        """One sign for a share from 0 to 1; 0 itself is a dot."""
        if share <= 0:
            return " " if self.ascii else "·"
        blocks = ASCII_BLOCKS if self.ascii else BLOCKS
        return blocks[min(int(share * len(blocks)), len(blocks) - 1)]

    def mark(self, marked: bool) -> str:
        return self.text("› ") if marked else "  "


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
            (f"{pen.mark(marked)}{pen.name(numbers.rows[row], name)}", "bold" if marked else ""),
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
        line = f"{pen.mark(marked)}{pen.name(numbers.rows[row], name)}  {values.lines[row]}"
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
        blocks = "".join(pen.block(value / largest) for value in pooled)
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
            (f"{pen.mark(marked)}{pen.name(numbers.rows[row], name)} ", "bold" if marked else ""),
            (signs, "cyan"),
        )
    if rows.stop < len(numbers.rows):
        yield Text(pen.text(f"… {len(numbers.rows) - rows.stop} rows after"), style="dim")
    if not numbers.unit:
        yield Text(f"  {_cell(1.0, numbers, pen)} may attend  {pen.block(0.0)} closed", style="dim")


def _cell(value: Value, numbers: Numbers, pen: Pen) -> str:
    """A weight as a block, an open cell of a mask as a full one."""
    if not numbers.unit and value:
        return "#" if pen.ascii else "█"
    return pen.block(value or 0.0)


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
