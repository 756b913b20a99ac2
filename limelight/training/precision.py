"""In which precision a training step multiplies: bf16 where the processor does, float32 elsewhere.

A CPU without instructions for bf16 imitates them, tens of times slower than it multiplies in float32
(dev/log.md), so a recipe that names no precision must not choose by hope.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

Precision = Literal["auto", "float32", "bf16"]


def in_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether a training step on `device` runs its matrix products in bf16; "auto" asks the processor."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _cpu_multiplies_bf16()


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context of a forward: its products in bf16, where `in_bf16` says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bf16(precision, device))


def _cpu_multiplies_bf16() -> bool:
    told: Any = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # torch 2.11 does not tell: float32 is never far off
    return any(told.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
