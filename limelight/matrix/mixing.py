"""One layer of a rollout: the heads mixed, the identity added, the rows divided by their sums.

The formulas and their sources are in `rollout.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from limelight.matrix.folds import RowStats
from limelight.matrix.matrix import AttentionMatrix
from limelight.matrix.tile import Frame, Stats, Tile

BLOCK = 2**24  # entries of a layer that are held at a time where single rows are asked for


@dataclass(eq=False)
class Step:
    """A' = diag(a)·Ā + diag(b) of one layer, Ā = Σ_h w_h A_h diag(n_h), its rows scaled by a and b."""

    matrix: AttentionMatrix
    weights_H: Tensor
    residual: float
    renormalise: bool
    values: bool

    def down(self, x_BNX: Tensor) -> Tensor:
        """A'ᵀ x, (B, M, X)."""
        x_BNX = x_BNX.to(self.matrix.dtype)
        if self._even:
            sent = self.matrix.read(Mixed(self.weights_H, x_BNX, transposed=True))
            if self._uniform:  # the walk has found the row stats on its way
                _, b_BN1 = self._scales(self.sums_BN)
                return sent.mul_(1 - self.residual) + b_BN1 * x_BNX if self.residual else sent
        a_BN1, b_BN1 = self._scales(self.sums_BN)
        sent = self.matrix.read(Mixed(self.weights_H, a_BN1 * x_BNX, self.norms_BHM, transposed=True))
        return sent + b_BN1 * x_BNX if self.residual else sent

    def up(self, v_BMX: Tensor) -> Tensor:
        """A' v, (B, N, X)."""
        v_BMX = v_BMX.to(self.matrix.dtype)
        mixed = self.matrix.read(Mixed(self.weights_H, v_BMX, self.norms_BHM))
        a_BN1, b_BN1 = self._scales(self.sums_BN)
        return a_BN1 * mixed + b_BN1 * v_BMX if self.residual else a_BN1 * mixed

    def rows(self, tokens: Sequence[int]) -> Tensor:
        """Some rows of A', (B, how many, M)."""
        B, H, _, M = self.matrix.shape
        mixed_BTM = torch.empty(B, len(tokens), M, dtype=self.matrix.dtype, device=self.matrix.device)
        for place, start, stop in _runs(tokens, most=max(1, BLOCK // max(1, B * H * M))):
            block_BHTM = self.matrix[:, :, start:stop]
            mixed_BTM[:, place : place + stop - start] = mix(block_BHTM, self.weights_H, self.norms_BHM)
        a_BT1, b_BT1 = self._scales(mixed_BTM.sum(-1))
        mixed_BTM *= a_BT1
        if self.residual:
            mixed_BTM[:, torch.arange(len(tokens)), list(tokens)] += b_BT1[..., 0]
        return mixed_BTM

    @cached_property
    def norms_BHM(self) -> Tensor | None:
        """‖v_h[j]‖, where values count."""
        value = self.matrix.value
        if not self.values or value is None:
            return None
        norms_BGM: Tensor = torch.linalg.vector_norm(value, dim=-1, dtype=self.matrix.dtype)
        return norms_BGM.repeat_interleave(self.matrix.shape[1] // max(1, norms_BGM.shape[1]), dim=1)

    @property
    def _even(self) -> bool:
        """Whether a head's row adds up to 1 wherever its query sees anything."""
        return not self.values and not self.matrix.sink is not None

    @cached_property
    def sums_BN(self) -> Tensor:
        """Σ_j Ā[i, j]: what is left of 1 after sinks and queries that see nothing; with values, any size."""
        if self._even:
            used_H1 = (self.weights_H > 0)[:, None]
            empty_BHN = self.matrix.read(RowStats()).empty
            sums_BN = torch.einsum("bhn,h->bn", (~empty_BHN).to(self.weights_H), self.weights_H)
            return sums_BN.masked_fill(~(empty_BHN & used_H1).any(1), 1.0)  # the weights' own rounding
        ones_BM1 = torch.ones(self.matrix.shape[0], self.matrix.shape[3], 1).to(self.weights_H)
        return self.matrix.read(Mixed(self.weights_H, ones_BM1, self.norms_BHM))[..., 0]

    @property
    def _uniform(self) -> bool:
        """Whether all rows of Ā that hold anything are scaled alike."""
        return not self.renormalise or bool(((self.sums_BN == 0) | (self.sums_BN == 1)).all())

    def _scales(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """a and b of some rows, from the sums of theirs in Ā; 0 where a row has nothing to divide."""
        r = self.residual
        share = 1 / sums if self.values else torch.ones_like(sums)
        left = (sums > 0).to(sums) if self.values else sums
        total = (1 - r) * left + r if self.renormalise else torch.ones_like(sums)
        a, b = (torch.nan_to_num(each / total, nan=0.0, posinf=0.0) for each in ((1 - r) * share, r))
        return a[..., None], b[..., None]


@dataclass(frozen=True, eq=False)
class Mixed:
    """Ā @ v, or Āᵀ @ x: the heads of a tile are mixed first, so that one product serves all of them.

    State: a sum a token and column, (B, N or M, X).    Neutral: 0.    Law: sums add.
    """

    weights_H: Tensor
    factor: Tensor
    norms_BHM: Tensor | None = None
    transposed: bool = False

    def start(self, frame: Frame) -> Tensor:
        return frame.full(frame.B, frame.M if self.transposed else frame.N, self.factor.shape[-1])

    def absorb(self, state: Tensor, tile: Tile) -> None:
        batches, heads, columns = tile.columns
        rows = tile.rows[2]
        norms_BHC = None if self.norms_BHM is None else self.norms_BHM[batches, heads, columns]
        mixed_BRC = mix(tile.weights, self.weights_H[heads], norms_BHC)
        if self.transposed:
            state[batches, columns] += mixed_BRC.transpose(1, 2) @ self.factor[batches, rows]
        else:
            state[batches, rows] += mixed_BRC @ self.factor[batches, columns]

    def merge(self, state: Tensor, other: Tensor) -> Tensor:
        return state + other

    def finish(self, state: Tensor, stats: Stats) -> Tensor:
        return state


def mix(weights_BHRC: Tensor, share_H: Tensor, norms_BHC: Tensor | None) -> Tensor:
    """Σ_h share_h A_h diag(n_h), (B, R, C)."""
    mixed_BRC = torch.zeros_like(weights_BHRC[:, 0])
    for h, share in enumerate(share_H.tolist()):
        if norms_BHC is not None:
            mixed_BRC.addcmul_(weights_BHRC[:, h], norms_BHC[:, h, None], value=share)
        elif share:
            mixed_BRC.add_(weights_BHRC[:, h], alpha=share)
    return mixed_BRC


def _runs(tokens: Sequence[int], most: int) -> list[tuple[int, int, int]]:
    """Tokens in runs of neighbours, of `most` at the most: where a run stands among them, its first and end."""
    runs: list[tuple[int, int, int]] = []
    for place, token in enumerate(tokens):
        start, first, stop = runs[-1] if runs else (0, 0, -1)
        if token == stop and stop - first < most:
            runs[-1] = (start, first, token + 1)
        else:
            runs.append((place, token, token + 1))
    return runs
