"""The areas that a Pool or a Picture is read from on a GPU, and their sums: no GPU is needed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st

from limelight.matrix import Downsample, Entropy, Pool
from limelight.matrix.engine.triton import area_runs
from limelight.matrix.engine.triton.area_runs import (
    areas_of,
    gather_maxima,
    gather_sums,
    runs_of_groups,
)
from limelight.matrix.tile import MatrixSpec

CPU = torch.device("cpu")


@given(
    groups=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    others=st.integers(0, 3),
    longest=st.integers(1, 9),
)
def test_runs_are_neighbours_of_one_group_and_hold_every_token(
    groups: list[int], others: int, longest: int
) -> None:
    ids = torch.tensor([groups, [others] * len(groups)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(area_runs, "LONGEST", longest)
        runs = runs_of_groups(ids, 4)
    assert runs.longest <= longest
    for b in range(2):
        found = torch.full((len(groups),), 3)  # of group 3, the tokens of no group, nothing is kept
        for (start, stop), group in zip(runs.edges_BP2[b].tolist(), runs.group_BP[b].tolist(), strict=True):
            assert (found[start:stop] == 3).all()
            found[start:stop] = group
        assert torch.equal(found, ids[b])


def test_areas_are_gathered_by_group() -> None:
    rows_BN = torch.tensor([[0, 0, 1, 2, 0], [1, 1, 1, 1, 0]])
    columns_BM = torch.tensor([[0, 1, 1, 0, 0, 2, 2], [0, 0, 0, 0, 0, 0, 1]])
    rows, columns = runs_of_groups(rows_BN, 3), runs_of_groups(columns_BM, 3)
    weights = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    areas_sum = torch.zeros(2, 3, rows.count, columns.count, dtype=torch.float64)
    areas_max = torch.zeros_like(areas_sum)
    for b in range(2):
        for p, (i0, i1) in enumerate(rows.edges_BP2[b].tolist()):
            for q, (j0, j1) in enumerate(columns.edges_BP2[b].tolist()):
                area = weights[b, :, i0:i1, j0:j1].flatten(1)
                areas_sum[b, :, p, q] = area.sum(1)
                areas_max[b, :, p, q] = area.amax(1) if area.numel() else 0.0
    sums, maxima = gather_sums(areas_sum, rows, columns), gather_maxima(areas_max, rows, columns)
    for b in range(2):
        for p in range(2):  # group 2 is that of the tokens of no group
            for q in range(2):
                area = weights[b][:, rows_BN[b] == p][:, :, columns_BM[b] == q].flatten(1)
                torch.testing.assert_close(sums[b, :, p, q], area.sum(1))
                assert torch.equal(
                    maxima[b, :, p, q], area.amax(1) if area.numel() else torch.zeros(3).double()
                )


def test_only_areas_that_fill_a_tile_are_read_one_by_one() -> None:
    frame = MatrixSpec(2, 1, 1, 100, 300, torch.float32, CPU)
    sentences, words = Pool(torch.arange(100) // 20, torch.arange(300) // 30), Pool(range(100), range(300))
    found = areas_of(sentences, sentences.init(frame), 2)
    assert found is not None
    assert (found[0].count, found[1].count) == (5, 10)
    assert areas_of(words, words.init(frame), 2) is None
    fine, coarse = Downsample(90, 90), Downsample(7, 11)
    assert areas_of(fine, fine.init(frame), 2) is None
    found = areas_of(coarse, coarse.init(frame), 2)
    assert found is not None
    assert found[0].edges_BP2.shape == (2, 7, 2)
    assert areas_of(Entropy(), Entropy().init(frame), 2) is None


def test_tokens_of_no_group_alone_make_no_area() -> None:
    runs = runs_of_groups(torch.zeros(1, 5, dtype=torch.int64), 1)
    assert runs.count == 0
    assert runs.longest == 0
