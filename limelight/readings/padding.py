"""Padding in a batch: tokens that nobody may look at. They look all the same, and nobody reads what for."""

from __future__ import annotations

import torch

from limelight.matrix import AttentionMatrix, Received, ReceivedReading, only_queries


def without_padding(matrix: AttentionMatrix, batch: int) -> tuple[AttentionMatrix, ReceivedReading]:
    """One text's matrix of self-attention in which its padding looks at nothing, and what its keys receive then.

    Padding is known by the mask: a token that no query of any head may look at. A matrix without any is given back
    as it is; so is one with other keys than queries, whose padding the mask does not tell.
    """
    received = matrix.read(Received())
    _, _, N, M = matrix.shape
    seen_M = (received.queries[batch] > 0).any(0)
    if N != M or bool(seen_M.all()):
        return matrix, received
    looking = torch.ones(matrix.shape[0], N, dtype=torch.bool, device=seen_M.device)
    looking[batch] = seen_M
    closed = only_queries(matrix, looking)
    return closed, closed.read(Received())
