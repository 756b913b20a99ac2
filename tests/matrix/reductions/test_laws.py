"""The laws of reductions: any tiling, any order, any merging gives the same reading, and neutral means neutral."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

from limelight.matrix import ArgMax, BottomK, NextPass, Reduction, Tile, TopK, masks
from limelight.matrix.engine.plan import Plan, row_blocks
from limelight.matrix.engine.tiled import panels, read_tiles, tiles
from limelight.matrix.tile import Arena
from limelight.matrix.validation import scores_of
from tests.examples import examples
from tests.oracle import REDUCTIONS, WALKS_OFTEN, Case, expect_all, random_case

SMALL = (1, 2, 1, 17, 23, 3, 2)  # laws are tried on many cuts, so the matrix is small
_bias = torch.randn(1, 2, 17, 23).masked_fill(torch.rand(1, 1, 17, 23) > 0.8, -torch.inf)

CASES = {
    "causal": random_case(masks.causal(), shape=SMALL),
    "padded": random_case(masks.lengths(query=[13], key=[19]), shape=SMALL),
    "everything at once": replace(
        random_case(masks.causal(offset=-2) | masks.function(lambda b, h, i, j: j < h), shape=SMALL),
        bias=_bias,
        softcap=2.5,
        sink=torch.randn(2),
    ),
    "ties": replace(random_case(masks.window(9), shape=SMALL), query=torch.zeros(1, 2, 17, 3)),
}

cuts = st.builds(
    Plan,
    rows=st.integers(3, 20),
    columns=st.none() | st.integers(4, 25),
    panel_batches=st.just(1),
    panel_heads=st.integers(1, 2),
    grain=st.integers(1, 25),
)


def all_tiles(case: Case, cut: Plan) -> list[Tile]:
    """The matrix cut into tiles that know their row stats."""
    scores = scores_of(**case.inputs())
    stats = read_tiles(scores, scores.frame(scores.N), (), None, cut)[1]
    found = []
    fresh = Arena(0, scores.dtype, scores.device)  # these tiles live on, each in memory of its own
    for panel in panels(scores, cut):
        for i0, i1 in row_blocks(scores.N, cut):
            for tile in tiles(panel, i0, i1, 0, scores.M, cut, fresh):
                tile.stats = stats.part(tile.rows)
                found.append(tile)
    return found


@pytest.mark.parametrize("name", CASES)
@examples(2)
@given(cut=cuts)
def test_any_tiling_gives_the_same_reading(name: str, cut: Plan) -> None:
    expect_all(CASES[name], cut, without=WALKS_OFTEN)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@examples(2)
@given(cut=cuts, name=st.sampled_from(sorted(CASES)), seed=st.integers(0, 999), parts=st.integers(1, 4))
def test_any_order_and_any_merging(reduction: str, cut: Plan, name: str, seed: int, parts: int) -> None:
    build, expect = REDUCTIONS[reduction]
    case, shuffle = CASES[name], random.Random(seed)
    scores = scores_of(**case.inputs())
    frame = scores.frame(scores.N, case.value)
    stats = read_tiles(scores, frame, (), None, cut)[1]
    cut_tiles = all_tiles(case, cut)
    reading: Any = NextPass(build(case))
    while isinstance(reading, NextPass):
        reader = reading.reduction
        states = [reader.init(frame) for _ in range(parts)]
        shuffle.shuffle(cut_tiles)
        for tile in cut_tiles:
            reader.update(shuffle.choice(states), tile)
        while len(states) > 1:
            left, right = (states.pop(shuffle.randrange(len(states))) for _ in range(2))
            states.append(reader.merge(left, right))
        reading = reader.finish(states[0], stats)
    expect(reading, case)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_neutral_element_changes_nothing(reduction: str) -> None:
    case = CASES["everything at once"]
    scores = scores_of(**case.inputs())
    frame = scores.frame(scores.N, case.value)
    cut = Plan(rows=64, columns=None, panel_batches=1, panel_heads=2)
    reading: Any = NextPass(REDUCTIONS[reduction][0](case))
    while isinstance(reading, NextPass):
        reader = reading.reduction
        [state], stats = read_tiles(scores, frame, [reader], None, cut)
        reading = reader.finish(state, stats)
        for merged in (reader.merge(state, reader.init(frame)), reader.merge(reader.init(frame), state)):
            for got, wanted in zip(tensors(reader.finish(merged, stats)), tensors(reading), strict=True):
                assert torch.equal(got, wanted)


@pytest.mark.parametrize("reduction", [ArgMax(), TopK(7), BottomK(7)], ids=["ArgMax", "TopK", "BottomK"])
@examples(5)
@given(cut=cuts)
def test_places_are_the_same_to_the_bit_where_equals_abound(reduction: Reduction[Any], cut: Plan) -> None:
    case = CASES["ties"]
    whole = Plan(rows=64, columns=None, panel_batches=1, panel_heads=2)
    [expected], [got] = case.read(reduction, cut=whole), case.read(reduction, cut=cut)
    assert torch.equal(got.keys, expected.keys)


def tensors(reading: Any) -> tuple[torch.Tensor, ...]:
    if isinstance(reading, NextPass):
        return tuple(reading.reduction.known)
    return (reading,) if isinstance(reading, torch.Tensor) else tuple(reading)
