"""The report: what was measured, in the terminal and as a page of Markdown.

Both are made from the parts alone: what no part says does not stand here, and a part that has not been run is
named as such.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Shown

from experiments.common.contenders import TOLERANCE
from experiments.common.figures import draw
from experiments.common.machine import in_words
from experiments.common.plan import PARTS, Cell, Part, Spread, Table
from experiments.common.search import SEARCHED, kept as search_of, tried
from experiments.common.store import Kept, kept
from limelight.errors import CheckpointError
from limelight.files import write_text

HEAD = """# Attention against recurrence

Attention relates tokens at any distance, is accurate, carries over from general training to special use, and trains
in parallel: so it is said. Here it is measured against recurrent networks, with what it loses as with what it wins.

This page is written by `python -m experiments`. Its sentences are made from the numbers in {numbers}: another number
makes another sentence.
"""

METHOD = """## How it was measured

- **Equal size.** The networks of a comparison differ in their number of parameters by at most {tolerance:.0%}.
- **Equal time.** Each training has the same processor time on one thread, evaluations not counted; the long runs of
  accuracy have the same at most, and end early where they get no better. How many updates fit into it is each
  network's own affair. Every network runs on PyTorch's own cells and kernels; on a CPU it has one for a whole LSTM
  layer and none for a GRU's, which so makes fewer updates in the same time.
