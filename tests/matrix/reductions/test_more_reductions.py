"""What single reductions promise beside the shared suite: identities between them, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, strategies as st

from limelight.errors import ArgumentTypeError, InputError, ShapeError, TooLargeError
from limelight.matrix import (
    ArgMax,
    AttentionMatrix,
    AttentionOutput,
    BottomK,
    Downsample,
    Histogram,
    MeanDistance,
    Pool,
    Quantiles,
    Received,
    Reweighted,
    SinkMass,
    TopK,
    ValueNorms,
    masks,
    reference,
)
from limelight.matrix.reductions import pooling
from limelight.matrix.reductions.pooling import group_sums, segment_sums
from tests.examples import examples
from tests.oracle import CUTS, B, H, M, N, X, random_case
from tests.tolerance import check


def test_bottom_is_top_of_the_turned_scores_and_all_of_them_are_the_row() -> None:
    case = random_case(masks.causal())
    turned = replace(case, query=-case.query).matrix()
    assert torch.equal(case.matrix().read(BottomK(4)).keys, turned.read(TopK(4), loop="plain").keys)
    bottom, top = case.matrix().read(BottomK(M), TopK(M), loop="plain")
    assert torch.equal(bottom.keys.flip(-1)[:, :, -1], top.keys[:, :, -1])  # the last query sees every key


def test_the_smallest_weights_are_as_exact_as_the_largest() -> None:
    """Scores of whole numbers are exact in float32; e^-30 must not lose a digit to the size of its logarithm."""
    generator = torch.Generator().manual_seed(5)
    query, key = torch.randint(-2, 3, (2, 1, 3, 67, 16), generator=generator).float()
    truth = reference.attention(query, key, scale=1.0).weights_BHNM.sort(-1).values
    bottom = AttentionMatrix(query, key, scale=1.0).read(BottomK(67))
    assert float(truth.min()) < 1e-20
    assert float(((bottom.weights - truth).abs() / truth).max()) < 1e-6


def test_of_equals_the_lowest_key_is_also_the_first_at_the_bottom() -> None:
    case = random_case(masks.causal())
    case = replace(case, query=torch.zeros_like(case.query))
    for cut in CUTS.values():
        [bottom] = case.read(BottomK(3), cut=cut)
        assert bottom.keys.flatten(0, 2).unique(dim=0).tolist() == [[0, 1, 2]]


def test_a_query_that_looks_at_itself_has_no_distance_and_one_before_has_one() -> None:
    case = random_case(masks.window(1))
    at_home = case.matrix().read(MeanDistance())
    assert not at_home.mean.any()
    before = replace(case, mask=masks.window(1, offset=M - N - 1)).matrix().read(MeanDistance())
    assert torch.equal(before.mean, torch.ones(B, H, N))
    assert torch.equal(before.signed, -torch.ones(B, H, N))


def test_a_distance_of_a_hundred_thousand_keeps_its_last_digit() -> None:
    """A query far out that looks next to itself: Σ a·j less its own position would be off by hundredths."""
    n = 100_003
    query, key = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, n, 1)
    key[0, 0, -3:] = 60.0  # the last three get a third each
    case = replace(random_case(shape=(1, 1, 1, 1, 1, 1, 1)), query=query, key=key, value=key, scale=1.0)
    reading = case.matrix().read(MeanDistance())
    assert abs(reading.mean.item() - 1) < 1e-6
    assert abs(reading.signed.item() + 1) < 1e-6


def test_a_picture_of_one_cell_is_the_mean_and_of_every_place_the_matrix() -> None:
    case = random_case(masks.causal())
    weights = case.truth().weights_BHNM
    whole = case.matrix().read(Downsample(1, 1))
    check("pooled", whole.mean[..., 0, 0], weights.mean((-2, -1)))
    every = case.matrix().read(Downsample(N, M))
    check("weights", every.mean, weights)
    assert torch.equal(every.mean, every.maximum)
    assert torch.equal(every.seen[0, 0] > 0, masks.causal().dense(N, M)[0, 0])


@examples(7)
@given(height=st.integers(1, 40), width=st.integers(1, 50))
def test_the_cells_of_any_picture_hold_all_attention_between_them(height: int, width: int) -> None:
    torch.manual_seed(0)
    picture = random_case().matrix().read(Downsample(height, width))
    assert picture.mean.shape == (B, H, height, width)
    assert bool((picture.maximum >= picture.mean * (1 - 1e-6)).all())
    if height <= N and width <= M:
        rows = torch.tensor([(r + 1) * N // height - r * N // height for r in range(height)])
        columns = torch.tensor([(c + 1) * M // width - c * M // width for c in range(width)])
        total = (picture.mean.double() * rows[:, None] * columns).sum((-2, -1))
        check("received", total.float(), torch.full((B, H), float(N), dtype=torch.float64))


def test_norms_are_weights_times_lengths_and_the_peak_is_theirs() -> None:
    case = random_case(masks.causal())
    matrix = case.matrix()
    norms, received = matrix.read(ValueNorms(), Received())
    check("received", norms.received, received.raw.double() * norms.lengths)
    same = (
        replace(case, value=torch.ones_like(case.value)).matrix().read(ValueNorms(), ArgMax(), loop="plain")
    )
    assert torch.equal(same[0].keys, same[1].keys)
    output = matrix.read(AttentionOutput())
    assert bool((output.norm(dim=-1) <= norms.total * (1 + 1e-6)).all())


def test_norms_through_the_identity_are_those_of_the_values() -> None:
    matrix = random_case().matrix()
    check(
        "output",
        matrix.read(ValueNorms(torch.eye(X).expand(H, X, X))).lengths,
        matrix.read(ValueNorms()).lengths,
    )


def test_weighted_by_one_is_the_reduction_itself_and_by_zero_leaves_keys_out() -> None:
    matrix = random_case(masks.causal()).matrix()
    reduction = Pool(torch.arange(N) // 4, torch.arange(M) // 3)
    by_one, plain = matrix.read(Reweighted(reduction, torch.ones(M)), reduction, loop="plain")
    assert torch.equal(by_one, plain)
    without_first = (torch.arange(M) > 0).float()
    without, received = matrix.read(Reweighted(Received(), without_first), Received(), loop="plain")
    assert torch.equal(without.raw[..., 1:], received.raw[..., 1:])
    assert not without.raw[..., 0].any()


def test_sink_and_keys_are_all_there_is() -> None:
    matrix = replace(random_case(), sink=torch.randn(H)).matrix()
    check("weights", matrix.read(SinkMass(range(M))).total, torch.ones(B, H, N, dtype=torch.float64))
    twice, once = matrix.read(SinkMass([0, -M, -1]), SinkMass([0, M - 1]))
    assert torch.equal(twice.keys, once.keys)


@pytest.mark.parametrize(
    "keys",
    [range(1, M), range(0, M, 2), [0, 3, 4, 5, M - 1], [[j != b for j in range(M)] for b in range(B)]],
    ids=["all but the first", "every second", "three stretches", "others for each text"],
)
@pytest.mark.parametrize("cut", CUTS)
def test_named_keys_are_summed_however_they_lie(keys: Any, cut: str) -> None:
    case = random_case(masks.causal())
    named_BM = torch.zeros(B, M, dtype=torch.bool)
    if isinstance(keys, list) and isinstance(keys[0], list):
        named_BM, keys = torch.tensor(keys), torch.tensor(keys)
    else:
        named_BM[:, list(keys)] = True
    [reading] = case.read(SinkMass(keys), cut=CUTS[cut])
    check("weights", reading.keys, (case.truth().weights_BHNM * named_BM[:, None, None]).sum(-1))


def test_half_of_equal_weights_is_half_of_the_keys() -> None:
    case = random_case(masks.causal(offset=0))
    reading = replace(case, query=torch.zeros_like(case.query)).matrix().read(Quantiles(0.5, 0.999))
    seen = torch.arange(1, N + 1)
    assert reading.keys[0, 0, :, 0].tolist() == ((seen + 1) // 2).tolist()
    assert reading.keys[1, 2, :, 1].tolist() == seen.tolist()
    check("weights", reading.weights[0, 0, :, 0], 1 / seen.double())


def test_a_histogram_is_in_the_bins_that_it_names() -> None:
    case = random_case(masks.causal(offset=0), shape=(1, 1, 1, 4, 4, 3, 2))
    case = replace(case, query=torch.zeros_like(case.query))  # weights of 1, 1/2, 1/3, 1/4
    reading = case.matrix().read(Histogram(3, low=-1.5, high=0.0))  # edges at ln a = -1.5, -1, -0.5, 0
    assert reading.counts.tolist() == [[[7, 2, 1]]]
    assert reading.edges.tolist() == [-1.5, -1.0, -0.5, 0.0]
    assert case.matrix().read(Histogram(2, low=-0.2, high=-0.1)).counts.tolist() == [[[9, 1]]]


@pytest.mark.parametrize("cut", CUTS)
def test_a_query_that_is_no_number_spoils_no_other(cut: str) -> None:
    """One NaN in Q: its row alone is lost to the reductions that count, and to those that count by head left out."""
    case = random_case(masks.causal())
    spoiled = replace(case, query=case.query.clone())
    spoiled.query[1, 2, N - 2, 0] = torch.nan
    left_out = torch.ones(B, H, N, 1, dtype=torch.bool)
    left_out[1, 2, N - 2] = False
    quantiles, histogram = spoiled.read(Quantiles(0.3, 0.8), Histogram(7), cut=CUTS[cut])
    whole, _ = case.read(Quantiles(0.3, 0.8), Histogram(7), cut=CUTS[cut])
    [counts] = replace(case, mask=case.mask & masks.dense(left_out)).read(Histogram(7), cut=CUTS[cut])
    assert torch.equal(quantiles.keys, whole.keys.where(left_out, -1))
    assert torch.equal(quantiles.weights.isnan(), ~left_out.expand_as(whole.weights))
    assert torch.equal(quantiles.weights.nan_to_num(), whole.weights.where(left_out, 0.0))
    assert torch.equal(histogram.counts, counts.counts)


@pytest.mark.parametrize("rows", [[0] * N, [n % 3 - 1 for n in range(N)], [-1] * N])
@pytest.mark.parametrize("entries", [1, 2**18])
def test_a_pool_finished_a_few_groups_at_a_time(
    rows: list[int], entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "ENTRIES", entries)
    cols = [m // 5 for m in range(M)]
    case = random_case(masks.causal())
    pooled = case.matrix().read(Pool(rows, cols))
    of_rows = torch.nn.functional.one_hot(torch.tensor(rows) + 1)[:, 1:].double()
    of_cols = torch.nn.functional.one_hot(torch.tensor(cols)).double()
    weights = case.truth().weights_BHNM
    check("pooled", pooled, of_rows.T @ weights @ of_cols / of_rows.sum(0)[:, None])


@pytest.mark.parametrize(
    ("reduction", "what", "numbers"),
    [
        (
            Quantiles,
            (0.5, 0.9),
            8 * B * H * N * 2 * 2 * 64,
        ),  # the masses of two passes, two shares, 64 digits
        (Pool, (range(N), range(M)), (8 + 4) * B * H * N * M),  # sums, and the result
        (TopK, (11,), (4 + 8 + 4) * B * H * N * 11 - 1),  # scores, keys and weights
        (BottomK, (11,), (4 + 8 + 4) * B * H * N * 11 - 1),
    ],
)
def test_a_limit_counts_all_that_a_reduction_holds_at_once(
    reduction: Any, what: tuple[Any, ...], numbers: int
) -> None:
    with pytest.raises(TooLargeError) as refused:
        matrix.read(reduction(*what, limit=numbers))
    needed = int(str(refused.value).rpartition("limit=")[2].rstrip(")."))
    assert numbers < needed < 1.6 * numbers
    matrix.read(reduction(*what, limit=needed))
    with pytest.raises(TooLargeError):
        matrix.read(reduction(*what, limit=needed - 1))


@examples(10)
@given(groups=st.lists(st.integers(0, 6), max_size=20), axis=st.integers(0, 2))
def test_groups_are_summed_alike_on_every_device(groups: list[int], axis: int) -> None:
    shape = [3, 4, 5]
    shape[axis] = len(groups)
    x = torch.arange(torch.Size(shape).numel()).double().view(shape)
    numbers = torch.tensor(groups, dtype=torch.int64)
    assert torch.equal(segment_sums(x, numbers, 7, axis), group_sums(x, numbers, 7, axis))


matrix = random_case().matrix()
long = AttentionMatrix(torch.ones(1, 1, 200_000, 1), torch.ones(1, 1, 200_000, 1))


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda: BottomK(0), InputError, "at least one entry"),
        (lambda: TopK(2.0), ArgumentTypeError, r"TopK\(k\) must keep a whole number .* got 2.0"),
        (lambda: TopK("2"), ArgumentTypeError, "got '2'"),
        (lambda: BottomK(None), ArgumentTypeError, r"BottomK\(k\) must keep a whole number"),
        (lambda: long.read(TopK(200_000)), TooLargeError, r"TopK\(200000, limit=640000000000\)"),
        (lambda: long.read(BottomK(200_000)), TooLargeError, r"BottomK\(200000, limit=640000000000\)"),
        (lambda: Quantiles(), InputError, r"Quantiles\(0.5, 0.9\)"),
        (lambda: Quantiles(1.0), InputError, "below 1"),
        (lambda: Quantiles([0.5, 0.9]), ArgumentTypeError, r"must be a number; got \[0.5, 0.9\]"),
        (lambda: Quantiles(torch.nan), InputError, "below 1"),
        (lambda: TopK(2, limit="1GB"), ArgumentTypeError, "whole number of bytes .* got '1GB'"),
        (lambda: Pool([0] * N, [0] * M, limit=None), ArgumentTypeError, "whole number of bytes .* got None"),
        (
            lambda: matrix.read(Pool(["a"] * N, [0] * M)),
            ArgumentTypeError,
            r"Pool\(rows=…\) must be whole numbers",
        ),
        (
            lambda: matrix.read(Pool([0] * N, [[0] * M, [0]])),
            ArgumentTypeError,
            r"Pool\(cols=…\) .* of one length",
        ),
        (lambda: MeanDistance(offset=0.5), ArgumentTypeError, "whole number of positions; got 0.5"),
        (lambda: matrix.read(SinkMass(["a"])), ArgumentTypeError, "takes positions"),
        (lambda: matrix.read(Quantiles(0.5, limit=1_000)), TooLargeError, r"limit=\d+"),
        (lambda: Histogram(0), InputError, "at least one bin"),
        (lambda: Histogram(9.5), ArgumentTypeError, "whole number of bins"),
        (lambda: Downsample(3.5, 2), ArgumentTypeError, r"Downsample\(height\) .* got 3.5"),
        (lambda: Histogram(low=0.0, high=-1.0), InputError, "a range"),
        (lambda: Downsample(0, 3), InputError, "at least one cell"),
        (
            lambda: matrix.read(Downsample(99, 99, limit=1_000)),
            TooLargeError,
            r"Downsample\(99, 99, limit=\d+\)",
        ),
        (lambda: matrix.read(SinkMass([M])), InputError, f"the {M} keys"),
        (lambda: matrix.read(SinkMass([0.5])), ArgumentTypeError, "takes positions"),
        (lambda: matrix.read(SinkMass(torch.ones(3, dtype=torch.bool))), ShapeError, rf"\({M},\)"),
        (lambda: matrix.read(ValueNorms(torch.ones(H, X + 1, 2))), ShapeError, r"weight.T.view\(6, 5, -1\)"),
        (lambda: matrix.read(ValueNorms(torch.ones(H, X, 2).int())), ArgumentTypeError, "float tensor"),
        (
            lambda: Reweighted(TopK(3), torch.ones(M)),
            ArgumentTypeError,
            "MeanDistance, Downsample, Pool, Received",
        ),
        (lambda: Reweighted(Received(), torch.ones(M).int()), ArgumentTypeError, "a number a key"),
        (lambda: Reweighted(Downsample(2, 2), -torch.ones(M)), InputError, "0 or more, .* got -1.0"),
        (lambda: matrix.read(Reweighted(Received(), torch.ones(N))), ShapeError, rf"\({M},\)"),
    ],
)
def test_what_does_not_fit_is_said(build: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        build()


def test_numbers_of_any_kind_are_taken() -> None:
    asked = Quantiles(numpy.float32(0.5), torch.tensor(0.25), limit=2e9)
    assert (asked.shares, asked.limit) == ((0.5, 0.25), 2_000_000_000)
    narrow = torch.zeros(M, dtype=torch.uint8)  # as a mask it would name no key
    first, named = random_case().matrix().read(SinkMass([0]), SinkMass(narrow))
    assert torch.equal(named.keys, first.keys)


@pytest.mark.parametrize(
    "reduction", [AttentionOutput(), ValueNorms()], ids=["AttentionOutput", "ValueNorms"]
)
def test_without_values_there_is_nothing_to_weigh(reduction: Any) -> None:
    with pytest.raises(InputError, match=r"AttentionMatrix\(query, key, value\)"):
        replace(random_case(), value=None).matrix().read(reduction)
