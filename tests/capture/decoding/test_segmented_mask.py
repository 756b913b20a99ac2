"""Tables read as rules, and masks of several pieces: both must mean what the table means."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from limelight.capture.decoding.segmented_mask import MaskSegment, SegmentedMask, segment_of
from limelight.capture.inputs import mask_inference
from limelight.capture.inputs.attention_inputs import AttentionInputs
from limelight.errors import ArgumentTypeError
from limelight.matrix import Mask, TileCoverage, masks
from limelight.matrix.masks.base import Dense

N, M = 5, 11
LEAST = torch.finfo(torch.float32).min


def table_of(mask: Mask | None, N: int, M: int, B: int = 2) -> Tensor:
    return (mask or masks.everything()).fit(B, 1, N, M).dense(N, M).expand(B, 1, N, M)


RULES = {
    "everything": masks.everything(),
    "causal": masks.causal(),
    "window": masks.causal() & masks.window(3),
    "padding": masks.lengths(key=[11, 7]),
    "padded on the left": masks.causal() & masks.lengths(key=[11, 9], side="left"),
    "padded window": masks.causal() & masks.window(3) & masks.lengths(key=[11, 9], side="left"),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("N", [N, M], ids=["cached", "square"])
def test_a_table_becomes_the_rule_that_it_is(name: str, N: int) -> None:
    table = table_of(RULES[name], N, M).clone()
    told = mask_inference.read(table)
    assert told.bias is None
    assert torch.equal(table_of(told.mask, N, M), table)
    if name in ("everything", "causal", "window"):
        assert not isinstance(told.mask, Dense)  # no table is held
    if name == "padding":
        assert isinstance(told.mask, Dense) and told.mask.seen_BHNM.shape == (2, 1, 1, M)


@given(st.data())
def test_any_table_keeps_its_meaning(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    bits = data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    table = torch.tensor(bits).view(1, 1, rows, columns)
    assert torch.equal(table_of(mask_inference.shortest(table), rows, columns, 1), table)


def test_a_float_mask_is_a_rule_only_where_that_says_the_same() -> None:
    seen = table_of(RULES["padding"], N, M)
    added = torch.where(seen, 0.0, LEAST)
    assert torch.equal(table_of(mask_inference.read(added).mask, N, M), seen)
    added[1, 0, 2] = LEAST  # a row that sees everything alike
    told = mask_inference.read(added)
    assert told.mask is None and torch.equal(told.bias, added)  # type: ignore[arg-type]
    slope = -torch.arange(float(M)).expand(1, 1, N, M)  # not a mask at all
    assert mask_inference.read(slope).mask is None
    with pytest.raises(ArgumentTypeError, match="bool or float; got torch.int64"):
        mask_inference.read(torch.ones(1, 1, N, M, dtype=torch.long))


def test_a_mask_that_was_written_to_is_read_again() -> None:
    table = torch.ones(1, 1, N, M, dtype=torch.bool)
    assert mask_inference.read(table).mask is None
    assert mask_inference.read(table) is mask_inference.read(table)
    table[..., 3] = False
    assert not table_of(mask_inference.read(table).mask, N, M, 1)[..., 3].any()


def test_a_bias_and_a_mask_that_hides_a_row() -> None:
    bias, seen = torch.randn(1, 3, N, M), torch.ones(1, 1, N, M, dtype=torch.bool)
    seen[..., 4:] = False
    mask, same = mask_inference.with_position_bias(seen, bias)
    assert same is bias and torch.equal(table_of(mask, N, M, 1), seen)
    seen[:, :, 1] = False
    mask, joined = mask_inference.with_position_bias(seen.clone(), bias)
    assert mask is None and bool((joined[:, :, 1] == LEAST).all())


# ── Pieces ──


def step(i0: int, n: int, M: int, mask: Mask | None, j0: int = 0, bias: Tensor | None = None) -> MaskSegment:
    query, key = torch.zeros(2, 3, n, 4), torch.zeros(2, 3, M, 4)
    return segment_of(AttentionInputs(query=query, key=key, mask=mask, bias=bias), i0, j0)


def test_steps_that_say_the_same_are_one_piece() -> None:
    first = step(0, 4, 4, masks.causal(offset=0))
    joined = first.followed_by(step(4, 1, 5, None))
    assert joined is not None and joined.rule() == masks.causal()
    columns = torch.ones(2, 1, 1, 4, dtype=torch.bool)
    columns[1, ..., :2] = False
    padded = step(0, 4, 4, masks.causal() & masks.dense(columns))
    longer = torch.cat([columns, columns[:1].expand(2, -1, -1, -1)[..., :1]], dim=-1)
    joined = padded.followed_by(step(4, 1, 5, masks.dense(longer)))
    assert joined is not None and (joined.i1, joined.j1) == (5, 5)
    assert padded.followed_by(step(4, 1, 5, None)) is None  # it sees what the others do not
    assert first.followed_by(step(4, 1, 3, None, j0=2)) is None  # a sliding cache


def test_pieces_mean_what_their_tables_mean() -> None:
    B, rows, columns = 2, 6, 6
    dense = torch.rand(2, 1, 4, 4) < 0.5
    parts = (
        step(0, 4, 4, masks.dense(dense)),
        step(4, 1, 3, None, j0=2),
        step(5, 1, 3, masks.dense(torch.tensor([True, False, True])[None]), j0=3),
    )
    mask = SegmentedMask(parts)
    expected = torch.zeros(B, 1, rows, columns, dtype=torch.bool)
    expected[:, :, :4, :4] = dense
    expected[:, :, 4, 2:5] = True
    expected[:, :, 5, 3] = expected[:, :, 5, 5] = True
    assert torch.equal(mask.dense(rows, columns), expected)
    assert mask.own == (2, 1)
    second = mask.at(1, 2, 0, 1)
    assert torch.equal(second.dense(rows, columns), expected[1:])
    for i0 in range(rows):
        for j0 in range(columns):
            tile = (i0, min(i0 + 2, rows), j0, min(j0 + 3, columns))
            seen = expected[:, :, tile[0] : tile[1], tile[2] : tile[3]]
            assert torch.equal(mask.block(*tile, rows, columns).expand_as(seen), seen)
            cover = mask.coverage(*tile, rows, columns)
            assert cover is not TileCoverage.EMPTY or not seen.any()
            assert cover is not TileCoverage.FULL or bool(seen.all())


@pytest.mark.parametrize("rows", [1, 3])
def test_a_piece_is_cut(rows: int) -> None:
    bias = torch.randn(1, 3, 4, 6)
    for piece in (
        step(0, 4, 6, masks.causal(), bias=bias),
        step(0, 4, 6, masks.dense(torch.rand(4, 6) < 0.5)),
        step(0, 4, 6, masks.dense(torch.rand(4, 6) < 0.5), bias=bias),
    ):
        cut = piece.cut(rows)
        whole = SegmentedMask((piece,)).dense(4, 6)[:, :, :rows, : cut.j1]
        assert torch.equal(SegmentedMask((cut,)).dense(rows, cut.j1), whole)
        if cut.bias is not None:
            assert torch.equal(cut.bias, bias[:, :, :rows, : cut.j1])


def test_columns_are_cut_only_where_no_row_that_stays_sees_them() -> None:
    table = torch.ones(4, 6, dtype=torch.bool).tril(2)
    bias = torch.randn(1, 3, 4, 6).masked_fill(~table, LEAST)
    for piece in (
        step(0, 4, 6, masks.causal()),
        step(0, 4, 6, masks.dense(table)),
        step(0, 4, 6, None, bias=bias),  # what hides the columns is added
    ):
        cut = piece.cut(2, 4)
        assert cut is not None and (cut.i1, cut.j1) == (2, 4)
        assert cut.bias is None or torch.equal(cut.bias, bias[:, :, :2, :4])
        assert piece.cut(3, 4) is None  # the third row sees the fifth column
    assert step(0, 4, 6, None).cut(2, 4) is None
