"""Reweighted: any reduction of weights times a number for each key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.matrix.reductions.base import NextPass, Reduction
from limelight.matrix.reductions.distance import MeanDistance
from limelight.matrix.reductions.downsample import Downsample
from limelight.matrix.reductions.pooling import Pool
from limelight.matrix.reductions.received import Received
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile

Result = TypeVar("Result")

TAKES = (MeanDistance, Downsample, Pool, Received)
"""Reductions that read nothing but weights. Others rank scores or take logs, and would not notice the factors."""


class Factored(NamedTuple):
    inner: Any
    factors_BHM: Tensor


@dataclass(frozen=True, eq=False)
class Reweighted(Generic[Result]):
    """What `reduction` reads when every weight is multiplied by a number of its key, α·w in place of α.

    With the lengths of the values, `Reweighted(Pool(rows, cols), matrix.read(ValueNorms()).lengths)` pools ‖α·v‖
    between words; with 0 for some keys and 1 for the others those keys are left out, the rest unchanged.
    `reduction` is a Pool, Downsample, Received or MeanDistance; `factors` are (M,), (B or 1, M) or
    (B or 1, H or 1, M); for a Downsample none is below 0.

    State: that of the reduction.    Neutral and law: those of the reduction.
    """

    reduction: Reduction[Result]
    factors: Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.reduction, TAKES):
            names = ", ".join(each.__name__ for each in TAKES)
            raise ArgumentTypeError(
                f"Reweighted(reduction, factors) takes one of {names}; got {self.reduction!r}."
            )
        if not isinstance(self.factors, Tensor) or not self.factors.is_floating_point():
            came = self.factors.dtype if isinstance(self.factors, Tensor) else type(self.factors).__name__
            raise ArgumentTypeError(
                f"Reweighted(…, factors) must be a float tensor, a number a key; got {came}."
            )
        if isinstance(self.reduction, Downsample) and bool((self.factors < 0).any()):
            raise InputError(
                "Reweighted(Downsample(…), factors) must have factors of 0 or more, since a cell's maximum begins at "
                f"0; got {float(self.factors.min())}."
            )

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Factored:
        B, H, M = frame.B, frame.H, frame.M
        factors = self.factors.detach().to(frame.device, frame.dtype)
        if factors.dim() == 2:
            factors = factors[:, None]
        fits = factors.dim() in (1, 3) and all(
            size in (1, full) for size, full in zip(factors.shape[:-1], (B, H), strict=False)
        )
        if not fits or factors.shape[-1] != M:
            raise ShapeError(
                f"Reweighted(…, factors) must hold a number a key, ({M},), ({B} or 1, {M}) or "
                f"({B} or 1, {H} or 1, {M}); got shape {tuple(self.factors.shape)}."
            )
        return Factored(self.reduction.init(frame), factors.expand(B, H, M))

    def update(self, state: Factored, tile: Tile) -> None:
        product = tile.arena.take(*tile.scores.shape)
        torch.mul(tile.weights, state.factors_BHM[tile.columns][:, :, None], out=product)
        self.reduction.update(state.inner, replace(tile, given_weights=product))

    def merge(self, state: Factored, other: Factored) -> Factored:
        return state._replace(inner=self.reduction.merge(state.inner, other.inner))

    def finish(self, state: Factored, stats: SoftmaxStats) -> Result | NextPass[Result]:
        return self.reduction.finish(state.inner, stats)
