"""Some queries of a matrix alone: the others look at nothing, so that no fold counts them."""

from __future__ import annotations

import torch
from torch import Tensor

from limelight.errors import KindError, ShapeError
from limelight.matrix import masks
from limelight.matrix.biases import Bias
from limelight.matrix.matrix import AttentionMatrix
from limelight.matrix.memory import demand_memory


def only_queries(matrix: AttentionMatrix, chosen: Tensor) -> AttentionMatrix:
    """The same matrix, in which only the chosen queries look; the rows of the others are empty.

    chosen: bool, (N,) for all texts or (B, N) for each. So what keys receive from some queries, such as those of an
    answer, is a reading like any other. Q, K and V are shared, nothing is copied; gradients flow as before.

    >>> matrix = AttentionMatrix(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 5, 4))
    >>> only_queries(matrix, torch.tensor([False, False, True])).dense().sum((0, 1, 3))
    tensor([0.0000, 0.0000, 2.0000])
    """
    B, _, N, _ = matrix.shape
    if not isinstance(chosen, Tensor) or chosen.dtype != torch.bool:
        came = chosen.dtype if isinstance(chosen, Tensor) else type(chosen).__name__
        raise KindError(f"chosen must be a bool tensor, of each query whether it looks; got {came}.")
    demand_memory("chosen", chosen)
    if chosen.shape not in ((N,), (B, N)):
        raise ShapeError(
            f"chosen must say of each query whether it looks, ({N},) or ({B}, {N}); got {tuple(chosen.shape)}."
        )
    scores, inputs = matrix._scores, matrix._inputs
    rows_BN = chosen.to(scores.device).expand(B, N)
    some = AttentionMatrix(
        inputs.query,
        inputs.key,
        matrix.value,
        scores.mask & masks.dense(rows_BN[:, None, :, None]),
        scores.scale,
        scores.bias if isinstance(scores.bias, Bias) else inputs.bias,
        scores.softcap,
        inputs.sink,
    )
    some._part = matrix._part
    return some
