"""Checks that can fail: two oracles that share no code with us, and a mutant for every comparison.

A comparison that no mistake can turn red is worse than none. Each mutant below is a mistake that someone
could make; the suite's own comparison must notice it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.matrix import Entropy, Peak, Pool, Received, RowStats, Stats, Tile, Top, dense, masks
from limelight.matrix.folds import RowSums
from limelight.matrix.operator import Applied, TransposedApplied
from limelight.matrix.ranks import Best
from limelight.matrix.scores import Scores
from tests import oracle
from tests.oracle import CUTS, FOLDS, MASKS, B, Case, H, M, N, random_case
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


# ---- mutated folds ------------------------------------------------------------------------------------


class RowStatsThatForgetToRescale(RowStats):
    def merge(self, state: RowSums, other: RowSums) -> RowSums:
        return RowSums(torch.maximum(state.maximum, other.maximum), state.total + other.total, state.sink_H)


class RowStatsWithoutSink(RowStats):
    def finish(self, state: RowSums, stats: Stats | None = None) -> Stats:
        return super().finish(state._replace(sink_H=None))


class ReceivedThatAssigns(Received):
    def absorb(self, state: Any, tile: Tile) -> None:
        state.raw[tile.columns] = tile.weights.sum(-2).double()
        state.queries[tile.columns] += tile.queries_a_key()


class ReceivedThatCountsHiddenKeys(Received):
    def absorb(self, state: Any, tile: Tile) -> None:
        state.raw[tile.columns] += tile.weights.sum(-2)
        state.queries[tile.columns] += tile.i1 - tile.i0


class EntropyInBits(Entropy):
    def finish(self, state: Tensor, stats: Stats) -> Tensor:
        return super().finish(state, stats) / 0.6931471805599453


class PeakOfTheLastTile(Peak):
    def merge(self, state: Best, other: Best) -> Best:
        return other


class PeakWithinItsTile(Peak):
    def absorb(self, state: Best, tile: Tile) -> None:
        super().absorb(state, replace(tile, j0=0))


class TopThatTakesTheFirst(Top):
    def absorb(self, state: Best, tile: Tile) -> None:
        super().absorb(state, replace(tile, scores=tile.scores[..., : self.k], j1=tile.j0 + self.k))


class TopThatKeepsHiddenKeys(Top):
    def finish(self, state: Best, stats: Stats) -> Any:
        reading = super().finish(state, stats)
        return reading._replace(keys=reading.keys.clamp(min=0))


class PoolThatSumsOverQueries(Pool):
    def finish(self, state: Any, stats: Stats) -> Tensor:
        return state.sums[:, :, :-1, :-1].to(stats.maximum.dtype)


class PoolWithTheTokensOfNoGroup(Pool):
    def start(self, frame: Any) -> Any:
        state = super().start(frame)
        return state._replace(cols_BM=state.cols_BM.clamp(max=state.sums.shape[-1] - 2))


class AppliedToTheWrongKeyHeads(Applied):
    def start(self, frame: Any) -> Any:
        state = super().start(frame)
        return state._replace(given=state.given.flip(1))


class TransposedAppliedToTheWrongRows(TransposedApplied):
    def absorb(self, state: Any, tile: Tile) -> None:
        shifted = replace(tile, i0=0, i1=tile.i1 - tile.i0)
        shifted.stats = tile.stats
        super().absorb(state, shifted)


FOLD_MUTANTS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    RowStatsThatForgetToRescale: ("RowStats", lambda fold: RowStatsThatForgetToRescale()),
    RowStatsWithoutSink: ("RowStats", lambda fold: RowStatsWithoutSink()),
    ReceivedThatAssigns: ("Received", lambda fold: ReceivedThatAssigns()),
    ReceivedThatCountsHiddenKeys: ("Received", lambda fold: ReceivedThatCountsHiddenKeys()),
    EntropyInBits: ("Entropy", lambda fold: EntropyInBits()),
    PeakOfTheLastTile: ("Peak", lambda fold: PeakOfTheLastTile()),
    PeakWithinItsTile: ("Peak", lambda fold: PeakWithinItsTile()),
    TopThatTakesTheFirst: ("Top(5)", lambda fold: TopThatTakesTheFirst(fold.k)),
    TopThatKeepsHiddenKeys: ("Top(5)", lambda fold: TopThatKeepsHiddenKeys(fold.k)),
    PoolThatSumsOverQueries: ("Pool", lambda fold: PoolThatSumsOverQueries(fold.rows, fold.cols)),
    PoolWithTheTokensOfNoGroup: ("Pool", lambda fold: PoolWithTheTokensOfNoGroup(fold.rows, fold.cols)),
    AppliedToTheWrongKeyHeads: ("A @ v", lambda fold: AppliedToTheWrongKeyHeads(fold.v)),
    TransposedAppliedToTheWrongRows: ("A.T @ x", lambda fold: TransposedAppliedToTheWrongRows(fold.x)),
}


def mutant_case() -> Case:
    return replace(random_case(masks.causal(offset=1)), sink=torch.randn(H))


@pytest.mark.parametrize("mutant", FOLD_MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutated_fold_is_noticed(mutant: type) -> None:
    name, build = FOLD_MUTANTS[mutant]
    case, expect = mutant_case(), FOLDS[name][1]
    fold = FOLDS[name][0](case)
    [reading] = case.read(fold, cut=CUTS["squares"])
    expect(reading, case)  # green as it is …
    [reading] = case.read(build(fold), cut=CUTS["squares"])
    with pytest.raises(AssertionError):  # … and red as the mutant has it
        expect(reading, case)


# ---- a mutated loop, a mutated truth ------------------------------------------------------------------


def rounded_to_bf16(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *arguments: method(*arguments).bfloat16().float()


def one_log_sum_exp(self: Stats, scores: Tensor, room: Tensor | None = None) -> Tensor:
    """What a single log-sum-exp a row would give: the log of the sum is rounded away beside the maximum."""
    return scores - (self.maximum + self.log_sum)[..., None]


def test_scores_of_low_precision_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case()
    oracle.expect_all(case, CUTS["strips"])
    monkeypatch.setattr(Scores, "_product", rounded_to_bf16(Scores._product))
    with pytest.raises(AssertionError):
        oracle.expect_all(case, CUTS["strips"])


def test_a_tile_that_is_not_masked_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    block = Scores.block
    case = random_case(masks.causal())
    monkeypatch.setattr(
        Scores,
        "block",
        lambda self, i0, i1, span, arena: block(self, i0, i1, replace(span, partial=()), arena),
    )
    with pytest.raises(AssertionError):
        oracle.expect_all(case, CUTS["strips"])


def test_one_log_sum_exp_in_place_of_two_numbers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    bias = torch.full((1, 1, N, M), torch.finfo(torch.float32).min)
    case = replace(random_case(), bias=bias)
    oracle.expect_all(case, CUTS["squares"])
    monkeypatch.setattr(Stats, "subtract_from", one_log_sum_exp)
    with pytest.raises(AssertionError):
        oracle.expect_all(case, CUTS["squares"])


@dataclass(frozen=True)
class CausalOffByOne(masks.Mask):
    """Right everywhere but on the diagonal."""

    def block(self, i0: int, i1: int, j0: int, j1: int, n: int, m: int, device: Any = None) -> Tensor:
        return masks.causal(offset=m - n - 1).block(i0, i1, j0, j1, n, m, device)

    def cover(self, i0: int, i1: int, j0: int, j1: int, n: int, m: int) -> masks.Cover:
        return masks.Cover.SOME


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
    check("output", dense.attention(query, key, value).output_BHND, expected)
    monkeypatch.setattr(dense, "softmax", lambda s, sink: softmax(s))
    with pytest.raises(AssertionError):
        check("output", dense.attention(query, key, value).output_BHND, expected)


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
