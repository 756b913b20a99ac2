"""Whether Triton can read a matrix, and how it would cut it: pure functions that say why."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from limelight.matrix.engine.plan import Plan, plan_for, stats_bytes, too_large
from limelight.matrix.engine.triton.block_mask import block_mask_of
from limelight.matrix.engine.triton.operands import padded
from limelight.matrix.logits import Logits
from limelight.matrix.reductions.base import Reduction
from limelight.matrix.reductions.distance import MeanDistance
from limelight.matrix.reductions.downsample import Downsample
from limelight.matrix.reductions.entropy import Entropy
from limelight.matrix.reductions.pooling import Pool
from limelight.matrix.reductions.products import Applied, TransposedApplied
from limelight.matrix.reductions.received import Received
from limelight.matrix.reductions.sink_mass import SinkMass
from limelight.matrix.reductions.topk import ArgMax
from limelight.matrix.reductions.value_norms import AttentionOutput

WIDEST = 256  # a head, or a row of a factor; a wider tile leaves no room beside it in a multiprocessor
MOST_HEADS = 2**16 - 1  # of all batches: the second axis of a grid

ROW_REDUCTIONS = (Entropy, ArgMax, MeanDistance, SinkMass, AttentionOutput, Applied)
COLUMN_REDUCTIONS = (Received, TransposedApplied)
AREA_REDUCTIONS = (Pool, Downsample)
KERNELS = (*ROW_REDUCTIONS, *COLUMN_REDUCTIONS, *AREA_REDUCTIONS)
"""These types themselves: what inherits from one may take tiles in otherwise, and goes to the plain loop."""
PRODUCTS = (AttentionOutput, Applied, TransposedApplied)
ALWAYS_READ = (Entropy, ArgMax, MeanDistance, SinkMass, Received)
"""The others go to the plain loop where they are too wide, or cut too finely, for a kernel."""

BYTES_A_QUERY = 64  # t, u, key, behind and ahead, and what is computed of them, mostly float64
BYTES_A_KEY = 16


def rejection(scores: Logits, reductions: Sequence[Reduction[Any]]) -> str | None:
    """Why Triton cannot read this, a sentence without a full stop; None where it can."""
    if scores.device.type != "cuda":
        return f"Triton runs on CUDA, and this matrix is on {scores.device.type}"
    if find_spec("triton") is None:
        return "Triton is not installed (pip install 'limelight[gpu]')"
    return unsupported(scores, reductions)


def unsupported(scores: Logits, reductions: Sequence[Reduction[Any]]) -> str | None:
    """What no kernel covers here, whatever the device; None where all is covered, or can be read beside it."""
    q_BHND, k_BGMD = scores.q_BHND, scores.k_BGMD
    if scores.dtype != torch.float32 or q_BHND.dtype != k_BGMD.dtype:
        return f"the kernels take queries and keys of one dtype up to float32, not {q_BHND.dtype} and {k_BGMD.dtype}"
    if not 0 < q_BHND.shape[3] <= WIDEST:
        return f"the kernels take heads of 1 to {WIDEST} numbers, not {q_BHND.shape[3]}"
    if len(scores.batches) * len(scores.heads) > MOST_HEADS:
        return f"the kernels take up to {MOST_HEADS} heads of all batches together"
    if scores.bias is not None and not isinstance(scores.bias, Tensor):
        return "the kernels cannot call a bias function"
    sight = block_mask_of(scores.mask, scores.N, scores.M)
    if isinstance(sight, str):
        return f"the kernels do not know {sight}"
    if reductions and not any(type(reduction) in KERNELS for reduction in reductions):
        return f"no kernel reads {', '.join(sorted({type(reduction).__name__ for reduction in reductions}))}"
    return None


def left_to_plain(reductions: Sequence[Reduction[Any]]) -> list[int]:
    """The places of the reductions that no kernel reads, nor would if they were narrower."""
    return [place for place, reduction in enumerate(reductions) if type(reduction) not in KERNELS]


def passes(reductions: Sequence[Reduction[Any]], cut: Plan, known: bool) -> tuple[str, ...]:
    """One for all that is summed over keys, one for what is summed over queries, one for each Pool or Downsample.

    A second product or distance has a pass of its own.
    """
    kinds = [type(reduction) for reduction in reductions]
    mixed = [reduction for reduction in reductions if type(reduction) in PRODUCTS or _names_keys(reduction)]
    turned = sum(kind is TransposedApplied for kind in kinds)
    found = []
    if any(kind in ROW_REDUCTIONS for kind in kinds):
        found += ["finds the row stats and sums over keys"]
        found += ["sums over keys"] * (
            max(0, len(mixed) - turned - 1) + max(0, kinds.count(MeanDistance) - 1)
        )
    elif not known:
        found += ["finds the row stats"]
    if any(kind in COLUMN_REDUCTIONS for kind in kinds):
        found += ["sums over queries"] * max(1, turned)
    found += ["sums areas"] * sum(kind in AREA_REDUCTIONS for kind in kinds)
    return tuple(found) or ("feeds every reduction",)


def _names_keys(reduction: Reduction[Any]) -> bool:
    return type(reduction) is SinkMass and getattr(reduction.keys, "ndim", 1) > 0 and len(reduction.keys) > 0


def plan(scores: Logits, reductions: Sequence[Reduction[Any]], limit: int | None = None) -> Plan:
    """The tile of a program, by the bytes of a row of Q: what a multiprocessor holds without spilling.

    Raises TooLargeError where what the kernels find, or the plain loop beside them, takes more than `limit`.
    """
    (B, H, N, D), M = scores.q_BHND.shape, scores.M
    row = padded(D) * scores.q_BHND.element_size()
    over_keys = [
        _width(scores, reduction) for reduction in reductions if type(reduction) in (AttentionOutput, Applied)
    ]
    over_queries = [
        _width(scores, reduction) for reduction in reductions if type(reduction) is TransposedApplied
    ]
    rows = 64 if row > 256 or any(over_keys + over_queries) else 128
    columns = 64 if row <= 256 else 32
    # Over keys all products live until the last is found, one of them scaled; over queries the first and one more.
    over_keys += [1 for reduction in reductions if _names_keys(reduction)]
    products = N * (sum(over_keys) + max(over_keys, default=0))
    products = max(products, M * (sum(over_queries[:1]) + max(over_queries[1:], default=0)))
    needed = B * H * (BYTES_A_QUERY * N + BYTES_A_KEY * M + 4 * products)
    if not all(type(reduction) in ALWAYS_READ for reduction in reductions):
        needed = max(needed, plan_for(scores, limit).worker_bytes)
    cut = Plan(rows, columns, max(1, B), max(1, H), worker_bytes=needed, limit=limit)
    if limit is not None and limit < stats_bytes(scores) + needed:
        raise too_large(scores, cut, limit)
    return cut


def _width(scores: Logits, reduction: Any) -> int:
    """How many numbers the product has a query or key; none where no kernel makes it."""
    width = scores.value_width
    if not isinstance(reduction, AttentionOutput):
        width = reduction.factor.shape[-1] if reduction.factor.dim() > 1 else 1
    return width if width <= WIDEST else 0
