"""What runs of their own processes do in the tests of the runner."""

from __future__ import annotations

import os
import time
from pathlib import Path

from experiments.common.runner import ON_THE_CPU


def wait(folder: Path) -> None:
    """Say who waits, and wait for a minute."""
    (folder / "partial").write_text(str(os.getpid()))
    (folder / "partial").rename(folder / "pid")
    time.sleep(60)


def count(folder: Path) -> None:
    """Write one word more for each time that it is done."""
    time.sleep(0.5)
    with (folder / "done").open("a") as done:
        done.write("once ")


def sees(folder: Path, device: str = "") -> dict[str, str | None]:
    """What keeps a run on the CPU."""
    return {name: os.environ.get(name) for name in ON_THE_CPU}
