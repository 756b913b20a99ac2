"""The loop in Triton: which kernel reads which reduction, and how its results become states.

`row_kernel.py` finds the row statistics and the sums of each query in one pass; with them `column_kernel.py` sums for
each key, and `area_kernel.py` for each group or cell. What has no kernel goes to the plain loop, which gets the
statistics. States are those of the reductions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limelight.matrix.engine.plan import Plan, plan_for
from limelight.matrix.engine.tiled import read_tiles
from limelight.matrix.engine.triton.area_runs import Runs, areas_of, gather_maxima, gather_sums
from limelight.matrix.engine.triton.launch import Kernels
from limelight.matrix.engine.triton.support import COLUMN_REDUCTIONS, ROW_REDUCTIONS, WIDEST
from limelight.matrix.logits import Logits
from limelight.matrix.reductions.base import Reduction
from limelight.matrix.reductions.distance import MeanDistance
from limelight.matrix.reductions.downsample import Raster
from limelight.matrix.reductions.entropy import Entropy
from limelight.matrix.reductions.pooling import Pooled
from limelight.matrix.reductions.products import Applied, ProductSums, TransposedApplied
from limelight.matrix.reductions.received import Received
from limelight.matrix.reductions.row_stats import RowStats, RowSums
from limelight.matrix.reductions.sink_mass import SinkMass
from limelight.matrix.reductions.topk import ArgMax
from limelight.matrix.reductions.value_norms import AttentionOutput
from limelight.matrix.tile import MatrixSpec, SoftmaxStats

Taken = tuple[Reduction[Any], Any]
"""A reduction and its state."""


def read_triton(
    scores: Logits,
    frame: MatrixSpec,
    reductions: Sequence[Reduction[Any]],
    known: SoftmaxStats | None,
    cut: Plan,
) -> tuple[list[Any], SoftmaxStats]:
    """Every reduction's state, and the row stats, found on the way if not `known`; as `tiled.read_tiles`."""
    states = [reduction.init(frame) for reduction in reductions]
    if 0 in (frame.B, frame.H, frame.N, frame.M):
        return states, known or RowStats().finish(RowStats().init(frame))
    kernels = Kernels(scores, cut)
    rows: list[Taken] = []
    columns: list[Taken] = []
    areas: list[tuple[Any, Runs, Runs]] = []
    rest: list[int] = []
    for place, (reduction, state) in enumerate(zip(reductions, states, strict=True)):
        too_wide = isinstance(state, ProductSums) and not 0 < state.given.shape[-1] <= WIDEST
        if cut_into := areas_of(reduction, state, frame.B):
            areas.append((state, *cut_into))
        elif type(reduction) in ROW_REDUCTIONS and not too_wide:
            rows.append((reduction, state))
        elif type(reduction) in COLUMN_REDUCTIONS and not too_wide:
            columns.append((reduction, state))
        else:
            rest.append(place)
    with torch.cuda.device_of(
        scores.q_BHND
    ):  # a kernel starts on the current device, wherever its tensors are
        stats = _read_rows(kernels, frame, rows) if rows or known is None else known
        stats = known or stats
        _read_columns(kernels, stats, columns)
        for state, row_runs, column_runs in areas:
            _read_areas(kernels, stats, state, row_runs, column_runs)
    if rest:
        beside = plan_for(scores, cut.limit)
        plain, _ = read_tiles(scores, frame, [reductions[place] for place in rest], stats, beside)
        for place, state in zip(rest, plain, strict=True):
            states[place] = state
    return states, stats


def _read_rows(kernels: Kernels, frame: MatrixSpec, taken: Sequence[Taken]) -> SoftmaxStats:
    """Fill the states of reductions that sum over keys, and find the row stats."""
    kinds = {type(reduction) for reduction, _ in taken}
    products = [product for reduction, state in taken for product in _products(reduction, state, frame)]
    distances = [state for reduction, state in taken if isinstance(reduction, MeanDistance)]
    # One pass finds everything but a second product or distance, which have their own.
    found = kernels.rows(
        entropy=Entropy in kinds,
        key=ArgMax in kinds,
        offset=distances[0].offset if distances else None,
        values=products[0][0] if products else None,
    )
    # The largest of scores that are no numbers is one to torch and -∞ to the kernel, as if nothing were seen.
    found = found._replace(m=found.m.masked_fill(found.t.isnan(), torch.nan))
    moves = [found, *(kernels.rows(offset=state.offset) for state in distances[1:])]
    mixes = [found, *(kernels.rows(values=given) for given, _ in products[1:])]
    wide = RowStats().finish(RowSums(found.m.double(), found.t, frame.sink_H))
    share = torch.exp(-wide.log_sum)  # a = exp(s - m)·share
    for reduction, state in taken:
        if isinstance(reduction, Entropy):
            assert found.u is not None
            state += (wide.log_sum * found.t - found.u) * share  # -ln a = l - (s - m)
        elif isinstance(reduction, ArgMax):
            assert found.key is not None
            state.scores.copy_(found.m)
            state.keys.copy_(found.key.long().masked_fill(wide.empty, -1))
    for state, sums in zip(distances, moves, strict=False):
        assert sums.behind is not None and sums.ahead is not None
        state.behind.copy_(sums.behind * share)
        state.ahead.copy_(sums.ahead * share)
    for (_, result), sums in zip(products, mixes, strict=False):
        assert sums.mix is not None
        result.copy_(sums.mix * share[..., None].to(sums.mix.dtype))
    return SoftmaxStats(found.m, wide.log_sum.to(found.m.dtype))


def _products(reduction: Reduction[Any], state: Any, frame: MatrixSpec) -> list[tuple[Tensor, Tensor]]:
    """What this reduction multiplies the weights with, (B, some heads, M, X), and where the product goes.

    Values that came as bf16 are handed on as bf16, which is exact and quicker.
    """
    if isinstance(reduction, SinkMass):
        named = state.named_BM
        return [] if named is None else [(named[:, None, :, None].float(), state.total[..., None])]
    if not isinstance(reduction, AttentionOutput | Applied):
        return []
    came = reduction.v if isinstance(reduction, Applied) else frame.v_BGMD
    given = state.given
    if came is not None and came.dtype == torch.bfloat16:
        given = given.bfloat16()
    return [(given, state.result)]


def _read_columns(kernels: Kernels, stats: SoftmaxStats, taken: Sequence[Taken]) -> None:
    """Fill the states of reductions that sum over queries."""
    received = [state for reduction, state in taken if isinstance(reduction, Received)]
    products = [state for reduction, state in taken if isinstance(reduction, TransposedApplied)]
    if not taken:
        return
    found = kernels.columns(stats, raw=bool(received), factors=products[0].given if products else None)
    others = (kernels.columns(stats, factors=state.given) for state in products[1:])
    for state in received:
        assert found.raw is not None and found.queries is not None
        state.raw.copy_(found.raw)
        state.queries.copy_(found.queries)
    for state, sums in zip(products, (found, *others), strict=False):
        assert sums.mix is not None
        state.result.copy_(sums.mix)


def _read_areas(
    kernels: Kernels, stats: SoftmaxStats, state: Pooled | Raster, rows: Runs, columns: Runs
) -> None:
    """Fill the state of a reduction that sums over areas."""
    found = kernels.areas(stats, rows, columns)
    state.sums.copy_(gather_sums(found.total, rows, columns))
    if isinstance(state, Raster):
        state.maximum.copy_(gather_maxima(found.maximum, rows, columns))
        state.seen.copy_(gather_sums(found.seen.to(state.seen.dtype), rows, columns))
