"""The reference implementation: attention in float64, one function a stage, in the paper's order.

    matrix_inputs → split_heads → matrix_multiply → scale → (softcap → add_bias →) mask → softmax
    → weigh_values → concatenate

Nothing here is fast, and everything is stored. It is the oracle of the project: every loop, module and
measure is compared with it. The paper is Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762).
Letters are those of `limelight.shapes`, and X = H·D: all heads side by side.

>>> from limelight.matrix import masks
>>> seen = attention(torch.ones(1, 1, 2, 4), torch.ones(1, 1, 2, 4), mask=masks.causal())
>>> seen.weights_BHNM[0, 0].tolist()
[[1.0, 0.0], [0.5, 0.5]]
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.matrix.biases import Bias
from limelight.matrix.biases.custom import combined
from limelight.matrix.index_functions import PlaceFunction, ScoreFunction, TileIndex
from limelight.matrix.masks.base import Mask


def matrix_inputs(
    x_BNE: Tensor,
    memory_BME: Tensor,
    wq_EX: Tensor,
    wk_EX: Tensor,
    wv_EX: Tensor,
    biases: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None),
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, for all heads side by side.

        Q = X·Wq        K = Memory·Wk        V = Memory·Wv

    In self-attention X and Memory are the same embeddings; in cross-attention Memory is what the encoder
    wrote (section 3.2.3). The paper has no biases; where a model has them, they are added.
    Section 3.2.2: "linearly project the queries, keys and values h times"; the h matrices Wq of the paper
    stand side by side in one matrix of E rows, so that X is how wide all heads together are.
    """
    projected = []
    for source, weight, bias in zip(
        (x_BNE, memory_BME, memory_BME), (wq_EX, wk_EX, wv_EX), biases, strict=True
    ):
        product = source.double() @ weight.double()
        projected.append(product if bias is None else product + bias.double())
    q_BNX, k_BMX, v_BMX = projected
    return q_BNX, k_BMX, v_BMX


