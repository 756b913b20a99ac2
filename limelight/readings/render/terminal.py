"""Readings in the terminal, as rich renderables: `rich.console.Console().print(word_shades(…))`.

Everything can be read without colour: blocks ▁▂▃▄▅▆▇█ show height, numbers show rank and value. The user's
words are shown as they are, never read as markup; `Pen` knows what the stream can write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.style import Style
from rich.table import Table
from rich.text import Text

from limelight.errors import ShapeError
from limelight.readings.alignment import Alignment
from limelight.readings.reading import Entry, Reading, digits_after_point
from limelight.readings.render.colours import LIGHT_ON, RAMP
from limelight.readings.render.glyphs import LEVELS, Pen, level_of

NARROW = 60
"""Columns below which a table leaves out its bars."""
LONGEST_NAME = 24
LEAST_ROOM = 10
BAR = 10
GAP = 2


# ---- words in their colours ---------------------------------------------------------------------------


@dataclass(frozen=True)
class WordShades:
    """The words of a text in reading order, under each a block for its weight and its rank, 1 = highest."""

    words: tuple[str, ...]
    weights: tuple[float, ...]
    unit: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pen = Pen(options)
        levels = levels_of(self.weights)
        cells = list(zip(self.words, levels, ranks_of(self.weights), strict=True))
        for line in self._lines(cells, pen, options.max_width):
            above, below = Text(no_wrap=True), Text(no_wrap=True)
            for word, level, mark in line:
                width = max(cell_len(word), cell_len(mark))
                above.append(word, style=shade(level)).append(" " * (width - cell_len(word) + 1))
                below.append(set_cell_size(mark, width) + " ", style="bold" if level == LEVELS else "dim")
            above.rstrip()
            below.rstrip()
            yield above
            yield below
        if self.words:
            yield self._legend(pen)

    @staticmethod
    def _lines(
        cells: Iterable[tuple[str, int, int]], pen: Pen, width: int
    ) -> Iterator[list[tuple[str, int, str]]]:
        """Words with their marks, as many a line as fit."""
        line: list[tuple[str, int, str]] = []
        used = 0
        for name, level, rank in cells:
            word = pen.text(name, width)
            mark = f"{pen.block(level)}{rank}"
            needed = max(cell_len(word), cell_len(mark)) + 1
            if line and used + needed > width + 1:  # the last one needs no space after it
                yield line
                line, used = [], 0
            line.append((word, level, mark))
            used += needed
        if line:
            yield line

    def _legend(self, pen: Pen) -> Text:
        legend = Text("low ", style="dim")
        for level in range(1, LEVELS + 1):
            legend.append(pen.block(level), style=shade(level))
        legend.append(f" high, rank 1 = highest: {max(self.weights):.3g} {self.unit}".rstrip(), style="dim")
        return legend


def word_shades(words: Sequence[str], weights: Sequence[float], unit: str = "") -> WordShades:
    """The words coloured from low to high, each with a block and its rank below.

    Colours and blocks are relative to the highest weight; a weight of 0 has neither.
    Raises ShapeError unless there is a weight for every word.
    """
    if len(words) != len(weights):
        raise ShapeError(f"Every word must have a weight; got {len(words)} words, {len(weights)} weights.")
    return WordShades(tuple(words), tuple(float(weight) for weight in weights), unit)


def levels_of(weights: Sequence[float]) -> list[int]:
    """0 for no weight, else 1 to 8, in equal steps up to the highest weight.

    >>> levels_of([0.0, 0.01, 0.4, 0.8])
    [0, 1, 4, 8]
    """
    highest = max((weight for weight in weights if weight > 0), default=1.0)
    return [level_of(weight, highest) for weight in weights]


def ranks_of(weights: Sequence[float]) -> list[int]:
    """The rank of every weight, 1 = highest, of equals the first.

    >>> ranks_of([0.1, 0.5, 0.4])
    [3, 1, 2]
    """
    ranks = np.empty(len(weights), dtype=int)
    ranks[np.argsort(-np.asarray(weights, dtype=np.float64), kind="stable")] = range(1, len(weights) + 1)
    return [int(rank) for rank in ranks]


# ---- tables -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AlignmentTable:
    """One line a target word: the source word it attends to most, with its weight, and those that follow."""

    alignment: Alignment
    sink_free: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pen, width = Pen(options), options.max_width
        bar = BAR if width >= NARROW else 0
        # A third of the line for the two words; what is left of it shows the words that follow.
        most = max(6, min(LONGEST_NAME, (width - bar) // 3))
        names, tops = (
            [pen.text(name, most) for name in each]
            for each in (self.alignment.targets, self.alignment.sources)
        )
        heads = [pen.text(axis, most) for axis in self.alignment.raw.axes]
        left, middle = (
            max(map(cell_len, [head, *each])) for head, each in zip(heads, (names, tops), strict=True)
        )
        outside = "" if self.sink_free else "no word"
        room = width - left - middle - bar - len("0.00") - len(outside) - 5 * GAP
        header = [set_cell_size(heads[0], left), set_cell_size(heads[1], middle)]
        header += [" " * (bar + GAP + len("0.00")) if bar else " " * len("0.00")]
        header += [set_cell_size("then" if room > LEAST_ROOM else "", max(room, 0)), outside]
        yield _line([Text(part) for part in header], "bold")
        for target, name in enumerate(names):
            ranked = self.alignment.ranked(target, self.sink_free)
            weight = ranked[0].value if ranked else 0.0
            top = tops[ranked[0].place] if weight else ""
            parts = [Text(set_cell_size(name, left)), Text(set_cell_size(top, middle))]
            if bar:
                parts.append(Text(set_cell_size(pen.bar(weight, bar), bar), style=_ink(weight)))
            parts += [Text(f"{weight:.2f}", style="bold"), self._following(ranked[1:], pen, max(room, 0))]
            if not self.sink_free:
                elsewhere = f"{self.alignment.elsewhere.values[target]:.2f}"
                parts.append(Text(elsewhere.rjust(len(outside)), style="dim"))
            yield _line(parts)
        yield Text(pen.text(_footer(self.alignment.reading(self.sink_free))), style="dim")

    @staticmethod
    def _following(ranked: Sequence[Entry], pen: Pen, room: int) -> Text:
        """The next source words, as many as there is room for, while their weight does not round to 0.00."""
        following = Text()
        for entry in ranked:
            label = f"{pen.text(entry.label, LONGEST_NAME)} "
            value = f"{entry.value:.2f}"
            gap = GAP if following else 0
            if value == "0.00" or following.cell_len + gap + cell_len(label) + len(value) > room:
                break
            following.append(" " * gap + label).append(value, style="dim")
        return following.append(" " * (room - following.cell_len))


def alignment_table(alignment: Alignment, sink_free: bool = False) -> AlignmentTable:
    """For each target word its source words from high to low, with weights and bars, and what was measured.

    A line shows as many as fit; `ranked_list(alignment.raw.at("target word", 3))` shows all of one word.
    sink_free: the weights as shared among words; otherwise a column shows what went to tokens of no word.
    """
    return AlignmentTable(alignment, sink_free)


@dataclass(frozen=True)
class RankedList:
    """One line an entry: rank, name, bar, value."""

    reading: Reading
    most: int | None = None
    low_first: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pen = Pen(options)
        entries = self.reading.ranked()
        shown = entries[: self.most]
        highest = max((entry.value for entry in entries if entry.value > 0), default=1.0)
        decimals = digits_after_point(highest)
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
        table.add_column("rank", justify="right")
        table.add_column(self.reading.axes[0], overflow="fold")
        if options.max_width >= NARROW:
            table.add_column("")
        table.add_column(self.reading.unit, justify="right")
        for entry in reversed(shown) if self.low_first else shown:
            share = max(0.0, entry.value / highest) if entry.value == entry.value else 0.0
            row = [Text(str(entry.rank)), Text(pen.text(entry.label, 2 * LONGEST_NAME))]
            if options.max_width >= NARROW:
                row.append(Text(pen.bar(share, 20), style=_ink(share)))
            table.add_row(*row, Text(f"{entry.value:.{decimals}f}"))
        yield table
        left_out = len(entries) - len(shown)
        lower = f"{left_out} lower ones not shown. " if left_out else ""
        yield Text(pen.text(lower + _footer(self.reading)), style="dim")


def ranked_list(reading: Reading, most: int | None = None, low_first: bool = False) -> RenderableType:
    """The entries of a reading with one axis by rank, highest first: all, or the `most` highest."""
    return RankedList(reading, most, low_first)


def _footer(reading: Reading) -> str:
    return f"{reading.how} Unit: {reading.unit}."


def _line(parts: Sequence[Text], style: str = "") -> Text:
    line = Text(" " * GAP, style=style, no_wrap=True).join(parts)
    line.rstrip()
    return line


# ---- colours ------------------------------------------------------------------------------------------


def shade(level: int) -> Style:
    """Brighter is more, as on a stage; text stays readable on every step. Level 0 is left as it is."""
    if level == 0:
        return Style.null()
    place = LEVELS - level + 1  # the ramp ends in night blue
    return Style(bgcolor=RAMP[place], color="#ffffff" if place > LIGHT_ON * LEVELS else "#000000")


def _ink(share: float) -> Style:
    return Style(color=RAMP[3] if share >= 0.5 else RAMP[4])