- **Equal care.** What was searched for, each rival had as many trials for (`python -m experiments search`): all of
  them, and how long they took, stand [at the end](#the-searches). What does not stand there was set beforehand.
- **Seeds.** Values are means over seeds, with the lowest and the highest in brackets. Where the seeds of two rivals
  overlap, or their means are written alike, the page names no winner. The texts of the test are the same for all
  seeds.
- **Again.** `python -m experiments all` measures all of it and goes on where it was stopped;
  `python -m experiments report` writes this page again from the numbers.
"""


MOST_WORDS = 26
"""Characters that words at the beginning of a row may claim in a narrow terminal, before they go on a second line."""


def show(part: Part, console: Console) -> None:
    """Tables and sentences in the terminal."""
    place = PARTS[part.name]
    console.print(f"\n[bold]{place.title}[/bold]  {place.question}\n")
    for table in part.tables:
        for some in fitted(table, console.width):
            console.print(shown(some))
        if table.note:
            console.print(table.note, style="dim", markup=False, highlight=False)
        console.print()
    for sentence in part.sentences:
        console.print(f"• {sentence}", markup=False, highlight=False)


def shown(table: Table) -> Shown:
    """A table as the terminal has it; a heading is broken between words, a number nowhere."""
    result = Shown(title=table.title, title_justify="left", title_style="bold", box=None, header_style="dim")
    for name, form, width in zip(table.columns, table.forms, _widths(table), strict=True):
        result.add_column(name, justify="right" if form else "left", min_width=width if form else None)
    for row in table.rows:
        result.add_row(*cells(row, table.forms))
    return result


def fitted(table: Table, width: int) -> list[Table]:
    """A table too wide for so many characters in several, each with the columns that say what a row is about.

    >>> wide = Table("Speed", ("rival", "of 512", "of 1,024"), (("LSTM", 10_000, 20_000),), ("", ",d", ",d"))
    >>> [some.columns for some in fitted(wide, 15)]
    [('rival', 'of 512'), ('rival', 'of 1,024')]
    """
    keys = next((place for place, form in enumerate(table.forms) if form not in ("", "d")), len(table.forms))
    widths = [each + 2 for each in _widths(table)]  # two of padding
    widths[:keys] = [min(each, MOST_WORDS) for each in widths[:keys]]
    groups: list[list[int]] = [[]]
    for place in range(keys, len(table.columns)):
        if groups[-1] and sum(widths[at] for at in (*range(keys), *groups[-1], place)) > width:
            groups.append([])
        groups[-1].append(place)
    return [
        _only(table, [*range(keys), *some], "" if number else table.title)
        for number, some in enumerate(groups)
    ]


def _only(table: Table, places: Sequence[int], title: str) -> Table:
    rows = tuple(tuple(row[at] for at in places) for row in table.rows)
    columns, forms = (tuple(each[at] for at in places) for each in (table.columns, table.forms))
    return Table(title, columns, rows, forms, table.note)


def _widths(table: Table) -> list[int]:
    """What each column needs: its longest number or words, or the longest word of its heading."""
    rows = [cells(row, table.forms) for row in table.rows]
    return [
        max(map(cell_len, [*(row[place] for row in rows), *name.split(), ""]))
        for place, name in enumerate(table.columns)
    ]


def cells(row: Sequence[Cell], forms: Sequence[str]) -> list[str]:
    """A row's values in their columns' forms.

    >>> cells(("LSTM", 0.25, None, Spread((1.0, 2.0))), ("", ".0%", ".1f", ".1f"))
    ['LSTM', '25%', '—', '1.5 (1.0–2.0)']
    """
    texts = []
    for value, form in zip(row, forms, strict=True):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            texts.append("—")
        elif isinstance(value, Spread):
            texts.append(value.text(form))
        else:
            texts.append(value if isinstance(value, str) else format(value, form))
    return texts


def publish(page: Path) -> tuple[Path, ...]:
    """Write the page and its pictures from the numbers beside it, in the folder of its own name. Gives all files.

    Raises CheckpointError where there are no numbers, or none that can be read, MissingExtraError without matplotlib.
    """
    folder = page.with_suffix("")
    parts = {name: kept(folder, name) for name in PARTS}
    told = {name: part.told() for name, part in parts.items() if part is not None}
    if not told:
        raise CheckpointError(
            f"A page is made from the numbers in {folder}, such as scope.json; there are none. Measure something "
            "first, as with python -m experiments scope, or give the --out and --page that it was measured with."
        )
    drawn = tuple(draw(picture, folder) for part in told.values() for picture in part.pictures)
    write_text(page, text(parts, folder.name))
    return page, *drawn


def text(parts: Mapping[str, Kept | None], folder: str) -> str:
    """The page; `folder` is where its numbers and pictures lie, seen from it."""
    told = {name: None if part is None else part.told() for name, part in parts.items()}
    sections = [HEAD.format(numbers=f"[{folder}/]({folder})"), summary(told)]
    sections += [METHOD.format(tolerance=TOLERANCE)]
    sections += [_section(name, parts[name], part, folder) for name, part in told.items()]
    return "\n".join([*sections, "## The searches\n", *_searches()])


def _searches() -> list[str]:
    """What was tried for the rivals of each part, and what was kept."""
    tables = [tried(found) for name in SEARCHED if (found := search_of(name)) is not None]
    return ["\n".join([*_titled(table), ""]) for table in tables]


def summary(told: Mapping[str, Part | None]) -> str:
    """What each part answers to its question, in a few sentences of its own."""
    lines = ["## In short", ""]
    for name, part in told.items():
        title = f"[{PARTS[name].title}](#{PARTS[name].title.lower().replace(' ', '-')})"
        answer = part.answer if part else ()
        if len(answer) > 1:
            lines += [f"- **{title}.**", *(f"  - {sentence}" for sentence in answer)]
        else:
            lines.append(f"- **{title}.** {''.join(answer) or 'Not run yet.'}")
    return "\n".join([*lines, ""])


def _section(name: str, kept: Kept | None, part: Part | None, folder: str) -> str:
    place = PARTS[name]
    lines = [f"## {place.title}", "", f"*{place.question}*", ""]
    if kept is None or part is None:
        return "\n".join(
            [*lines, f"Not run yet: `python -m experiments {place.command or name}` measures it.", ""]
        )
    lines += [f"- {sentence}" for sentence in part.sentences]
    for picture in part.pictures:
        lines += ["", f"![{picture.title}]({folder}/{picture.name}.png)", "", f"*{picture.caption}*"]
    for table in part.tables:
        lines += ["", *_titled(table)]
    lines += ["", "How:", "", *(f"- {line}" for line in part.method), *_origin(kept, folder), ""]
    return "\n".join(lines)


def _titled(table: Table) -> list[str]:
    """A table under its title, and its note."""
    return [f"**{table.title}**", "", *markdown(table), *(["", table.note] if table.note else [])]


def markdown(table: Table) -> list[str]:
    """A table as Markdown has it; numbers to the right."""
    rows = [list(table.columns), *(cells(row, table.forms) for row in table.rows)]
    safe = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    rule = ["---:" if form else ":---" for form in table.forms]
    return [f"| {' | '.join(row)} |" for row in (safe[0], rule, *safe[1:])]


def _origin(kept: Kept, folder: str) -> list[str]:
    numbers = f"[{kept.part}.json]({folder}/{kept.part}.json)"
    lines = [f"- Measured by `{kept.command}`, the last of it {kept.date}; numbers: {numbers}."]
    if kept.planned:
        lines.append(
            f"- {len(kept.runs)} of {kept.planned} runs are finished; the others are not in these numbers."
        )
    for each in kept.machines:
        share = "" if len(kept.machines) == 1 else f" ({len(each['runs'])} of {len(kept.runs)} runs)"
        lines.append(f"- Machine{share}: {in_words(each['machine'])}.")
    if len(kept.machines) > 1:
        lines.append(
            "- A minute is worth more on a faster machine: see which runs each has made in the numbers."
        )
    return lines
