"""Every mask against its meaning, place by place; and that `coverage` is never wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.matrix import Mask, TileCoverage, masks
from tests.examples import examples
from tests.oracle import MASKS, B, H, M, N, seen_by_meaning


def fitted(name: str) -> Mask:
    return MASKS[name][0].fit(B, H, N, M)


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_what_it_means(name: str) -> None:
    table = fitted(name).dense(N, M).expand(B, H, N, M)
    assert torch.equal(table, seen_by_meaning(MASKS[name][1]))


@pytest.mark.parametrize("name", MASKS)
@examples(10)
@given(data=st.data())
def test_any_block_is_its_part_of_the_table_and_cover_is_true(name: str, data: st.DataObject) -> None:
    i0, i1 = sorted(data.draw(st.tuples(st.integers(0, N), st.integers(0, N)), "rows"))
    j0, j1 = sorted(data.draw(st.tuples(st.integers(0, M), st.integers(0, M)), "columns"))
    mask = fitted(name)
    expected = mask.dense(N, M).expand(B, H, N, M)[:, :, i0:i1, j0:j1]
    assert torch.equal(mask.block(i0, i1, j0, j1, N, M).expand(expected.shape), expected)
    if expected.numel():
        cover = mask.coverage(i0, i1, j0, j1, N, M)
        assert cover is not TileCoverage.EMPTY or not expected.any()
        assert cover is not TileCoverage.FULL or expected.all()


@pytest.mark.parametrize("name", [name for name in MASKS if "function" not in name])
def test_cover_finds_what_can_be_skipped(name: str) -> None:
    """Careful is allowed, blind is not: where whole tiles hold nothing, some of them must be recognised."""
    mask, table = fitted(name), fitted(name).dense(N, M).expand(B, H, N, M)
    places = [(i, min(i + 3, N), j, min(j + 3, M)) for i in range(0, N, 3) for j in range(0, M, 3)]
    dark = [place for place in places if not table[:, :, place[0] : place[1], place[2] : place[3]].any()]
    skipped = [place for place in places if mask.coverage(*place, N, M) is TileCoverage.EMPTY]
    assert bool(skipped) == bool(dark)


@pytest.mark.parametrize("name", MASKS)
def test_one_batch_and_some_heads_of_a_mask(name: str) -> None:
    mask = fitted(name)
    part = mask.at(1, 2, 2, 5)
    expected = mask.dense(N, M).expand(B, H, N, M)[1:2, 2:5]
    assert torch.equal(part.dense(N, M).expand(expected.shape), expected)


def test_the_padding_of_one_sequence_can_be_skipped_though_another_is_full() -> None:
    mask = masks.lengths(key=[M, 17]).fit(B, H, N, M)
    assert mask.coverage(0, N, 17, M, N, M) is TileCoverage.PARTIAL
    assert mask.at(1, 2, 0, H).coverage(0, N, 17, M, N, M) is TileCoverage.EMPTY


def test_a_causal_window_counts_oneself() -> None:
    assert masks.causal().draw(3, 3) == "█··\n██·\n███"
    assert (masks.causal() & masks.window(2)).draw(3, 4) == "██··\n·██·\n··██"


def test_a_mask_made_for_several_texts_draws_any_of_them() -> None:
    mask = masks.lengths(key=[1, 3]) & masks.function(lambda b, h, i, j: j >= h)
    assert mask.draw(1, 4) == "█···"
    assert mask.draw(1, 4, batch=1, head=1) == "·██·"
    assert masks.dense(torch.ones(1, 3, 1, 2, dtype=torch.bool)).draw(2, 2, head=2) == "██\n██"
    assert (~masks.documents([[0, 0], [0, 1]])).draw(2, 2, batch=1) == "·█\n█·"


@pytest.mark.parametrize("mask", [masks.causal(), masks.function(lambda b, h, i, j: j <= i)])
def test_a_large_mask_is_drawn_in_cells(mask: Mask) -> None:
    """Ten thousand places a row, but no table of them: what may be seen of each cell."""
    drawn = mask.draw(10_007, 10_007, widest=5).splitlines()
    assert drawn == ["▒····", "█▒···", "██▒··", "███▒·", "████▒"]
    assert mask.draw(3, 0) == "\n\n"
    assert mask.draw(0, 3) == ""


def test_the_cover_of_documents_is_found_whatever_their_order() -> None:
    ids = torch.tensor([[0, 0, 1, 1, 2, 2], [2, 2, 0, 0, 1, 1]])
    mask = masks.documents(ids).fit(2, 1, 6, 6)
    assert mask.coverage(0, 2, 2, 6, 6, 6) is TileCoverage.EMPTY
    assert mask.coverage(2, 4, 2, 4, 6, 6) is TileCoverage.FULL
    assert mask.coverage(1, 3, 2, 4, 6, 6) is TileCoverage.PARTIAL
    assert mask.at(0, 1, 0, 1).coverage(0, 2, 2, 4, 6, 6) is TileCoverage.EMPTY


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 5), (5, 0), (1, 1)])
@pytest.mark.parametrize(
    "mask", [masks.everything(), masks.causal(), masks.window(2), MASKS["function"][0], masks.lengths(0, 0)]
)
def test_empty_and_single(mask: Mask, n: int, m: int) -> None:
    table = mask.fit(B, H, n, m).dense(n, m)
    assert table.dtype == torch.bool
    assert table.expand(B, H, n, m).shape == (B, H, n, m)


def test_documents_take_their_keys_from_the_queries() -> None:
    assert masks.documents([4, 4, 9]).draw(3, 3) == "██·\n██·\n··█"


def test_a_function_that_reads_a_table_is_written_for_single_numbers() -> None:
    allowed = torch.tensor([[True, False], [True, True]])
    mask = masks.function(lambda b, h, i, j: allowed[i % 2, j % 2] & (j >= 0).all())
    assert mask.draw(2, 3) == "█·█\n███"


def drawn(mask_mod: Any) -> str:
    return masks.function(mask_mod).draw(N, M)


def test_a_bool_tensor_is_joined_as_it_is() -> None:
    table = torch.rand(N, M) > 0.5
    rule = masks.causal()
    seen = rule.dense(N, M)
    for joined, truth in (
        (rule & table, seen & table),
        (table & rule, seen & table),
        (rule | table, seen | table),
        (table | rule, seen | table),
    ):
        assert torch.equal(joined.dense(N, M), truth)


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda: masks.window(0), InputError, "at least 1"),
        (lambda: masks.window(None), ArgumentTypeError, "whole number of positions; got None"),
        (lambda: masks.window(2, offset=0.5), ArgumentTypeError, "whole number of positions; got 0.5"),
        (lambda: masks.causal(1.0), ArgumentTypeError, "whole number of positions; got 1.0"),
        (lambda: masks.lengths(key=[3], side="top"), InputError, "'right' or 'left'"),
        (lambda: masks.lengths(key=[1.5]), ArgumentTypeError, "whole numbers"),
        (lambda: masks.lengths(key=[1, 2, 3]).fit(B, H, N, M), ShapeError, "one length a sequence"),
        (
            lambda: masks.lengths(key=[M + 1]).fit(B, H, N, M),
            InputError,
            f"not exceed the {M} positions",
        ),
        (lambda: masks.documents([0, 1]).fit(B, H, N, M), ShapeError, "one id a query"),
        (lambda: masks.dense(torch.zeros(N, M)), ArgumentTypeError, "pass it as bias="),
        (
            lambda: masks.dense(torch.ones(B, M).long()),
            ArgumentTypeError,
            r"make mask.bool\(\)\[:, None, None\]",
        ),
        (
            lambda: masks.dense(masks.causal),
            ArgumentTypeError,
            r"masks.causal makes .* called: masks.causal\(\)",
        ),
        (lambda: masks.dense(masks.window), ArgumentTypeError, r"masks.window\(…\)"),
        (lambda: masks.dense(lambda b, h, i, j: i >= j), ArgumentTypeError, r"masks.function\(f\)"),
        (lambda: masks.dense(torch.ones(H, N, M, dtype=torch.bool)), ShapeError, "add an axis of size 1"),
        (lambda: masks.dense(torch.ones(N, 3, dtype=torch.bool)).fit(B, H, N, M), ShapeError, "must fit"),
        (lambda: masks.function(3), ArgumentTypeError, "must be a function"),
        (lambda: masks.function(lambda b, h, i, j: i > j).dense(N, M), InputError, "batch=…, heads=…"),
        (lambda: masks.function(lambda b, h, i, j: i > j, heads=4).fit(B, H, N, M), ShapeError, "heads=4"),
        (
            lambda: drawn(lambda b, h, i, j: i > 2 if i > j else j > 2),
            InputError,
            "not branch .* torch.where",
        ),
        (lambda: drawn(lambda b, h, i, j: i > j and j > 0), InputError, "not branch .* & | ~ for `and`"),
        (lambda: drawn(lambda b, h, i, j: True), InputError, "must answer with a tensor .* torch.full_like"),
        (lambda: drawn(lambda b, h, i, j: torch.ones(3) > i), InputError, r"one number a place; got \(3,\)"),
        (
            lambda: drawn(lambda b, h, i, j: 0.5 * i),
            ArgumentTypeError,
            "True where a query may attend; got torch.float32",
        ),
        (lambda: masks.causal() & torch.ones(2, 2), ArgumentTypeError, "must be a bool tensor"),
        (lambda: torch.ones(2, 2) | masks.causal(), ArgumentTypeError, "must be a bool tensor"),
        (lambda: masks.causal() & masks.causal, ArgumentTypeError, r"called: masks.causal\(\)"),
        (
            lambda: masks.documents(["a", "b"]),
            ArgumentTypeError,
            r"query_ids must be whole numbers.* got \['a', 'b'\]",
        ),
        (lambda: masks.documents([[0, 0], [1]]), ArgumentTypeError, "query_ids .* in rows of one length"),
        (
            lambda: masks.lengths(key=[None, 3]),
            ArgumentTypeError,
            r"key must be whole numbers.* got \[None, 3\]",
        ),
        (lambda: masks.lengths(key="abc"), ArgumentTypeError, "key must be whole numbers"),
        (lambda: masks.lengths(key=[3, -2]), InputError, r"lengths\(key=…\) must not be below 0; got -2"),
        (lambda: masks.lengths(query=-1), InputError, r"lengths\(query=…\) must not be below 0; got -1"),
    ],
)
def test_what_does_not_fit_is_said(build, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        build()


@pytest.mark.parametrize("side", [torch.zeros(2), np.zeros((2, 3)), 3, ("left",)])
def test_a_side_that_is_no_word_is_refused(side: object) -> None:
    with pytest.raises(InputError, match="side must be 'right' or 'left'"):
        masks.lengths(key=[3], side=side)  # type: ignore[arg-type]
