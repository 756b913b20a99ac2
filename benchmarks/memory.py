"""The most memory that a contestant holds beside its inputs, measured in a process of its own.

A process that has done something before has memory lying about that hides what is taken next. So on the CPU a fresh
process draws the inputs, forks once for each contestant, and each of those asks the system for its own peak. On a
GPU, PyTorch counts.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from benchmarks.contestants import Contestant, Inputs, Setting, contestants, forward

BASE = Contestant("SDPA forward", forward)
FEW = 128
"""Tokens whose reading loads the code."""


def extra(setting: Setting, names: Sequence[str], threads: int) -> dict[str, int]:
    """Bytes at the peak, less those of the inputs, for every contestant named; Linux or a GPU, else nothing."""
    if setting.device != "cpu":
        inputs = Inputs.of(setting)
        return {each.name: _on_gpu(each, inputs) for each in _named(setting, names)}
    if not Path("/proc/self/clear_refs").exists():
        return {}
    request = json.dumps({"setting": asdict(setting), "names": list(names), "threads": threads})
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", request],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parent.parent,
    )
    found: dict[str, int] = json.loads(run.stdout)
    return found


def _named(setting: Setting, names: Sequence[str]) -> list[Contestant]:
    return [each for each in (BASE, *contestants(setting)) if each.name in names]


def _on_gpu(contestant: Contestant, inputs: Inputs) -> int:
    run = contestant.prepare(inputs)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _in_fork(contestant: Contestant, inputs: Inputs, threads: int) -> int:
    """What a forked child counts; it has what its parent had, and nothing lying about.

    It makes a few tokens' reading first: code that is loaded then is nobody's memory.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Other threads, which a fork does not take with it, wait here; the child starts its own.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(threads)
            contestant.prepare(Inputs.of(replace(inputs.setting, tokens=FEW, heads=1)))()
            run = contestant.prepare(inputs)
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            before = _status("VmRSS")
            run()
            os.write(writer, str(_status("VmHWM") - before).encode())
        finally:
            os._exit(0)  # no clean-up: everything here is the parent's
    os.close(writer)
    with os.fdopen(reader) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return int(told) if told else -1


def _status(name: str) -> int:
    """Bytes, of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


def main(request: str) -> None:
    asked = json.loads(request)
    setting = Setting(**asked["setting"])
    inputs = Inputs.of(setting)
    found = {each.name: _in_fork(each, inputs, asked["threads"]) for each in _named(setting, asked["names"])}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
