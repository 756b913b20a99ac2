"""The numbers that a mask becomes for the kernels, and the runs of tiles made of them: no GPU is needed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from limelight.matrix import Mask, masks
from limelight.matrix.engine.triton.block_mask import BlockMask, block_mask_of
from tests.oracle import MASKS, B, H, M, N

KNOWN = {name: mask for name, (mask, _) in MASKS.items() if isinstance(block_mask_of(mask, N, M), BlockMask)}


def expect_runs(mask: Mask, n: int, m: int, size: int, step: int, b: int = B, tight: bool = False) -> None:
    """Of every block, whatever it may see lies within its run, and its full tiles are seen in full."""
    fitted = mask.fit(b, H, n, m)
    seen_BNM = fitted.dense(n, m).any(1).expand(b, n, m)
    all_BNM = fitted.dense(n, m).all(1).expand(b, n, m)
    sight = block_mask_of(fitted, n, m)
    assert isinstance(sight, BlockMask)
    expect_covered(sight.runs(size, step, torch.device("cpu")), seen_BNM, all_BNM, size, step, tight)
    turned = sight.turned().runs(step, size, torch.device("cpu"))
    expect_covered(turned, seen_BNM.mT, all_BNM.mT, step, size, tight)


def expect_covered(
    runs: Tensor, seen_BNM: Tensor, all_BNM: Tensor, size: int, step: int, tight: bool
) -> None:
    b, n, m = seen_BNM.shape
    assert runs.shape[1:] == (-(-n // size), 4)
    for ib, each in enumerate(runs.expand(b, -1, -1).tolist()):
        for block, (first, full, behind_full, last) in enumerate(each):
            rows = slice(block * size, (block + 1) * size)
            seen, every = seen_BNM[ib, rows], all_BNM[ib, rows]
            assert 0 <= first <= full <= behind_full <= max(last, first) <= max(m, first)
            assert first % step == full % step == behind_full % step == 0
            assert not seen[:, :first].any()
            assert not seen[:, last:].any()
            assert every[:, full:behind_full].all()
            if tight:
                assert seen[:, first : first + step].any() or first == last
                complete = [j for j in range(0, m - step + 1, step) if every[:, j : j + step].all()]
                assert list(range(full, behind_full, step)) == complete


@pytest.mark.parametrize("mask", KNOWN)
def test_runs_hold_what_is_seen(mask: str) -> None:
    expect_runs(KNOWN[mask], N, M, size=8, step=4)


@pytest.mark.parametrize("mask", ["everything", "causal", "causal, top left", "window", "causal window"])
def test_runs_of_a_band_hold_nothing_else(mask: str) -> None:
    expect_runs(KNOWN[mask], N, M, size=4, step=2, tight=True)


def test_runs_of_neighbouring_documents_hold_nothing_else() -> None:
    ids = torch.arange(96) // 24
    expect_runs(masks.documents(ids), 96, 96, size=8, step=4, tight=True)


def test_documents_in_any_order_are_covered() -> None:
    ids = torch.randint(0, 3, (B, 61))
    expect_runs(masks.documents(ids, earlier=True), 61, 61, size=4, step=4)
    expect_runs(masks.documents(ids), 61, 61, size=4, step=4)


def test_documents_are_compared_some_blocks_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.arange(61) // 7
    whole = block_mask_of(masks.documents(ids), 61, 61).runs(4, 8, torch.device("cpu"))  # type: ignore[union-attr]
    monkeypatch.setattr("limelight.matrix.engine.triton.block_mask.AT_ONCE", 9)
    parts = block_mask_of(masks.documents(ids), 61, 61).runs(4, 8, torch.device("cpu"))  # type: ignore[union-attr]
    assert torch.equal(whole, parts)


@given(
    n=st.integers(1, 40),
    m=st.integers(1, 40),
    offset=st.integers(-50, 50),
    w=st.none() | st.integers(1, 30),
    query=st.lists(st.integers(0, 40), min_size=2, max_size=2),
    key=st.lists(st.integers(0, 40), min_size=2, max_size=2),
    side=st.sampled_from(["left", "right"]),
    size=st.sampled_from([2, 4, 16]),
    step=st.sampled_from([2, 8]),
)
def test_bands_and_boxes_are_covered(
    n: int,
    m: int,
    offset: int,
    w: int | None,
    query: list[int],
    key: list[int],
    side: str,
    size: int,
    step: int,
) -> None:
    lengths = masks.lengths([min(each, n) for each in query], [min(each, m) for each in key], side)  # type: ignore[arg-type]
    mask = masks.causal(offset) & lengths
    if w is not None:
        mask = mask & masks.window(w)
    expect_runs(mask, n, m, size, step, b=2)


def test_several_bands_boxes_and_tables_are_one() -> None:
    one, other = torch.rand(N, M) > 0.3, torch.rand(1, 1, N, 1) > 0.3
    mask = masks.causal() & masks.causal(3) & masks.window(9) & masks.dense(one) & masks.dense(other)
    mask = mask & masks.lengths(key=17) & masks.lengths(query=[5, 11], side="left")
    sight = block_mask_of(mask, N, M)
    assert isinstance(sight, BlockMask)
    assert (sight.low, sight.high) == (M - N - 8, 3)
    assert sight.box_B4 is not None
    assert sight.box_B4.tolist() == [[N - 5, N, 0, 17], [N - 11, N, 0, 17]]
    assert sight.table_BHNM is not None
    assert torch.equal(sight.table_BHNM[0, 0], one & other[0, 0])
    expect_runs(mask, N, M, size=8, step=4)


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (~masks.causal(), "Not"),
        (masks.causal() | masks.window(3), "Or"),
        (masks.causal() & masks.function(lambda b, h, i, j: i > j), "Function"),
        (masks.documents([0, 1]) & masks.documents([1, 1]), "more than one"),
    ],
)
def test_what_is_no_sight_is_named(mask: Mask, says: str) -> None:
    found = block_mask_of(mask, 2, 2)
    assert isinstance(found, str)
    assert says in found
