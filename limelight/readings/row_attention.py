"""Attention from some queries to every key: by weight, or by value norm.

"weight"      a[i, j], as the softmax gives it
"value-norm"  ‖a[i, j]·v[j]‖ = a[i, j]·‖v[j]‖, each head's divided by its sum: what is looked at *and* passed on.
              A token with a large weight and a value near zero, as sinks have, adds little.
              Source: Kobayashi et al. 2020, "Attention is Not Only a Weight" (arXiv 2004.10102), without their
              output matrix, which mixes heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from limelight.errors import InputError, ShapeError
from limelight.matrix import AttentionMatrix

Weigh = Literal["weight", "value-norm"]
MANY = 8
"""Where less than one query in so many looks, its row is computed by itself."""
TOGETHER = 32
"""Rows that are computed at once."""


def mean_of_rows(matrix: AttentionMatrix, rows: Sequence[int], batch: int) -> Tensor:
    """(heads, keys), float64: of few rows only those are computed, of many all of them in one pass."""
    B, H, N, M = matrix.shape
    if not 0 <= batch < B:
        raise ShapeError(f"batch must be one of the {B} texts, counted from 0; got {batch}.")
    if not len(rows):
        raise InputError("rows must name at least one query to look from; got none.")
    different = sorted({int(row) % N if -N <= row < N else int(row) for row in rows})
    if not -N <= different[0] <= different[-1] < N:
        raise InputError(f"rows are from 0 to {N - 1}; got {different[0]} to {different[-1]}.")
    if len(different) * MANY < N and len(different) == len(rows):
        total = torch.zeros(H, M, dtype=torch.float64)
        for start, stop in _runs(different):
            total += matrix[batch, :, start:stop].sum(1, dtype=torch.float64).cpu()
        return total / len(rows)
    sent_N = torch.zeros(N, dtype=matrix.dtype, device=matrix.device)
    for row in rows:
        sent_N[row] += 1 / len(rows)
    found: Tensor = (matrix.T @ sent_N)[batch].double().cpu()
    return found


def weighed_by_values(shares_HM: Tensor, matrix: AttentionMatrix, batch: int) -> Tensor:
    """(heads, keys): the same shares times the lengths of the values, each head's divided by their sum."""
    weighed_HM: Tensor = shares_HM * value_lengths(matrix, batch)
    return weighed_HM / weighed_HM.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)


def value_lengths(matrix: AttentionMatrix, batch: int) -> Tensor:
    """‖v‖ of every query head and key, (heads, keys) float64: query heads that share a key head share its values."""
    if matrix.value is None:
        raise InputError(
            "weigh='value-norm' needs the values, and this matrix was made without: give value=."
        )
    norms_GM: Tensor = matrix.value[batch].double().norm(dim=-1).cpu()
    return norms_GM.repeat_interleave(matrix.shape[1] // max(1, len(norms_GM)), dim=0)


def _runs(rows: list[int]) -> Iterator[tuple[int, int]]:
    """Sorted rows as ranges of neighbours, none longer than is good for memory."""
    start = stop = rows[0]
    for row in rows:
        if row != stop or stop - start == TOGETHER:
            yield start, stop
            start = row
        stop = row + 1
    yield start, stop