def split_heads(x_BNX: Tensor, heads: int) -> Tensor:
    """Cut the width into heads: (B, N, H·D) → (B, H, N, D).

        head h takes the columns h·D to (h+1)·D

    Section 3.2.2: D = d_model / h, so that all heads together cost as much as one of full width.
    """
    B, N, width = x_BNX.shape
    return x_BNX.double().view(B, N, heads, width // heads).transpose(1, 2)


def matrix_multiply(q_BHND: Tensor, k_BGMD: Tensor) -> Tensor:
    """How well each query matches each key: one dot product a pair.

        S = Q·Kᵀ        S[i, j] = Σ_d Q[i, d] · K[j, d]

    Section 3.2.1, the first box of figure 2. With fewer key heads than query heads (G < H, grouped queries,
    later than the paper) each key head serves H/G neighbouring query heads.
    """
    k_BHMD = _one_for_each_query_head(k_BGMD, q_BHND.shape[1])
    return q_BHND.double() @ k_BHMD.transpose(-1, -2)


def scale(s_BHNM: Tensor, factor: float) -> Tensor:
    """Bring the scores to unit size, whatever the width.

        S ← S · factor        in the paper factor = 1/√D

    Section 3.2.1: of two random vectors of width D the dot product has variance D; unscaled, the softmax
    saturates and its gradients vanish.
    """
    return s_BHNM * factor


def softcap(s_BHNM: Tensor, cap: float) -> Tensor:
    """Keep scores within ±cap, smoothly (Gemma 2; not in the paper).

    S ← cap · tanh(S / cap)
    """
    return cap * torch.tanh(s_BHNM / cap)


def add_bias(s_BHNM: Tensor, bias_BHNM: Tensor) -> Tensor:
    """Add what is known of a pair beforehand, such as its distance (ALiBi, T5; not in the paper).

    S ← S + bias
    """
    return s_BHNM + bias_BHNM.double()


def mask(s_BHNM: Tensor, seen_BHNM: Tensor) -> Tensor:
    """Take away what a query may not look at.

        S[i, j] ← -∞   where query i may not look at key j

    Section 3.2.3: "masking out (setting to -∞) all values in the input of the softmax which correspond to
    illegal connections". True in `seen_BHNM` means "may attend".
    """
    return s_BHNM.masked_fill(~seen_BHNM, -math.inf)


def softmax(s_BHNM: Tensor, sink_H: Tensor | None = None) -> Tensor:
    """Turn a row of scores into shares of one.

        A[i, j] = exp(S[i, j] - m[i]) / Σ_k exp(S[i, k] - m[i])        m[i] = max_k S[i, k]

    Equation 1. Taking the row maximum off changes nothing on paper and keeps exp within range. A sink (not
    in the paper) is one more score a head that enters the sum only: the row then adds up to less than one.
    A row that is -∞ everywhere may look at nothing: its weights are 0, where equation 1 would divide 0 by 0.
    """
    if s_BHNM.shape[-1] == 0:
        return s_BHNM
    largest_BHN1 = s_BHNM.amax(-1, keepdim=True)
    empty_BHN1 = largest_BHN1 == -math.inf
    largest_BHN1 = largest_BHN1.masked_fill(empty_BHN1, 0.0)
    raised_BHNM = torch.exp(s_BHNM - largest_BHN1)
    total_BHN1 = raised_BHNM.sum(-1, keepdim=True)
    if sink_H is not None:
        total_BHN1 = total_BHN1 + torch.exp(sink_H.double()[:, None, None] - largest_BHN1)
    return (raised_BHNM / total_BHN1).masked_fill(empty_BHN1, 0.0)


def weigh_values(a_BHNM: Tensor, v_BGMD: Tensor) -> Tensor:
    """Each query's mean of the values, weighted by its shares.

        O = A·V        O[i] = Σ_j A[i, j] · V[j]

    Equation 1, the last box of figure 2.
    """
    return a_BHNM @ _one_for_each_query_head(v_BGMD, a_BHNM.shape[1])


def concatenate(o_BHND: Tensor, wo_XE: Tensor | None = None, bias_E: Tensor | None = None) -> Tensor:
    """Lay the heads side by side again and mix them: (B, H, N, D) → (B, N, H·D) → (B, N, E).

        MultiHead(Q, K, V) = Concat(head_1, …, head_h)·Wo

    Section 3.2.2. Without `wo_XE` the heads are laid side by side only.
    """
    joined_BNX = o_BHND.double().transpose(1, 2).flatten(2)
    if wo_XE is None:
        return joined_BNX
    mixed_BNE = joined_BNX @ wo_XE.double()
    return mixed_BNE if bias_E is None else mixed_BNE + bias_E.double()


@dataclass(frozen=True)
class AttentionStages:
    """Every stage of one attention, in order, float64. A stage that was left out repeats the one before."""

    scores_BHNM: Tensor
    scaled_BHNM: Tensor
    capped_BHNM: Tensor
    biased_BHNM: Tensor
    masked_BHNM: Tensor
    weights_BHNM: Tensor
    output_BHND: Tensor | None


# The arguments of `attention` bear the names of the stages they steer, as those of AttentionMatrix do.
_scale, _softcap, _mask = scale, softcap, mask


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor | None = None,
    mask: Mask | Tensor | None = None,
    scale: float | None = None,
    bias: Tensor | Bias | PlaceFunction | None = None,
    softcap: float | None = None,
    sink: Tensor | None = None,
    score_mod: ScoreFunction | None = None,
) -> AttentionStages:
    """Equation 1 for all heads: scale → softcap → bias → score_mod → mask → sink, every stage kept.

    Shapes: query (B, H, N, D), key (B, G, M, D), value (B, G, M, any), bias broadcasts to (B, H, N, M),
    sink (H,). `bias` and `score_mod` may be functions, as in AttentionMatrix. `mask` is a Mask, or a bool
    tensor that broadcasts. Without `scale` it is 1/√D.
    """
    B, H, N, D = query.shape
    M = key.shape[2]
    scores = matrix_multiply(query, key)
    scaled = _scale(scores, 1 / math.sqrt(max(D, 1)) if scale is None else scale)
    capped = scaled if softcap is None else _softcap(scaled, softcap)
    if isinstance(bias, Tensor):
        bias = bias[(None,) * max(0, 4 - bias.dim())]  # fewer axes mean the same for all batches and heads
    change = combined(bias, score_mod)
    if isinstance(change, Bias):
        biased = change.apply(capped.clone(), TileIndex(range(B), range(H), range(N), range(M), N, M))
    else:
        biased = capped if change is None else add_bias(capped, change)
    seen = mask.fit(B, H, N, M).dense(N, M, query.device) if isinstance(mask, Mask) else mask
    masked = biased if seen is None else _mask(biased, seen)
    weights = softmax(masked, sink)
    output = None if value is None else weigh_values(weights, value)
    return AttentionStages(scores, scaled, capped, biased, masked, weights, output)


def _one_for_each_query_head(x_BGMD: Tensor, heads: int) -> Tensor:
    return x_BGMD.double().repeat_interleave(heads // max(x_BGMD.shape[1], 1), dim=1)
