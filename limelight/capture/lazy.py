"""lazy_attentions: `output_attentions=True` on a model that runs on a fused kernel, at the price of nothing.

A stock Hugging Face model runs on a kernel that never forms the weights; asked for them it warns once and gives an
empty tuple. Inside this block it gives an `OnDemand` a layer instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from limelight.capture.inputs import Inputs
from limelight.capture.listening import listening
from limelight.capture.on_demand import OnDemand
from limelight.capture.watching import SOURCES
from limelight.errors import CaptureError, KindError


class Lender:
    """Listens, and lends the model an `OnDemand` for the weights that its backend does not give."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = {id(module) for module in model.modules()}
        self.lent = 0

    def owns(self, module: nn.Module) -> bool:
        return id(module) in self._modules

    def hear(self, module: nn.Module, inputs: Inputs) -> OnDemand:
        self.lent += 1
        return OnDemand(inputs.matrix(), inputs.query.dtype)


@contextmanager
def lazy_attentions(model: nn.Module) -> Iterator[nn.Module]:
    """Inside the block, `output_attentions=True` gives tensors that are computed when they are looked at.

    The model keeps its backend, its masks and its outputs. `outputs.attentions`, `decoder_attentions` and
    `cross_attentions` hold one `OnDemand` a layer: a tensor (batch, heads, queries, keys) that can be sliced,
    stacked, compared, turned into NumPy and handed to code that expects the weights of an eager model. They live
    on after the block and hold references to Q and K, memory linear in the length. A model that runs eagerly
    gives its own weights, as ever.

    Gives the model. Raises CaptureError at the end of a block in which the model ran no attention that could be
    heard, and KindError for what is no model.

    >>> with lazy_attentions(model):                                        # doctest: +SKIP
    ...     outputs = model(**inputs, output_attentions=True)
    >>> outputs.attentions[3][0, 2].argmax(-1)                              # doctest: +SKIP
    """
    if not isinstance(model, nn.Module):
        raise KindError(f"lazy_attentions() takes a model, a torch.nn.Module; got {type(model).__name__}.")
    lender = Lender(model)
    with listening(model, lender, SOURCES), _no_word_of_eager():
        yield model
    if not lender.lent:
        raise CaptureError(
            f"No attention of {type(model).__name__} could be heard in this block. Run the model inside of it; if it "
            "did run, it computes attention in a way that cannot be lent out: use limelight.watch(model), which says "
            "why, or load it with attn_implementation='eager'."
        )


@contextmanager
def _no_word_of_eager() -> Iterator[None]:
    """Without the advice to load the model anew, which does not hold here."""
    log = logging.getLogger("transformers.integrations.sdpa_attention")

    def other(record: logging.LogRecord) -> bool:
        return "output_attentions" not in record.getMessage()

    log.addFilter(other)
    try:
        yield
    finally:
        log.removeFilter(other)
