"""The attention matrix as a linear operator: `A @ v` and `A.T @ x`, without storing A.

Both are reductions: what a tile adds to a product is a product of the tile. Their gradients are in `gradients.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, ShapeError
from limelight.matrix.memory import demand_memory
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile

FLUSH = 32  # tiles whose sums are taken in their own dtype before they go to a wider one


class ProductSums(NamedTuple):
    given: Tensor
    result: Tensor
    pending: dict[tuple[int, int], PendingSums] | None = None
    """What waits to be added to a wider result: by panel, so that workers at different panels do not meet."""

    def flushed(self) -> Tensor:
        """The result with all that waited."""
        for pending in (self.pending or {}).values():
            pending.flush(self.result)
        return self.result


@dataclass
class PendingSums:
    """The sums of a panel's last few tiles: to widen those of each alone would cost as much as the tile.

    They lie the other way round, so that both factors of a product are read along their rows.
    """

    panel: tuple[slice, slice]
    sums_BHXM: Tensor
    tiles: int = 0

    def flush(self, result: Tensor) -> None:
        result[self.panel] += self.sums_BHXM.transpose(-1, -2)
        self.sums_BHXM.zero_()
        self.tiles = 0


@dataclass(frozen=True, eq=False)
class Applied:
    """A @ v: each query's mean of the rows of v, weighted by its attention, (B, H, N, X).

    `v` is (B or 1, heads, M, X), its heads 1, those of the keys or those of the queries; or (M, X), or (M,)
    for an answer without the last axis.

    State: a sum a query and column.    Neutral: 0.    Law: sums add.
    """

    v: Tensor

    @property
    def factor(self) -> Tensor:
        return self.v

    def fit(self, frame: MatrixSpec) -> Tensor:
        """v with all four axes, (B, heads, M, X)."""
        return _with_axes("v", self.v, frame, frame.M, heads=(1, frame.G, frame.H))

    independent_heads = True

    def init(self, frame: MatrixSpec) -> ProductSums:
        v = self.fit(frame).detach()
        return ProductSums(v, frame.full(frame.B, frame.H, frame.N, v.shape[-1]))

    def update(self, state: ProductSums, tile: Tile) -> None:
        B, H, R, C = tile.weights.shape
        heads = heads_of(tile, state.given.shape[1], state.result.shape[1])
        v_BGCX = state.given[tile.batches.start : tile.batches.stop, heads, tile.j0 : tile.j1]
        product = tile.weights.reshape(B, v_BGCX.shape[1], -1, C) @ v_BGCX
        state.result[tile.rows] += product.reshape(B, H, R, -1)

    def merge(self, state: ProductSums, other: ProductSums) -> ProductSums:
        return ProductSums(state.given, state.result + other.result)

    def finish(self, state: ProductSums, stats: SoftmaxStats) -> Tensor:
        return state.result[..., 0] if self.v.dim() == 1 else state.result


@dataclass(frozen=True, eq=False)
class TransposedApplied:
    """A.T @ x: what every key receives when query i sends x[i], (B, H, M, X).

    `x` is (B or 1, H or 1, N, X), or (N, X), or (N,) for an answer without the last axis. With x = 1 it is
    `Received`, with x of one query a row, with x of several words what they look at together.

    State: a sum a key and column.    Neutral: 0.    Law: sums add.
    """

    x: Tensor

    @property
    def factor(self) -> Tensor:
        return self.x

    def fit(self, frame: MatrixSpec) -> Tensor:
        """x with all four axes, (B, heads, N, X)."""
        return _with_axes("x", self.x, frame, frame.N, heads=(1, frame.H))

    independent_heads = True

    def init(self, frame: MatrixSpec) -> ProductSums:
        x = self.fit(frame).detach()
        return ProductSums(x, frame.full(frame.B, frame.H, frame.M, x.shape[-1], dtype=frame.wide), {})

    def update(self, state: ProductSums, tile: Tile) -> None:
        assert state.pending is not None
        B, H = tile.weights.shape[:2]
        heads = heads_of(tile, state.given.shape[1], state.result.shape[1])
        x_BHRX = state.given[tile.batches.start : tile.batches.stop, heads, tile.i0 : tile.i1]
        pending = state.pending.get(key := (tile.batches.start, tile.heads.start))
        if pending is None:
            panel, (M, X) = tile.rows[:2], state.result.shape[2:]
            zeros = torch.zeros(B, H, X, M, dtype=x_BHRX.dtype, device=x_BHRX.device)
            pending = state.pending[key] = PendingSums(panel, zeros)
        for sums_HXM, weights_HRC, x_HRX in zip(pending.sums_BHXM, tile.weights, x_BHRX, strict=True):
            sums_HXM[..., tile.j0 : tile.j1].baddbmm_(x_HRX.transpose(1, 2).expand(H, -1, -1), weights_HRC)
        pending.tiles += 1
        if pending.tiles == FLUSH:
            pending.flush(state.result)

    def merge(self, state: ProductSums, other: ProductSums) -> ProductSums:
        return ProductSums(state.given, state.flushed() + other.flushed(), {})

    def finish(self, state: ProductSums, stats: SoftmaxStats) -> Tensor:
        result = state.flushed().to(stats.maximum.dtype)
        return result[..., 0] if self.x.dim() == 1 else result


@dataclass(frozen=True)
class Transposed:
    """The transpose of a matrix that nobody stores: it has a shape, and it multiplies."""

    shape: tuple[int, ...]
    multiply: Callable[[Tensor], Tensor]

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.multiply(x)


def heads_of(tile: Tile, held: int, heads: int) -> slice:
    """Which of the `held` heads of a factor serve those of a tile, of all `heads` query heads."""
    share = heads // held
    return slice(tile.heads.start // share, (tile.heads.stop - 1) // share + 1)


def _with_axes(name: str, given: Tensor, frame: MatrixSpec, size: int, heads: tuple[int, ...]) -> Tensor:
    """The factor with all four axes and the dtype of the tiles; one batch is expanded to all."""
    if not isinstance(given, Tensor) or not given.is_floating_point():
        came = given.dtype if isinstance(given, Tensor) else type(given).__name__
        raise ArgumentTypeError(f"A product with an attention matrix takes a float tensor; got {came}.")
    demand_memory(name, given)
    full = given[:, None] if given.dim() == 1 else given
    full = full[None, None] if full.dim() == 2 else full
    fits = full.dim() == 4 and full.shape[0] in (1, frame.B) and full.shape[1] in heads
    if not fits or full.shape[2] != size:
        allowed = " or ".join(str(each) for each in sorted(set(heads)))
        raise ShapeError(
            f"{name} must have the shape ({size},), ({size}, X) or ({frame.B} or 1, {allowed}, {size}, X); "
            f"got {tuple(given.shape)}."
        )
    return full.to(frame.device, frame.dtype).expand(frame.B, -1, -1, -1)
