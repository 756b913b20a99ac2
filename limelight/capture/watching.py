"""watch: see what a model attends to while it runs, unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from limelight.capture.hugging_face import hugging_face
from limelight.capture.inputs import Inputs
from limelight.capture.listening import listening
from limelight.capture.seen import Call, Seen
from limelight.errors import CaptureError

SOURCES = (hugging_face,)


class Watcher:
    """The listener of one `watch`."""

    def __init__(self, model: nn.Module, seen: Seen) -> None:
        self._names = {id(module): name for name, module in model.named_modules()}
        self._seen = seen

    def owns(self, module: nn.Module) -> bool:
        return id(module) in self._names

    def hear(self, module: nn.Module, inputs: Inputs) -> None:
        name = self._names[id(module)]
        layer = getattr(module, "layer_idx", None)
        self._seen.calls.append(
            Call(
                name,
                inputs.kind,
                len(self._seen) if layer is None else layer,
                inputs.matrix(),
                inputs.backend,
            )
        )


@contextmanager
def watch(model: nn.Module) -> Iterator[Seen]:
    """Inside the block, every attention that `model` computes is kept as an `AttentionMatrix`.

    >>> import torch, transformers                                           # doctest: +SKIP
    >>> with watch(model) as seen:                                           # doctest: +SKIP
    ...     model(**inputs)
    """
    seen = Seen()
    with listening(model, Watcher(model, seen), SOURCES):
        yield seen
    if not seen.calls:
        raise CaptureError("No attention was seen.")
