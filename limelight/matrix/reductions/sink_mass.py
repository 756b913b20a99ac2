"""SinkMass: attention to the model's own sink, and to keys that serve as one.

Many heads rest on the first token or on a separator (Xiao et al. 2023, "Efficient Streaming Language Models
with Attention Sinks", arXiv:2309.17453); some models have a learned sink in the denominator instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.matrix.checks import tensor_of
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile

FEW = 4
"""Runs of neighbouring keys that are summed one by one; of more, the keys are gathered."""


class SinkResult(NamedTuple):
    """Where the attention rests, as shares of one, (B, H, N) each."""

    sink: Tensor
    """What the model's own sink takes: 1 less the sum of the row; 0 without a sink."""
    keys: Tensor
    """What the named keys take together; 0 without any."""
    total: Tensor
    """Both."""


class Mass(NamedTuple):
    total: Tensor
    named_BM: Tensor | None
    sink_H: Tensor | None


@dataclass(frozen=True, eq=False)
class SinkMass:
    """What each query gives to the sink, and to `keys` that serve as one: `SinkResult`.

    `keys` are positions for all sequences alike, counted from the end where negative (`SinkMass([0])` is the
    first token), or a bool tensor (M,) or (B, M), True for the keys to count, such as all separators of each
    text. A key that is named twice counts once. A query that sees nothing gives nothing, to the sink too.

    The sink's share is exp(sink - m - l), from the row stats; it loses no digits where it is small.

    State: one sum a query.    Neutral: 0.    Law: sums add.
    """

    keys: Tensor | Sequence[int] = ()

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Mass:
        named_BM = _named(self.keys, frame)
        return Mass(frame.full(frame.B, frame.H, frame.N, dtype=frame.wide), named_BM, frame.sink_H)

    def update(self, state: Mass, tile: Tile) -> None:
        if state.named_BM is None:
            return
        named_BC = state.named_BM[tile.batches.start : tile.batches.stop, tile.j0 : tile.j1]
        # Those of any batch are taken out first; where they are neighbours, and the same for all, without a copy.
        columns = named_BC.any(0).nonzero()[:, 0]
        if not len(columns):
            return
        runs = _runs(columns)
        if len(runs) <= FEW and bool(named_BC[:, columns].all()):
            for start, stop in runs:
                state.total[tile.rows] += tile.weights[..., start:stop].sum(-1)
        else:
            taken = tile.weights[..., columns] * named_BC[:, columns].to(tile.weights.dtype)[:, None, None]
            state.total[tile.rows] += taken.sum(-1)

    def merge(self, state: Mass, other: Mass) -> Mass:
        return state._replace(total=state.total + other.total)

    def finish(self, state: Mass, stats: SoftmaxStats) -> SinkResult:
        keys = state.total.to(stats.maximum.dtype)
        sink = torch.zeros_like(keys)
        if state.sink_H is not None:
            sink = stats.share_of(state.sink_H)
        return SinkResult(sink, keys, sink + keys)


def _named(keys: Tensor | Sequence[int], frame: MatrixSpec) -> Tensor | None:
    """Which keys are named, bool (B, M); None for none."""
    B, M = frame.B, frame.M
    given = tensor_of(
        keys, "SinkMass(keys=…) takes positions, [0, 5, -1], or a bool tensor", device=frame.device
    )
    if given.dtype == torch.bool:
        if tuple(given.shape) not in ((M,), (1, M), (B, M)):
            raise ShapeError(
                f"SinkMass(keys=…) as a bool tensor must say of every key whether it counts, ({M},) or "
                f"({B}, {M}); got shape {tuple(given.shape)}."
            )
        return given.expand(B, M)
    if given.numel() == 0:
        return None
    if given.is_floating_point() or given.dim() != 1:
        raise ArgumentTypeError(
            "SinkMass(keys=…) takes positions, [0, 5, -1], or a bool tensor; got "
            f"{given.dtype} of shape {tuple(given.shape)}."
        )
    if int(given.min()) < -M or int(given.max()) >= M:
        raise InputError(f"SinkMass(keys=…) must name some of the {M} keys there are; got {given.tolist()}.")
    named_M = torch.zeros(M, dtype=torch.bool, device=frame.device)
    named_M[given.long()] = True  # whole numbers of 8 bits would be read as a mask
    return named_M.expand(B, M)


def _runs(columns: Tensor) -> list[tuple[int, int]]:
    """Rising numbers as stretches of neighbours, [start, stop) each."""
    breaks = (columns.diff() != 1).nonzero()[:, 0] + 1
    starts = [0, *breaks.tolist()]
    ends = [*breaks.tolist(), len(columns)]
    return [(int(columns[a]), int(columns[b - 1]) + 1) for a, b in zip(starts, ends, strict=True)]
