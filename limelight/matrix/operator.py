"""The attention matrix as a linear operator: `A @ v` and `A.T @ x`, without storing A.

Both are folds: what a tile adds to a product is a product of the tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from limelight.errors import KindError, ShapeError
from limelight.matrix.tile import Frame, Stats, Tile


class Product(NamedTuple):
    given: Tensor
    result: Tensor


@dataclass(frozen=True, eq=False)
class Applied:
    """A @ v: each query's mean of the rows of v, weighted by its attention, (B, H, N, X).

    `v` is (B or 1, heads, M, X), its heads 1, those of the keys or those of the queries; or (M, X), or (M,)
    for an answer without the last axis.

    State: a sum a query and column.    Neutral: 0.    Law: sums add.
    """

    v: Tensor

    def start(self, frame: Frame) -> Product:
        v = _with_axes("v", self.v, frame, frame.M, heads=(1, frame.G, frame.H))
        return Product(v, frame.full(frame.B, frame.H, frame.N, v.shape[-1]))

    def absorb(self, state: Product, tile: Tile) -> None:
        B, H, R, C = tile.weights.shape
        share = state.result.shape[1] // state.given.shape[1]  # query heads a head of v
        first, last = tile.heads.start // share, (tile.heads.stop - 1) // share
        v_BGCX = state.given[tile.batches.start : tile.batches.stop, first : last + 1, tile.j0 : tile.j1]
        product = tile.weights.reshape(B, v_BGCX.shape[1], -1, C) @ v_BGCX
        state.result[tile.rows] += product.reshape(B, H, R, -1)

    def merge(self, state: Product, other: Product) -> Product:
        return Product(state.given, state.result + other.result)

    def finish(self, state: Product, stats: Stats) -> Tensor:
        return state.result[..., 0] if self.v.dim() == 1 else state.result


@dataclass(frozen=True, eq=False)
class TransposedApplied:
    """A.T @ x: what every key receives when query i sends x[i], (B, H, M, X).

    `x` is (B or 1, H or 1, N, X), or (N, X), or (N,) for an answer without the last axis. With x = 1 it is
    `Received`, with x of one query a row, with x of several words what they look at together.

    State: a sum a key and column.    Neutral: 0.    Law: sums add.
    """

    x: Tensor

    def start(self, frame: Frame) -> Product:
        x = _with_axes("x", self.x, frame, frame.N, heads=(1, frame.H))
        return Product(x, frame.full(frame.B, frame.H, frame.M, x.shape[-1], dtype=frame.wide))

    def absorb(self, state: Product, tile: Tile) -> None:
        x_BNX = state.given[tile.batches.start : tile.batches.stop, :, tile.i0 : tile.i1]
        if x_BNX.shape[1] > 1:
            x_BNX = x_BNX[:, tile.heads.start : tile.heads.stop]
        state.result[tile.columns] += tile.weights.transpose(-1, -2) @ x_BNX

    def merge(self, state: Product, other: Product) -> Product:
        return Product(state.given, state.result + other.result)

    def finish(self, state: Product, stats: Stats) -> Tensor:
        result = state.result.to(stats.maximum.dtype)
        return result[..., 0] if self.x.dim() == 1 else result


@dataclass(frozen=True)
class Transposed:
    """The transpose of an attention matrix: it has a shape, and it multiplies."""

    shape: tuple[int, int, int, int]
    multiply: Callable[[Tensor], Tensor]

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.multiply(x)


def _with_axes(name: str, given: Tensor, frame: Frame, size: int, heads: tuple[int, ...]) -> Tensor:
    """The factor with all four axes and the dtype of the tiles; one batch is expanded to all."""
    if not isinstance(given, Tensor) or not given.is_floating_point():
        came = given.dtype if isinstance(given, Tensor) else type(given).__name__
        raise KindError(f"A product with an attention matrix takes a float tensor; got {came}.")
    full = given[:, None] if given.dim() == 1 else given
    full = full[None, None] if full.dim() == 2 else full
    fits = full.dim() == 4 and full.shape[0] in (1, frame.B) and full.shape[1] in heads
    if not fits or full.shape[2] != size:
        allowed = " or ".join(str(each) for each in sorted(set(heads)))
        raise ShapeError(
            f"{name} must have the shape ({size},), ({size}, X) or ({frame.B} or 1, {allowed}, {size}, X); "
            f"got {tuple(given.shape)}."
        )
    return full.detach().to(frame.device, frame.dtype).expand(frame.B, -1, -1, -1)
