"""Shapes and checks as text, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from limelight.explain.explanation import Check, Numbers


def shape_text(name: str, sizes: Sequence[int]) -> str:
    """A name that wears its letters, with the size of each; one without letters keeps its sizes alone.

    >>> shape_text("q_BHND", (1, 4, 9, 16)), shape_text("scores", (1, 9, 6000))
    ('q: B 1 · H 4 · N 9 · D 16', 'scores: 1 × 9 × 6000')
    """
    plain, _, letters = name.rpartition("_")
    if not plain or len(letters) != len(sizes):
        return f"{name}: {' × '.join(map(str, sizes))}"
    return f"{plain}: {' · '.join(f'{letter} {size}' for letter, size in zip(letters, sizes, strict=True))}"


def check_text(check: Check) -> str:
    """One line: what was compared, how far apart, how far is allowed.

    >>> check_text(Check("all scores, with the model's own", 3.1e-07, 2e-05))
    "all scores, with the model's own: 3.1e-07 (allowed: 2e-05)"
    """
    if check.difference is None:
        return f"{check.compared}: not a number, or of another shape"
    found = "0" if check.difference == 0 else f"{check.difference:.2g}"
    return f"{check.compared}: {found} (allowed: {check.tolerance:.0e})".replace("0e+00", "0")


def ends(numbers: Numbers, lowest: int, highest: int) -> Iterator[tuple[int | None, int]]:
    """The rows that are shown of a long list: both ends and what is marked.

    Each is (row, 0), and (None, how many) stands for rows that are left out.
    """
    count = len(numbers.rows)
    kept = sorted({*range(min(lowest, count)), *numbers.marked, *range(max(count - highest, 0), count)})
    before = -1
    for row in kept:
        hidden = row - before - 1
        if hidden == 1:  # it takes no more room than to say that it is left out
            yield row - 1, 0
        elif hidden:
            yield None, hidden
        yield row, 0
        before = row
