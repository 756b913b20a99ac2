"""An explanation in the terminal: `rich.console.Console().print(shown(explanation))`.

Made for 80 columns, readable piped and without colour: length and order carry the meaning, colour repeats it.
A stream that is not Unicode gets letters for signs. Long lists show their two ends; the page has more of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from limelight.explain.explanation import Check, Explanation, Numbers, Stage, Value
from limelight.readings.reading import visible
from limelight.readings.terminal import ASCII_BLOCKS, BLOCKS

WIDEST = 100
INDENT = 4
LOWEST, HIGHEST = 3, 9
"""Rows that a long list shows at its two ends."""
LONGEST_NAME = 18
BAR = 24
STRIP = 64
"""Columns of a vector; a wider one is pooled."""
MOST_CELLS = 24
LETTERS = {
    "√": "sqrt ", "·": ".", "−": "-", "‖": "||", "Σ": "sum", "∞": "inf", "×": "x", "≤": "<=", "→": "->",
    "←": "<-", "α": "a", "ᵀ": "^T", "′": "'", "…": "...", "ε": "eps", "“": '"', "”": '"', "§": "section ",
    "✓": "ok", "✗": "FAILED", "½": "1/2", "▁": "_", "›": ">",
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """All stages of an explanation, one under the other."""

    explanation: Explanation

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = self.explanation
        pen = _Pen(options.ascii_only, min(options.max_width, WIDEST))
        yield Text.assemble(("text    ", "dim"), pen.text(whole.text))
        yield Text.assemble(("answer  ", "dim"), (pen.text(whole.answer), "bold"))
        yield Text.assemble(("model   ", "dim"), pen.text(whole.model))
        yield Text("")
        for sentence in whole.choice:
            yield Text(pen.text(sentence))
        number = 0
        for part, stages in whole.parts:
            yield Text("")
            title = pen.text(f" {part} ")
            line = "-" if pen.ascii else "━"
            yield Text(line * 2 + title + line * max(pen.width - cell_len(title) - 2, 0), style="bold")
            for stage in stages:
                number += 1
                yield Text("")
                yield from _stage(stage, number, pen)
        yield Text("")
        failed = [stage.name for stage in whole.stages if not stage.check.ok]
        if failed:
            yield Text(
                pen.text(f"✗ {len(failed)} of {number} checks failed: {', '.join(failed)}"), style="bold red"
            )
        else:
            yield Text(pen.text(f"✓ all {number} checks hold"), style="bold green")


def shown(explanation: Explanation) -> Shown:
    """What to print."""
    return Shown(explanation)


@dataclass(frozen=True)
class _Pen:
    """What can be written on this stream: its width in columns, and whether it takes letters only."""

    ascii: bool
    width: int

    def text(self, words: str) -> str:
        words = visible(words)
        if not self.ascii:
            return words
        for sign, letters in LETTERS.items():
            words = words.replace(sign, letters)
        return words.encode("ascii", "replace").decode("ascii")

    def name(self, label: str, width: int) -> str:
        """A label on exactly `width` columns."""
        label = self.text(label)
        return set_cell_size(
            label if cell_len(label) <= width else set_cell_size(label, width - 1) + "…", width
        )

    def bar(self, share: float, width: int) -> str:
        eighths = round(share * width * 8)
        if self.ascii:
            return "#" * round(eighths / 8)
        return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()

    def block(self, share: float) -> str:
        """One sign for a share from 0 to 1; 0 itself is a dot."""
        blocks = ASCII_BLOCKS if self.ascii else BLOCKS
        if share <= 0:
            return "." if self.ascii else "·"
        return blocks[min(int(share * len(blocks)), len(blocks) - 1)]


def _stage(stage: Stage, number: int, pen: _Pen) -> Iterator[Text | Padding]:
    title, source = pen.text(f"{number:>2}  {stage.name}"), pen.text(stage.source)
    gap = " " * max(pen.width - cell_len(title) - cell_len(source), 2)
    yield Text.assemble((title, "bold"), gap, (source, "dim"))
    yield _indented(Text(pen.text(stage.formula), style="cyan"))
    yield _indented(Text(pen.text(", ".join(shape_text(*shape) for shape in stage.shapes)), style="dim"))
    yield _indented(Text(pen.text(stage.text)))
    for numbers in stage.numbers:
        unit = f" ({numbers.unit})" if numbers.unit else ""
        yield _indented(Text(pen.text(f"{numbers.title}{unit}"), style="italic"))
        draw = {"bars": _bars, "strip": _strips, "cells": _cells, "table": _table}[numbers.picture]
        for line in draw(numbers, pen):
            line.rstrip()
            yield _indented(line, INDENT + 2)
    yield _indented(_check(stage.check, pen))


def _indented(text: Text, columns: int = INDENT) -> Padding:
    return Padding(text, (0, 0, 0, columns), expand=False)


def _check(check: Check, pen: _Pen) -> Text:
    sign, style = ("✓", "green") if check.ok else ("✗", "bold red")
    return Text(pen.text(f"{sign} {check_text(check)}"), style=style)


# ── What the page shares ──


def shape_text(name: str, sizes: Sequence[int]) -> str:
    """`q_BHND`, (1, 4, 9, 16) → "q  B 1 · H 4 · N 9 · D 16"; a name without letters keeps its sizes alone."""
    plain, _, letters = name.rpartition("_")
    if not plain or len(letters) != len(sizes):
        return f"{name} {' × '.join(map(str, sizes))}"
    return f"{plain}: {' · '.join(f'{letter} {size}' for letter, size in zip(letters, sizes, strict=True))}"


def check_text(check: Check) -> str:
    """One line: what was compared, how far apart, how far is allowed."""
    if check.difference is None:
        return f"{check.compared}: not a number, or of another shape"
    found = "0" if check.difference == 0 else f"{check.difference:.2g}"
    return f"{check.compared}: {found}" + (
        f" (allowed: {check.tolerance:.0e})" if check.tolerance else " (allowed: 0)"
    )


def number_text(value: Value) -> str:
    """Four digits; a masked or missing cell is a dash."""
    if value is None:
        return "–"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.2e}" if abs(value) < 1e-3 or abs(value) >= 1e5 else f"{value:.4g}"


def ends(numbers: Numbers, lowest: int, highest: int) -> tuple[list[int], int, int]:
    """The rows that are shown of a long list, the place of the gap among them (-1: none), how many it hides."""
    rows = list(range(len(numbers.rows)))
    if len(rows) <= lowest + highest + 1:
        return rows, numbers.gap if numbers.left_out else -1, numbers.left_out
    return rows[:lowest] + rows[-highest:], lowest, len(rows) - lowest - highest + numbers.left_out


# ── Pictures of letters ──


def _bars(numbers: Numbers, pen: _Pen) -> Iterator[Text]:
    rows, gap, hidden = ends(numbers, LOWEST, HIGHEST)
    drawn = [numbers.values[row][0] or 0.0 for row in rows]
    largest = max(map(abs, drawn), default=0.0) or 1.0
    name = min(max([cell_len(pen.text(numbers.rows[row])) for row in rows], default=1), LONGEST_NAME)
    columns = [
        [number_text(numbers.values[row][column]) for row in rows] for column in range(len(numbers.columns))
    ]
    widths = [
        max(map(cell_len, [pen.text(head), *each]))
        for head, each in zip(numbers.columns, columns, strict=True)
    ]
    bar = max(4, min(BAR, pen.width - INDENT - 2 - name - sum(widths) - 2 * len(widths) - 5))
    head = " " * (name + bar + 5) + "  ".join(set_cell_size(" " * (w - cell_len(pen.text(c))) + pen.text(c), w)
                                              for c, w in zip(numbers.columns, widths, strict=True))  # fmt: skip
    yield Text(head, style="dim")
    for place, row in enumerate(rows):
        if place == gap:
            yield Text(pen.text(f"… {hidden} between"), style="dim")
        sign = "-" if drawn[place] < 0 else " "
        mark = pen.text("›") if row in numbers.marked else " "
        cells = "  ".join(each[place].rjust(width) for each, width in zip(columns, widths, strict=True))
        filled = pen.bar(abs(drawn[place]) / largest, bar).ljust(bar)
        yield Text.assemble(
            (f"{mark} {pen.name(numbers.rows[row], name)}", "bold" if row in numbers.marked else ""),
            (f" {sign}{filled} ", "red" if sign == "-" else "cyan"),
            cells,
        )


def _table(numbers: Numbers, pen: _Pen) -> Iterator[Text]:
    rows, gap, hidden = ends(numbers, LOWEST, HIGHEST)
    name = min(max([cell_len(pen.text(each)) for each in numbers.rows], default=1), 2 * LONGEST_NAME)
    columns = [
        [number_text(numbers.values[row][column]) for row in rows] for column in range(len(numbers.columns))
    ]
    widths = [
        max(map(cell_len, [pen.text(head), *each]))
        for head, each in zip(numbers.columns, columns, strict=True)
    ]
    heads = "  ".join(
        pen.text(head).rjust(width) for head, width in zip(numbers.columns, widths, strict=True)
    )
    yield Text(" " * (name + 4) + heads, style="dim")
    for place, row in enumerate(rows):
        if place == gap:
            yield Text(pen.text(f"… {hidden} between"), style="dim")
        mark = pen.text("›") if row in numbers.marked else " "
        cells = "  ".join(each[place].rjust(width) for each, width in zip(columns, widths, strict=True))
        yield Text(
            f"{mark} {pen.name(numbers.rows[row], name)}  {cells}", style="bold" if mark.strip() else ""
        )


def _strips(numbers: Numbers, pen: _Pen) -> Iterator[Text]:
    """Sizes as blocks, without their signs; beside them the length and the range, which have them."""
    for label, values in zip(numbers.rows, numbers.values, strict=True):
        known = [value for value in values if value is not None]
        size = math.sqrt(sum(value * value for value in known))
        largest = max(map(abs, known), default=0.0) or 1.0
        bins = min(len(known), min(STRIP, pen.width - INDENT - 2)) or 1
        pooled = [
            max(
                map(
                    abs,
                    known[
                        len(known) * place // bins : max(
                            len(known) * (place + 1) // bins, len(known) * place // bins + 1
                        )
                    ],
                )
            )
            for place in range(bins if known else 0)
        ]
        first = ", ".join(number_text(float(f"{value:.3g}")) for value in known[:3])
        yield Text.assemble(
            pen.text(f"{label}: "),
            (
                pen.text(
                    f"{len(known)} features [{first}, …]  ‖·‖ {size:.4g}, from {min(known, default=0.0):.3g} to {max(known, default=0.0):.3g}"
                ),
                "dim",
            ),
        )
        yield Text("".join(pen.block(value / largest) for value in pooled), style="cyan")


def _cells(numbers: Numbers, pen: _Pen) -> Iterator[Text]:
    name = min(max([cell_len(pen.text(each)) for each in numbers.rows], default=1), LONGEST_NAME)
    mask = all(value in (0.0, 1.0) for row in numbers.values for value in row) and not numbers.unit
    marked = numbers.marked[0] if numbers.marked else 0
    first = max(0, min(marked - MOST_CELLS // 2, len(numbers.rows) - MOST_CELLS))
    rows = range(first, min(first + MOST_CELLS, len(numbers.rows)))
    width = pen.width - INDENT - 6 - name
    for row in rows:
        mark = pen.text("›") if row in numbers.marked else " "
        values = numbers.values[row][:width]
        if mask:
            signs = "".join(("#" if pen.ascii else "█") if value else pen.block(0.0) for value in values)
        else:
            signs = "".join(pen.block(value or 0.0) for value in values)
        yield Text.assemble(f"{mark} {pen.name(numbers.rows[row], name)} ", (signs, "cyan"))
    if len(rows) < len(numbers.rows):
        yield Text(pen.text(f"… {len(rows)} of {len(numbers.rows)} rows"), style="dim")
    keys = " ".join(pen.text(each) for each in numbers.columns)
    yield Text.assemble((pen.text("keys, left to right: "), "dim"), (keys, "dim"))
