"""Some queries of a matrix alone: the others look at nothing, so that no fold counts them."""

from __future__ import annotations

import torch
from torch import Tensor

from limelight.errors import ShapeError
from limelight.matrix import masks
from limelight.matrix.matrix import AttentionMatrix


def only_queries(matrix: AttentionMatrix, chosen: Tensor) -> AttentionMatrix:
    """The same matrix, in which only the chosen queries look; the rows of the others are empty.

    chosen: bool, (N,) for all texts or (B, N) for each. So what keys receive from some queries, such as those of an
    answer, is a reading like any other. Q, K and V are shared, nothing is copied.

    >>> matrix = AttentionMatrix(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 5, 4))
    >>> only_queries(matrix, torch.tensor([False, False, True])).dense().sum((0, 1, 3))
    tensor([0., 0., 2.])
    """
    B, _, N, _ = matrix.shape
    if chosen.dtype != torch.bool or chosen.shape not in ((N,), (B, N)):
        raise ShapeError(
            f"chosen must say of each query whether it looks, bool of shape ({N},) or ({B}, {N}); got "
            f"{chosen.dtype} of shape {tuple(chosen.shape)}."
        )
    scores = matrix._scores
    rows_BN = chosen.to(scores.device).expand(B, N) if chosen.dim() == 1 else chosen.to(scores.device)
    return AttentionMatrix(
        scores.q_BHND,
        scores.k_BGMD,
        matrix.value,
        scores.mask & masks.dense(rows_BN[:, None, :, None]),
        scores.scale,
        scores.bias,
        scores.softcap,
        scores.sink_H,
    )
