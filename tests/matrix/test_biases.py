"""ALiBi, T5's relative positions and functions of the score: in tiles as in the formula, place by place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.matrix import AttentionMatrix, biases, masks
from limelight.matrix.biases.distance import Relative
from limelight.matrix.index_functions import TileIndex
from tests.examples import examples
from tests.oracle import CUTS, WALKS_OFTEN, B, D, H, M, N, expect_all, random_case
from tests.tolerance import check


def ahead(n: int = N, m: int = M, offset: int | None = None) -> Tensor:
    return torch.arange(m) - torch.arange(n)[:, None] - (m - n if offset is None else offset)


def place(i0: int, i1: int, j0: int, j1: int, heads: range = range(H)) -> TileIndex:
    return TileIndex(range(B), heads, range(i0, i1), range(j0, j1), N, M)


def table_of(bias: biases.Bias, dtype: torch.dtype = torch.float64) -> Tensor:
    return bias.fit(B, H, N, M).apply(torch.zeros(B, H, N, M, dtype=dtype), place(0, N, 0, M))


TABLE = torch.linspace(-2, 2, 32 * H).sin().view(32, H)
BIASES: dict[str, biases.Bias] = {
    "alibi": biases.alibi(H),
    "alibi, own slopes": biases.alibi([0.25], offset=0),
    "relative": biases.relative(TABLE, max_distance=20),
    "relative, one way": biases.relative(TABLE[:9], bidirectional=False, max_distance=30, offset=3),
}


@pytest.mark.parametrize("name", BIASES)
@examples(10)
@given(data=st.data())
def test_any_tile_is_its_part_of_the_table(name: str, data: st.DataObject) -> None:
    i0, i1 = sorted(data.draw(st.tuples(st.integers(0, N), st.integers(0, N)), "rows"))
    j0, j1 = sorted(data.draw(st.tuples(st.integers(0, M), st.integers(0, M)), "columns"))
    h0, h1 = sorted(data.draw(st.tuples(st.integers(0, H), st.integers(0, H)), "heads"))
    zeros = torch.zeros(B, h1 - h0, i1 - i0, j1 - j0, dtype=torch.float64)
    tile = BIASES[name].apply(zeros, place(i0, i1, j0, j1, range(h0, h1)))
    assert torch.equal(tile, table_of(BIASES[name])[:, h0:h1, i0:i1, j0:j1])


def test_alibi_is_a_slope_a_head_times_the_distance() -> None:
    slopes = 2.0 ** (-8 / 4 * torch.arange(1, 5))
    assert biases.alibi_slopes(4).tolist() == slopes.tolist()
    six = biases.alibi_slopes(6)  # the four of the next smaller power, then every second of eight
    assert six.tolist() == [*slopes.tolist(), *(2.0 ** -torch.tensor([1.0, 3.0])).tolist()]
    assert len(biases.alibi_slopes(1)) == 1
    assert torch.equal(table_of(biases.alibi(numpy.int64(H))), table_of(biases.alibi(H)))
    assert torch.equal(
        table_of(biases.alibi(H)), (-six.double()[:, None, None] * ahead().abs()).expand(B, H, N, M)
    )
    assert torch.equal(table_of(biases.alibi([0.25], offset=0))[1, 4], -0.25 * ahead(offset=0).abs().double())


@pytest.mark.slow  # importing the model takes seconds
@pytest.mark.parametrize(
    ("bidirectional", "buckets", "farthest"), [(True, 32, 128), (False, 32, 128), (True, 8, 17)]
)
def test_buckets_are_those_of_t5(bidirectional: bool, buckets: int, farthest: int) -> None:
    """The published layer, asked for every distance that has a bucket of its own and for many that share one."""
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    distances = torch.arange(-1_000, 1_001)
    theirs = t5.T5Attention._relative_position_bucket(distances, bidirectional, buckets, farthest)
    ours = Relative(torch.zeros(buckets, 1), bidirectional, farthest).buckets(distances)
    assert torch.equal(ours, theirs)


def test_near_distances_have_a_bucket_each_and_far_ones_the_last() -> None:
    ours = Relative(torch.zeros(32, 1), True, 128).buckets(torch.tensor([-500, -128, -7, 0, 1, 7, 8, 200]))
    assert ours.tolist() == [15, 15, 7, 0, 17, 23, 24, 31]


# ---- in the matrix ------------------------------------------------------------------------------------


def soft(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Depends on all that it is given, and hides some keys as a score function may."""
    changed = torch.tanh(score) * (1 + 0.1 * h) + 0.01 * (i - 2 * j) + 0.3 * b
    return torch.where((i + j) % 7 == 3, -torch.inf, changed)


