"""The heart: an attention matrix that nobody stores.

dense.py     the slow plain truth, one function a stage      matrix.py   AttentionMatrix, the noun
masks.py     who may look at whom                            rules.py    the classes behind the masks
scores.py    the logits of any block                         tile.py     what a fold sees
folds.py     what is read: RowStats, Received, Entropy, Pool
ranks.py     what is read: Peak, Top                         distances.py  what is read: Distance
tiles.py     the loop over tiles                             operator.py A @ v and A.T @ x
why.py       what a reading will do
"""

from __future__ import annotations

from limelight.matrix import masks
from limelight.matrix.distances import Distance, DistanceReading
from limelight.matrix.folds import Entropy, Fold, Received, ReceivedReading, RowStats
from limelight.matrix.masks import Cover, Mask
from limelight.matrix.matrix import AttentionMatrix
from limelight.matrix.pools import Pool
from limelight.matrix.ranks import Peak, Ranked, Top
from limelight.matrix.tile import Frame, Stats, Tile

__all__ = [
    "AttentionMatrix",
    "Cover",
    "Distance",
    "DistanceReading",
    "Entropy",
    "Fold",
    "Frame",
    "Mask",
    "Peak",
    "Pool",
    "Ranked",
    "Received",
    "ReceivedReading",
    "RowStats",
    "Stats",
    "Tile",
    "Top",
    "masks",
]
