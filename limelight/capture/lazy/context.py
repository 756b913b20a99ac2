"""lazy_attentions: `output_attentions=True` on a model that runs a fused kernel, at no extra cost.

A stock Hugging Face model runs on a kernel that never forms the weights; asked for them it warns once and gives an
empty tuple. Inside this block it gives a `LazyAttentionTensor` a layer instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from limelight.capture.captured import CapturedAttention
from limelight.capture.diagnostics import why_nothing
from limelight.capture.hooks import hooked
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.inputs.autograd import Graph
from limelight.capture.lazy.tensor import LazyAttentionTensor
from limelight.capture.listeners import listening
from limelight.capture.module_names import CallNames
from limelight.capture.sources.torch_compile import compiled
from limelight.capture.sources.transformers_interface import hugging_face
from limelight.capture.verification import demand, verify
from limelight.checked import checked
from limelight.errors import ArgumentTypeError, CaptureError


class LazyAttentionListener:
    """Listens, and lends the model a `LazyAttentionTensor` for the weights that its backend does not give."""

    def __init__(self, model: nn.Module) -> None:
        self.names = CallNames(model)
        self.forwards = self.heard = 0
        self._asked = False
        self._recomputed = False
        """Whether the model is to be run again in the backward pass, in which the weights have no part."""

    def owns(self, module: nn.Module) -> bool:
        return module in self.names

    def on_call(self, module: nn.Module, inputs: AttentionInputs) -> LazyAttentionTensor:
        self.heard += 1
        matrix = inputs.matrix()
        if not inputs.sure:
            demand(self.names.of(module), verify(inputs, matrix))
        graph = inputs.graph
        if graph is None and self._recomputed and not torch.is_grad_enabled():
            query = inputs.query.detach().requires_grad_()
            graph = Graph(query, inputs.key, lost="a gradient checkpoint has computed without a graph")
        return LazyAttentionTensor(matrix, inputs.query.dtype, (inputs.query, inputs.key), graph)

    def begin(self, model: nn.Module, _: Any, kwargs: Mapping[str, Any]) -> None:
        """A forward of the whole model begins."""
        self._asked = kwargs.get("output_attentions", getattr(model.config, "output_attentions", False))
        self.forwards += 1
        self._recomputed = (
            torch.is_grad_enabled()
            and model.training
            and any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        )

    def end(self, model: nn.Module, _: Any, output: Any) -> None:
        """Refuse the empty answer to a forward that was asked for its attention."""
        if not self._asked or not isinstance(
            output, Mapping
        ):  # a bare tuple does not say which of it is attention
            return
        if not any(weights for name, weights in output.items() if name.endswith("attentions")):
            raise CaptureError(self.why(model))

    def why(self, model: nn.Module) -> str:
        return why_nothing(model, CapturedAttention(), self.forwards)


@contextmanager
@checked
def lazy_attentions(model: nn.Module) -> Iterator[nn.Module]:
    """Inside the block, `output_attentions=True` gives tensors that are computed when they are looked at.

    The model keeps its backend, its masks and its outputs. `outputs.attentions`, `decoder_attentions` and
    `cross_attentions` hold one `LazyAttentionTensor` a layer: a tensor (batch, heads, queries, keys) that can be
    sliced, stacked, compared, turned into NumPy and handed to code that expects the weights of an eager model. They
    live on after the block and hold references to Q and K, memory linear in the length. A model that runs eagerly
    gives its own weights, as ever. A query that may look at nothing has weights of 0, where eager models have what
    their softmax makes of equal scores; under dropout they are those before it.

    Where the model runs with gradients, a loss on the weights reaches its parameters exactly as in an eager model.
    The output is not computed from them, so gradients of the output with respect to the weights (`retain_grad`,
    `.grad`, `torch.autograd.grad(…, attentions)`) are refused with CaptureError: for those load the model with
    attn_implementation="eager".

    Gives the model. Raises CaptureError where a forward that was asked for its attention would give an empty
    answer, or where the model did not run in the block; ArgumentTypeError for what is no Hugging Face model.

    >>> with lazy_attentions(model):                                        # doctest: +SKIP
    ...     outputs = model(**inputs, output_attentions=True)
    >>> outputs.attentions[3][0, 2].argmax(-1)                              # doctest: +SKIP
    """
    if not isinstance(model, nn.Module) or not hasattr(model, "config"):
        raise ArgumentTypeError(
            f"lazy_attentions() takes a Hugging Face model, which has output_attentions; got {type(model).__name__}. "
            "For any other model: limelight.watch(model)."
        )
    lender = LazyAttentionListener(model)
    root = getattr(model, "_orig_mod", model)
    with listening(lender.names.modules, lender, (compiled, hugging_face)), _no_word_of_eager():
        with hooked(root, lender.begin, lender.end):
            yield model
    if not lender.forwards and not lender.heard:  # a part of it may have been called by itself
        raise CaptureError(lender.why(model))


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
