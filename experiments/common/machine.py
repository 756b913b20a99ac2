"""What a run's numbers depend on besides the code: kept with every run, told on the page."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """This one: its processor, what that multiplies in, and the versions of what runs on it."""
    import torch

    from limelight.training.precision import in_bf16

    told = {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "training": "bf16" if in_bf16("auto", torch.device("cpu")) else "float32",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    if torch.cuda.is_available():
        told["accelerator"] = torch.cuda.get_device_name()
    return told


def in_words(told: dict[str, Any]) -> str:
    """A machine in a line.

    >>> in_words({"processor": "X1", "instructions": "AVX2", "training": "float32", "cores": 2, "torch": "2.13.0"})
    'X1 (AVX2, "auto" multiplies in float32), 2 cores, torch 2.13.0'
    >>> old = {"processor": "X0", "instructions": "AVX", "training": "float32", "cores": 1, "torch": "2.13.0"}
    >>> in_words(old | {"processor": "X1", "before": [old]}).partition("; ")[2]
    'begun on X0 (AVX, "auto" multiplies in float32), 1 cores, torch 2.13.0'
    """
    line = (
        f'{told["processor"]} ({told["instructions"]}, "auto" multiplies in {told["training"]}), '
        f"{told['cores']} cores, torch {told['torch']}"
    )
    if "accelerator" in told:
        line = f"{line}, {told['accelerator']}"
    return "; ".join([line, *(f"begun on {in_words(each)}" for each in told.get("before", []))])


def processor() -> str:
    """Its name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
