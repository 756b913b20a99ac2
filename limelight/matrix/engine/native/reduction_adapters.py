"""What each reduction asks of the C++ kernel, and how its results enter the reduction's state.

A reduction that the table `TAKES` knows has a second way of taking in; its `update` stays what it means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limelight.matrix.logits import Span
from limelight.matrix.reductions.base import Reduction
from limelight.matrix.reductions.distance import MeanDistance
from limelight.matrix.reductions.entropy import Entropy
from limelight.matrix.reductions.pooling import Pool, Pooled
from limelight.matrix.reductions.received import Received
from limelight.matrix.reductions.topk import ArgMax, TopK

Taken = tuple[Reduction[Any], Any]
"""A reduction and its state."""

LARGEST_K = 64  # entries that are kept in order one by one


def new(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Memory for the C++ part, on the CPU whatever the caller's default device is."""
    return torch.empty(*shape, dtype=dtype, device="cpu")


@dataclass(frozen=True)
class Wanted:
    """What the reductions need of a row block, all of them together."""

    columns: bool
    entropy: bool
    offset: int | None
    """Where the first query stands, for distances; None where they are not asked for."""
    peak: bool
    k: int
    pool: Pooled | None


@dataclass(frozen=True)
class Found:
    """What the C++ part says of one row block; R rows, L columns. What was not wanted is None."""

    rows: tuple[slice, slice, slice]
    spans: list[tuple[int, Span]]
    """The visible columns, and where each span of them starts among the L."""
    maximum: Tensor
    """(B, H, R)"""
    log_sum: Tensor
    hidden: Tensor
    """How many of the rows do not see a column, (B, H, L)."""
    columns: Tensor | None
    """(B, H, L)"""
    entropy: Tensor | None
    behind: Tensor | None
    ahead: Tensor | None
    peak: Tensor | None
    top_scores: Tensor | None
    """(B, H, R, k)"""
    top_keys: Tensor | None
    pooled: Tensor | None
    """(B, H, runs, groups of keys): neighbouring rows of one group are a run."""
    run: Tensor | None
    """The run of each row, (B, R)."""
    run_group: Tensor | None
    """The group of each run, (B, runs)."""


def room_for(
    wanted: Wanted, rows: tuple[slice, slice, slice], spans: list[tuple[int, Span]], L: int
) -> Found:
    """Where the answers of a row block go, still empty."""
    B, H, R = (each.stop - each.start for each in rows)
    run = run_group = pooled = None
    if wanted.pool is not None:
        group_BR = wanted.pool.rows_BN[rows[0], rows[2]]
        changes = torch.nn.functional.pad(group_BR[:, 1:] != group_BR[:, :-1], (1, 0))
        run = changes.cumsum(1)
        run_group = group_BR.new_zeros(B, int(run.max()) + 1).scatter_(1, run, group_BR)
        pooled = new(B, H, run_group.shape[1], wanted.pool.sums.shape[-1], dtype=torch.float64)

    def each_row(asked: bool, dtype: torch.dtype = torch.float64) -> Tensor | None:
        return new(B, H, R, dtype=dtype) if asked else None

    return Found(
        rows=rows,
        spans=spans,
        maximum=new(B, H, R),
        log_sum=new(B, H, R, dtype=torch.float64),
        hidden=new(B, H, L, dtype=torch.int32),
        columns=new(B, H, L) if wanted.columns else None,
        entropy=each_row(wanted.entropy),
        behind=each_row(wanted.offset is not None),
        ahead=each_row(wanted.offset is not None),
        peak=each_row(wanted.peak, torch.int64),
        top_scores=new(B, H, R, wanted.k) if wanted.k else None,
        top_keys=new(B, H, R, wanted.k, dtype=torch.int64) if wanted.k else None,
        pooled=pooled,
        run=run,
        run_group=run_group,
    )


# ---- how each reduction takes it ---------------------------------------------------------------------------


def _take_received(reduction: Received, state: Any, found: Found) -> None:
    assert found.columns is not None
    batches, heads, rows = found.rows
    for start, span in found.spans:
        here = (batches, heads, slice(span.j0, span.j1))
        stop = start + span.j1 - span.j0
        state.raw[here] += found.columns[..., start:stop]
        state.queries[here] += rows.stop - rows.start - found.hidden[..., start:stop]


def _take_entropy(reduction: Entropy, state: Any, found: Found) -> None:
    state[found.rows] = found.entropy


def _take_distance(reduction: MeanDistance, state: Any, found: Found) -> None:
    state.behind[found.rows] = found.behind
    state.ahead[found.rows] = found.ahead


def _take_peak(reduction: ArgMax, state: Any, found: Found) -> None:
    state.scores[found.rows] = found.maximum
    state.keys[found.rows] = found.peak


def _take_top(reduction: TopK, state: Any, found: Found) -> None:
    assert found.top_scores is not None and found.top_keys is not None
    state.scores[found.rows] = found.top_scores[..., : reduction.k]
    state.keys[found.rows] = found.top_keys[..., : reduction.k]


def _take_pool(reduction: Pool, state: Pooled, found: Found) -> None:
    assert found.pooled is not None and found.run_group is not None
    batches, heads, _ = found.rows
    for b, group_P, pooled_HPQ in zip(
        range(batches.start, batches.stop), found.run_group, found.pooled, strict=True
    ):
        state.sums[b, heads].index_add_(1, group_P, pooled_HPQ)


TAKES: dict[type, Callable[[Any, Any, Found], None]] = {
    Received: _take_received,
    Entropy: _take_entropy,
    MeanDistance: _take_distance,
    ArgMax: _take_peak,
    TopK: _take_top,
    Pool: _take_pool,
}
"""How each known reduction takes what was found into its state; what `update` does with a tile."""


def those_taken(reductions: Sequence[Reduction[Any]]) -> list[int]:
    """The places of the reductions that go together in one pass: one Pool, and distances from one offset."""
    places: list[int] = []
    single: dict[type, Reduction[Any]] = {}
    for place, reduction in enumerate(reductions):
        if type(reduction) not in TAKES or (isinstance(reduction, TopK) and reduction.k > LARGEST_K):
            continue
        if (
            isinstance(reduction, Pool | MeanDistance)
            and single.setdefault(type(reduction), reduction) != reduction
        ):
            continue
        places.append(place)
    return places


def wanted_of(taken: Sequence[Taken]) -> Wanted:
    """What these reductions need together."""
    kinds = {type(reduction): state for reduction, state in taken}
    return Wanted(
        columns=Received in kinds,
        entropy=Entropy in kinds,
        offset=kinds[MeanDistance].offset if MeanDistance in kinds else None,
        peak=ArgMax in kinds,
        k=max((reduction.k for reduction, _ in taken if isinstance(reduction, TopK)), default=0),
        pool=kinds.get(Pool),
    )
