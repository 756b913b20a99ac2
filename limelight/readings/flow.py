"""Attention rollout as a Reading: what came from where, through all layers, by word, sentence or document."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from limelight.errors import InputError
from limelight.matrix.rollout import Rollout
from limelight.readings.documents import Weigh
from limelight.readings.groups import Groups
from limelight.readings.measures import Matrices, by_layer
from limelight.readings.reading import Reading
from limelight.text.segments import Level, Segments


def rollout(
    matrices: Matrices,
    segments: Segments,
    rows: Sequence[int],
    level: Level = "word",
    weigh: Weigh = "alpha",
    residual: float = 0.5,
    batch: int = 0,
) -> Reading:
    """How much of each word (or sentence, document) is in the tokens at `rows` after the last layer, if all that
    layers do were to mix tokens by their weights: one axis, the mean of the rows, summed over a unit's tokens.

    matrices  self-attention of all layers, the one nearest to the input first; the mean of their heads is taken
    rows      which tokens of the last layer, counted from 0; -1 is the last
    weigh     "value" weighs by ‖α·v‖ in place of α
    residual  the share that a token keeps of itself in every layer

    Source: Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers" (arXiv 2005.00928), equation 1.
    """
    layers = by_layer(matrices)
    if not layers:
        raise InputError("A rollout needs at least one layer; got none.")
    if not len(rows):
        raise InputError("rows must name at least one token; got none.")
    order = sorted(layers)
    through = Rollout(
        [layers[layer] for layer in order], heads="mean", residual=residual, values=weigh == "value"
    )
    shares_M = through.rows(list(rows))[batch].double().mean(0).cpu().numpy()
    groups = Groups.of(segments, level)
    groups.fit(len(shares_M), "keys")
    index = np.array(groups.index)
    sums = np.bincount(index[index >= 0], shares_M[index >= 0], minlength=len(groups))
    heads = tuple((layer, head) for layer in order for head in range(layers[layer].shape[1]))
    how = (
        f"{through.how} Mean of {len(rows)} token{'s' if len(rows) > 1 else ''} after the last layer, summed over "
        f"the tokens of a {level}."
    )
    return Reading(sums, (level,), (groups.names,), "probability", how, heads)
