"""A model of ours once more, in float64, from nothing but its weights and the stages of matrix/reference.py.

Only what the tests need: norms before each sublayer, rotary positions, relu, no dropout, one text at a time.
Written by the paper's equations and not by our modules, so that the two can disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from limelight.matrix import reference


@dataclass
class PlainModel:
    """After `encode` and `decode` the weights of each attention stand in `seen`, (1, H, N, M), by its name."""

    model: Any
    seen: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def encode(self, ids: Sequence[int]) -> Tensor:
        return self._stack("encoder", ids, None, causal=False)

    @torch.no_grad()
    def decode(self, ids: Sequence[int], memory_BME: Tensor | None) -> Tensor:
        """Scores of the next token at every place, (N, V)."""
        x_BNE = self._stack("decoder", ids, memory_BME, causal=True)
        return (x_BNE @ self.model.decoder.embedding.table.weight.double().T)[0]

    def _stack(self, name: str, ids: Sequence[int], memory_BME: Tensor | None, causal: bool) -> Tensor:
        stack = getattr(self.model, name)
        table_VE = stack.embedding.table.weight.double()
        x_BNE = table_VE[list(ids)][None] * math.sqrt(table_VE.shape[1])
        seen_NN = torch.ones(len(ids), len(ids), dtype=torch.bool)
        for number, block in enumerate(stack.blocks):
            where = f"{name}.{number}"
            normed = norm(x_BNE, block.self_norm)
            mask = seen_NN.tril() if causal else seen_NN
            x_BNE = x_BNE + self._attend(f"{where} self", block.self_attention, normed, normed, mask)
            if memory_BME is not None:
                normed = norm(x_BNE, block.cross_norm)
                x_BNE = x_BNE + self._attend(
                    f"{where} cross", block.cross_attention, normed, memory_BME, None
                )
            widen, _, narrow = block.feed_forward
            hidden = affine(norm(x_BNE, block.feed_norm), widen).clamp(min=0)
            x_BNE = x_BNE + affine(hidden, narrow)
        return norm(x_BNE, stack.norm)

    def _attend(self, name: str, layer: Any, x: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        matrices = (layer.Wq.weight.T, layer.Wk.weight.T, layer.Wv.weight.T)
        q_BNX, k_BMX, v_BMX = reference.matrix_inputs(x, memory, *matrices)
        q_BHND = turned(reference.split_heads(q_BNX, layer.heads))
        k_BGMD = turned(reference.split_heads(k_BMX, layer.groups))
        found = reference.attention(q_BHND, k_BGMD, reference.split_heads(v_BMX, layer.groups), mask)
        self.seen[name] = found.weights_BHNM
        assert found.output_BHND is not None
        return reference.concatenate(found.output_BHND, layer.Wo.weight.T)

    def heads(self, kind: str) -> Tensor:
        """All heads of all layers of `encoder self`, `decoder self` or `decoder cross`, (heads, N, M)."""
        stack, which = kind.split()
        names = [name for name in self.seen if name.startswith(stack) and name.endswith(which)]
        assert names
        return torch.cat([self.seen[name][0] for name in names])


def norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    apart = x - x.mean(-1, keepdim=True)
    unit = apart / (apart.square().mean(-1, keepdim=True) + layer.eps).sqrt()
    return unit * layer.weight.double() + layer.bias.double()


def affine(x: Tensor, layer: nn.Linear) -> Tensor:
    return x @ layer.weight.double().T + layer.bias.double()


def turned(x_BHND: Tensor) -> Tensor:
    """Rotary positions as turns in the complex plane: features i and i + D/2 are one complex number."""
    half = x_BHND.shape[-1] // 2
    numbers = torch.complex(x_BHND[..., :half], x_BHND[..., half:])
    rates = torch.tensor([10_000.0 ** (-i / half) for i in range(half)], dtype=torch.float64)
    places = torch.arange(x_BHND.shape[-2], dtype=torch.float64)
    numbers = numbers * torch.exp(1j * places[:, None] * rates)
    return torch.cat((numbers.real, numbers.imag), dim=-1)


def words_by_words(weights_HNM: Tensor, rows: list[list[int]], columns: list[list[int]]) -> Tensor:
    """Mean over heads and over a row word's tokens, sum over a column word's tokens; one loop a number."""
    found = torch.zeros(len(rows), len(columns), dtype=torch.float64)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            found[i, j] = weights_HNM[:, row][:, :, column].sum(-1).mean()
    return found
