"""Random attention matrices against the float64 truth: shapes, masks, dtypes, dead rows, cuts, folds.

    python -m benchmarks fuzz [--cases 1000] [--seed 0] [--workers 2] [--only CASE] [--json FILE]

Every case is drawn from its own number, so `--only CASE` repeats it alone. What may come out is what the tests
allow: the folds and their meanings are those of `tests/oracle.py`, the bounds those of `tests/tolerance.py`.
Exit code 1 where a case fails.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.random_cases import Drawn, draw_case
from benchmarks.tables import print_rows
from limelight.errors import TooLargeError
from limelight.matrix import AttentionMatrix, Fold, RowStats
from limelight.matrix.doors import scores_of
from limelight.matrix.folds import finish
from limelight.matrix.loops import LOOPS, NATIVE, PLAIN, Loop
from limelight.matrix.native.library import PANEL
from limelight.matrix.tiles import Plan
from tests.oracle import FOLDS
from tests.tolerance import check, shares

SPACING = 10**9
"""Case i of seed S has the number S · SPACING + i: no two seeds share a case."""
BATCH = 50
"""Cases that a process takes at a time."""
SHOWN = 20


@dataclass(frozen=True)
class Failure:
    """What a case did not hold."""

    case: int
    reading: str
    kind: str
    """beyond: further from the truth than the table allows; NaN; error: an exception."""
    message: str
    told: str


@dataclass
class Findings:
    """What came out of some cases."""

    cases: int = 0
    readings: int = 0
    seconds: float = 0.0
    worst: dict[str, tuple[float, int]] = field(default_factory=dict)
    """For each reading the largest share of its bound that any case took up, and the case."""
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        self.cases += other.cases
        self.readings += other.readings
        self.seconds += other.seconds
        self.failures += other.failures
        for reading, (share, case) in other.worst.items():
            self.note(reading, share, case)

    def note(self, reading: str, share: float, case: int) -> None:
        # Of equals the lower case, so that the answer does not depend on which process was first.
        old_share, old_case = self.worst.get(reading, (-1.0, 0))
        if (share, -case) > (old_share, -old_case):
            self.worst[reading] = (share, case)


# ---- one case -----------------------------------------------------------------------------------------


def try_case(number: int) -> Findings:
    """Draw a case, read it in some way, compare every reading with its truth."""
    start = time.process_time()
    dice = random.Random(number)
    torch.manual_seed(number)
    found = Findings(cases=1)
    case = draw_case(dice)
    way, readings = draw_readings(dice, case)
    told = f"{case.told}; {way}; {', '.join(readings)}"

    def judge(reading: str, expect: Callable[[], None]) -> None:
        found.readings += 1
        with shares() as taken:
            try:
                expect()
            except Exception as error:
                found.failures.append(Failure(number, reading, *_what(error), told))
        found.note(reading, max(taken.values(), default=0.0), number)

    torch.set_num_threads(way.threads)
    try:
        # The readings are made together, as a user would; only then is each compared.
        comparisons = readings_of(case, way, readings, dice)
    except Exception as error:
        found.failures.append(Failure(number, "reading", *_what(error), told))
        comparisons = {}
    finally:
        torch.set_num_threads(1)
    for reading, expect in comparisons.items():
        judge(reading, expect)
    found.seconds = time.process_time() - start
    return found


def _what(error: Exception) -> tuple[str, str]:
    """Of which kind it is, and its message with the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}: {last.line}"
    if not isinstance(error, AssertionError):
        return "error", f"{type(error).__name__}: {error} ({where})"
    return "NaN" if "NaN" in str(error) else "beyond", str(error) or where


# ---- ways to read it ----------------------------------------------------------------------------------

Comparisons = dict[str, Callable[[], None]]


@dataclass(frozen=True)
class Way:
    """How a case is read: by which loop and cut how (None: as the library chooses), by how many threads, within how
    many bytes; `known` says that the row stats are read before."""

    loop: Loop | None
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
    loop = dice.choice((None, *(loop for loop in LOOPS if loop.refuses(scores, ()) is None)))
    names = [*FOLDS, *VERBS] if loop is None else [*FOLDS]
    dice.shuffle(names)
    wanted, count = list[str](), dice.randint(1, 6)
    for name in names:
        folds = [FOLDS[each][0](case) for each in (*wanted, name) if each in FOLDS]
        if len(wanted) < count and (loop is None or loop.refuses(scores, _walked(folds)) is None):
            wanted.append(name)
    cut = None if loop not in (PLAIN, NATIVE) or dice.random() < 0.3 else draw_cut(dice, case, loop)
    limit = dice.choice((None, None, 2**14, 2**17)) if cut is None else None
    return Way(loop, cut, dice.choice((1, 1, 1, 2, 3)), limit, cut is None and dice.random() < 0.4), wanted


