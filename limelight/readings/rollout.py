"""Rollout → Reading: what each word of the last layer holds of each word of the first, through all layers.

The mean over a word's query tokens goes through the layers as one column, so a text costs as many columns as it has
words, and nothing of size tokens × tokens is stored.
"""

from __future__ import annotations

import numpy as np
import torch

from limelight.errors import InputError
from limelight.matrix import Rollout
from limelight.readings.reading import Reading
from limelight.readings.token_groups import Groups

TOGETHER = 256  # words that go through the layers at a time


def word_rollout(rollout: Rollout, queries: Groups, keys: Groups, batch: int = 0) -> Reading:
    """The share of each key word in each query word: axes ("query word", "key word"), unit probability.

    Rule: SUM over the key tokens of a word, MEAN over the query tokens of a word. Where each token's row of the
    rollout adds up to 1, a word's adds up to 1 less what stands at tokens of no word.

    queries, keys: the groups of the tokens after the last layer and before the first; their level names the axes.
    batch: which text of the batch.
    """
    B, N, M = rollout.shape
    queries.fit(N, "queries")
    keys.fit(M, "keys")
    if not 0 <= batch < B:
        raise InputError(f"batch must be from 0 to {B - 1}; got {batch}.")
    index_N = torch.tensor(queries.index, dtype=torch.int64)
    index_M = torch.tensor(keys.index, dtype=torch.int64)
    key_words_M = index_M.where(index_M >= 0, len(keys))  # one column more, for tokens of no word
    table_PQ = torch.zeros(len(queries), len(keys) + 1, dtype=torch.float64)
    for start in range(0, len(queries), TOGETHER):
        words = torch.arange(start, min(start + TOGETHER, len(queries)))
        member_NP = (index_N[:, None] == words).to(rollout.dtype)
        asked_BNP = torch.zeros(B, N, len(words), dtype=rollout.dtype)
        asked_BNP[batch] = member_NP / member_NP.sum(0).clamp(min=1)
        given_PM = (rollout.T @ asked_BNP)[batch].T.cpu().double()
        table_PQ[words] = table_PQ[words].index_add_(1, key_words_M, given_PM)
    return Reading(
        np.asarray(table_PQ[:, :-1].to(rollout.dtype)),
        (f"query {queries.level}", f"key {keys.level}"),
        (queries.names, keys.names),
        "probability",
        f"{rollout.how} Summed over the key tokens of a {keys.level}, averaged over the query tokens of a "
        f"{queries.level}.",
        rollout.heads,
    )
