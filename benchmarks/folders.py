"""A run's folder, whatever befalls it: killed at any change of a file, no room, copies, other settings and rows.

    python -m benchmarks folders [--sequences 2000] [--seed 0] [--only BATCH] [--kept FILE] [--json FILE]

A sequence is up to six things that befall one folder, over real runs of a few updates (tests/recipes/folders.py says
which, and what must hold after each). Sequences are drawn in batches, each from its own number, so that `--only`
repeats one; `--kept FILE` gets a line a batch, and the same command goes on after the last one. Exit code 1 where one
does not hold.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.tables import print_rows

BATCH = 20
"""Sequences that are drawn from one number."""
SPACING = 10**6
"""Batch i of seed S has the number S · SPACING + i: no two seeds share a batch."""
SHOWN = 5


def try_batch(number: int, count: int = BATCH) -> dict[str, Any]:
    """What befell `count` sequences, and the first that did not hold, if one did not."""
    from tests.recipes.folders import befallen
    from tests.recipes.test_folders import try_sequences

    befallen.clear()
    start, failure = time.process_time(), ""
    try:
        try_sequences(count, number)
    except Exception as error:
        failure = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
    return {
        "batch": number,
        "sequences": befallen["sequences"],
        "befallen": dict(befallen),
        "failure": failure,
        "CPU seconds": time.process_time() - start,
    }


def run(
    sequences: Annotated[int, typer.Option(min=1, help="How many.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other sequences.")] = 0,
    only: Annotated[int | None, typer.Option(help="Repeat the batch of this number alone.")] = None,
    kept: Annotated[Path | None, typer.Option(help="A file with a line a batch, to go on after.")] = None,
) -> dict[str, Any]:
    """Let things befall a run's folder; exit code 1 where it does not hold."""
    first = seed * SPACING
    numbers = [only] if only is not None else [*range(first, first + -(-sequences // BATCH))]
    lines = kept.read_text(encoding="utf-8").splitlines() if kept is not None and kept.is_file() else []
    done = {record["batch"]: record for record in map(json.loads, lines)}
    console, told = Console(stderr=True), 0
    columns = (
        TextColumn("{task.fields[failed]} failed"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=len(numbers), failed=0)
        for place, number in enumerate(numbers):
            if number not in done:
                done[number] = try_batch(number)
                if kept is not None:
                    with kept.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(done[number]) + "\n")
            failed = sum(bool(done[each]["failure"]) for each in numbers[: place + 1])
            bar.update(task, completed=place + 1, failed=failed)
            if not console.is_terminal and (place + 1) * 20 // len(numbers) > told:
                told = (place + 1) * 20 // len(numbers)
                console.print(f"{(place + 1) * BATCH:,} sequences, {failed} batches failed", highlight=False)
    result = summary([done[number] for number in numbers], seed)
    show(result, Console())
    return result


def summary(batches: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """All numbers as plain values."""
    befallen: Counter[str] = Counter()
    for batch in batches:
        befallen.update(batch["befallen"])
    sequences = befallen.pop("sequences", 0)
    return {
        "sequences": sequences,
        "seed": seed,
        "failed": sum(bool(batch["failure"]) for batch in batches),
        "befallen": dict(sorted(befallen.items())),
        "CPU seconds": sum(batch["CPU seconds"] for batch in batches),
        "failures": [
            {"batch": batch["batch"], "told": batch["failure"]} for batch in batches if batch["failure"]
        ],
    }


def show(result: dict[str, Any], console: Console) -> None:
    """What befell the folders, the failures with what repeats them, one line that sums up."""
    rows = [{"what": what, "times": times} for what, times in result["befallen"].items()]
    print_rows("What befell the folders", rows, {"times": ",d"}, console)
    for failure in result["failures"][:SHOWN]:
        console.print(failure["told"], markup=False, highlight=False, soft_wrap=True)
        again = f"python -m benchmarks folders --only {failure['batch']}"
        console.print(f"    repeat it: {again}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{result['sequences']:,} sequences: {result['failed']} did not hold; "
        f"{result['CPU seconds'] / 60:.1f} CPU-minutes",
        highlight=False,
        soft_wrap=True,
    )
