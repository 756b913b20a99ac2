"""A `DocumentsLook` in the terminal and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from limelight.looking.documents_look import DocumentsLook
from limelight.readings.reading import Reading, digits_after_point, percent, visible
from limelight.readings.render.glyphs import Pen
from limelight.readings.render.terminal import NARROW

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = {"document": 20, "sentence": 6, "word": 12}
"""Entries shown of each level; JSON has all."""
BAR, SHARE, HOME, LABEL = 8, 6, 14, 26
"""Columns of a bar, of a share, of the name of a document beside its sentences and words, and of a label that can be
read."""
MOST_COLUMNS = 8
"""Documents up to which the table of documents by documents is shown."""


def shown(look: DocumentsLook) -> RenderableType:
    """Who looked, the ranks of documents, sentences and words, where the rest went, and what each document sees."""
    parts: list[RenderableType] = []
    if look.question is not None:
        parts.append(_labelled("question", look.question))
    if look.answer is not None:
        parts.append(_labelled("answer", look.answer or "(nothing)", "bold"))
    parts += [_labelled("note", note, "yellow") for note in look.notes]
    for level in ("document", "sentence", "word"):
        entries = look.part if level == "document" else level
        title = Text(f"Which {entries}s the {look.who} looks at", style="bold")
        parts += [Text(), title, _Ranks(look, level, entries)]
    parts += [Text(), _elsewhere(look)]
    if look.table is not None and 1 < len(look.table.labels[1]) <= MOST_COLUMNS:
        parts += [Text(), Text("What each part looks at, on average", style="bold"), _Square(look.table)]
    parts += [Text(), *(Text(line, style="dim") for line in _how(look))]
    return Group(*parts)


def picture(look: DocumentsLook) -> Figure:
    """The ranks of documents, sentences and words as bars; without a question the map of documents by documents."""
    from limelight.readings.render.document_figures import looked_picture
    from limelight.readings.render.figures import map_picture

    if look.who == "text" and look.table is not None and len(look.table.labels[0]) > 1:
        return map_picture(look.table, "What each document looks at")
    return looked_picture(look.views["weight, sink-free"], f"What the {look.who} looks at")


class _Ranks:
    """The entries of a level from high to low: as many of the four ways to count as leave room for the label."""

    def __init__(self, look: DocumentsLook, level: str, header: str) -> None:
        self.look, self.level, self.header = look, level, header

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pen, look, level = Pen(options), self.look, self.level
        first = look.views["weight"]
        wide = options.max_width >= NARROW
        homes = level != "document" and wide
        home = min(HOME, max(map(len, first.homes[level]), default=0))
        beside: dict[str, list[str]] = {}  # the columns of numbers that are always there
        if wide:
            beside["×"] = [f"{times:.1f}" for times in first.per_token(level)]
        if look.removal is not None and look.removal.effect.axes == (level,):
            moved = look.removal.effect.values.tolist()
            beside["moves"] = [_number(value, max(moved)) for value in moved]
        beside["tokens"] = [str(count) for count in first.tokens[level]]

        def room(ways: Sequence[str]) -> int:
            """What is left of the line for the label, beside the numbers, a bar and the name of the document."""
            taken = len("rank ") + sum(max(5, *map(len, cells)) + 1 for cells in beside.values())
            taken += sum(max(SHARE, *map(len, name.split(", "))) + 1 for name in ways)
            return options.max_width - taken - (BAR + 1 if wide else 0) - (home + 1 if homes else 0)

        every = tuple(look.views)
        ways = next((ways for ways in (every, every[:2]) if wide and room(ways) >= LABEL), every[:1])
        shares = {name: look.views[name].readings[level].values.tolist() for name in ways}
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("rank", justify="right", no_wrap=True)
        table.add_column(self.header, no_wrap=True, max_width=max(8, room(ways)))
        if wide:
            table.add_column("", no_wrap=True)
        for name in (*ways, *beside):
            table.add_column(name.replace(", ", "\n"), justify="right", no_wrap=True, min_width=5)
        if homes:
            table.add_column("in", no_wrap=True)
        order = [entry.place for entry in first.ranked(level)]
        highest = max(shares["weight"], default=0.0) or 1.0
        for rank, place in enumerate(order[: MOST[level]], 1):
            row = [
                Text(str(rank)),
                Text(pen.text(first.readings[level].labels[0][place], max(8, room(ways)))),
            ]
            if wide:
                row.append(Text(pen.bar(shares["weight"][place] / highest, BAR), style="cyan"))
            row += [Text(percent(values[place], max(values))) for values in shares.values()]
            row += [Text(cells[place], style="dim") for cells in beside.values()]
            if homes:
                row.append(Text(pen.text(first.homes[level][place], HOME), style="dim"))
            table.add_row(*row)
        yield table
        if len(order) > MOST[level]:
            yield Text(f"{len(order) - MOST[level]:,} lower ones not shown.", style="dim")


class _Square:
    """Documents by documents, each cell with its number."""

    def __init__(self, table: Reading) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pen, reading = Pen(options), self.table
        rows, columns = reading.labels
        room = max(5, (options.max_width - 24) // max(len(columns), 1) - 2)
        table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
        table.add_column("looks at →", style="bold")
        for name in columns:
            table.add_column(Text(pen.text(name, room)), justify="right")
        for name, values in zip(rows, reading.values, strict=True):
            peak = int(values.argmax()) if values.max() > 0 else -1
            cells = [
                Text(f"{value:.0%}", style="bold" if place == peak else "")
                for place, value in enumerate(values)
            ]
            table.add_row(Text(pen.text(name, 22)), *cells)
        yield table


def _elsewhere(look: DocumentsLook) -> Text:
    rest = look.views["weight"].elsewhere
    said = ", ".join(f"{entry.label} {entry.value:.1%}" for entry in rest.ranked())
    return Text(
        f"elsewhere: {said or 'nothing'} (of weight; all shares and these add up to 100%)", style="dim"
    )


def _how(look: DocumentsLook) -> Sequence[str]:
    lines = [
        f"{look.views['weight'].how} Summed over the tokens of each {look.part}, sentence or word: "
        "the longer, the more.",
        "×: how many times what its tokens would get if all that are ranked got the same. "
        "sink-free: without special tokens and the first token, divided by what is left. "
        "value norm: weighed by the length of the value that is passed on, ‖α·v‖.",
    ]
    if look.removal is not None:
        removal = look.removal
        rho = removal.correlation
        told = "cannot be told" if rho != rho else f"ρ = {rho:.2f}"
        lines.append(
            f"moves: {removal.effect.how} Unit: {removal.effect.unit}. "
            f"Spearman's rank correlation with weight: {told}."
        )
    return lines


def _number(value: float, highest: float) -> str:
    return f"{value:.{digits_after_point(highest)}f}" if highest < 1000 else f"{value:.3g}"


def _labelled(label: str, text: str, style: str = "") -> Text:
    return Text.assemble((f"{label:<9} ", "dim"), (visible(text), style))
