"""What all benchmarks print and write: a table of rows, and JSON that says where the numbers come from."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.common.machine import processor


def print_rows(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    formats: Mapping[str, str] | None = None,
    console: Console | None = None,
) -> None:
    """One line a row and one column a key of the first row; `formats` are format specifications by column."""
    table = Table(title=title, box=None, title_justify="center")
    formats = formats or {}
    for name in rows[0] if rows else ():
        number = isinstance(rows[0][name], int | float)
        table.add_column(name, justify="right" if number else "left", no_wrap=number)
    for row in rows:
        table.add_row(*(format(value, formats.get(name, "")) for name, value in row.items()))
    (console or Console()).print(table)


def print_failures(
    failures: Sequence[Mapping[str, Any]], most: int, heading: str, again: str, console: Console
) -> None:
    """The first `most` failures, each with what it was and the command that repeats it, and how many more there are.

    `heading` and `again` are formats of a failure's fields: what is said of it, and the command's words.
    """
    for failure in failures[:most]:
        console.print(
            f"{heading.format_map(failure)}\n    {failure['told']}\n"
            f"    repeat it: python -m benchmarks {again.format_map(failure)}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if len(failures) > most:
        console.print(f"… and {len(failures) - most} more", highlight=False)


def machine() -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    import torch

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def write_json(file: Path, name: str, result: Any) -> None:
    """The result of the benchmark `name`, with date, machine and command."""
    record = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "machine": machine(),
        "result": result,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
