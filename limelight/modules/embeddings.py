"""Word embeddings: a table with one learned vector a token (§3.4 of the paper).

The same table can turn the model's last vectors back into scores over the vocabulary
(Press & Wolf 2017, arXiv:1608.05859), which is what the paper does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from limelight.errors import ArgumentTypeError, ShapeError, check_whole

MOST_TOKENS = 2**31
"""Rows of a table."""


class TokenEmbedding(nn.Module):
    """Token ids → vectors, multiplied by √E so that positions do not drown them (§3.4).

    Shapes: ids (B, N) → (B, N, E). The row of the padding id begins at zero and is not
    trained as an input; where the table makes the scores too, they move it, and nothing attends to it.
    """

    def __init__(self, vocabulary: int, width: int, padding: int = 0) -> None:
        super().__init__()
        check_whole("vocabulary", vocabulary, 1, MOST_TOKENS)
        self.table = nn.Embedding(vocabulary, width, padding_idx=padding)
        self.scale = math.sqrt(width)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        with torch.no_grad():
            self.table.weight[padding].zero_()

    def forward(self, ids_BN: Tensor) -> Tensor:
        if ids_BN.is_floating_point():
            raise ArgumentTypeError(
                f"Token ids must be integers; got {ids_BN.dtype}. Encode the text with a Tokenizer."
            )
        return self.table(ids_BN) * self.scale

    def scores(self, x_BNE: Tensor) -> Tensor:
        """(B, N, E) → (B, N, V): the product with every row of the table."""
        return nn.functional.linear(x_BNE, self.table.weight)

    @torch.no_grad()
    def start_from(self, table_VE: Tensor) -> None:
        """Take over ready-made vectors (Word2vec, another model), rescaled to this table's spread.

        The spread is that of fresh weights, so a table trained elsewhere starts the model at the usual size.
        """
        if table_VE.shape != self.table.weight.shape:
            raise ShapeError(
                f"The vectors must have the table's shape {tuple(self.table.weight.shape)} (vocabulary × width); "
                f"got {tuple(table_VE.shape)}. Train them with the same tokenizer and width."
            )
        spread = table_VE.std().clamp_min(1e-12)
        self.table.weight.copy_(table_VE / spread / self.scale)
        self.table.weight[self.table.padding_idx].zero_()