def draw_cut(dice: random.Random, case: Drawn, loop: Loop) -> Plan:
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
    folds = {name: FOLDS[name][0](case) for name in names if name in FOLDS}
    if way.loop is not None and way.cut is not None:
        readings = read_cut(case, way.loop, way.cut, list(folds.values()))
        return {
            name: partial(FOLDS[name][1], reading, case)
            for name, reading in zip(folds, readings, strict=True)
        }
    matrix = case.matrix()
    if way.known:
        matrix.read(RowStats())
    comparisons: Comparisons = {}
    if folds:
        try:
            read = matrix.read(*folds.values(), limit=way.limit, loop=way.loop and way.loop.name)
        except TooLargeError:
            read = matrix.read(*folds.values(), loop=way.loop and way.loop.name)
        for name, reading in zip(folds, [read] if len(folds) == 1 else read, strict=True):
            comparisons[name] = partial(FOLDS[name][1], reading, case)
    for name in names:
        if name in VERBS:
            comparisons[name] = VERBS[name](matrix, case, dice)
    return comparisons


def read_cut(case: Drawn, loop: Loop, cut: Plan, folds: list[Fold[Any]]) -> list[Any]:
    """What a loop reads when the matrix is cut this way."""
    scores = scores_of(**case.inputs())
    frame = scores.frame(scores.N, case.value)
    walked = _walked(folds)
    states, stats = loop.read(scores, frame, walked, None, cut)
    further = partial(_read_on, scores, frame, stats, cut)
    found = iter(finish(walked, states, stats, further))
    return [stats if isinstance(fold, RowStats) else next(found) for fold in folds]


def _read_on(scores: Any, frame: Any, stats: Any, cut: Plan, folds: list[Fold[Any]]) -> list[Any]:
    return PLAIN.read(scores, frame, folds, stats, cut)[0]


def _walked(folds: list[Fold[Any]]) -> list[Fold[Any]]:
    """Those that a walk is asked for: every walk finds the row stats anyway."""
    return [fold for fold in folds if not isinstance(fold, RowStats)]


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


# ---- many cases ---------------------------------------------------------------------------------------


def try_cases(numbers: range) -> Findings:
    found = Findings()
    for number in numbers:
        found.add(try_case(number))
    return found


def over(numbers: range, workers: int) -> Iterator[Findings]:
    """The findings batch by batch; with one worker, or few cases, in this process."""
    batches = [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
    if workers <= 1 or len(batches) == 1:
        yield from map(try_cases, batches)
        return
    fresh = multiprocessing.get_context(
        "spawn"
    )  # a fork would inherit the threads' locks without the threads
    with ProcessPoolExecutor(workers, fresh, torch.set_num_threads, (1,)) as pool:
        yield from pool.map(try_cases, batches)


def run(
    cases: Annotated[int, typer.Option(min=1, help="How many.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other cases.")] = 0,
    only: Annotated[int | None, typer.Option(help="Repeat the case of this number alone.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = os.cpu_count() or 1,
) -> dict[str, Any]:
    """Try random matrices against the float64 truth; exit code 1 where one fails."""
    torch.set_num_threads(1)
    numbers = range(seed * SPACING, seed * SPACING + cases) if only is None else range(only, only + 1)
    total, console = Findings(), Console(stderr=True)
    columns = (
        TextColumn("{task.fields[failed]} failed"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} cases/s"),
        TimeRemainingColumn(),
    )
    begun = time.monotonic()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=len(numbers), failed=0, rate=0.0)
        for some in over(numbers, workers):
            total.add(some)
            rate = total.cases / max(time.monotonic() - begun, 1e-9)
            bar.update(task, completed=total.cases, failed=len(total.failures), rate=rate)
    result = summary(total, seed)
    show(result, Console())
    return result


def summary(total: Findings, seed: int) -> dict[str, Any]:
    """All numbers as plain values."""
    failures = sorted(total.failures, key=lambda failure: (failure.case, failure.reading))
    kinds = [failure.kind for failure in failures]
    return {
        "cases": total.cases,
        "seed": seed,
        "readings": total.readings,
        "failed": len({failure.case for failure in failures}),
        "beyond": kinds.count("beyond"),
        "NaN": kinds.count("NaN"),
        "errors": kinds.count("error"),
        "CPU seconds": total.seconds,
        "worst": [
            {"reading": name, "share": share, "case": case}
            for name, (share, case) in sorted(total.worst.items(), key=lambda item: -item[1][0])
        ],
        "failures": [asdict(failure) for failure in failures],
    }


def show(result: dict[str, Any], console: Console) -> None:
    """The worst of each reading, the failures with what repeats them, one line that sums up."""
    rows = [
        {"reading": each["reading"], "share of the bound": each["share"], "worst case": each["case"]}
        for each in result["worst"]
    ]
    print_rows("The furthest from the truth", rows, {"share of the bound": ".3f"}, console)
    for failure in result["failures"][:SHOWN]:
        console.print(
            f"{failure['kind']}: {failure['reading']}: {failure['message']}\n    {failure['told']}\n"
            f"    repeat it: python -m benchmarks fuzz --only {failure['case']}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if len(result["failures"]) > SHOWN:
        console.print(f"… and {len(result['failures']) - SHOWN} more", highlight=False)
    console.print(
        f"{result['cases']:,} cases, {result['readings']:,} readings: {result['beyond']} beyond the table, "
        f"{result['NaN']} NaN, {result['errors']} errors; {result['CPU seconds'] / 60:.1f} CPU-minutes",
        highlight=False,
        soft_wrap=True,
    )
