"""The plain truth against an independent one: PyTorch's own float64 attention, and equation 1 by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from limelight.matrix import masks, reference
from tests.oracle import MASKS, B, D, G, H, M, N, X, dressed_case, random_case, seen_by_meaning
from tests.tolerance import check


@pytest.mark.parametrize("name", MASKS)
def test_attention_is_what_sdpa_computes(name: str) -> None:
    mask, meaning = MASKS[name]
    case = random_case(mask, torch.float64)
    expected = F.scaled_dot_product_attention(
        case.query, case.key, case.value, attn_mask=seen_by_meaning(meaning), enable_gqa=True
    )
    output = case.truth().output_BHND
    assert output is not None
    check("output", output, expected)


def test_the_whole_process_is_multi_head_attention() -> None:
    """Every stage by name, composed, against torch.nn.MultiheadAttention."""
    E, heads = 12, 4
    theirs = torch.nn.MultiheadAttention(E, heads, batch_first=True, dtype=torch.float64)
    torch.nn.init.normal_(theirs.in_proj_bias)
    torch.nn.init.normal_(theirs.out_proj.bias)
    x, memory = torch.randn(B, N, E).double(), torch.randn(B, M, E).double()
    hidden = torch.rand(N, M) > 0.5
    hidden[:, 0] = False
    wq, wk, wv = (weight.T for weight in theirs.in_proj_weight.detach().chunk(3))
    biases = tuple(theirs.in_proj_bias.detach().chunk(3))

    q, k, v = reference.matrix_inputs(x, memory, wq, wk, wv, biases)
    q, k, v = (reference.split_heads(each, heads) for each in (q, k, v))
    scores = reference.scale(reference.matrix_multiply(q, k), 1 / math.sqrt(E // heads))
    weights = reference.softmax(reference.mask(scores, ~hidden))
    output = reference.weigh_values(weights, v)
    mixed = reference.concatenate(output, theirs.out_proj.weight.detach().T, theirs.out_proj.bias.detach())

    with torch.no_grad():
        expected, expected_weights = theirs(x, memory, memory, attn_mask=hidden, average_attn_weights=False)
    check("weights", weights, expected_weights)
    check("output", mixed, expected)
    assert torch.equal(reference.split_heads(reference.concatenate(output), heads), output)


def test_stages_are_kept_in_the_stated_order() -> None:
    """scale → softcap → bias → mask → sink, each from the one before, written out once more by hand."""
    case = dressed_case(masks.causal(), torch.float64)
    stages = case.truth()
    assert case.scale is not None
    assert case.softcap is not None
    assert case.bias is not None
    assert case.sink is not None
    key = torch.cat([case.key[:, [h // (H // G)]] for h in range(H)], dim=1)
    assert torch.equal(stages.scores_BHNM, case.query @ key.transpose(-1, -2))
    assert torch.equal(stages.scaled_BHNM, stages.scores_BHNM * case.scale)
    assert torch.equal(stages.capped_BHNM, case.softcap * (stages.scaled_BHNM / case.softcap).tanh())
    assert torch.equal(stages.biased_BHNM, stages.capped_BHNM + case.bias)
    seen = seen_by_meaning(MASKS["causal"][1])
    assert torch.equal(stages.masked_BHNM, stages.biased_BHNM.where(seen, -torch.inf))
    with_sink = torch.cat([stages.masked_BHNM, case.sink[:, None, None].expand(B, H, N, 1)], -1).softmax(-1)
    empty = (stages.masked_BHNM == -torch.inf).all(-1, keepdim=True)
    assert empty.any()
    check("weights", stages.weights_BHNM, with_sink[..., :-1].masked_fill(empty, 0.0))


def test_a_row_that_may_see_nothing_has_no_weights_and_finfo_min_is_uniform() -> None:
    scores = torch.zeros(1, 1, 2, 4, dtype=torch.float64)
    scores[:, :, 0] = -torch.inf
    scores[:, :, 1] = torch.finfo(torch.float32).min
    assert reference.softmax(scores)[0, 0].tolist() == [[0.0] * 4, [0.25] * 4]


def test_a_bias_of_fewer_axes_means_the_same_for_all_also_beside_a_score_function() -> None:
    query, key, bias = torch.randn(2, 3, 5, 7), torch.randn(2, 3, 11, 7), torch.randn(3, 5, 11)
    for score_mod in (None, lambda score, b, h, i, j: score + b):
        one = reference.attention(query, key, bias=bias, score_mod=score_mod)
        all_axes = reference.attention(query, key, bias=bias[None].expand(2, 3, 5, 11), score_mod=score_mod)
        assert torch.equal(one.weights_BHNM, all_axes.weights_BHNM)


def test_scale_follows_the_width_unless_given() -> None:
    case = random_case(dtype=torch.float64)
    stages = case.truth()
    check("scores", stages.scaled_BHNM, stages.scores_BHNM / math.sqrt(D))
    assert stages.output_BHND is not None
    assert stages.output_BHND.shape == (B, H, N, X)
