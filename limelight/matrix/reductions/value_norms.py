"""AttentionOutput, A·V, and ValueNorms, weights times the norms of the values.

A large weight on a short value moves little, which is why special tokens may be attended to much and add
hardly anything: Kobayashi et al. 2020, "Attention is Not Only a Weight: Analyzing Transformers with Vector
Norms" (arXiv:2004.10102). Since a weight is a number, ‖α·v‖ = α·‖v‖, and ‖α·f(x)‖ = α·‖v·Wo‖ for f with the
output projection: one number a key is all that is needed beside the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.matrix.memory import demand_memory
from limelight.matrix.reductions.products import Applied, ProductSums
from limelight.matrix.reductions.topk import largest
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile

KEYS_AT_ONCE = 1_024  # projected to the model's width at a time


@dataclass(frozen=True)
class AttentionOutput:
    """A @ V, each query's mean of the values weighted by its attention, (B, H, N, Dv), in the same pass.

    The values are those that the matrix was given; without any, InputError.

    State: a sum a query and column.    Neutral: 0.    Law: sums add.
    """

    independent_heads = True

    def init(self, frame: MatrixSpec) -> ProductSums:
        return Applied(_values("AttentionOutput", frame)).init(frame)

    def update(self, state: ProductSums, tile: Tile) -> None:
        Applied(state.given).update(state, tile)

    def merge(self, state: ProductSums, other: ProductSums) -> ProductSums:
        return Applied(state.given).merge(state, other)

    def finish(self, state: ProductSums, stats: SoftmaxStats) -> Tensor:
        return Applied(state.given).finish(state, stats)


class ValueNormsResult(NamedTuple):
    """‖α·v‖, read by query and by key."""

    received: Tensor
    """Σ over the queries of ‖α·v‖, (B, H, M)."""
    total: Tensor
    """Σ over the keys of ‖α·v‖, (B, H, N): the output is this long at most, where all values point one way."""
    peak: Tensor
    """The largest ‖α·v‖ of each query, (B, H, N); NaN where one of its scores is no number."""
    keys: Tensor
    """The key of that value, of equals the lowest; -1 where the largest is 0, or no number."""
    lengths: Tensor
    """‖v‖, or ‖v·Wo‖, of each key, (B, H, M): any weights times these are the norms between single tokens."""


class NormSums(NamedTuple):
    received: Tensor
    total: Tensor
    peak: Tensor
    keys: Tensor
    lengths: Tensor


@dataclass(frozen=True, eq=False)
class ValueNorms:
    """Weights times the length of what they weigh, ‖α·v‖: `ValueNormsResult`.

    `output` is the model's output projection, each head's own part of it, (H, Dv, E): with it ‖α·v·Wo‖, how
    far the key moves what the layer writes. The values are those that the matrix was given.

    Source: Kobayashi et al. 2020, section 3. There, ‖α·f(x)‖ with f(x) = v·Wo.

    State: a sum a key and a query, and (norm, key) a query.    Neutral: 0, 0, (0, -1).
    Law: sums add; the larger norm wins, of equals the lower key.
    """

    output: Tensor | None = None

    independent_heads = True

    def init(self, frame: MatrixSpec) -> NormSums:
        B, H, N, M = frame.B, frame.H, frame.N, frame.M
        return NormSums(
            frame.full(B, H, M, dtype=frame.wide),
            frame.full(B, H, N, dtype=frame.wide),
            frame.full(B, H, N),
            frame.full(B, H, N, value=-1, dtype=torch.int64),
            _lengths(_values("ValueNorms", frame), self.output, frame),
        )

    def update(self, state: NormSums, tile: Tile) -> None:
        lengths_BHC = state.lengths[tile.columns]
        state.received[tile.columns] += tile.weights.sum(-2) * lengths_BHC
        norms_BHRC = torch.mul(tile.weights, lengths_BHC[:, :, None], out=tile.scratch)
        state.total[tile.rows] += norms_BHRC.sum(-1)
        peak, columns = largest(norms_BHRC)
        keys = (columns + tile.j0).masked_fill(peak == 0, -1)
        here = (state.peak[tile.rows], state.keys[tile.rows])
        state.peak[tile.rows], state.keys[tile.rows] = _larger(here, (peak, keys))

    def merge(self, state: NormSums, other: NormSums) -> NormSums:
        peak, keys = _larger((state.peak, state.keys), (other.peak, other.keys))
        received, total = state.received + other.received, state.total + other.total
        return NormSums(received, total, peak, keys, state.lengths)

    def finish(self, state: NormSums, stats: SoftmaxStats) -> ValueNormsResult:
        dtype = stats.maximum.dtype
        peak, keys = (
            state.peak.masked_fill(stats.has_nan, torch.nan),
            state.keys.masked_fill(stats.has_nan, -1),
        )
        return ValueNormsResult(state.received.to(dtype), state.total.to(dtype), peak, keys, state.lengths)


def _larger(state: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    (norm, key), (others, other_key) = state, other
    wins = (others > norm) | ((others == norm) & (other_key < key))
    return others.where(wins, norm), other_key.where(wins, key)


def _values(reduction: str, frame: MatrixSpec) -> Tensor:
    if frame.v_BGMD is None:
        raise InputError(
            f"{reduction} needs the values; the matrix has none. "
            "Build it with them: AttentionMatrix(query, key, value)."
        )
    return frame.v_BGMD


def _lengths(v_BGMD: Tensor, output_HDE: Tensor | None, frame: MatrixSpec) -> Tensor:
    """‖v‖ or ‖v·Wo‖ for every query head and key, (B, H, M)."""
    share = frame.H // max(frame.G, 1)  # query heads a key head
    lengths = frame.full(frame.B, frame.H, frame.M)
    if output_HDE is None:
        for h in range(frame.H):
            values = v_BGMD[:, h // share].to(frame.device, frame.dtype)
            lengths[:, h] = torch.linalg.vector_norm(values, dim=-1)
        return lengths
    if not isinstance(output_HDE, Tensor) or not output_HDE.is_floating_point():
        came = output_HDE.dtype if isinstance(output_HDE, Tensor) else type(output_HDE).__name__
        raise ArgumentTypeError(f"ValueNorms(output=…) must be a float tensor; got {came}.")
    demand_memory("ValueNorms(output=…)", output_HDE)
    D = v_BGMD.shape[-1]
    if output_HDE.dim() != 3 or output_HDE.shape[:2] != (frame.H, D):
        raise ShapeError(
            f"ValueNorms(output=…) must hold each head's part of the output projection, ({frame.H}, {D}, any); "
            f"got shape {tuple(output_HDE.shape)}. Of a weight (model width, H·Dv), as nn.Linear has it, "
            f"that is weight.T.view({frame.H}, {D}, -1)."
        )
    for h, output_DE in enumerate(output_HDE.detach().to(frame.device, frame.dtype)):
        for j0 in range(0, frame.M, KEYS_AT_ONCE):
            here = slice(j0, j0 + KEYS_AT_ONCE)
            values = v_BGMD[:, h // share, here].to(frame.device, frame.dtype)
            lengths[:, h, here] = torch.linalg.vector_norm(values @ output_DE, dim=-1)
    return lengths
