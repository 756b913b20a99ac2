"""Capture: the same AttentionMatrix out of other people's models, while they run, unchanged.

watcher.py       watch(model): opens the sources, collects what they report
captured.py      CapturedAttention, call.py: what is kept   summary.py       its table, its notes, its memory
diagnostics.py   why a result is empty                    verification.py  weights · values against the model's output
listeners.py     how a source reports to its listeners    hooks.py         hooks that no copy of a model carries
module_names.py  the name and layer of a call             model_parts.py   some of the heads, some of the layers
head_axes.py     heads that share an axis with the batch  recordable.py    calls whose numbers cannot be kept, and why
offload.py       captured tensors to another device
sources/         the places where attention is computed and can be intercepted; op_tracing/ follows attention by hand
inputs/          one call of an attention backend in the words of AttentionMatrix; masks and biases as rules
decoding/        the steps of generate() joined to one matrix
lazy/            output_attentions=True as tensors that are computed on demand
"""

from __future__ import annotations

from limelight.capture.call import AttentionCall
from limelight.capture.captured import CapturedAttention
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.capture.watcher import watch

__all__ = ["AttentionCall", "AttentionInputs", "CapturedAttention", "watch"]
