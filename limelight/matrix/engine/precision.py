"""Products of float32 numbers in float32, whatever the process has set.

A training script may have told PyTorch to multiply float32 in TF32, which keeps 10 of 23 bits, or in bf16: on a
GPU with `allow_tf32`, on both with `torch.set_float32_matmul_precision`. A reading is exact all the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class _Setting:
    """One of PyTorch's settings, and what it was before the first of the readings that are under way."""

    matmul: Any
    inside: int = 0
    before: str = ""


_guard = threading.Lock()
_cuda = _Setting(torch.backends.cuda.matmul)
_cpu = _Setting(torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Until the last reading that asked for it has ended: the setting is one for the process."""
    setting = _cuda if device.type == "cuda" else _cpu
    with _guard:
        if setting.inside == 0:
            setting.before = setting.matmul.fp32_precision
            setting.matmul.fp32_precision = "ieee"
        setting.inside += 1
    try:
        yield
    finally:
        with _guard:
            setting.inside -= 1
            if setting.inside == 0:
                setting.matmul.fp32_precision = setting.before