def soft_table(scores: Tensor) -> Tensor:
    b, h, i, j = torch.meshgrid(*map(torch.arange, scores.shape), indexing="ij")
    changed = torch.tanh(scores) * (1 + 0.1 * h) + 0.01 * (i - 2 * j) + 0.3 * b
    return changed.masked_fill((i + j) % 7 == 3, -torch.inf)


def double(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return 2 * score


CHANGES: dict[str, dict[str, Any]] = {
    "alibi": {"bias": BIASES["alibi"]},
    "relative": {"bias": BIASES["relative"], "scale": 1.0},
    "score_mod": {"score_mod": soft},
    "score_mod after a bias, softcap and sink": {
        "score_mod": soft,
        "bias": torch.linspace(-1, 1, N * M).view(1, 1, N, M),
        "softcap": 2.5,
        "sink": torch.linspace(-1, 1, H),
    },
    "score_mod after alibi": {"score_mod": soft, "bias": BIASES["alibi"]},
}


@pytest.mark.parametrize(("name", "cut"), list(zip(CHANGES, cycle(CUTS), strict=False)))
def test_every_reduction_reads_the_truth(name: str, cut: str) -> None:
    expect_all(replace(random_case(masks.causal()), **CHANGES[name]), CUTS[cut], without=WALKS_OFTEN)


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_done_to_the_scores_stands_where_the_order_says(name: str) -> None:
    """scale → softcap → bias → score_mod, with the formula of each written out, apart from our own code."""
    case = replace(random_case(masks.causal()), **CHANGES[name])
    stages = case.truth()
    expected = stages.capped_BHNM
    if case.bias is BIASES["alibi"]:
        expected = expected - biases.alibi_slopes(H).double()[:, None, None] * ahead().abs()
    elif isinstance(case.bias, Tensor):
        expected = expected + case.bias.double()
    elif case.bias is not None:
        buckets = Relative(TABLE, True, 20).buckets(ahead())
        expected = expected + TABLE.double()[buckets].permute(2, 0, 1)
    if case.score_mod is not None:
        expected = soft_table(expected)
    check("scores", stages.biased_BHNM, expected)


def test_a_score_mod_that_multiplies_is_a_scale() -> None:
    case = random_case(masks.causal())
    by_function = replace(case, score_mod=lambda score, b, h, i, j: score * 1.5)
    check(
        "weights", by_function.matrix().dense(), replace(case, scale=1.5 / math.sqrt(D)).truth().weights_BHNM
    )


def test_what_is_done_to_the_scores_can_fail() -> None:
    """A bias that is one place off, or a score function that comes before the bias, is noticed."""
    case = replace(random_case(), bias=BIASES["alibi"])
    with pytest.raises(AssertionError):
        check(
            "weights",
            replace(case, bias=biases.alibi(H, offset=M - N + 1)).matrix().dense(),
            case.truth().weights_BHNM,
        )
    right = replace(case, score_mod=double)
    wrong = replace(case, score_mod=double, bias=biases.alibi(biases.alibi_slopes(H) / 2))
    with pytest.raises(AssertionError):
        check("weights", wrong.matrix().dense(), right.truth().weights_BHNM)


q, k = torch.ones(B, H, N, D), torch.ones(B, H, M, D)


@pytest.mark.parametrize("score_mod", [None, double])
@pytest.mark.parametrize("build", [biases.relative, lambda table: biases.alibi(table[0])])
def test_trained_numbers_are_read_and_refuse_a_gradient(
    build: Callable[[Tensor], biases.Bias], score_mod: Any
) -> None:
    """They would be left without one in silence; nothing is trained where gradients are off."""
    bias = build(TABLE.clone().requires_grad_())
    case = replace(random_case(masks.causal()), bias=bias, score_mod=score_mod)
    matrix = case.matrix()
    check("weights", matrix.dense(), case.truth().weights_BHNM, case.logits)
    for multiply in (lambda: matrix @ case.value, lambda: matrix.T @ torch.ones(N)):
        with pytest.raises(InputError, match="receive no gradient"):
            multiply()
    with torch.no_grad():
        check("output", matrix @ case.value, case.truth().output_BHND, case.logits)


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda: AttentionMatrix(q, k, bias=biases.alibi(H + 1)), ShapeError, f"1 or {H} heads"),
        (lambda: biases.relative(torch.zeros(3)), ShapeError, "axes (buckets, heads)"),
        (lambda: biases.relative(torch.zeros(3, 2)), ShapeError, "at least 4 buckets"),
        (lambda: biases.relative(torch.zeros(32, 2).int()), ArgumentTypeError, "float tensor"),
        (lambda: biases.relative(torch.zeros(32, 2), max_distance=8), InputError, "beyond the distances"),
        (lambda: biases.relative(torch.zeros(32, 2), max_distance=99.5), ArgumentTypeError, "whole number"),
        (lambda: biases.relative(torch.zeros(32, 2), offset="end"), ArgumentTypeError, "whole number"),
        (lambda: biases.alibi(0.5), ArgumentTypeError, "a slope for each, (H,); got 0.5"),
        (lambda: biases.alibi(torch.ones(2, 2)), ArgumentTypeError, "a slope for each"),
        (lambda: biases.alibi(None), ArgumentTypeError, "a slope for each"),
        (lambda: biases.alibi(True), ArgumentTypeError, "whole number of heads"),
        (lambda: biases.alibi(-1), InputError, "0 or more"),
        (lambda: biases.alibi_slopes(2.0), ArgumentTypeError, "whole number of heads"),
        (lambda: AttentionMatrix(q, k, bias=lambda b, h, i, j: 0.0), InputError, "must answer with a tensor"),
        (lambda: AttentionMatrix(q, k, bias=lambda b, h, i, j: i if i > j else j), InputError, "not branch"),
        (
            lambda: AttentionMatrix(q, k, bias=lambda b, h, i, j: i >= j),
            ArgumentTypeError,
            "mask=masks.function(f)",
        ),
        (
            lambda: AttentionMatrix(q, k, score_mod=lambda s, b, h, i, j: s if i else -s),
            InputError,
            "not branch",
        ),
        (
            lambda: AttentionMatrix(q, k, score_mod=lambda s, b, h, i, j: s > 0),
            ArgumentTypeError,
            "with numbers; got bools",
        ),
        (
            lambda: AttentionMatrix(q, k, mask=masks.causal() & masks.function(lambda b, h, i, j: i or j)),
            InputError,
            "not branch",
        ),
        (lambda: AttentionMatrix(q, k, score_mod=3), ArgumentTypeError, "score_mod must be a function"),
    ],
)
def test_what_does_not_fit_is_said(build: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says.replace("(", r"\(").replace(")", r"\)")):
        build()


def test_what_takes_other_arguments_is_named() -> None:
    query = torch.ones(1, 1, 3, 2)
    for function, arguments in ((int, "score, b, h"), (lambda score, b: score, "score, b, h")):
        with pytest.raises(ArgumentTypeError, match=arguments):
            AttentionMatrix(query, query, score_mod=function).dense()  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match=r"must take \(b, h, q_idx, kv_idx\)"):
        AttentionMatrix(query, query, mask=masks.function(lambda b: b > 0)).dense()

    def own(score: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        raise TypeError("its own")

    with pytest.raises(TypeError, match="its own") as caught:
        AttentionMatrix(query, query, score_mod=own).dense()
    assert not isinstance(caught.value, ArgumentTypeError)


def test_numbers_that_cannot_be_read_are_named() -> None:
    query = torch.ones(1, 1, 3, 2)
    with pytest.raises(ArgumentTypeError, match="holds none to read"):
        AttentionMatrix(query, query).rows(torch.empty(2, device="meta"))
