"""PrecomputedMatrix: stored weights, as a Reading has them, with the interface of AttentionMatrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limelight.matrix import Mask, MatrixSpec, SoftmaxStats, Tile, masks
from limelight.matrix.tile import Arena


@dataclass(frozen=True, eq=False)
class PrecomputedMatrix:
    """(1, H, N, M) weights from 0 on; reductions read them as they are, in one tile.

    A row may add up to anything: the number of a word in a Reading need not be a share.
    """

    weights: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        B, H, N, M = self.weights.shape
        return B, H, N, M

    @property
    def mask(self) -> Mask:
        return masks.documents([0] * self.shape[2], [0] * self.shape[3])

    @property
    def device(self) -> torch.device:
        return self.weights.device

    def __getitem__(self, index: tuple[int | slice, ...]) -> Tensor:
        return self.weights[index]

    def read(self, *reductions: Any) -> Any:
        """As `AttentionMatrix.read`."""
        B, H, N, M = self.shape
        zeros = torch.zeros(B, H, N, dtype=self.weights.dtype)
        stats = SoftmaxStats(zeros.masked_fill(~(self.weights > 0).any(-1), -torch.inf), zeros)
        frame = MatrixSpec(B, H, H, N, M, self.weights.dtype, self.device)
        arena = Arena(0, self.weights.dtype, self.device)
        # The weights themselves, to the last bit, where exp(log(w)) would round.
        tile = Tile(range(B), range(H), 0, N, 0, M, self.weights.log(), (), arena, stats, self.weights)
        found = []
        for reduction in reductions:
            state = reduction.init(frame)
            reduction.update(state, tile)
            found.append(reduction.finish(state, stats))
        return found[0] if len(found) == 1 else tuple(found)
