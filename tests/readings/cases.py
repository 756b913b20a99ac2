"""Small random attention with words of several tokens, and its dense float64 truth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.matrix import AttentionMatrix, Mask, reference as truth_of
from limelight.readings import Groups

# Distinct primes: a swapped axis cannot pass.
L, B, H, N, M, D = 3, 2, 5, 13, 17, 7
TARGET = Groups(("Wir", "öffnen", "das", "Dokument", "."), (0, 1, 1, 2, 2, 3, 3, 3, 3, 3, 4, 4, -1))
SOURCE = Groups(
    ("We", "open", "the", "new", "document", "now", "."),
    (-1, 0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5, 5, 5, 6, -1, -1),
)


@dataclass(frozen=True)
class Layers:
    """The attention of several layers, the inputs beside the matrices."""

    inputs: list[dict[str, Tensor | Mask | None]]

    @property
    def matrices(self) -> list[AttentionMatrix]:
        return [AttentionMatrix(**each) for each in self.inputs]

    @property
    def truth_LBHNM(self) -> Tensor:
        return torch.stack([truth_of.attention(**each).weights_BHNM for each in self.inputs])


def random_layers(mask: Mask | None = None, layers: int = L, shape: tuple[int, ...] = (B, H, N, M)) -> Layers:
    b, h, n, m = shape
    return Layers(
        [
            {"query": 2 * torch.randn(b, h, n, D), "key": 2 * torch.randn(b, h, m, D), "mask": mask}
            for _ in range(layers)
        ]
    )


def pool_by_hand(weights_NM: Tensor, queries: Groups, keys: Groups) -> Tensor:
    """Sum over keys, mean over the queries that see something, entry by entry; last column: no group."""
    table = torch.zeros(len(queries), len(keys) + 1, dtype=torch.float64)
    for p in range(len(queries)):
        rows = [i for i, number in enumerate(queries.index) if number == p and weights_NM[i].sum() > 0]
        for j, number in enumerate(keys.index):
            for i in rows:
                table[p, number if number >= 0 else len(keys)] += weights_NM[i, j] / len(rows)
    return table
