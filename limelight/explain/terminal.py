"""An explanation in the terminal: `rich.console.Console().print(shown(explanation))`.

Made for 80 columns, readable piped and without colour: length and order carry the meaning, colour repeats it.
A stream that is not Unicode gets letters for signs. Long lists show their two ends; the page has more of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from limelight.explain.explanation import Explanation, Stage
from limelight.explain.letters import Pen, draw
from limelight.explain.wording import check_text, shape_text

WIDEST = 100
"""Columns that are used of a wide terminal: longer lines are harder to read."""
INDENT = 4


@dataclass(frozen=True)
class Shown:
    """All stages of an explanation, one under the other."""

    explanation: Explanation

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pen = Pen(options.ascii_only, min(options.max_width, WIDEST))
        for line in self._lines(pen):
            for part in line.wrap(console, pen.width) if cell_len(line.plain) > pen.width else [line]:
                part.rstrip()
                yield part

    def _lines(self, pen: Pen) -> Iterator[Text]:
        whole = self.explanation
        for label, words, style in (
            ("text", whole.text, ""),
            ("answer", whole.answer, "bold"),
            ("model", whole.model, ""),
        ):
            yield from _paragraph(
                Text.assemble((f"{label:<8}", "dim"), (pen.text(words), style)), pen, 0, hang=8
            )
        yield Text()
        for sentence in whole.choice:
            yield from _paragraph(Text(pen.text(f"› {sentence}")), pen, 0, hang=2)
        number = 0
        for part, stages in whole.parts:
            title = pen.text(f" {part} ")
            rule = "-" if pen.ascii else "━"
            yield Text()
            yield Text(rule * 2 + title + rule * max(pen.width - cell_len(title) - 2, 0), style="bold")
            for stage in stages:
                number += 1
                yield Text()
                yield from _stage(stage, number, pen)
        yield Text()
        failed = [stage.name for stage in whole.stages if not stage.check.ok]
        if failed:
            verdict = Text(
                f"✗ {len(failed)} of {number} checks failed: {', '.join(failed)}", style="bold red"
            )
        else:
            verdict = Text(f"✓ all {number} checks hold", style="bold green")
        yield from _paragraph(Text(pen.text(verdict.plain), style=verdict.style), pen, 0, hang=2)


def shown(explanation: Explanation) -> Shown:
    """What to print."""
    return Shown(explanation)


def _stage(stage: Stage, number: int, pen: Pen) -> Iterator[Text]:
    title, source = pen.text(f"{number:>2}  {stage.name}"), pen.text(stage.source)
    gap = " " * max(pen.width - cell_len(title) - cell_len(source), 2)
    yield Text.assemble((title, "bold"), gap, (source, "dim"))
    yield from _paragraph(Text(pen.text(stage.formula), style="cyan"), pen)
    shapes = "   ".join(shape_text(*shape).replace(" ", "\N{NO-BREAK SPACE}") for shape in stage.shapes)
    for line in _paragraph(Text(pen.text(shapes), style="dim"), pen):
        yield Text(line.plain.replace("\N{NO-BREAK SPACE}", " "), style="dim")
    yield from _paragraph(Text(pen.text(stage.text)), pen)
    for numbers in stage.numbers:
        unit = f" ({numbers.unit})" if numbers.unit else ""
        yield from _paragraph(Text(pen.text(f"{numbers.title}{unit}"), style="italic"), pen)
        for line in draw(numbers, pen, pen.width - INDENT - 2):
            yield Text.assemble(" " * (INDENT + 2), line)
    sign, style = ("✓", "green") if stage.check.ok else ("✗", "bold red")
    yield from _paragraph(Text(pen.text(f"{sign} {check_text(stage.check)}"), style=style), pen, hang=2)


def _paragraph(text: Text, pen: Pen, indent: int = INDENT, hang: int = 0) -> Iterator[Text]:
    """Wrapped lines, indented, those after the first by `hang` more."""
    console = Console(width=pen.width)
    for place, line in enumerate(text.wrap(console, max(pen.width - indent - hang, 10))):
        line.rstrip()
        yield Text.assemble(" " * (indent + (hang if place else 0)), line)
