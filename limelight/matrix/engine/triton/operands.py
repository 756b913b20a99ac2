"""The argument tuples of the Triton kernels; None fields are compiled out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from limelight.matrix.engine.triton.block_mask import BlockMask
from limelight.matrix.logits import Logits

NARROWEST = 16  # matrix products of less there are none in Triton


class Operand(NamedTuple):
    """A tensor and its strides, in entries."""

    data: Tensor
    strides: tuple[int, ...]


class Masked(NamedTuple):
    """A `BlockMask` on the device; what is given a token or a sequence has a batch axis."""

    low: int | None
    high: int | None
    box: Operand | None
    row_ids: Operand | None
    key_ids: Operand | None
    earlier: int | None
    table: Operand | None


class LogitOperands(NamedTuple):
    """Everything that the scores are made of."""

    q: Operand
    k: Operand
    bias: Operand | None
    sight: Masked
    scale: float
    softcap: float | None
    upcast: int | None
    """Not None in the interpreter, whose bf16 products are infinite."""
    N: int
    M: int
    D: int
    heads: int
    heads_a_key_head: int


class Factor(NamedTuple):
    """What weights are multiplied with: rows of X numbers a key or query, (B, some heads, any, X)."""

    x: Operand | None
    X: int
    heads_a_head: int


class RowsFound(NamedTuple):
    """Sums a query, (B, H, N) each, relative to the row maximum m; `row_kernel.py` says which."""

    m: Tensor
    t: Tensor
    u: Tensor | None
    key: Tensor | None
    behind: Tensor | None
    ahead: Tensor | None
    offset: int
    mix: Tensor | None


class ColumnsFound(NamedTuple):
    """Sums a key, (B, H, M), and of a factor (B, H, M, X)."""

    raw: Tensor | None
    queries: Tensor | None
    mix: Tensor | None


class AreasFound(NamedTuple):
    """The sum, the maximum and how much may be seen of each area, (B, H, row runs, column runs)."""

    total: Tensor
    maximum: Tensor
    seen: Tensor
    across: int
    """How many column runs there are."""


def logits_of(scores: Logits, sight: BlockMask) -> LogitOperands:
    """The argument that every kernel over these scores shares."""
    B, (H, N), (G, M) = len(scores.batches), scores.q_BHND.shape[1:3], scores.k_BGMD.shape[1:3]
    device, bias = scores.device, scores.bias
    assert bias is None or isinstance(bias, Tensor)
    return LogitOperands(
        q=operand(scores.q_BHND),
        k=operand(scores.k_BGMD),
        bias=None if bias is None else operand(bias.detach().to(device).expand(B, H, N, M)),
        sight=_masked(sight, (B, H, N, M), device),
        scale=scores.scale,
        softcap=scores.softcap,
        upcast=1 if device.type == "cpu" else None,
        N=N,
        M=M,
        D=scores.q_BHND.shape[3],
        heads=H,
        heads_a_key_head=H // G,
    )


def factor_of(x: Tensor | None, heads: int) -> Factor:
    """`x` (B, some heads, any, X) for so many query heads."""
    return Factor(None, 0, 1) if x is None else Factor(operand(x), x.shape[3], heads // x.shape[1])


def padded(width: int) -> int:
    """The next power of two: tiles have no other sizes."""
    return max(NARROWEST, 1 << max(width - 1, 0).bit_length())


def operand(x: Tensor) -> Operand:
    return Operand(x, x.stride())


def _masked(sight: BlockMask, shape: tuple[int, int, int, int], device: torch.device) -> Masked:
    ids, table = sight.documents, sight.table_BHNM

    def on_device(x: Tensor) -> Operand:
        return operand(x.to(device).contiguous().expand(shape[0], -1))

    return Masked(
        low=sight.low,
        high=sight.high,
        box=None if sight.box_B4 is None else on_device(sight.box_B4),
        row_ids=None if ids is None else on_device(ids.query_BN),
        key_ids=None if ids is None else on_device(ids.key_BM),
        earlier=1 if ids is not None and ids.earlier else None,
        table=None if table is None else operand(table.to(device).view(torch.uint8).expand(shape)),
    )
