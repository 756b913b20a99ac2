"""Name every call by its module, and number its layer."""

from __future__ import annotations

import threading
from collections import defaultdict

from torch import nn

from limelight.capture.inputs.attention_inputs import Kind


class _Forward(threading.local):
    """The forward that this thread is in: how often each module has computed attention."""

    def __init__(self) -> None:
        self.calls: defaultdict[int, int] = defaultdict(int)
        self.inside = False


class CallNames:
    """Names calls by their module; the second call of a module in one forward of the model has `#2` after its name.

    A layer is numbered as the module itself does (`layer_idx`), else by the one number in its name, else (no number,
    several, or a module that is called several times) by counting through its part of the model, from 0.
    """

    def __init__(self, model: nn.Module) -> None:
        named = {module: name.replace("_orig_mod.", "") for name, module in model.named_modules()}
        self.modules = tuple(named)
        self._names = {id(module): name for module, name in named.items()}
        self._now = _Forward()
        self._layers: dict[str, int] = {}
        self._counted: defaultdict[tuple[str, Kind], int] = defaultdict(int)

    def __contains__(self, module: nn.Module) -> bool:
        return id(module) in self._names

    def of(self, module: nn.Module) -> str:
        """The name of the module alone."""
        return self._names[id(module)]

    def forward_begins(self) -> None:
        """Calls are counted anew."""
        self._now.calls.clear()
        self._now.inside = True

    def forward_ends(self) -> None:
        """A part that is called by itself begins no second call of what was called before."""
        self._now.inside = False

    def call(self, module: nn.Module, kind: Kind) -> tuple[str, int]:
        """The name and the layer of the call that this module makes now."""
        name, nth = self.next(module)
        if name not in self._layers:
            self._layers[name] = self._layer(module, kind, nth)
        return name, self._layers[name]

    def next(self, module: nn.Module) -> tuple[str, int]:
        """The name of the attention that this module computes now, and which of this forward it is."""
        self._now.calls[id(module)] += 1
        nth = self._now.calls[id(module)] if self._now.inside else 1
        return self.of(module) + (f"#{nth}" if nth > 1 else ""), nth

    def _layer(self, module: nn.Module, kind: Kind, nth: int) -> int:
        parts = self.of(module).split(".")
        numbers = [place for place, part in enumerate(parts) if part.isdigit()]
        part_of_model = ".".join(parts[: numbers[0]]) if numbers else ""
        counted = self._counted[part_of_model, kind]
        self._counted[part_of_model, kind] += 1
        told = getattr(module, "layer_idx", None)
        if nth == 1 and isinstance(told, int):
            return told
        if nth == 1 and len(numbers) == 1:
            return int(parts[numbers[0]])
        return counted
