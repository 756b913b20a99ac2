"""Store a relative position bias (T5) as one number per distance and head, not per pair.

A model lays them out, a number for every pair and head. What they say is one number for each distance and head, and
that is kept, so that memory grows with the text and not with its square. (On an accelerator a table stays a table:
its kernels read tables.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.capture.inputs.tensor_memo import TensorMemo
from limelight.matrix.biases.distance import DistanceBias
from limelight.matrix.index_functions import TileIndex, part

LARGE = 2**20
"""Numbers from which on a table is looked at: smaller ones may stay."""

_KNOWN: TensorMemo[Diagonals | None] = TensorMemo()


@dataclass(frozen=True, eq=False)
class Diagonals(DistanceBias):
    """numbers_HX: of each head (or 1 for all) what is added at the distances 1 - N … M - 1 of the key ahead."""

    numbers_HX: Tensor
    queries: int
    offset: int | None = 0

    @property
    def lines(self) -> tuple[Tensor, ...]:
        """What it refers to: it grows with the tokens."""
        return (self.numbers_HX,)

    def heads_of(self) -> int:
        return len(self.numbers_HX)

    def of(self, ahead_X: Tensor, heads: range, dtype: torch.dtype) -> Tensor:
        numbers_HX = part(self.numbers_HX, heads.start, heads.stop).to(ahead_X.device, dtype)
        return numbers_HX[:, ahead_X + self.queries - 1]


def as_diagonals(table: Tensor) -> Tensor | Diagonals:
    """A table (1, H or 1, N, M) by its diagonals, if it is large and has no more to say; else the table itself.

    Layers share a table: each is looked at once. In inference mode each layer looks, since to know that nobody has
    written to a table took a copy of it.
    """
    if table.numel() < LARGE or table.device.type != "cpu" or table.dim() != 4:
        return table
    if table.is_inference():
        return _diagonals(table) or table
    return _KNOWN.of(table, find=lambda: _diagonals(table.detach())) or table


def _diagonals(table_BHNM: Tensor) -> Diagonals | None:
    B, _, N, M = table_BHNM.shape
    if (B > 1 and table_BHNM.stride(0)) or N < 2 or M < 2:
        return None
    table_HNM = table_BHNM[0]
    if not torch.equal(table_HNM[:, 1:, 1:], table_HNM[:, :-1, :-1]):
        return None
    return Diagonals(torch.cat([table_HNM[:, 1:, 0].flip(-1), table_HNM[:, 0]], dim=-1), N)


def laid_out(bias: Diagonals, M: int) -> Tensor:
    """As a table again, (1, heads, N, M), for steps to be joined."""
    H, N = bias.heads_of(), bias.queries
    place = TileIndex(range(1), range(H), range(N), range(M), N, M)
    return bias.apply(torch.zeros(1, H, N, M, dtype=bias.numbers_HX.dtype), place)
