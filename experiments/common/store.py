"""What a part of the comparison gave, on disk: the runs' numbers with the date, the command and the machine.

Tables, sentences and pictures are not kept. They are made from the numbers whenever they are shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from experiments.common.plan import PARTS, Part
from limelight.errors import CheckpointError
from limelight.files import write_text


@dataclass(frozen=True)
class Kept:
    """One part's runs by name, and where they come from.

    machines  every machine that made some of the runs, with their names: {"machine": {…}, "runs": […]}
    planned   how many runs there are to be, where these are not all; 0 where they are
    """

    part: str
    date: str
    command: str
    machines: list[dict[str, Any]]
    runs: dict[str, dict[str, Any]]
    planned: int = 0

    def told(self) -> Part:
        """The runs as tables, sentences and pictures; each run comes with its "machine"."""
        made_on = {name: each["machine"] for each in self.machines for name in each["runs"]}
        runs = {name: run | {"machine": made_on[name]} for name, run in self.runs.items()}
        told: Part = import_module(PARTS[self.part].module).result(runs)
        return told


def keep(
    folder: Path,
    part: str,
    command: str,
    runs: Mapping[str, dict[str, Any]],
    made_on: Mapping[str, dict[str, Any]],
    planned: int = 0,
) -> Kept:
    """Write `folder`/part.json, aside first, so that a reader sees the old file or the new one.

    made_on  each run's machine, by the run's name
    planned  how many there are to be, where some are not finished
    """
    date = datetime.now(UTC).isoformat(timespec="minutes")
    machines: list[dict[str, Any]] = []
    for name in runs:
        known = next((each for each in machines if each["machine"] == made_on[name]), None)
        if known is None:
            machines.append({"machine": made_on[name], "runs": [name]})
        else:
            known["runs"].append(name)
    kept = Kept(part, date, command, machines, dict(runs), planned)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{part}.json", json.dumps(asdict(kept), indent=1, ensure_ascii=False) + "\n")
    return kept


def kept(folder: Path, part: str) -> Kept | None:
    """What the folder holds of a part; None where it has not been run.

    Raises CheckpointError for a file that is no such JSON.
    """
    file = folder / f"{part}.json"
    if not file.is_file():
        return None
    try:
        return Kept(**json.loads(file.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{file} does not hold what `python -m experiments` writes: {error}."
        ) from error
