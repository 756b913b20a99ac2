"""The heart: an attention matrix that nobody stores.

dense.py     the slow plain truth, one function a stage      matrix.py   AttentionMatrix, the noun
masks.py     who may look at whom                            rules.py    the classes behind the masks
biases.py    what is added by place: ALiBi, T5, functions    given.py    masks of lengths, documents, tables
places.py    functions of a place                            drawing.py  a mask as text
doors.py     what a matrix may be made of                    arguments.py  whole and finite numbers
scores.py    the logits of any block                         tile.py     what a fold sees
plans.py     how a loop cuts the matrix                      tiles.py    the loop over tiles
loops.py     which loop reads, and why                       workers.py  threads over panels and row blocks
why.py       what a reading will do                          operator.py A @ v and A.T @ x
gradients.py theirs                                          rollout.py  a product of many such matrices
mixing.py    one layer of it                                 chosen.py   some queries alone
memory.py    tensors that have none                      part.py     some of a model's heads
native/, triton/  the quicker loops

What is read:
folds.py     RowStats, Received, Entropy                     ranks.py    Peak, Top, Bottom
pools.py     Pool                                            rasters.py  Picture
distances.py Distance                                        sinks.py    SinkMass
norms.py     Output, Norms                                   histograms.py  Histogram
quantiles.py Quantiles                                       weighted.py Weighted, of α·w
"""

from __future__ import annotations

from limelight.matrix import biases, masks
from limelight.matrix.biases import Bias
from limelight.matrix.chosen import only_queries
from limelight.matrix.distances import Distance, DistanceReading
from limelight.matrix.folds import Again, Entropy, Fold, Received, ReceivedReading, RowStats
from limelight.matrix.histograms import Histogram, HistogramReading
from limelight.matrix.masks import Cover, Mask
from limelight.matrix.matrix import AttentionMatrix
from limelight.matrix.norms import Norms, NormsReading, Output
from limelight.matrix.pools import Pool
from limelight.matrix.quantiles import QuantileReading, Quantiles
from limelight.matrix.ranks import Bottom, Peak, Ranked, Top
from limelight.matrix.rasters import Picture, PictureReading
from limelight.matrix.rollout import Rollout
from limelight.matrix.sinks import SinkMass, SinkReading
from limelight.matrix.tile import Frame, Stats, Tile
from limelight.matrix.weighted import Weighted

__all__ = [
    "Again",
    "AttentionMatrix",
    "Bias",
    "Bottom",
    "Cover",
    "Distance",
    "DistanceReading",
    "Entropy",
    "Fold",
    "Frame",
    "Histogram",
    "HistogramReading",
    "Mask",
    "Norms",
    "NormsReading",
    "Output",
    "Peak",
    "Picture",
    "PictureReading",
    "Pool",
    "QuantileReading",
    "Quantiles",
    "Ranked",
    "Received",
    "ReceivedReading",
    "Rollout",
    "RowStats",
    "SinkMass",
    "SinkReading",
    "Stats",
    "Tile",
    "Top",
    "Weighted",
    "biases",
    "masks",
    "only_queries",
]
