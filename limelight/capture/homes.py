"""Where the code of a module comes from: of libraries whose ways are known, or of somebody else."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any

from torch import nn

KNOWN = ("torch.nn.", "transformers.", "limelight.", "accelerate.")
_HELPERS = ("torch", "functools", "dataclasses", "abc", "typing", "contextlib")


def is_foreign(module: nn.Module) -> bool:
    """Whether a module, or a method that somebody put in the place of its own, is of none of the known libraries."""
    return not type(module).__module__.startswith(KNOWN) or is_patched(module)


def is_patched(module: nn.Module) -> bool:
    """Whether somebody else's function stands in the place of a method of its."""
    own = module.__dict__.get("forward")
    if own is not None and not _is_known(own):
        return True
    return any(not _is_known(one) for one in vars(type(module)).values() if isinstance(one, FunctionType))


def _is_known(function: Any) -> bool:
    home = getattr(inspect.unwrap(function), "__module__", None) or ""
    return home.startswith((*KNOWN, "torch.")) or home in _HELPERS
