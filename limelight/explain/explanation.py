"""Explanation: the list of stages, each with its numbers and one check; no drawing.

Everything is plain Python (words, floats, tuples), so that the terminal, the page and JSON show the same. A
masked cell is None in the numbers: it has no score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from limelight.errors import InputError

Picture = Literal["bars", "strip", "cells", "table"]
Value = float | None

FORMAT = 1
SIGNIFICANT = 9
"""Digits that are kept of a number: more than float32 has, fewer than a page wants to carry."""
TOLERANCE = 2e-5
"""How far float32 may be from the float64 truth after a few layers, as `compare` measures it."""


@dataclass(frozen=True)
class Numbers:
    """One small table of values, rows × columns, and how it is best drawn.

    bars    one row a token; the first column is drawn, the others stand beside it as numbers
    strip   one row a vector, one column a feature
    cells   one row a query, one column a key: weights from 0 to 1, or a mask of 0 and 1
    table   as numbers only

    `marked` are the rows that the stage is about; `unit` is that of the drawn values, "" where they have none.
    """

    title: str
    picture: Picture
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Value, ...], ...]
    unit: str = ""
    marked: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        assert self.picture in get_args(Picture)
        assert len(self.values) == len(self.rows), f"{self.title}: {len(self.values)} rows of values"
        assert all(len(row) == len(self.columns) for row in self.values), f"{self.title}: columns"


@dataclass(frozen=True)
class Check:
    """What was compared, the largest difference found (None: not a number), and how much is allowed."""

    compared: str
    difference: float | None
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.difference is not None and self.difference <= self.tolerance


@dataclass(frozen=True)
class Stage:
    """One step of the process, for one token and one head.

    part      the chapter it belongs to, such as "Encoder, layer 2"
    formula   what is computed, in the letters of `limelight.shapes`
    source    where it is written down, such as "§3.2.1"
    shapes    names that wear their letters, as in the code, with their sizes
    text      one or two plain sentences with live numbers
    """

    part: str
    name: str
    formula: str
    source: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    text: str
    numbers: tuple[Numbers, ...]
    check: Check


@dataclass(frozen=True)
class Explanation:
    """Every stage between a text and its answer.

    `choice` says in words which token, layer, head and step were followed, and by which rule.
    """

    text: str
    answer: str
    model: str
    choice: tuple[str, ...]
    stages: tuple[Stage, ...]

    def __repr__(self) -> str:
        checks = "every check holds" if self.ok else "a check does not hold"
        return f"Explanation({self.text!r} → {self.answer!r}, {len(self.stages)} stages, {checks})"

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(stage.check.ok for stage in self.stages)

    @property
    def parts(self) -> list[tuple[str, list[Stage]]]:
        """The chapters in order, each with its stages."""
        found: dict[str, list[Stage]] = {}
        for stage in self.stages:
            found.setdefault(stage.part, []).append(stage)
        return list(found.items())

    def to_json(self) -> dict[str, Any]:
        """A tree for `json.dumps`: no NaN, no infinity. `from_json` reads it back."""
        tree: dict[str, Any] = {"format": FORMAT, **asdict(self)}
        for stage, made in zip(tree["stages"], self.stages, strict=True):
            stage["check"]["ok"] = made.check.ok
        return tree

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Explanation:
        """Read what `json.loads` made of it. Raises InputError for what `to_json` did not write."""
        try:
            if tree["format"] != FORMAT:
                raise ValueError(f"its format is {tree['format']}, not {FORMAT}")
            names = ("text", "answer", "model", "choice")
            fields = {name: _frozen(tree[name]) for name in names}
            return cls(**fields, stages=tuple(_stage(each) for each in tree["stages"]))
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"This must be a tree from Explanation.to_json(); it cannot be read: {error!r}."
            ) from error


def _stage(tree: dict[str, Any]) -> Stage:
    fields = {name: _frozen(value) for name, value in tree.items() if name not in ("numbers", "check")}
    numbers = [{name: _frozen(value) for name, value in each.items()} for each in tree["numbers"]]
    check = Check(*(tree["check"][name] for name in ("compared", "difference", "tolerance")))
    return Stage(**fields, numbers=tuple(Numbers(**each) for each in numbers), check=check)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def plain(value: float | Tensor) -> Value:
    """One number as it is carried along; None for what is not finite (a masked score)."""
    number = float(value)
    return float(f"{number:.{SIGNIFICANT}g}") if math.isfinite(number) else None


def number_text(value: Value | Tensor) -> str:
    """Four digits, for tables and sentences; a masked or missing cell is a dash."""
    if value is None:
        return "–"
    number = float(value)
    size = abs(number)
    if number == int(number) and size < 1e6:
        return str(int(number))
    if 1e4 <= size < 1e6:
        return f"{number:.0f}"
    return f"{number:.2e}" if size < 1e-3 or size >= 1e6 else f"{number:.4g}"


def table(values: Tensor | Sequence[Sequence[float | Tensor]]) -> tuple[tuple[Value, ...], ...]:
    """Rows of numbers, from a tensor of two axes or a list of rows."""
    rows = values.tolist() if isinstance(values, Tensor) else values
    return tuple(tuple(plain(each) for each in row) for row in rows)


def compare(compared: str, *pairs: tuple[Tensor, Tensor], tolerance: float) -> Check:
    """The largest difference in pairs of (what was found, the truth).

    It is relative to the truth's largest entry, and absolute where that is below 1. Equal infinities agree.
    """
    largest = 0.0
    for got, truth in pairs:
        got, truth = got.double(), truth.double()
        if got.shape != truth.shape:
            return Check(f"{compared} (shapes {tuple(got.shape)} and {tuple(truth.shape)})", None, tolerance)
        if truth.numel() == 0:
            continue
        error = torch.where(got == truth, 0.0, got - truth).abs().max()
        size = truth.where(truth.isfinite(), 0.0).abs().max().clamp(min=1.0)
        difference = plain(error / size)
        if difference is None:
            return Check(compared, None, tolerance)
        largest = max(largest, difference)
    return Check(compared, largest, tolerance)
