"""The attention that recurrent decoders had before the Transformer: one head, over what the encoder wrote.

    Luong     score(h, m) = h W m            looked up after the decoder's cells     (2015, arXiv:1508.04025)
    Bahdanau  score(s, m) = v·tanh(W s + U m)  looked up before each of its steps    (2014, arXiv:1409.0473)

Both hand out their weights as an `AttentionMatrix`, as multi-head attention does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limelight.matrix import AttentionMatrix
from limelight.matrix.masks import Mask
from limelight.modules.attention import KeepsAttention, fused_attention, hand_over


class GlobalAttention(KeepsAttention):
    """Luong's global attention with the "general" score: h̃ = tanh(Wc [context ; h]) (equation 5).

    Shapes: h (B, N, E), memory (B, M, E) → (B, N, E).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.Wa = nn.Linear(width, width, bias=False)
        self.Wc = nn.Linear(2 * width, width, bias=False)

    def forward(self, h_BNE: Tensor, memory_BME: Tensor, mask: Mask | None = None) -> Tensor:
        query_B1NE, memory_B1ME = self.Wa(h_BNE)[:, None], memory_BME[:, None]
        if self.wanted:
            hand_over(self, AttentionMatrix(query_B1NE, memory_B1ME, memory_B1ME, mask=mask, scale=1.0))
        N, M = h_BNE.shape[1], memory_BME.shape[1]
        seen = None if mask is None else mask.dense(N, M, h_BNE.device)
        context_B1NE = fused_attention(query_B1NE, memory_B1ME, memory_B1ME, attn_mask=seen, scale=1.0)
        context_BNE = context_B1NE[:, 0]
        return self.Wc(torch.cat([context_BNE, h_BNE], -1)).tanh()


class AdditiveAttention(KeepsAttention):
    """Bahdanau's additive attention (equation 6 and appendix A.1.2). Shapes as above, no output layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.W = nn.Linear(width, width, bias=False)
        self.U = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, 1, bias=False)

    def over(self, memory_BME: Tensor, mask: Mask | None = None) -> Lookups:
        """Ready for one look-up after the other into one memory."""
        return Lookups(self, memory_BME, mask)


class Lookups:
    """The look-ups of one forward: U m is computed once for all of them."""

    def __init__(self, attention: AdditiveAttention, memory_BME: Tensor, mask: Mask | None) -> None:
        self.attention, self.memory_BME, self.mask = attention, memory_BME, mask
        self.keys_BME = attention.U(memory_BME)
        self.hidden = None if mask is None else ~mask.dense(1, memory_BME.shape[1], memory_BME.device)[:, 0]
        self.scores: list[Tensor] = []

    def __call__(self, state_B1E: Tensor) -> Tensor:
        """The decoder's state → the context that it finds, (B, 1, E)."""
        scores_BM = self.attention.v((self.attention.W(state_B1E) + self.keys_BME).tanh())[..., 0]
        if self.attention.wanted:
            self.scores.append(scores_BM)
        scores_B1M = scores_BM[:, None]
        if self.hidden is not None:
            scores_B1M = scores_B1M.masked_fill(self.hidden, -torch.inf)
        return scores_B1M.softmax(-1) @ self.memory_BME

    def done(self) -> None:
        """Hand out the weights of all look-ups. Additive scores are no product of two vectors: they are the bias."""
        if self.attention.wanted:
            bias_B1NM = torch.stack(self.scores, dim=1)[:, None].float()
            B, _, N, M = bias_B1NM.shape
            query, key = bias_B1NM.new_zeros(B, 1, N, 1), bias_B1NM.new_zeros(B, 1, M, 1)
            value = self.memory_BME[:, None]
            hand_over(self.attention, AttentionMatrix(query, key, value, mask=self.mask, bias=bias_B1NM))
