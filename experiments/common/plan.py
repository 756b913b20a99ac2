"""The parts of the comparison: what each is asked, and what each hands to the report.

A `Part` is made of numbers and of sentences that follow from them. It knows nothing of terminals, pages and
pictures; report.py and figures.py know nothing of what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limelight.errors import InputError


@dataclass(frozen=True)
class Options:
    """What the command was asked. `seconds` and `longest` are processor seconds of one run's training.

    seconds   the budget of each run; None leaves it to the part
    seeds     how often each run is repeated, with other random numbers
    longest   the budget of the one run to convergence; 0 for none
    data      the folder that holds the corpora
    device    where efficiency is measured: cpu or cuda
    """

    seconds: float | None = None
    seeds: int = 3
    longest: float = 7200.0
    data: str = "corpora"
    device: str = "cpu"


@dataclass(frozen=True)
class Spread:
    """One measure over the seeds. Without values it is unknown.

    chance  of a single seed, whose lowest and highest say nothing: half the width of the 95% interval in which
            other items of the same kind would have put it; 0 where that is not known

    >>> Spread((0.25, 0.5, 0.75)).text(".0%"), Spread((0.5,), 0.02).text(".0%")
    ('50% (25%–75%)', '50% ±2%')
    """

    values: tuple[float, ...]
    chance: float = 0.0

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values) if self.values else math.nan

    @property
    def lowest(self) -> float:
        return min(self.values, default=math.nan)

    @property
    def highest(self) -> float:
        return max(self.values, default=math.nan)

    def text(self, form: str = ".1f") -> str:
        """The mean, and in brackets the lowest and the highest of several seeds."""
        if not self.values:
            return "—"
        mean = format(self.mean, form)
        if len(self.values) == 1:
            return f"{mean} ±{format(self.chance, form)}" if self.chance else mean
        return f"{mean} ({format(self.lowest, form)}–{format(self.highest, form)})"


Cell = str | int | float | Spread | None


@dataclass(frozen=True)
class Table:
    """Rows under columns. `forms` holds a format specification for each column's numbers ("" for words);
    None in a row is a number that there is not. The first columns, of words and of whole numbers ("d"), say what
    a row is about."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    forms: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One measure of one rival over x. `rival` chooses the colour, everywhere the same; `low` and `high` are
    drawn as a band where they are given; `style` is "-", "--" or ":"."""

    label: str
    rival: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    style: str = "-"

    @classmethod
    def over_seeds(
        cls, label: str, rival: str, x: Sequence[float], y: Sequence[Spread], style: str = "-"
    ) -> Line:
        """The mean over the seeds, with a band from the lowest to the highest, or of a single one over its chance."""
        return cls(
            label,
            rival,
            tuple(x),
            tuple(each.mean for each in y),
            tuple(each.lowest - each.chance for each in y),
            tuple(each.highest + each.chance for each in y),
            style,
        )


@dataclass(frozen=True)
class Panel:
    """Lines in one pair of axes. `marks` are horizontal lines with a name, `bounds` vertical ones: chance, a
    published figure; how long the texts of training were. With `classes`, x counts them from 0, and their names
    stand in the place of numbers."""

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    classes: tuple[str, ...] = ()
    x_log: bool = False
    y_log: bool = False
    y_range: tuple[float, float] | None = None
    marks: tuple[tuple[str, float], ...] = ()
    bounds: tuple[tuple[str, float], ...] = ()
    percent: bool = False


@dataclass(frozen=True)
class Grid:
    """Numbers from 0 to 1 over rows and columns, as colours with the number in each field; None is not measured."""

    title: str
    x: str
    y: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    unit: str = "share of right answers"


@dataclass(frozen=True)
class Picture:
    """What stands side by side in one file, `name`.png; `caption` stands below it on the page."""

    name: str
    title: str
    panels: tuple[Panel | Grid, ...]
    caption: str


@dataclass(frozen=True)
class Part:
    """What one part of the comparison found: sentences first, then what they follow from. `short` are those of the
    sentences that answer the part's question; where none are named, the first does."""

    name: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]
    method: tuple[str, ...]
    short: tuple[str, ...] = ()

    @property
    def answer(self) -> tuple[str, ...]:
        """What to read of it where there is room for little."""
        return self.short or self.sentences[:1]


@dataclass(frozen=True)
class Place:
    """A part's place in the comparison: its title, its question, and the module that measures it.

    corpora  the data sets that its runs read (`limelight data`), by name
    alone    its runs are timed by the clock, so they go one after the other
    device   what it is measured on
    takes    the options of `python -m experiments` that change its runs
    command  the words after `python -m experiments` that measure it; its name, where there are none
    """

    title: str
    question: str
    module: str
    corpora: tuple[str, ...] = ()
    alone: bool = False
    device: str = "cpu"
    takes: tuple[str, ...] = ("budget", "seeds")
    command: str = ""

    def check_corpora(self, data: Path) -> None:
        """Raises InputError where one of the data sets is not in the folder of all of them."""
        missing = [data / name for name in self.corpora if not (data / name).is_dir()]
        if missing:
            raise InputError(
                f"{self.title} is measured on the data sets {', '.join(self.corpora)}; there is no {missing[0]}. "
                f"Make it: limelight data {missing[0].name} --out {missing[0]}"
            )


PARTS: dict[str, Place] = {
    "scope": Place(
        "Scope",
        "How far, and through how many records, can each relate two tokens?",
        "experiments.scope.experiment",
    ),
    "accuracy": Place(
        "Accuracy",
        "How right are pronunciation and translation, by length and by time?",
        "experiments.accuracy.experiment",
        corpora=("pronounce", "translate-en-de"),
        takes=("budget", "seeds", "converge"),
    ),
    "alignment": Place(
        "Alignment",
        "Does attention between two languages find the links that people set?",
        "experiments.alignment.experiment",
        corpora=("bible-en-es",),
        takes=("budget",),
    ),
    "generalisation": Place(
        "Generalisation",
        "What is general training worth for a special task with few labels?",
        "experiments.generalisation.experiment",
        corpora=("general-en", "spam", "help-topics"),
    ),
    "efficiency": Place(
        "Efficiency",
        "How fast are training and decoding, and what does length cost?",
        "experiments.efficiency.experiment",
        alone=True,
        takes=("device",),
    ),
    "accelerator": Place(
        "Efficiency on a GPU",
        "The same where thousands of products are made at once.",
        "experiments.efficiency.experiment",
        alone=True,
        takes=("device",),
        device="cuda",
        command="efficiency --device cuda",
    ),
}
"""The parts in the order in which the page has them."""
