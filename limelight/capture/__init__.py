"""Capture: the same AttentionMatrix out of other people's models.

watching.py  watch(model)                          seen.py      what it has kept; telling.py: the table, the memory
sources.py   where attention is computed:
             hugging_face.py, backends.py   pytorch.py   own.py   families/   handmade.py   compiled.py, places.py
             kernels.py   flex attention, TorchScript       homes.py   whose code a module runs
listening.py who hears of it                       inputs.py    what a backend was given; rules.py: its mask,
                                                                diagonals.py: tables of relative positions
hooks.py     hooks that no copy of a model has     replaced.py  other people's kernels, fused.py
readable.py  what cannot be kept, and why           parts.py     some of the heads, some of the layers
steps.py     steps of a decoder as one matrix, pieces.py       naming.py, verifying.py, offload.py, empty.py
lazy.py      output_attentions=True on demand, on_demand.py    without.py
"""

from __future__ import annotations

from limelight.capture.inputs import Inputs
from limelight.capture.seen import Call, Seen
from limelight.capture.watching import watch

__all__ = ["Call", "Inputs", "Seen", "watch"]
