"""Every reduction, under every mask and cut, against the float64 truth; then the cases that break naive code."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limelight.errors import ArgumentTypeError, InputError, ShapeError, TooLargeError
from limelight.matrix import (
    ArgMax,
    BottomK,
    Entropy,
    Pool,
    Received,
    RowStats,
    SinkMass,
    TopK,
    ValueNorms,
    masks,
)
from limelight.matrix.engine.plan import Plan
from tests import expected
from tests.oracle import CUTS, MASKS, WALKS_OFTEN, Case, H, M, N, dressed_case, expect_all, random_case
from tests.tolerance import check

TWO_CUTS = ["strips", "squares"]  # the third, strips of all heads, is no way of its own: once is enough
QUICK = {
    "strips": [
        "causal, rows of nothing",
        "lengths, left",
        "documents and earlier ones",
        "near ones, or by a function",
    ],
    "squares": ["nothing", "causal window", "documents and earlier ones", "dense"],
}
"""Of the masks, those of the default run."""


@pytest.mark.parametrize(
    ("mask", "cut"),
    [
        pytest.param(mask, cut, marks=[] if mask in QUICK[cut] else pytest.mark.slow)
        for mask in MASKS
        for cut in TWO_CUTS
    ],
)
def test_every_reduction_reads_the_truth(mask: str, cut: str) -> None:
    expect_all(random_case(MASKS[mask][0]), CUTS[cut], without=WALKS_OFTEN if cut == "strips" else "")


@pytest.mark.parametrize(
    ("dtype", "cut"),
    [
        (torch.float32, "strips, all heads"),
        pytest.param(torch.float32, "squares", marks=pytest.mark.slow),
        (torch.float64, "squares"),
        (torch.bfloat16, "strips"),
        pytest.param(torch.float16, "strips", marks=pytest.mark.slow),
    ],
)
def test_with_bias_softcap_and_sink_in_every_dtype(dtype: torch.dtype, cut: str) -> None:
    expect_all(dressed_case(masks.causal(), dtype), CUTS[cut])


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1, 1, 1, 1, 1),
        (2, 2, 1, 1, 13, 3, 2),
        (2, 2, 1, 13, 1, 3, 2),
        (2, 2, 1, 0, 13, 3, 2),
        (2, 2, 1, 13, 0, 3, 2),
        (2, 2, 2, 0, 0, 3, 2),
        (0, 2, 1, 5, 7, 3, 2),
        (2, 0, 0, 5, 7, 3, 2),
        (1, 2, 1, 5, 7, 0, 0),
    ],
)
@pytest.mark.parametrize(("mask", "cut"), [(None, "strips"), (masks.causal(), "squares")])
def test_sizes_of_zero_and_one(shape: tuple[int, ...], mask: masks.Mask | None, cut: str) -> None:
    expect_all(random_case(mask, shape=shape), CUTS[cut])


# ---- extreme rows -------------------------------------------------------------------------------------


def extreme(name: str) -> Case:
    """Cases in which a plain exp(score) or one log-sum-exp a row goes wrong."""
    case = random_case()
    if name == "logits of ten thousand":
        # Small whole numbers: their float32 product is exact, so every error is one of the softmax.
        return replace(
            case,
            query=torch.randint(-9, 10, case.query.shape).float() * 16,
            key=torch.randint(-9, 10, case.key.shape).float() * 16,
            scale=1.0,
        )
    bias = torch.zeros(1, 1, N, M)
    if name == "rows of finfo.min":
        bias[:, :, 2:9] = torch.finfo(torch.float32).min
        bias[:, :, 11, 5:] = torch.finfo(torch.float32).min
    elif name == "rows of -inf":
        bias[:, :, 2:9] = -torch.inf
        bias[:, :, :, 30:] = -torch.inf
    elif name == "a sink above everything":
        return replace(case, sink=torch.full((H,), 500.0))
    elif name == "a sink below everything":
        return replace(case, sink=torch.full((H,), -torch.inf), bias=bias - 1e4)
    return replace(case, bias=bias)


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        # Every name in one of the cuts by default, in both where there is time.
        pytest.param(name, cut, marks=[] if cut == quick else pytest.mark.slow)
        for name, quick in {
            "logits of ten thousand": "strips",
            "rows of finfo.min": "squares",
            "rows of -inf": "squares",
            "a sink above everything": "strips",
            "a sink below everything": "strips",
        }.items()
        for cut in TWO_CUTS
    ],
)
def test_extreme_rows(name: str, cut: str) -> None:
    expect_all(extreme(name), CUTS[cut])


def test_logits_of_ten_thousand_need_no_allowance() -> None:
    case = extreme("logits of ten thousand")
    weights = case.truth().weights_BHNM
    assert case.truth().scores_BHNM.abs().max() > 1e4
    assert (case.matrix().dense() - weights).abs().max() <= 5e-7


def test_a_row_of_finfo_min_is_uniform_and_a_row_of_minus_infinity_is_nothing() -> None:
    uniform = extreme("rows of finfo.min").matrix()
    check("weights", uniform.rows(3), torch.full((2, H, M), 1 / M, dtype=torch.float64))
    nothing = extreme("rows of -inf").matrix()
    assert not nothing.rows(3).any()
    stats = nothing.read(RowStats())
    assert stats.empty.sum(-1).unique().tolist() == [7]
    assert bool((stats.maximum[stats.empty] == -torch.inf).all())


@pytest.mark.slow
def test_a_row_of_low_scores_that_sees_nothing_in_one_of_its_tiles() -> None:
    """Two runs of keys in a strip, a row blind in one of them: its weights there are 0, not 0 · exp(1000)."""
    query = torch.arange(150) // 70
    key = torch.cat([torch.zeros(130), torch.full((300,), 9), torch.ones(130)]).long()
    case = random_case(masks.documents(query, key), shape=(1, 1, 1, 150, 560, 3, 2))
    case = replace(case, bias=torch.full((1, 1, 1, 1), -1000.0))
    for cut in (Plan(rows=150, columns=None, panel_batches=1, panel_heads=1), Plan(61, 127, 1, 1)):
        expect_all(case, cut)


@pytest.mark.parametrize("loop", ["plain", None])
def test_a_sink_beyond_all_measure_takes_everything(loop: str | None) -> None:
    lowest = torch.full((1, 1, 1, 1), torch.finfo(torch.float32).min)
    case = replace(random_case(masks.causal(offset=-3)), bias=lowest, sink=torch.full((H,), 3e38))
    stats, mass, received = case.matrix().read(RowStats(), SinkMass(), Received(), loop=loop)
    assert torch.equal(mass.sink, (~stats.empty).float())
    assert not received.raw.any()


# ---- what single reductions promise ------------------------------------------------------------------------


def test_of_equals_the_lowest_key_wins_however_the_matrix_is_cut() -> None:
    case = random_case(masks.causal())
    case = replace(case, query=torch.zeros_like(case.query))  # every visible key gets the same
    visible = torch.arange(N) + M - N + 1
    for cut in CUTS.values():
        peak, top = case.read(ArgMax(), TopK(20), cut=cut)
        assert not peak.keys.any()
        expected = torch.arange(20).where(torch.arange(20) < visible[:, None], -1)
        assert torch.equal(top.keys, expected.expand(top.keys.shape))


def test_a_row_with_a_score_that_is_no_number_names_no_key_however_the_matrix_is_cut() -> None:
    case = random_case(masks.causal())
    case.key[0, 0, 20] = torch.nan
    case.query[1, 5, 3] = torch.nan
    for cut in CUTS.values():
        stats, peak, top, bottom, norms = case.read(
            RowStats(), ArgMax(), TopK(3), BottomK(3), ValueNorms(), cut=cut
        )
        lost = stats.has_nan
        assert (
            lost.sum() == 2 * (N - 20 + M - N) + 1
        )  # two query heads share the key, which the first do not see
        assert bool((peak.keys >= 0).logical_xor(lost).all())
        assert torch.equal(peak.weights.isnan(), lost)
        assert torch.equal(norms.peak.isnan(), lost) and torch.equal(norms.keys < 0, lost)
        for several in (top, bottom):
            assert bool((several.keys[lost] == -1).all())
            assert bool((several.keys[~lost] >= 0).all())
            assert torch.equal(several.weights.isnan(), lost[..., None].expand(several.weights.shape))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_long_rows_are_ranked_through_their_chunks(dtype: torch.dtype) -> None:
    """Scores of few values, so that there are ties within chunks and across them."""
    keys = 1_009
    scores = torch.randint(-3, 4, (11, keys)).to(dtype)
    scores[4] = 0
    scores[5] = torch.where(torch.arange(keys) % 2 == 0, 0.0, -0.0)
    case = Case(
        torch.eye(11, dtype=dtype)[None, None], scores.T[None, None], torch.ones(1, 1, keys, 1), scale=1
    )
    matrix = case.matrix()
    peak, top = matrix.read(ArgMax(), TopK(5))
    order = scores.argsort(descending=True, stable=True)
    assert torch.equal(top.keys[0, 0], order[:, :5])
    assert torch.equal(peak.keys[0, 0], order[:, 0])
    assert torch.equal(peak.weights, top.weights[..., 0])


def test_rows_that_see_few_chunks_name_no_key_twice() -> None:
    """The first rows of a causal matrix see one key, two keys, … of the first chunk only."""
    keys = 1_009
    case = random_case(masks.causal(offset=0), shape=(1, 1, 1, 11, keys, 3, 1))
    top = case.matrix().read(TopK(5))
    assert (top.keys >= 0).sum(-1).flatten().tolist() == [1, 2, 3, 4, *[5] * 7]
    expected.top(top, case)


def test_pool_of_single_tokens_is_the_matrix_and_of_everything_is_one() -> None:
    case = random_case(masks.causal())
    matrix = case.matrix()
    check("pooled", matrix.read(Pool(range(N), range(M))), case.truth().weights_BHNM)
    whole = matrix.read(Pool([0] * N, [0] * M))
    without = matrix.read(Pool([None, *range(N - 1)], [[None, *range(M - 1)]] * len(case.query)))
    assert torch.equal(without, matrix.read(Pool([-1, *range(N - 1)], [-1, *range(M - 1)])))
    check("pooled", whole, torch.ones(2, H, 1, 1))


def test_pool_takes_groups_for_each_batch() -> None:
    case = random_case()
    rows, cols = torch.arange(2 * N).view(2, N) % 3, torch.arange(2 * M).view(2, M) % 4
    both = case.matrix().read(Pool(rows, cols))
    for b in (0, 1):
        alone = Case(case.query[b : b + 1], case.key[b : b + 1], case.value[b : b + 1]).matrix()
        check("pooled", both[b : b + 1], alone.read(Pool(rows[b], cols[b])))


def test_what_a_reduction_refuses() -> None:
    matrix = random_case().matrix()
    with pytest.raises(InputError, match="at least one entry"):
        TopK(0)
    with pytest.raises(ShapeError, match=rf"\({N},\) or \(2, {N}\)"):
        matrix.read(Pool([0] * M, [0] * M))
    with pytest.raises(ArgumentTypeError, match="whole numbers"):
        matrix.read(Pool([0.5] * N, [0] * M))
    with pytest.raises(InputError, match="-1 for no group"):
        matrix.read(Pool([-2] * N, [0] * M))
    with pytest.raises(TooLargeError, match=r"Pool\(rows, cols, limit=\d+\)"):
        matrix.read(Pool(range(N), range(M), limit=1_000))


def test_readings_are_the_same_when_the_stats_are_there_already() -> None:
    matrix = random_case(masks.causal()).matrix()
    first, second = matrix.read(Entropy()), matrix.read(Entropy())
    check("entropy", second, first)


def test_one_reduction_gives_its_reading_and_several_a_tuple_in_their_order() -> None:
    matrix = random_case(masks.causal()).matrix()
    alone = matrix.read(RowStats())
    entropy, stats, again, received = matrix.read(Entropy(), RowStats(), Entropy(), Received())
    assert torch.equal(stats.maximum, alone.maximum)
    assert torch.equal(entropy, again)
    assert received.raw.shape == (2, H, M)
