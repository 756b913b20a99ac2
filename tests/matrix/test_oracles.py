"""Checks that can fail: two oracles that share no code with us, a mutated loop and a mutated truth.

A comparison that no mistake can turn red is worse than none. Each mutant below is a mistake that someone
could make; the suite's own comparison must notice it. Mutated reductions are in test_mutants.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.matrix import Entropy, Received, SoftmaxStats, masks, reference
from limelight.matrix.logits import Logits
from tests import oracle
from tests.oracle import CUTS, MASKS, B, Case, H, M, N, random_case
from tests.tolerance import check

# ---- two oracles from PyTorch's attention -------------------------------------------------------------


def sdpa_with_log_sums(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """PyTorch's CPU flash attention: its output and the log-sum-exp of every row."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, attn_mask=bias)


def test_received_is_the_log_sum_of_attention_turned_round() -> None:
    """SDPA with Q' = K, K' = Q, V = x, key bias -lse: exp(lse') is what is received, out'·exp(lse') is Aᵀx."""
    q, k, x = torch.randn(B, H, N, 8), torch.randn(B, H, M, 8), torch.randn(B, H, N, 8)
    matrix = Case(q, k, k).matrix()
    _, log_sums = sdpa_with_log_sums(q, k, k)
    turned, received = sdpa_with_log_sums(k, q, x, -log_sums[:, :, None, :].expand(B, H, M, N))
    check("received", matrix.read(Received()).raw, received.exp().double())
    check("output", matrix.T @ x, (turned * received.exp()[..., None]).double())


def test_entropy_is_the_log_sum_less_the_mean_score() -> None:
    """entropy = lse - scale·q·(A K): SDPA with V = K."""
    q, k = torch.randn(B, H, N, 8), torch.randn(B, H, M, 8)
    mean_key, log_sums = sdpa_with_log_sums(q, k, k)
    expected = log_sums.double() - (q.double() * mean_key.double()).sum(-1) / 8**0.5
    check("entropy", Case(q, k, k).matrix().read(Entropy()), expected)


@pytest.mark.parametrize("name", ["everything", "causal", "lengths", "dense"])
def test_products_are_what_sdpa_computes(name: str) -> None:
    mask = MASKS[name][0].fit(B, H, N, M)
    case = random_case(mask)
    seen = mask.dense(N, M).expand(B, H, N, M)
    ours = case.matrix() @ case.value
    theirs = F.scaled_dot_product_attention(case.query, case.key, case.value, attn_mask=seen, enable_gqa=True)
    check("output", ours, theirs.double())


# ---- a mutated loop, a mutated truth ------------------------------------------------------------------


def rounded_to_bf16(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *arguments: method(*arguments).bfloat16().float()


def one_log_sum_exp(self: SoftmaxStats, scores: Tensor, room: Tensor | None = None) -> Tensor:
    """What a single log-sum-exp a row would give: the log of the sum is rounded away beside the maximum."""
    return scores - (self.maximum + self.log_sum)[..., None]


def test_scores_of_low_precision_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case()
    oracle.expect_all(case, CUTS["strips"])
    monkeypatch.setattr(Logits, "_product", rounded_to_bf16(Logits._product))
    with pytest.raises(AssertionError):
        oracle.expect_all(case, CUTS["strips"])


def test_a_tile_that_is_not_masked_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    block = Logits.block
    case = random_case(masks.causal())
    monkeypatch.setattr(
        Logits,
        "block",
        lambda self, i0, i1, span, arena: block(self, i0, i1, replace(span, partial=()), arena),
    )
    with pytest.raises(AssertionError):
        oracle.expect_all(case, CUTS["strips"])


def test_one_log_sum_exp_in_place_of_two_numbers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    bias = torch.full((1, 1, N, M), torch.finfo(torch.float32).min)
    case = replace(random_case(), bias=bias)
    oracle.expect_all(case, CUTS["squares"])
    monkeypatch.setattr(SoftmaxStats, "subtract_from", one_log_sum_exp)
    with pytest.raises(AssertionError):
        oracle.expect_all(case, CUTS["squares"])


@dataclass(frozen=True)
class CausalOffByOne(masks.Mask):
    """Right everywhere but on the diagonal."""

    def block(self, i0: int, i1: int, j0: int, j1: int, n: int, m: int, device: Any = None) -> Tensor:
        return masks.causal(offset=m - n - 1).block(i0, i1, j0, j1, n, m, device)

    def coverage(self, i0: int, i1: int, j0: int, j1: int, n: int, m: int) -> masks.TileCoverage:
        return masks.TileCoverage.PARTIAL


def test_a_mask_that_is_off_by_one_is_noticed() -> None:
    table = CausalOffByOne().dense(N, M).expand(B, H, N, M)
    assert not torch.equal(table, oracle.seen_by_meaning(MASKS["causal"][1]))


@pytest.mark.parametrize(
    "softmax",
    [
        lambda s: (s - s.amax(-1, keepdim=True)).exp(),
        lambda s: s.exp() / (s.exp().sum(-1, keepdim=True) + 1e-5),
        lambda s: s.softmax(-2),
        lambda s: s.bfloat16().softmax(-1).double(),
    ],
    ids=["not divided", "a small number for safety", "the other axis", "in bf16"],
)
def test_a_mutated_softmax_is_noticed(
    softmax: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = random_case(dtype=torch.float64)
    query, key, value = case.query, case.key, case.value
    expected = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    check("output", reference.attention(query, key, value).output_BHND, expected)
    monkeypatch.setattr(reference, "softmax", lambda s, sink: softmax(s))
    with pytest.raises(AssertionError):
        check("output", reference.attention(query, key, value).output_BHND, expected)


def test_the_table_notices_a_nan_a_shape_and_one_wrong_element() -> None:
    truth = torch.rand(N, M).double()
    check("weights", truth.float(), truth)
    for wrong in (
        truth.float().index_fill(0, torch.tensor([3]), torch.nan),
        truth.float().T,
        truth.float().index_put((torch.tensor([3]), torch.tensor([4])), torch.tensor(2.0)),
        truth.float() * (1 + 1e-5),
    ):
        with pytest.raises(AssertionError):
            check("weights", wrong, truth)
