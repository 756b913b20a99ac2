"""Masks over positions: causal, and a window."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.matrix.index_functions import Device
from limelight.matrix.masks.base import Mask, TileCoverage, coverage_of


@dataclass(frozen=True)
class Causal(Mask):
    """Query i may look at key j when j ≤ i + offset."""

    offset: int | None = None

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return (_ahead(self.offset, i0, i1, j0, j1, N, M, device) <= 0)[None, None]

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        nearest, farthest = _ahead_range(self.offset, i0, i1, j0, j1, N, M)
        return coverage_of(none=nearest > 0, all=farthest <= 0)


@dataclass(frozen=True)
class Window(Mask):
    """Query i may look at key j when |j - (i + offset)| < w."""

    w: int
    offset: int | None = None

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        return (_ahead(self.offset, i0, i1, j0, j1, N, M, device).abs() < self.w)[None, None]

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        low, high = _ahead_range(self.offset, i0, i1, j0, j1, N, M)
        return coverage_of(none=low >= self.w or high <= -self.w, all=-self.w < low and high < self.w)


# ---- helpers ------------------------------------------------------------------------------------------


def _ahead(offset: int | None, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device) -> Tensor:
    """How many positions key j lies ahead of query i, (R, C)."""
    shift = M - N if offset is None else offset
    own = torch.arange(i0 + shift, i1 + shift, device=device)
    return torch.arange(j0, j1, device=device)[None, :] - own[:, None]


def _ahead_range(offset: int | None, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> tuple[int, int]:
    """The smallest and largest entry of `_ahead`."""
    shift = M - N if offset is None else offset
    return j0 - (i1 - 1 + shift), (j1 - 1) - (i0 + shift)
