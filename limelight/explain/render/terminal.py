"""An explanation in the terminal: `rich.console.Console().print(shown(explanation))`.

Made for 80 columns, readable piped and without colour: length and order carry the meaning, colour repeats it.
A stream that is not Unicode gets letters for signs. Long lists show their two ends; the page shows more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from limelight.explain.captions import check_text, shape_text
from limelight.explain.explanation import Explanation, Stage
from limelight.explain.render.text import draw
from limelight.readings.render.glyphs import Pen

WIDEST = 100
"""Columns that are used of a wide terminal: longer lines are harder to read."""
INDENT = 4


@dataclass(frozen=True)
class Shown:
    """All stages of an explanation, one under the other."""

    explanation: Explanation

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = self.explanation
        pen = Pen(options.update(max_width=min(options.max_width, WIDEST)))
        for label, words in (("text", whole.text), ("answer", whole.answer), ("model", whole.model)):
            line = Text.assemble((f"{label:<8}", "dim"), pen.text(words))
            yield from _paragraph(line, console, pen, 0, hang=8)
        yield Text()
        for sentence in whole.choice:
            yield from _paragraph(Text(pen.text(f"› {sentence}")), console, pen, 0, hang=2)
        number = 0
        for part, stages in whole.parts:
            title = pen.text(f" {part} ")
            rule = "-" if pen.ascii else "━"
            yield Text()
            yield Text(rule * 2 + title + rule * max(pen.width - cell_len(title) - 2, 0), style="bold")
            for stage in stages:
                number += 1
                yield Text()
                yield from _stage(stage, number, console, pen)
        yield Text()
        failed = [stage.name for stage in whole.stages if not stage.check.ok]
        if failed:
            verdict, style = f"✗ {len(failed)} of {number} checks failed: {', '.join(failed)}", "bold red"
        else:
            verdict, style = f"✓ all {number} checks hold", "bold green"
        yield from _paragraph(Text(pen.text(verdict), style=style), console, pen, 0, hang=2)


def shown(explanation: Explanation) -> Shown:
    """What to print."""
    return Shown(explanation)


def _stage(stage: Stage, number: int, console: Console, pen: Pen) -> Iterator[Text]:
    title, source = pen.text(f"{number:>2}  {stage.name}"), pen.text(stage.source)
    gap = pen.width - cell_len(title) - cell_len(source)
    yield Text.assemble((title, "bold"), " " * gap, (source, "dim")) if gap > 0 else Text(title, style="bold")
    yield from _paragraph(Text(pen.text(stage.formula), style="cyan"), console, pen)
    for shapes in _filled([pen.text(shape_text(*shape)) for shape in stage.shapes], pen.width - INDENT):
        yield Text(" " * INDENT + shapes, style="dim")
    yield from _paragraph(Text(pen.text(stage.text)), console, pen)
    for numbers in stage.numbers:
        unit = f" ({numbers.unit})" if numbers.unit else ""
        yield from _paragraph(Text(pen.text(f"{numbers.title}{unit}"), style="italic"), console, pen)
        for line in draw(numbers, pen, pen.width - INDENT - 2):
            yield Text.assemble(" " * (INDENT + 2), line)
    sign, style = ("✓", "green") if stage.check.ok else ("✗", "bold red")
    yield from _paragraph(
        Text(pen.text(f"{sign} {check_text(stage.check)}"), style=style), console, pen, hang=2
    )


def _paragraph(text: Text, console: Console, pen: Pen, indent: int = INDENT, hang: int = 0) -> Iterator[Text]:
    """Wrapped lines, indented, those after the first by `hang` more."""
    for place, line in enumerate(text.wrap(console, max(pen.width - indent - hang, 10))):
        line.rstrip()
        yield Text.assemble(" " * (indent + (hang if place else 0)), line)


def _filled(pieces: list[str], width: int) -> list[str]:
    """Pieces three spaces apart, as many a line as fit; none is broken."""
    lines: list[str] = []
    for piece in pieces:
        if lines and cell_len(lines[-1]) + 3 + cell_len(piece) <= width:
            lines[-1] += f"   {piece}"
        else:
            lines.append(piece)
    return lines
