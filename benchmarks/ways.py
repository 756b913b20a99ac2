"""The ways in which a drawn case is read: by which loop, cut how, on how many threads, and what is read of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.random_cases import Drawn
from limelight.errors import TooLargeError
from limelight.matrix import AttentionMatrix, Reduction, RowStats
from limelight.matrix.engine.dispatch import BACKENDS, NATIVE, PLAIN, Backend
from limelight.matrix.engine.native.library import PANEL
from limelight.matrix.engine.plan import Plan
from limelight.matrix.reductions.base import finish
from limelight.matrix.validation import scores_of
from tests.oracle import REDUCTIONS
from tests.tolerance import check

Comparisons = dict[str, Callable[[], None]]


@dataclass(frozen=True)
class Way:
    """How a case is read: by which loop and cut how (None: as the library chooses), by how many threads, within how
    many bytes; `known` says that the row stats are read before."""

    loop: Backend | None
    cut: Plan | None
    threads: int
    limit: int | None
    known: bool

    def __str__(self) -> str:
        loop = f"the {self.loop.name} loop" if self.loop else "the loop chosen"
        cut = f"cut by {self.cut}" if self.cut else "cut as chosen"
        limit = f", {self.limit} bytes" if self.limit else ""
        known = ", row stats known" if self.known else ""
        return f"{loop}, {cut}, {self.threads} threads{limit}{known}"


def draw_readings(dice: random.Random, case: Drawn) -> tuple[Way, list[str]]:
    """A way to read, and what is read in one go; at least one thing that this way can read."""
    scores = scores_of(**case.inputs())
    loop = dice.choice((None, *(loop for loop in BACKENDS if loop.rejection(scores, ()) is None)))
    names = [*REDUCTIONS, *VERBS] if loop is None else [*REDUCTIONS]
    dice.shuffle(names)
    wanted, count = list[str](), dice.randint(1, 6)
    for name in names:
        if len(wanted) == count:
            break
        reductions = [REDUCTIONS[each][0](case) for each in (*wanted, name) if each in REDUCTIONS]
        if loop is None or loop.rejection(scores, _asked(reductions)) is None:
            wanted.append(name)
    cut = None if loop not in (PLAIN, NATIVE) or dice.random() < 0.3 else draw_cut(dice, case, loop)
    limit = dice.choice((None, None, 2**14, 2**17)) if cut is None else None
    return Way(loop, cut, dice.choice((1, 1, 1, 2, 3)), limit, cut is None and dice.random() < 0.4), wanted


def draw_cut(dice: random.Random, case: Drawn, loop: Backend) -> Plan:
    B, H = case.query.shape[:2]
    group = H // max(case.key.shape[1], 1)
    heads = max(1, dice.choice((1, group, H)))
    batches = max(1, B) if heads == H and dice.random() < 0.5 else 1
    columns = dice.choice((4, 23, 64, 512)) if loop is PLAIN and dice.random() < 0.5 else None
    grain = dice.choice((3, 16, 128) if loop is PLAIN else (PANEL, 2 * PANEL, 128))
    rows, held = dice.choice((3, 11, 64, 200)), dice.choice((None, 1, 7, 24))
    return Plan(rows, columns, batches, heads, grain, None if loop is PLAIN else held)


def readings_of(case: Drawn, way: Way, names: list[str], dice: random.Random) -> Comparisons:
    """Read it, and say for each reading how to compare it."""
    reductions = {name: REDUCTIONS[name][0](case) for name in names if name in REDUCTIONS}
    if way.loop is not None and way.cut is not None:
        readings = read_cut(case, way.loop, way.cut, list(reductions.values()))
        return {
            name: partial(REDUCTIONS[name][1], reading, case)
            for name, reading in zip(reductions, readings, strict=True)
        }
    matrix = case.matrix()
    if way.known:
        matrix.read(RowStats())
    comparisons: Comparisons = {}
    if reductions:
        try:
            read = matrix.read(*reductions.values(), limit=way.limit, loop=way.loop and way.loop.name)
        except TooLargeError:
            read = matrix.read(*reductions.values(), loop=way.loop and way.loop.name)
        for name, reading in zip(reductions, [read] if len(reductions) == 1 else read, strict=True):
            comparisons[name] = partial(REDUCTIONS[name][1], reading, case)
    for name in names:
        if name in VERBS:
            comparisons[name] = VERBS[name](matrix, case, dice)
    return comparisons


def read_cut(case: Drawn, loop: Backend, cut: Plan, reductions: list[Reduction[Any]]) -> list[Any]:
    """What a loop reads when the matrix is cut this way."""
    scores = scores_of(**case.inputs())
    frame = scores.frame(scores.N, case.value)
    asked = _asked(reductions)
    states, stats = loop.read(scores, frame, asked, None, cut)
    further = partial(_read_on, scores, frame, stats, cut)
    found = iter(finish(asked, states, stats, further))
    return [stats if isinstance(reduction, RowStats) else next(found) for reduction in reductions]


def _read_on(scores: Any, frame: Any, stats: Any, cut: Plan, reductions: list[Reduction[Any]]) -> list[Any]:
    return PLAIN.read(scores, frame, reductions, stats, cut)[0]


def _asked(reductions: list[Reduction[Any]]) -> list[Reduction[Any]]:
    """Those that a pass is asked for: every pass finds the row stats anyway."""
    return [reduction for reduction in reductions if not isinstance(reduction, RowStats)]


# ---- what is read without reductions ------------------------------------------------------------------------


def _whole_matrix(matrix: AttentionMatrix, case: Drawn, dice: random.Random) -> Callable[[], None]:
    got = matrix.dense()
    return lambda: check("weights", got, case.truth().weights_BHNM, case.logits)


def _block(matrix: AttentionMatrix, case: Drawn, dice: random.Random) -> Callable[[], None]:
    place: list[int | slice] = []
    for size in matrix.shape:
        if size and dice.random() < 0.3:
            place.append(dice.randrange(-size, size))
        else:
            place.append(slice(*(dice.choice((None, dice.randint(-size, size))) for _ in range(2))))
    got = matrix[tuple(place)]
    return lambda: check("weights", got, case.truth().weights_BHNM[tuple(place)], case.logits)


def _rows(matrix: AttentionMatrix, case: Drawn, dice: random.Random) -> Callable[[], None]:
    N = matrix.shape[2]
    rows = [dice.randrange(-N, N) for _ in range(dice.randint(0, 3))] if N else []
    got = matrix.rows(rows)
    return lambda: check("weights", got, case.truth().weights_BHNM[:, :, rows], case.logits)


def _applied(matrix: AttentionMatrix, case: Drawn, dice: random.Random) -> Callable[[], None]:
    B, H, _, M = matrix.shape
    v = torch.randn(dice.choice(((M,), (M, 2), (1, 1, M, 3), (B, H, M, 1))))
    got = matrix @ v

    def expect() -> None:
        weights = case.truth().weights_BHNM
        check("output", got, weights @ v.double(), case.logits, beside=weights @ v.double().abs())

    return expect


def _transposed(matrix: AttentionMatrix, case: Drawn, dice: random.Random) -> Callable[[], None]:
    B, H, N, _ = matrix.shape
    x = torch.randn(dice.choice(((N,), (N, 2), (1, 1, N, 3), (B, H, N, 1))))
    got = matrix.T @ x

    def expect() -> None:
        weights = case.truth().weights_BHNM.transpose(-1, -2)
        check("output", got, weights @ x.double(), case.logits, beside=weights @ x.double().abs())

    return expect


VERBS: dict[str, Callable[[AttentionMatrix, Drawn, random.Random], Callable[[], None]]] = {
    "dense()": _whole_matrix,
    "a block": _block,
    "rows()": _rows,
    "matrix @ v": _applied,
    "matrix.T @ x": _transposed,
}
