"""Whether a module's code belongs to PyTorch, transformers or us, or is somebody else's."""

from __future__ import annotations

from collections.abc import Iterable
from types import FunctionType
from typing import Any

from torch import nn

KNOWN = ("torch.", "transformers.", "limelight.", "accelerate.")
_HELPERS = ("torch", "functools", "dataclasses", "abc", "typing", "contextlib")


def any_foreign(modules: Iterable[nn.Module]) -> bool:
    """Whether some module, or a method that somebody put in the place of its own, is of none of the known libraries.

    TorchScript and graphs of torch.export are PyTorch's, and hold what is somebody else's. What torch.compile puts
    around a model holds nothing but the model, which is asked for itself.
    """
    modules = list(modules)
    kinds = {type(module) for module in modules}
    return not all(
        kind.__module__.startswith((*KNOWN[1:], "torch.nn.", "torch._dynamo.")) for kind in kinds
    ) or any_patched(modules)


def any_patched(modules: Iterable[nn.Module]) -> bool:
    """Whether somebody else's function stands in the place of a method of one of them."""
    modules = list(modules)
    if not all(_is_known(own) for module in modules if (own := module.__dict__.get("forward")) is not None):
        return True
    methods = [one for kind in {type(module) for module in modules} for one in vars(kind).values()]
    return not all(_is_known(one) for one in methods if isinstance(one, FunctionType))


def _is_known(function: Any) -> bool:
    function = getattr(function, "__func__", getattr(function, "func", function))  # of a method, of a partial
    home = getattr(function, "__globals__", {}).get("__name__") or getattr(function, "__module__", None) or ""
    return home.startswith(KNOWN) or home in _HELPERS
