"""Lazily computed weights as nodes of the model's autograd graph, so that a loss on them trains the model.

A fused kernel forms no weights, so its outputs come of none. Those computed later from the same queries and keys are
the same numbers, and what they owe to queries, keys, bias and sink is known exactly: the way back is that of
`AttentionMatrix`, tile by tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limelight.errors import CaptureError
from limelight.matrix import AttentionMatrix

Block = tuple[slice, slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Graph:
    """What one attention was computed from, with the model's graph on it.

    lost  why not all that the weights owe to the model can be followed; "" where it can
    """

    query: Tensor
    key: Tensor
    bias: Tensor | None = None
    sink: Tensor | None = None
    lost: str = ""


def part_of(matrix: AttentionMatrix, graph: Graph | None, block: Block) -> Tensor:
    """A block of the weights (batch, heads, queries, keys), with its way back where there is one and it is wanted."""
    if graph is None or not torch.is_grad_enabled():
        return matrix[block]
    given = (graph.query, graph.key, graph.bias, graph.sink)
    found: Tensor = _Part.apply(matrix, block, graph.lost, *given)
    return found


class _Part(torch.autograd.Function):
    """A block as a node of torch's graph. It holds what it is computed from, and nothing of size queries × keys."""

    @staticmethod
    def forward(ctx: Any, matrix: AttentionMatrix, block: Block, lost: str, *given: Any) -> Tensor:
        ctx.matrix, ctx.block, ctx.lost = matrix, block, lost
        ctx.save_for_backward(*given)
        return matrix[block]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_block: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.lost:
            raise CaptureError(
                f"A gradient was asked of attention weights that {ctx.lost}. Load the model with "
                "attn_implementation='eager', whose own weights have it, or compute the loss on "
                "attention.detach()."
            )
        query, key, bias, sink = inputs = [
            None if tensor is None else tensor.detach().requires_grad_(need)
            for tensor, need in zip(ctx.saved_tensors, ctx.needs_input_grad[3:], strict=True)
        ]
        with torch.enable_grad():
            product, d_product = _as_product(_again(ctx.matrix, query, key, bias, sink), ctx.block, d_block)
            wanted = [tensor for tensor in inputs if tensor is not None and tensor.requires_grad]
            found = iter(torch.autograd.grad(product, wanted, d_product))
        gradients = [
            next(found) if tensor is not None and tensor.requires_grad else None for tensor in inputs
        ]
        return (None, None, None, *gradients)


def _again(
    matrix: AttentionMatrix, query: Any, key: Any, bias: Tensor | None, sink: Tensor | None
) -> AttentionMatrix:
    """The same matrix of these tensors."""
    scores = matrix.logits
    return AttentionMatrix(
        query,
        key,
        mask=scores.mask,
        scale=scores.scale,
        bias=scores.bias if bias is None else bias,
        softcap=scores.softcap,
        sink=sink,
    )


def _as_product(matrix: AttentionMatrix, block: Block, d_block: Tensor) -> tuple[Tensor, Tensor]:
    """The columns or the rows of a block as a product with the matrix, whichever is smaller, and its gradient."""
    B, H, N, M = matrix.shape
    batches, heads, rows, columns = block
    i, j = (torch.arange(size, device=matrix.device)[each] for size, each in ((N, rows), (M, columns)))

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=matrix.dtype, device=matrix.device)

    if N * len(j) <= M * len(i):
        chosen_MC = zeros(M, len(j))
        chosen_MC[j, torch.arange(len(j))] = 1
        d_BHNC = zeros(B, H, N, len(j))
        d_BHNC[batches, heads, rows] = d_block.to(matrix.dtype)
        return matrix @ chosen_MC, d_BHNC
    chosen_NR = zeros(N, len(i))
    chosen_NR[i, torch.arange(len(i))] = 1
    d_BHMR = zeros(B, H, M, len(i))
    d_BHMR[batches, heads, columns] = d_block.to(matrix.dtype).transpose(-1, -2)
    return matrix.T @ chosen_NR, d_BHMR
