"""Whose attention can be captured: every family that transformers can build, against its own eager weights."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from benchmarks.tables import print_rows
from limelight.errors import InputError

MEMORY, SECONDS = 8 * 2**30, 90
"""Bytes and seconds of CPU that one family may take."""

OUTCOMES = {
    "exact": "every matrix is the official eager one",
    "verified": "W·V is the model's own output; official maps are missing or of another kind",
    "in part": "some of its attention is captured, the rest refused with a reason",
    "refused": "an error that names the reason",
    "wrong": "",
    "not built": "no small random model of it runs here",
}
"""What may come of a family, from best to worst."""

WRITTEN = ("not built", "not run", "exact", "verified", "noted", "refused", "wrong")
"""What may come of a family that writes (`--generate`); of its ways of writing the last of these counts."""


@dataclass
class Row:
    """One family: what came of it, and why."""

    family: str
    outcome: str
    reason: str = ""
    model: str = ""
    matrices: int = 0
    official: int = 0
    error: float | None = None
    """The largest difference from an official weight."""
    product: float | None = None
    """The largest difference of W·V from the model's own output, beside the largest entry of that."""
    seconds: float = 0.0
    ways: dict[str, str] = field(default_factory=dict)
    """With --generate: what came of each way of writing, and why."""


def run(
    only: Annotated[list[str] | None, typer.Option(help="Only this family; may be repeated.")] = None,
    jobs: Annotated[int, typer.Option(help="How many families at a time.")] = 1,
    log: Annotated[
        Path | None,
        typer.Option(help="Keep each result here at once; what it holds already is not run again."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Put the outcomes into the package, for `limelight coverage`.")
    ] = False,
    generate: Annotated[
        bool,
        typer.Option("--generate", help="Let every family that writes write, and compare step by step."),
    ] = False,
) -> dict[str, Any]:
    """Build every family small, run it under capture, compare with its official eager weights, say what differs."""
    from benchmarks.coverage_check import BOUND, check
    from benchmarks.coverage_generate import check_generate, shown, writing_families

    if generate:
        check = check_generate
    families = writing_families() if generate else buildable()
    unknown = [name for name in only or () if name not in families]
    if unknown:
        raise InputError(
            f"There is no family {', '.join(unknown)}; transformers knows {len(families)} of them."
        )
    rows = [row for row in _logged(log) if row.family in (only or families)]
    waiting = [family for family in only or families if family not in {row.family for row in rows}]
    if waiting:
        check(
            "gpt2" if generate else "bert"
        )  # what all families share is imported once, here, before the first fork
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("families", total=len(waiting))
        for row in apart(check, waiting, jobs):
            rows.append(row)
            if log is not None:
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
            bar.update(task, advance=1, description=f"{row.family}: {row.outcome}")
    if generate:
        return _of_writing(rows, shown(rows), BOUND)
    rows.sort(key=lambda row: (list(OUTCOMES).index(row.outcome), row.family))
    show(rows)
    if keep:
        _keep(rows)
    found = totals(rows)
    return {
        "bound": BOUND,
        "totals": found,
        "families": [asdict(row) for row in rows],
        "failed": found.get("wrong", 0),
    }


def _of_writing(rows: list[Row], counted: list[dict[str, Any]], bound: float) -> dict[str, Any]:
    """Show and give what came of the families that write."""
    rows.sort(key=lambda row: (WRITTEN.index(row.outcome), row.family))
    print_rows("Families that write", counted)
    for outcome in WRITTEN[3:]:
        print_reasons(rows, outcome)
    failed = sum(row.outcome == "wrong" for row in rows)
    return {"bound": bound, "totals": counted, "families": [asdict(row) for row in rows], "failed": failed}


def _keep(rows: Sequence[Row]) -> None:
    """Outcome and reason of every family that was run, beside the version of transformers that they hold for."""
    import transformers

    from limelight.capture.sources.model_families import support_table

    told = {row.family: [row.outcome, row.reason] for row in rows if row.outcome != "not built"}
    record = {"transformers": transformers.__version__, "families": dict(sorted(told.items()))}
    file = Path(support_table.__file__).with_name("measured.json")
    file.write_text(json.dumps(record, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def _logged(log: Path | None) -> list[Row]:
    if log is None or not log.is_file():
        return []
    return [Row(**json.loads(line)) for line in log.read_text(encoding="utf-8").splitlines()]


def buildable() -> list[str]:
    """The model types of which transformers has a model of its own, not only as a part of another."""
    from transformers.models.auto import modeling_auto

    types = set[str]()
    for name, mapping in vars(modeling_auto).items():
        if name.endswith("_MAPPING_NAMES") and name != "CONFIG_MAPPING_NAMES":
            types |= set(mapping)
    return sorted(types & set(modeling_auto.CONFIG_MAPPING_NAMES))


def totals(rows: Sequence[Row]) -> dict[str, int]:
    counted = Counter(row.outcome for row in rows)
    return {outcome: counted[outcome] for outcome in OUTCOMES}


def show(rows: Sequence[Row]) -> None:
    """Totals, and the reason of whatever is not exact."""
    counted = totals(rows)
    print_rows(
        "Families", [{"outcome": o, "families": counted[o], "meaning": m} for o, m in OUTCOMES.items()]
    )
    for outcome in OUTCOMES:
        print_reasons(rows, outcome)


def print_reasons(rows: Sequence[Row], outcome: str) -> None:
    """Each reason of an outcome, and the families that it was the reason of."""
    reasons = defaultdict(list)
    for row in rows:
        if row.outcome == outcome and row.reason:
            reasons[row.reason].append(row.family)
    lines = [{"reason": reason, "families": ", ".join(names)} for reason, names in reasons.items()]
    if lines:
        print_rows(outcome, lines)


# ---- a process for each -------------------------------------------------------------------------------


def apart(check: Callable[[str], Row], families: Sequence[str], jobs: int) -> Iterator[Row]:
    """Each family in a fork of this process, so that one that hangs or crashes takes no other along."""
    waiting, running = list(reversed(families)), dict[int, tuple[int, str, float]]()
    while waiting or running:
        while waiting and len(running) < max(jobs, 1):
            family = waiting.pop()
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                _be_checked(check, family, writer)
            os.close(writer)
            running[reader] = child, family, time.time()
        for reader in select.select(list(running), [], [])[0]:
            child, family, started = running.pop(reader)
            with os.fdopen(reader, "rb") as pipe:
                told = pipe.read()
            os.waitpid(child, 0)
            row = Row(**json.loads(told)) if told else Row(family, "not built", "out of time or memory")
            row.seconds = round(time.time() - started, 2)
            yield row


def _be_checked(check: Callable[[str], Row], family: str, writer: int) -> None:
    """What the fork does: check one family, tell, and end without the clean-up of its parent."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        signal.alarm(4 * SECONDS)
        try:
            row = check(family)
        except Exception as error:
            row = Row(family, "wrong", f"{type(error).__name__}: {str(error)[:300]}")
        os.write(writer, json.dumps(asdict(row)).encode())
    finally:
        os._exit(0)
