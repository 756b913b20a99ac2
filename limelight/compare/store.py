"""What a part of the comparison gave, on disk: the runs' numbers with the date, the command and the machine.

Tables, sentences and pictures are not kept. They are made from the numbers whenever they are shown.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from limelight.compare.plan import PARTS, Part
from limelight.errors import CheckpointError


@dataclass(frozen=True)
class Kept:
    """One part's runs by name, and where they come from."""

    part: str
    date: str
    command: str
    machine: dict[str, Any]
    runs: dict[str, dict[str, Any]]

    def told(self) -> Part:
        """The runs as tables, sentences and pictures."""
        told: Part = import_module(PARTS[self.part].module).result(self.runs)
        return told


def keep(folder: Path, part: str, command: str, runs: Mapping[str, dict[str, Any]]) -> Kept:
    """Write `folder`/part.json, aside first, so that a reader sees the old file or the new one."""
    date = datetime.now(UTC).isoformat(timespec="minutes")
    kept = Kept(part, date, command, machine(), dict(runs))
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{part}.partial"
    partial.write_text(json.dumps(asdict(kept), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, folder / f"{part}.json")
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
        raise CheckpointError(f"{file} does not hold what `limelight compare` writes: {error}.") from error


def machine() -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    import torch

    told = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    if torch.cuda.is_available():
        told["accelerator"] = torch.cuda.get_device_name()
    return told


def _processor() -> str:
    """Its name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
