"""Random and broken input to every command and every public function: what must not happen, never happens.

    python -m benchmarks doors [--cases 1000] [--seed 0] [--only CASE] [--json FILE]

A command never ends in a traceback: its exit code is 0, 1 or 2, a refusal is one line, JSON is JSON, `predict`
prints as many lines as it was given, and nothing outside the case's folder is changed. A function answers or raises a
LimelightError. Memory is bounded (RLIMIT_AS), and so is the time of a case. Every case is drawn from its own number,
so `--only CASE` repeats it alone. Exit code 1 where one fails.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import door_commands, door_functions, door_guard, door_inputs
from benchmarks.tables import print_failures, print_rows

SPACING = 10**9
"""Case i of seed S has the number S · SPACING + i: no two seeds share a case."""
COMMANDS = 0.5
"""Share of the cases that are command lines; the others are calls."""
LONGEST = 20
"""Processor seconds that a case may take."""
MEMORY = 3 * 2**30
"""Bytes that the cases may take beside what the process has at its start."""
SHOWN = 30


class TooLong(BaseException):
    """A case that takes longer than it may; nothing catches it on the way."""


@dataclass(frozen=True)
class Case:
    """What a case tried, and what went wrong: `kind` is "" where nothing did."""

    number: int
    door: str
    kind: str = ""
    message: str = ""
    told: str = ""


def try_case(number: int, shared: Path) -> Case:
    """Draw a case and try it, in a folder of its own that is gone afterwards."""
    dice = random.Random(number)
    torch.manual_seed(number)
    back = Path.cwd()
    box = door_inputs.fresh(shared, number)
    door = told = ""
    _time(LONGEST)
    try:
        if dice.random() < COMMANDS:
            command = door_commands.draw(dice, box)
            door, told = f"limelight {command.words[0]}", str(command)
            wrong = door_commands.try_command(command)
        else:
            call = door_functions.draw(dice, box)
            door, told = call[0], door_functions.told(call)
            wrong = door_functions.try_function(call)
    except TooLong:
        return Case(number, door, "time", f"more than {LONGEST} s", told)
    except Exception as error:
        return Case(number, door, "error", _what(error), told)
    finally:
        _time(0)
        os.chdir(back)
        shutil.rmtree(box.here, ignore_errors=True)
    return Case(number, door, "wrong" if wrong else "", wrong or "", told)


def _time(seconds: float) -> None:
    """Let the process work so long, and wait six times as long; 0 ends it."""
    for timer, number, most in (
        (signal.ITIMER_PROF, signal.SIGPROF, seconds),
        (signal.ITIMER_REAL, signal.SIGALRM, 6 * seconds),
    ):
        signal.signal(number, _too_long)
        signal.setitimer(timer, most)


def _too_long(*_: object) -> None:
    raise TooLong


def _what(error: Exception) -> str:
    """The error, and the last line of ours that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/limelight/" in frame.filename] or frames
    last = ours[-1]
    where = f"{Path(last.filename).parent.name}/{Path(last.filename).name}:{last.lineno}"
    return f"{type(error).__name__}: {str(error)[:200]} ({where})"


def bound_memory(more: int = MEMORY) -> None:
    """Let this process take so many bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if pages:
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def try_all(numbers: range, shared: Path, results: Any) -> None:
    """The work of a process: every case, its result handed over at once."""
    torch.set_num_threads(1)
    home = shared / "home"
    home.mkdir(exist_ok=True)
    os.environ |= {name: str(home) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "MPLCONFIGDIR")}
    os.environ["HF_HUB_OFFLINE"] = "1"
    tempfile.tempdir, sys.dont_write_bytecode = str(home), True
    door_guard.write_only_below(shared)
    bound_memory()
    for number in numbers:
        results.put(number)  # begun: should the process die of it
        results.put(try_case(number, shared))
    results.put(None)


def over(numbers: range, shared: Path) -> Iterator[Case]:
    """The results of all cases, tried in a process of their own; one that it dies of is a failure, too."""
    fresh = multiprocessing.get_context("spawn")
    while numbers:
        results: Any = fresh.Queue()
        process = fresh.Process(target=try_all, args=(numbers, shared, results), daemon=True)
        process.start()
        begun = numbers[0]
        while True:
            try:
                came = results.get(timeout=1)
            except Exception:
                if process.is_alive():
                    continue
                yield Case(begun, "", "death", f"the process ended with code {process.exitcode}")
                numbers = numbers[begun - numbers[0] + 1 :]
                break
            if came is None:
                process.join()
                return
            if isinstance(came, int):
                begun = came
            else:
                yield came


def run(
    cases: Annotated[int, typer.Option(min=1, help="How many.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other cases.")] = 0,
    only: Annotated[int | None, typer.Option(help="Repeat the case of this number alone.")] = None,
) -> dict[str, Any]:
    """Try random and broken input at every door; exit code 1 where one fails."""
    numbers = range(seed * SPACING, seed * SPACING + cases) if only is None else range(only, only + 1)
    console, begun = Console(stderr=True), time.monotonic()
    failed: list[Case] = []
    doors: Counter[str] = Counter()
    columns = (
        TextColumn("{task.fields[failed]} failed"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} cases/s"),
        TimeRemainingColumn(),
    )
    with contextlib.ExitStack() as stack:
        shared = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="limelight-doors-")))
        door_inputs.build_shared(shared)
        bar = stack.enter_context(Progress(*columns, console=console, transient=True))
        task = bar.add_task("", total=len(numbers), failed=0, rate=0.0)
        for done, case in enumerate(over(numbers, shared), 1):
            doors[case.door] += 1
            rate = done / max(time.monotonic() - begun, 1e-9)
            if case.kind:
                failed.append(case)
                console.print(
                    f"case {case.number}: {case.door}: {case.message}", highlight=False, markup=False
                )
            bar.update(task, completed=done, failed=len(failed), rate=rate)
            if not console.is_terminal and len(numbers) >= 100 and done % (len(numbers) // 20) == 0:
                console.print(f"{done:,} cases, {rate:.1f} a second, {len(failed)} failed", highlight=False)
    result = {
        "cases": sum(doors.values()),
        "seed": seed,
        "failed": len(failed),
        "seconds": time.monotonic() - begun,
        "doors": dict(sorted(doors.items())),
        "kinds": dict(Counter(case.kind for case in failed)),
        "failures": [asdict(case) for case in failed],
    }
    show(result, Console())
    return result


def show(result: dict[str, Any], console: Console) -> None:
    """The failures with what repeats them, and one line that sums up."""
    rows = [{"door": door, "cases": count} for door, count in result["doors"].items()]
    print_rows("Doors", rows, {"cases": ",d"}, console)
    print_failures(result["failures"], SHOWN, "{kind}: {message}", "doors --only {number}", console)
    console.print(
        f"{result['cases']:,} cases at {len(result['doors'])} doors: {result['failed']} failed; "
        f"{result['seconds'] / 60:.1f} minutes",
        highlight=False,
        soft_wrap=True,
    )
