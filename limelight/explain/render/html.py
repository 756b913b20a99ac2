"""Numbers as HTML and inline SVG: bars, strips, cells and tables. No script, no style attribute, no network.

Colours are classes: `.r0` to `.r8` from low to high, `.n4` to `.p4` from negative to positive; `page.css` and
`page.py` say what they look like in light and dark. Every text goes through `safe`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from limelight.explain.captions import ends
from limelight.explain.explanation import Numbers, Value, number_text
from limelight.readings.reading import visible

QUOTATION = re.compile("“([^“”]*)”")
TINY_NUMBER = re.compile(r"\b\d[\d.]*e-\d+")
"""A number with an exponent, which must not be broken at its hyphen."""
LOWEST, HIGHEST = 6, 18
"""Rows that a long list shows at its two ends."""
SHORT = 2
"""Letters of a column's head up to which it stands upright."""
LEVELS = 8
SIGNED_LEVELS = 4
LARGE_ENOUGH_FOR_NUMBERS = 16
"""Columns up to which a matrix has its weights written into its cells."""


def safe(text: str) -> str:
    """The user's words as text of a page: no mark-up, and no sign that turns the line or cannot be seen."""
    return html.escape(visible(text), quote=True)


def word(text: str) -> str:
    """A token or another piece of the user's text: its direction stays its own."""
    return f"<bdi>{_pale(safe(text))}</bdi>"


def figure(numbers: Numbers) -> str:
    """One `<figure>` with its caption."""
    draw = {"bars": _bars, "strip": _strips, "cells": _cells, "table": _table}[numbers.picture]
    unit = f' <span class="unit">({safe(numbers.unit)})</span>' if numbers.unit else ""
    caption = f"<figcaption>{quoted(numbers.title)}{unit}</figcaption>"
    return f'<figure class="{numbers.picture}">{caption}{draw(numbers)}</figure>'


def quoted(sentence: str) -> str:
    """A sentence of ours with the user's words between “ and ”: each is kept from turning what stands around it."""
    isolated = QUOTATION.sub(lambda found: f"“<bdi>{_pale(found[1])}</bdi>”", safe(sentence))
    return TINY_NUMBER.sub(r'<span class="number-text">\g<0></span>', isolated)


def _pale(escaped: str) -> str:
    """The sign for a leading space, pale."""
    return escaped.replace("▁", '<span class="space">▁</span>')


# ── Rows ──


def _bars(numbers: Numbers) -> str:
    drawn = [row[0] or 0.0 for row in numbers.values]
    low, high = min(0.0, *drawn), max(0.0, *drawn)
    span = (high - low) or 1.0

    def bar(row: int) -> str:
        start, width = (min(drawn[row], 0.0) - low) / span * 100, abs(drawn[row]) / span * 100
        sign = "neg" if drawn[row] < 0 else "pos"
        return (
            '<td><svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="{sign}" x="{start:.2f}" y="0" width="{width:.2f}" height="8"/></svg></td>'
        )

    return _rows(numbers, bar, "<th></th>")


def _table(numbers: Numbers) -> str:
    return _rows(numbers, lambda row: "", "")


def _rows(numbers: Numbers, drawing: Callable[[int], str], head: str) -> str:
    """A table of the rows that are shown; `drawing` gives the cell that stands before the numbers."""
    columns = len(numbers.columns) + 1 + bool(head)
    body = [
        f'<tr class="gap"><td colspan="{columns}">… {hidden} between</td></tr>'
        if row is None
        else _row(numbers, row, drawing(row))
        for row, hidden in ends(numbers, LOWEST, HIGHEST)
    ]
    heads = "".join(f'<th scope="col">{safe(column)}</th>' for column in numbers.columns)
    return _wide("", f"<th></th>{head}{heads}", "".join(body))


def _row(numbers: Numbers, row: int, drawing: str) -> str:
    marked = ' class="marked"' if row in numbers.marked else ""
    values = "".join(f"<td>{safe(number_text(value))}</td>" for value in numbers.values[row])
    return f'<tr{marked}><th scope="row">{word(numbers.rows[row])}</th>{drawing}{values}</tr>'


def _wide(kind: str, head: str, body: str) -> str:
    """A table that scrolls by itself where the page is too narrow for it."""
    table = f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


# ── Vectors ──


def _strips(numbers: Numbers) -> str:
    return "".join(_strip(label, values) for label, values in zip(numbers.rows, numbers.values, strict=True))


def _strip(label: str, values: Sequence[Value]) -> str:
    known = [value for value in values if value is not None]
    largest = max(map(abs, known), default=0.0) or 1.0
    length = sum(value * value for value in known) ** 0.5
    low, high = number_text(min(known, default=0.0)), number_text(max(known, default=0.0))
    facts = f"{len(known)} features, ‖·‖ {number_text(length)}, from {low} to {high}"
    levels = [_signed_level(value / largest) for value in known]
    return (
        f'<div class="strip-line"><span>{word(label)}</span><span class="facts">{safe(facts)}</span></div>'
        f'<svg class="vector" viewBox="0 0 {len(known)} 1" preserveAspectRatio="none" role="img" '
        f'aria-label="{safe(f"{label}: {facts}")}">{"".join(_runs([levels]))}</svg>'
    )


def _signed_level(share: float) -> str:
    """-1 … 1 → n4 … n1, z, p1 … p4."""
    level = min(round(abs(share) * SIGNED_LEVELS + 0.3), SIGNED_LEVELS)
    return "z" if level == 0 else f"{'n' if share < 0 else 'p'}{level}"


def _runs(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A grid of classes as one path a class: neighbours in a row are one rectangle."""
    paths: dict[str, list[str]] = {}
    for y, row in enumerate(rows):
        x = 0
        for name, same in groupby(row):
            run = len(list(same))
            paths.setdefault(name, []).append(f"M{x} {y}h{run}v1h-{run}z")
            x += run
    for name, pieces in sorted(paths.items()):
        yield f'<path class="{name}" d="{"".join(pieces)}"/>'


# ── Matrices ──


def _cells(numbers: Numbers) -> str:
    mask = not numbers.unit
    written = not mask and len(numbers.columns) <= LARGE_ENOUGH_FOR_NUMBERS
    heads = "".join(f'<th scope="col"><span>{word(column)}</span></th>' for column in numbers.columns)
    body = []
    for row, values in enumerate(numbers.values):
        marked = ' class="marked"' if row in numbers.marked else ""
        cells = "".join(_cell(value or 0.0, mask, written) for value in values)
        body.append(f'<tr{marked}><th scope="row">{word(numbers.rows[row])}</th>{cells}</tr>')
    upright = max(map(len, numbers.columns), default=0) <= SHORT
    kinds = ["grid", "mask" if mask else "weights", "written" * written, "upright" * upright]
    kind = f' class="{" ".join(filter(None, kinds))}"'
    return _wide(kind, f"<th></th>{heads}", "".join(body)) + _legend(mask)


def _cell(value: float, mask: bool, written: bool) -> str:
    if mask:
        return '<td class="open"></td>' if value else '<td class="closed"></td>'
    level = min(round(value * LEVELS), LEVELS)
    text = f"{value:.2f}".removeprefix("0") if written and value >= 0.005 else ""
    return f'<td class="r{level}">{text}</td>'


def _legend(mask: bool) -> str:
    if mask:
        return '<p class="legend"><i class="open"></i> may attend <i class="closed"></i> closed</p>'
    steps = "".join(f'<i class="r{level}"></i>' for level in range(LEVELS + 1))
    return f'<p class="legend">0 {steps} 1</p>'
