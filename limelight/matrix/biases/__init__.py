"""What is done to the scores before the mask, from their place alone: computed tile by tile, never stored.

    alibi(heads)       a straight penalty on distance, one slope a head
    relative(table)    T5's trained numbers, one for each bucket of distances and head

Give them as `bias=` to an AttentionMatrix, or there write a function (b, h, q_idx, kv_idx) -> float. The order
is scale → softcap → bias → score_mod → mask → sink.

base.py  what every bias is      distance.py  ALiBi, relative positions      custom.py  tensors and functions
"""

from __future__ import annotations

from limelight.matrix.biases.base import Bias
from limelight.matrix.biases.distance import alibi, alibi_slopes, relative

__all__ = ["Bias", "alibi", "alibi_slopes", "relative"]
