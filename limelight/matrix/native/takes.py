"""What the folds want of a row block, what is found in it, and how each fold takes that into its state.

A fold that this table knows has a second way of absorbing; `absorb` stays what it means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from limelight.matrix.distances import Distance
from limelight.matrix.folds import Entropy, Fold, Received
from limelight.matrix.pools import Pool, Pooled
from limelight.matrix.ranks import Peak, Top
from limelight.matrix.scores import Span


@dataclass(frozen=True)
class Wanted:
    """What the folds need of a row block, all of them together."""

    columns: bool
    entropy: bool
    offset: int | None
    """Where the first query stands, for distances; None where they are not asked for."""
    peak: bool
    k: int
    pool: Pooled | None


@dataclass
class Found:
    """What the C++ part says of one row block; what was not wanted is missing."""

    rows: tuple[slice, slice, slice]
    spans: list[tuple[int, Span]]
    """The visible columns, and where each span of them starts among `columns` and `hidden`."""
    count: int
    maximum: Tensor
    log_sum: Tensor
    hidden: Tensor
    columns: Tensor | None = None
    entropy: Tensor | None = None
    behind: Tensor | None = None
    ahead: Tensor | None = None
    peak: Tensor | None = None
    top_scores: Tensor | None = None
    top_keys: Tensor | None = None
    pooled: Tensor | None = None
    runs_B: list[Tensor] = field(default_factory=list)


def _take_received(fold: Received, state: Any, found: Found) -> None:
    assert found.columns is not None
    batches, heads, _ = found.rows
    for start, span in found.spans:
        here = (batches, heads, slice(span.j0, span.j1))
        stop = start + span.j1 - span.j0
        state.raw[here] += found.columns[..., start:stop]
        state.queries[here] += found.count - found.hidden[..., start:stop]


def _take_entropy(fold: Entropy, state: Any, found: Found) -> None:
    state[found.rows] = found.entropy


def _take_distance(fold: Distance, state: Any, found: Found) -> None:
    state.behind[found.rows] = found.behind
    state.ahead[found.rows] = found.ahead


def _take_peak(fold: Peak, state: Any, found: Found) -> None:
    state.scores[found.rows] = found.maximum
    state.keys[found.rows] = found.peak


def _take_top(fold: Top, state: Any, found: Found) -> None:
    assert found.top_scores is not None and found.top_keys is not None
    state.scores[found.rows] = found.top_scores[..., : fold.k]
    state.keys[found.rows] = found.top_keys[..., : fold.k]


def _take_pool(fold: Pool, state: Pooled, found: Found) -> None:
    assert found.pooled is not None
    batches, heads, _ = found.rows
    for b, groups, pooled_HPQ in zip(
        range(batches.start, batches.stop), found.runs_B, found.pooled, strict=True
    ):
        state.sums[b, heads].index_add_(1, groups, pooled_HPQ[:, : len(groups)])


TAKES: dict[type, Callable[[Any, Any, Found], None]] = {
    Received: _take_received,
    Entropy: _take_entropy,
    Distance: _take_distance,
    Peak: _take_peak,
    Top: _take_top,
    Pool: _take_pool,
}
"""How each known fold takes what was found into its state; what `absorb` does with a tile."""


def wanted_of(folds: Sequence[Fold[Any]], states: Sequence[Any]) -> Wanted:
    kinds = {type(fold): state for fold, state in zip(folds, states, strict=True)}
    return Wanted(
        columns=Received in kinds,
        entropy=Entropy in kinds,
        offset=kinds[Distance].offset if Distance in kinds else None,
        peak=Peak in kinds,
        k=max((fold.k for fold in folds if isinstance(fold, Top)), default=0),
        pool=kinds.get(Pool),
    )
