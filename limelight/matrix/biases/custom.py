"""Biases given by the user: a tensor, or a function of the index and the score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError
from limelight.matrix.biases.base import Bias
from limelight.matrix.index_functions import (
    PlaceFunction,
    ScoreFunction,
    TileIndex,
    part,
    row_chunks,
    vmap_over_tile,
)


def combined(
    bias: Tensor | Bias | PlaceFunction | None, score_mod: ScoreFunction | None
) -> Tensor | Bias | None:
    """All that happens to a score between softcap and mask, as one."""
    first = IndexBias(bias) if callable(bias) and not isinstance(bias, Tensor) else bias
    if score_mod is None:
        return first
    return Modified(score_mod, Table(first) if isinstance(first, Tensor) else first)


@dataclass(frozen=True, eq=False)
class Table(Bias):
    """A tensor (B or 1, H or 1, N or 1, M or 1), as it is."""

    bias_BHNM: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.bias_BHNM,)

    def apply(self, s_BHRC: Tensor, place: TileIndex) -> Tensor:
        tile = self.bias_BHNM
        for axis, span in enumerate(place[:4]):
            tile = part(tile, span.start, span.stop, axis)
        return s_BHRC.add_(tile.to(s_BHRC))


@dataclass(frozen=True, eq=False)
class IndexBias(Bias):
    """What a function (b, h, q_idx, kv_idx) -> float says of each place."""

    function: PlaceFunction

    def apply(self, s_BHRC: Tensor, place: TileIndex) -> Tensor:
        for rows, here_BHRC in _few_rows(s_BHRC, place):
            here_BHRC.add_(
                _as_numbers(vmap_over_tile(self.function, *place[:2], rows, place.columns, s_BHRC.device))
            )
        return s_BHRC


@dataclass(frozen=True, eq=False)
class Modified(Bias):
    """What a function (score, b, h, q_idx, kv_idx) -> score makes of each score, after another bias if any."""

    score_mod: ScoreFunction
    first: Bias | None = None

    @property
    def adds(self) -> bool:
        return False

    @property
    def requires_grad(self) -> bool:
        return self.first is not None and self.first.requires_grad

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return () if self.first is None else self.first.tensors

    def apply(self, s_BHRC: Tensor, place: TileIndex) -> Tensor:
        if self.first is not None:
            s_BHRC = self.first.apply(s_BHRC, place)
        if s_BHRC.requires_grad:  # what torch keeps for the way back must not be written over
            return _as_numbers(vmap_over_tile(self.score_mod, *place[:4], s_BHRC.device, scores=s_BHRC))
        for rows, here_BHRC in _few_rows(s_BHRC, place):
            changed = vmap_over_tile(
                self.score_mod, *place[:2], rows, place.columns, s_BHRC.device, scores=here_BHRC
            )
            here_BHRC.copy_(_as_numbers(changed))
        return s_BHRC

    def fit(self, B: int, H: int, N: int, M: int) -> Bias:
        return Modified(self.score_mod, None if self.first is None else self.first.fit(B, H, N, M))


def _few_rows(s_BHRC: Tensor, place: TileIndex) -> Iterator[tuple[range, Tensor]]:
    """Some rows of a tile after the other, and their scores."""
    for rows in row_chunks(*place[:4], s_BHRC.device):
        yield rows, s_BHRC[:, :, rows.start - place.rows.start : rows.stop - place.rows.start]


def _as_numbers(found: Tensor) -> Tensor:
    if found.dtype == torch.bool:
        raise ArgumentTypeError(
            "A function given as bias or score_mod must answer with numbers; got bools, which would be 0 and 1. "
            "Give a function that says who may attend as mask=masks.function(f)."
        )
    return found
