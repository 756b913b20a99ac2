"""Random attention matrices against the float64 truth: shapes, masks, dtypes, dead rows, cuts, reductions.

    python -m benchmarks fuzz [--cases 1000] [--seed 0] [--workers 2] [--only CASE] [--json FILE]

Every case is drawn from its own number, so `--only CASE` repeats it alone. What may come out is what the tests
allow: the reductions and their meanings are those of `tests/oracle.py`, the bounds those of `tests/tolerance.py`.
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
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.random_cases import draw_case
from benchmarks.tables import print_failures, print_rows
from benchmarks.ways import draw_readings, readings_of
from tests.tolerance import shares

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
    total, console, told = Findings(), Console(stderr=True), 0
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
            for failure in some.failures:
                console.print(f"case {failure.case}: {failure.reading} {failure.kind}", highlight=False)
            if not console.is_terminal and len(numbers) > BATCH and total.cases * 20 // len(numbers) > told:
                told = total.cases * 20 // len(numbers)
                console.print(f"{total.cases:,} cases, {rate:.0f} a second", highlight=False)
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
    print_failures(result["failures"], SHOWN, "{kind}: {reading}: {message}", "fuzz --only {case}", console)
    console.print(
        f"{result['cases']:,} cases, {result['readings']:,} readings: {result['beyond']} beyond the table, "
        f"{result['NaN']} NaN, {result['errors']} errors; {result['CPU seconds'] / 60:.1f} CPU-minutes",
        highlight=False,
        soft_wrap=True,
    )
