"""The heart: an attention matrix that nobody stores.

reference.py   the same in float64, one function a stage   matrix.py    AttentionMatrix, the noun
logits.py      the scores of any block                     tile.py      what a reduction is given
gradients.py   the gradients of A @ v and A.T @ x          rollout.py   a product of many such matrices
rollout_layer.py  one layer of it                          index_functions.py  functions of (b, h, q_idx, kv_idx)
validation.py  what a matrix may be made of                checks.py    whole and finite numbers
memory.py      tensors that have none                      head_range.py  some of a model's heads

masks/         which query may attend to which key: a tile, or that it is empty or full
biases/        what is added to the scores by place: ALiBi, T5, functions, tables
reductions/    what can be computed from the weights in one pass, one class each
engine/        how a pass is cut and executed: plan, threads, dispatch; tiled (PyTorch), native/ (C++), triton/
"""

from __future__ import annotations

from limelight.matrix import biases, masks
from limelight.matrix.biases import Bias
from limelight.matrix.masks import Mask, TileCoverage
from limelight.matrix.matrix import AttentionMatrix, select_queries
from limelight.matrix.reductions.base import NextPass, Reduction
from limelight.matrix.reductions.distance import DistanceResult, MeanDistance
from limelight.matrix.reductions.downsample import Downsample, DownsampleResult
from limelight.matrix.reductions.entropy import Entropy
from limelight.matrix.reductions.histogram import Histogram, HistogramResult
from limelight.matrix.reductions.pooling import Pool
from limelight.matrix.reductions.quantiles import QuantileResult, Quantiles
from limelight.matrix.reductions.received import Received, ReceivedResult
from limelight.matrix.reductions.reweighted import Reweighted
from limelight.matrix.reductions.row_stats import RowStats
from limelight.matrix.reductions.sink_mass import SinkMass, SinkResult
from limelight.matrix.reductions.topk import ArgMax, BottomK, TopK, TopKResult
from limelight.matrix.reductions.value_norms import AttentionOutput, ValueNorms, ValueNormsResult
from limelight.matrix.rollout import Rollout
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile

__all__ = [
    "ArgMax",
    "AttentionMatrix",
    "AttentionOutput",
    "Bias",
    "BottomK",
    "DistanceResult",
    "Downsample",
    "DownsampleResult",
    "Entropy",
    "Histogram",
    "HistogramResult",
    "Mask",
    "MatrixSpec",
    "MeanDistance",
    "NextPass",
    "Pool",
    "QuantileResult",
    "Quantiles",
    "Received",
    "ReceivedResult",
    "Reduction",
    "Reweighted",
    "Rollout",
    "RowStats",
    "SinkMass",
    "SinkResult",
    "SoftmaxStats",
    "Tile",
    "TileCoverage",
    "TopK",
    "TopKResult",
    "ValueNorms",
    "ValueNormsResult",
    "biases",
    "masks",
    "select_queries",
]
