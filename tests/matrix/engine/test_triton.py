"""The Triton loop against the float64 truth: on the GPU where there is one, else in Triton's interpreter.

The interpreter takes about 40 ms a tile, so cases are small and the sweep over every mask is slow; see conftest
for how it is turned on. It sees wrong sums and bounds, not races or a lack of shared memory.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from limelight.errors import TooLargeError
from limelight.matrix import (
    ArgMax,
    AttentionOutput,
    Downsample,
    Entropy,
    MeanDistance,
    Pool,
    Received,
    Reduction,
    RowStats,
    SinkMass,
    TopK,
    masks,
)
from limelight.matrix.engine.dispatch import TRITON, BackendChoice
from limelight.matrix.engine.plan import Plan, stats_bytes
from limelight.matrix.engine.read_plan import ReadPlan, plan_read
from limelight.matrix.engine.triton import area_runs, block_mask, support
from limelight.matrix.reductions.base import finish
from limelight.matrix.reductions.products import Applied, TransposedApplied
from limelight.matrix.validation import scores_of
from tests import expected
from tests.oracle import MASKS, REDUCTIONS, Case, M, N, random_case
from tests.tolerance import check

pytest.importorskip("triton", reason="Triton has no wheel for this system")
# Imported where it is chosen: here, by the tests of its kernels.
from limelight.matrix.engine.triton import area_kernel, column_kernel, row_kernel, tile
from limelight.matrix.engine.triton.launch import Kernels
from limelight.matrix.engine.triton.loop import read_triton

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
CUT = Plan(rows=16, columns=32, panel_batches=1, panel_heads=1)
ONE = Plan(rows=32, columns=32, panel_batches=1, panel_heads=1)
SMALL = (2, 1, 1, N, M, 7, 5)
"""Two sequences of one head, two tiles by two."""
READ = (
    "RowStats",
    "Received",
    "Entropy",
    "ArgMax",
    "MeanDistance",
    "SinkMass",
    "AttentionOutput",
    "A.T @ x",
    "TopK(5)",
)
"""Every kernel once, and a reduction that is left to the plain loop."""


def read(case: Case, *reductions: Reduction[Any], cut: Plan = CUT, known: Any = None) -> list[Any]:
    """What the Triton loop reads, back on the CPU."""
    inputs = tree_map_only(torch.Tensor, lambda x: x.to(DEVICE), case.inputs())
    scores = scores_of(**inputs)
    others = [
        reduction for reduction in reductions if not isinstance(reduction, RowStats)
    ]  # as AttentionMatrix.read does
    assert support.unsupported(scores, others) is None
    frame = scores.frame(scores.N, inputs["value"])
    states, stats = read_triton(scores, frame, others, known, cut)
    found = iter(finish(others, states, stats, lambda more: read_triton(scores, frame, more, stats, cut)[0]))
    readings = [stats if isinstance(reduction, RowStats) else next(found) for reduction in reductions]
    return [tree_map_only(torch.Tensor, lambda x: x.cpu(), reading) for reading in readings]


def expect(case: Case, *names: str, cut: Plan = CUT) -> None:
    reductions = {name: REDUCTIONS[name][0](case) for name in names}
    for name, reading in zip(reductions, read(case, *reductions.values(), cut=cut), strict=True):
        try:
            REDUCTIONS[name][1](reading, case)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def dressed(case: Case) -> Case:
    """With everything at once: own scale, bias with -inf in it, softcap, sink."""
    H, N, M = case.query.shape[1], case.query.shape[2], case.key.shape[2]
    bias = torch.randn(1, H, N, M)
    bias[:, -1, 3] = -torch.inf
    bias[:, :, :, 11] = -torch.inf
    return replace(case, scale=0.3, bias=bias.to(case.query.dtype), softcap=2.5, sink=torch.randn(H))


@pytest.mark.slow
def test_what_is_no_number_is_not_hidden() -> None:
    """The largest of a row of NaN is -∞ to a kernel, as if the row saw nothing."""
    case = random_case(masks.causal(), shape=SMALL)
    case.query[0, 0, 5] = torch.nan
    reductions = RowStats(), Entropy(), ArgMax(), MeanDistance(), AttentionOutput()
    *ours, received = read(case, *reductions, Received())
    theirs = case.matrix().read(*reductions, loop="plain")
    assert theirs[0].log_sum.isnan().sum() == 1
    assert not ours[0].empty.any()
    assert received.raw[0, 0, : 6 + M - N].isnan().all()  # those that this query may see
    for reduction, one, other in zip(reductions, ours, theirs, strict=True):
        for got, truth in zip(tree_leaves(one), tree_leaves(other), strict=True):
            assert torch.equal(got.isnan(), truth.isnan()), type(reduction).__name__


def test_a_row_with_a_score_that_is_no_number_has_no_peak() -> None:
    """The kernel's maximum passes over a score that is none, and of a row of them it names a key beyond the last."""
    case = random_case(masks.causal(), shape=(1, 1, 1, 9, 37, 5, 3))
    case.query[0, 0, 2] = torch.nan
    case.key[0, 0, 33] = torch.nan
    (peak,) = read(case, ArgMax())
    assert peak.keys[0, 0].ge(0).tolist() == [True, True, False, True, True, *[False] * 4]
    assert torch.equal(peak.weights.isnan(), peak.keys < 0)
    assert torch.equal(peak.keys, case.matrix().read(ArgMax(), loop="plain").keys)


# ---- masks, dtypes, sizes -----------------------------------------------------------------------------

EVERY_MASK = [
    name
    for name, (mask, _) in MASKS.items()
    if isinstance(block_mask.block_mask_of(mask, N, M), block_mask.BlockMask)
]
QUICK = ["documents and earlier ones"]


@pytest.mark.parametrize("mask", QUICK)
def test_readings_are_the_truth(mask: str) -> None:
    expect(random_case(MASKS[mask][0], shape=SMALL), *READ)


@pytest.mark.slow
@pytest.mark.parametrize("mask", [name for name in EVERY_MASK if name not in QUICK])
def test_readings_are_the_truth_under_every_mask(mask: str) -> None:
    expect(random_case(MASKS[mask][0], shape=SMALL), *READ)


@pytest.mark.slow
@pytest.mark.parametrize("mask", EVERY_MASK)
def test_every_reduction_of_a_dressed_case_under_every_mask(mask: str) -> None:
    expect(dressed(random_case(MASKS[mask][0], shape=SMALL)), *REDUCTIONS)


def test_all_at_once_dressed() -> None:
    """Rows of nothing, a table, padding, a bias that hides keys, softcap and sink; keys that serve as one."""
    mask = MASKS["causal, rows of nothing"][0] & MASKS["lengths, left"][0] & MASKS["dense"][0]
    expect(dressed(random_case(mask, shape=SMALL)), *READ, "SinkMass(keys)")


@pytest.mark.slow
def test_each_query_head_has_its_own_key_head() -> None:
    shape = (1, 4, 2, 17, 33, 5, 3)
    expect(
        random_case(masks.causal(), shape=shape),
        "Received",
        "AttentionOutput",
        "A.T @ x",
        cut=Plan(32, 64, 1, 1),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_inputs_give_float32_readings(dtype: torch.dtype) -> None:
    case = random_case(masks.causal(), dtype, shape=(1, 2, 1, 17, 19, 20, 17))
    expect(case, "Received", "Entropy", "AttentionOutput", cut=ONE)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 37), (5, 1)])
def test_one_query_or_key(n: int, m: int) -> None:
    expect(random_case(masks.causal(), shape=(1, 1, 1, n, m, 3, 2)), *READ)


@pytest.mark.parametrize("shape", [(1, 2, 1, 0, 3, 4, 2), (1, 2, 1, 3, 0, 4, 2), (0, 2, 1, 3, 3, 4, 2)])
def test_nothing_to_read(shape: tuple[int, ...]) -> None:
    expect(random_case(masks.causal(), shape=shape), *READ)


@pytest.mark.slow
def test_heads_that_are_strided_views() -> None:
    whole = torch.randn(1, 33, 2, 3, 8)  # tokens first, then Q, K and V side by side, as models lay them
    q, k, v = (x.transpose(1, 2) for x in whole.unbind(-2))
    expect(Case(q, k, v, masks.causal()), "Received", "AttentionOutput", cut=ONE)


# ---- extreme rows -------------------------------------------------------------------------------------


def test_logits_of_ten_thousand() -> None:
    case = random_case(masks.causal(), shape=(1, 1, 1, N, M, 7, 5))
    expect(replace(case, scale=3e3), *READ)


@pytest.mark.slow
def test_rows_at_the_smallest_float() -> None:
    bias = torch.zeros(1, 1, N, M)
    bias[:, :, 3] = torch.finfo(torch.float32).min  # uniform, not empty
    bias[:, :, 7, 5:] = torch.finfo(torch.float32).min
    bias[:, :, 11] = -torch.inf
    expect(replace(random_case(shape=(1, 1, 1, N, M, 7, 5)), bias=bias), *READ)


def test_scores_around_a_softcap_of_fifty() -> None:
    expect(
        replace(random_case(shape=(1, 1, 1, 17, 31, 7, 5)), scale=8.0, softcap=50.0), "RowStats", "Entropy"
    )


def test_of_equal_scores_the_lowest_key_wins() -> None:
    case = random_case(masks.causal(), shape=(1, 1, 1, 33, 65, 3, 2))
    case = replace(case, query=torch.zeros_like(case.query))
    (peak,) = read(case, ArgMax(), cut=Plan(16, 16, 1, 1))
    assert bool((peak.keys == 0).all())


# ---- the loop -----------------------------------------------------------------------------------------


def test_known_stats_are_used_and_given_back() -> None:
    case = random_case(masks.causal(), shape=(1, 1, 1, 17, 19, 5, 3))
    (stats,) = read(case, RowStats())
    shifted = stats._replace(log_sum=stats.log_sum + 1)  # as if the sum were e times as large
    known = tree_map_only(torch.Tensor, lambda x: x.to(DEVICE), shifted)
    (received,) = read(case, Received(), known=known)
    truth = case.truth().weights_BHNM.sum(2) / torch.e
    torch.testing.assert_close(received.raw.double(), truth, atol=1e-6, rtol=1e-6)


@pytest.mark.slow
def test_two_products_and_two_distances_in_one_read() -> None:
    case = random_case(masks.causal(), shape=(1, 1, 1, 17, 19, 5, 3))
    once = torch.linspace(-1, 1, 17)
    reductions = (
        AttentionOutput(),
        Applied(torch.linspace(0, 1, 19)),
        MeanDistance(),
        MeanDistance(offset=-7),
    )
    output, line, plain, offset, turned, received = read(
        case, *reductions, TransposedApplied(expected.transposed_factor(17)), TransposedApplied(once), cut=ONE
    )
    expected.applied(output, case)
    weights = case.truth().weights_BHNM
    torch.testing.assert_close(
        line.double(), weights @ torch.linspace(0, 1, 19).double(), atol=1e-6, rtol=1e-6
    )
    expected.distance(plain, case)
    expected.distance(offset, case, offset=-7)
    expected.transposed(turned, case)
    torch.testing.assert_close(received.double(), weights.mT @ once.double(), atol=1e-6, rtol=1e-6)


def test_a_product_too_wide_for_a_kernel_goes_to_the_plain_loop() -> None:
    case = random_case(masks.causal(), shape=(1, 1, 1, 5, 7, 3, 2))
    v = torch.randn(7, support.WIDEST + 1)
    entropy, product = read(case, Entropy(), Applied(v))
    expected.entropy(entropy, case)
    torch.testing.assert_close(product.double(), case.truth().weights_BHNM @ v.double(), atol=1e-6, rtol=1e-5)


class ReceivedAboveATenth(Received):
    """What keys get that weigh more than a tenth, as a user may write it."""

    def update(self, state: Any, tile: Any) -> None:
        state.raw[tile.columns] += tile.weights.where(tile.weights > 0.1, 0.0).sum(-2)


class CoarsePool(Pool):
    pass


def test_what_inherits_from_a_reduction_that_a_kernel_reads_takes_tiles_in_itself() -> None:
    case = random_case(masks.causal(), shape=(1, 1, 1, 65, 67, 3, 2))
    own = ReceivedAboveATenth()
    assert support.left_to_plain([Received(), own]) == [1]
    assert "ReceivedAboveATenth" in (support.unsupported(scores_of(**case.inputs()), [own]) or "")
    received, plain = read(case, own, Received(), cut=ONE)
    weights = case.truth().weights_BHNM
    check("received", received.raw, weights.where(weights > 0.1, 0.0).sum(2))
    expected.received(plain, case)
    groups = [0] * 65, [0] * 67
    for pool, taken in ((Pool(*groups), True), (CoarsePool(*groups), False)):
        state = pool.init(scores_of(**case.inputs()).frame(65))
        assert (area_runs.areas_of(pool, state, 1) is not None) is taken


@pytest.mark.slow
def test_pool_and_picture_area_by_area(monkeypatch: pytest.MonkeyPatch) -> None:
    """Areas of several tiles, runs that are split, groups that come again, tokens of no group."""
    monkeypatch.setattr(area_runs, "WORTH", 1)
    monkeypatch.setattr(area_runs, "LONGEST", 24)
    monkeypatch.setattr("limelight.matrix.engine.triton.loop.read_tiles", None)  # not left to the plain loop
    row_groups = torch.tensor([0] * 26 + [-1] + [1] * 6)
    column_groups = torch.tensor([1] * 3 + [0] * 17 + [1] * 17)
    case = random_case(MASKS["causal"][0] & masks.window(30), shape=(1, 1, 1, 33, 37, 5, 3))
    pool, picture = read(case, Pool(row_groups, column_groups), Downsample(2, 1))
    weights = case.truth().weights_BHNM
    rows_PN, columns_QM = expected.membership(row_groups), expected.membership(column_groups)
    truth = rows_PN @ weights @ columns_QM.T / rows_PN.sum(1, keepdim=True)
    torch.testing.assert_close(pool.double(), truth, atol=1e-6, rtol=1e-6)
    expected.picture(picture, case, height=2, width=1)


def test_areas_too_small_for_a_tile_go_to_the_plain_loop() -> None:
    expect(random_case(masks.causal(), shape=(1, 1, 1, 5, 7, 3, 2)), "Pool", "Downsample")


@pytest.mark.slow
def test_twice_the_same_to_the_bit() -> None:
    case = random_case(masks.causal(), shape=(1, 1, 1, 19, 35, 5, 3))
    one, other = (read(case, Received(), Entropy()) for _ in range(2))
    assert torch.equal(one[0].raw, other[0].raw)
    assert torch.equal(one[1], other[1])


@pytest.mark.parametrize(
    ("change", "reductions", "says"),
    [
        ({}, [Entropy()], None),
        ({}, [Entropy(), TopK(3)], None),
        ({}, [], None),
        ({}, [TopK(3)], "no kernel reads Top"),
        ({"mask": ~masks.causal()}, [], "do not know a mask joined by"),
        ({"bias": lambda b, h, i, j: 1.0 * i}, [], "bias function"),
        ({"query": torch.zeros(2, 4, N, 7, dtype=torch.float64)}, [], "float64"),
        ({"query": torch.zeros(2, 4, N, 257), "key": torch.zeros(2, 2, M, 257)}, [], "not 257"),
        (
            {"query": torch.zeros(9, 9999, 1, 7), "key": torch.zeros(9, 9999, M, 7), "value": None},
            [],
            "65535",
        ),
    ],
)
def test_what_no_kernel_covers_is_said(
    change: dict[str, Any], reductions: list[Reduction[Any]], says: str | None
) -> None:
    case = replace(random_case(shape=(2, 4, 2, N, M, 7, 5)), **change)
    found = support.unsupported(scores_of(**case.inputs()), reductions)
    assert found is None if says is None else says in (found or "")


def test_the_plan_keeps_to_a_limit_or_says_what_it_needs() -> None:
    scores = scores_of(**random_case(masks.causal(), shape=(1, 2, 1, 4000, 4000, 64, 3)).inputs())
    small = support.plan(scores, [Entropy()])
    assert small == support.plan(scores, [Entropy()], limit=stats_bytes(scores) + small.worker_bytes)
    with pytest.raises(TooLargeError, match=str(stats_bytes(scores) + small.worker_bytes)):
        support.plan(scores, [Entropy()], limit=stats_bytes(scores))
    limit = 2**21
    beside = support.plan(scores, [Entropy(), TopK(3)], limit)
    assert small.worker_bytes <= beside.worker_bytes <= limit - stats_bytes(scores)
    assert support.plan(scores, [Entropy(), TopK(3)]).worker_bytes > limit


def test_tiles_of_wide_heads_and_products_are_smaller() -> None:
    def tile(width: int, dtype: torch.dtype, *reductions: Reduction[Any]) -> tuple[int, int | None]:
        case = random_case(dtype=dtype, shape=(1, 1, 1, 300, 300, width, 3))
        cut = support.plan(scores_of(**case.inputs()), reductions)
        return cut.rows, cut.columns

    assert tile(128, torch.bfloat16, Received()) == (128, 64)
    assert tile(128, torch.bfloat16, Received(), AttentionOutput()) == (64, 64)
    assert tile(100, torch.float32, Received()) == (64, 32)
    assert tile(256, torch.bfloat16, TransposedApplied(torch.zeros(300))) == (64, 32)


def test_the_plan_counts_every_product_that_lives_at_once_by_its_own_width() -> None:
    B, H, N, M, width = 1, 2, 300, 200, 192
    scores = scores_of(**random_case(shape=(B, H, 1, N, M, 8, width)).inputs())

    def beside(*reductions: Reduction[Any]) -> int:
        return support.plan(scores, reductions).worker_bytes - support.plan(scores, [Received()]).worker_bytes

    floats = 4 * B * H
    large = [AttentionOutput(), Applied(torch.zeros(M, 128))]
    assert beside(*large) == floats * N * (2 * width + 128)  # both, and the wider one scaled
    turned = [TransposedApplied(torch.zeros(N, each)) for each in (100, 150, 250)]
    assert beside(*large, *turned) == beside(*large)  # those over queries come when those over keys are gone
    assert beside(*turned) == max(floats * M * (100 + 250), beside())


def test_why_tells_the_walks_of_the_kernels() -> None:
    scores = scores_of(**random_case(shape=(1, 2, 1, 64, 64, 8, 4)).inputs())
    groups = torch.arange(64) // 32

    def told(*reductions: Reduction[Any], known: bool = False) -> ReadPlan:
        return plan_read(
            scores, reductions, BackendChoice(TRITON, support.plan(scores, reductions), ()), known
        )

    alone = told(Entropy(), ArgMax(), MeanDistance(), AttentionOutput())
    assert alone.passes == 1
    assert "one pass finds the row stats and sums over keys" in str(alone)
    both = told(
        Entropy(), Received(), AttentionOutput(), Applied(torch.zeros(64)), Pool(groups, groups), TopK(3)
    )
    assert both.each_pass == (
        "finds the row stats and sums over keys",
        "sums over keys",
        "sums over queries",
        "sums areas",
    )
    assert "a first pass finds the row stats and sums over keys, another sums over keys, another" in str(both)
    assert "but TopK, which the plain loop reads in another" in str(both)
    assert told(Received()).each_pass == ("finds the row stats", "sums over queries")
    assert told(Received(), known=True).passes == 1


def test_the_walks_that_are_told_are_those_that_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for name in ("rows", "columns", "areas"):
        kernel = getattr(Kernels, name)
        monkeypatch.setattr(
            Kernels, name, lambda *given, kernel=kernel, **named: made.append(1) or kernel(*given, **named)
        )
    monkeypatch.setattr(area_runs, "WORTH", 1)
    case = random_case(masks.causal(), shape=(1, 1, 1, 17, 19, 5, 3))
    groups = torch.arange(17) // 9, torch.arange(19) // 9
    reductions = [
        MeanDistance(),
        MeanDistance(offset=2),
        AttentionOutput(),
        SinkMass([0]),
        Entropy(),
        Received(),
        Pool(*groups),
    ]
    read(case, *reductions, cut=ONE)
    assert len(made) == len(support.passes(reductions, ONE, known=False)) == 5


def test_a_matrix_on_the_cpu_is_refused() -> None:
    assert "on cpu" in (support.rejection(scores_of(**random_case().inputs()), []) or "")


# ---- mutants ------------------------------------------------------------------------------------------

MUTANTS = {
    "sums are not brought down": (row_kernel, "t_R = t_R * wide_R +", "t_R = t_R +", "RowStats"),
    "u forgets that the maximum moved": (row_kernel, "(u_R + t_R * moved_R)", "u_R", "Entropy"),
    "distances are not brought down": (
        row_kernel,
        "behind_R = behind_R * wide_R",
        "behind_R = behind_R",
        "MeanDistance",
    ),
    "products are not brought down": (row_kernel, "mix_RX * down_R[:, None]", "mix_RX", "AttentionOutput"),
    "any key of the last tile": (row_kernel, "(here_R > m_R) |", "(here_R == here_R) |", "ArgMax"),
    "only the last tile counts": (column_kernel, "raw_C += tl.sum", "raw_C = tl.sum", "Received"),
    "hidden queries are counted": (column_kernel, '(s_RC != float("-inf"))', "(s_RC == s_RC)", "Received"),
    "one key too few": (tile, "ahead_RC <= sight.high", "ahead_RC < sight.high", "RowStats"),
    "full tiles come twice": (tile, "start + behind_full - full", "start", "Received"),
    "full tiles reach too far": (block_mask, "start + self.high + 1", "start + self.high + 32", "Received"),
    "tiles end too early": (block_mask, "else stop + self.high", "else start + self.high", "RowStats"),
}


@pytest.fixture
def mutate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[ModuleType, str, str], None]:
    """Put a module with one change in its text in the place of the module, and load anew what stands on it."""

    def load(module: ModuleType, path: Path) -> None:
        spec = importlib.util.spec_from_file_location(module.__name__, path)
        assert spec is not None and spec.loader is not None
        fresh = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, module.__name__, fresh)
        spec.loader.exec_module(fresh)
        if module is block_mask:
            monkeypatch.setattr(block_mask.BlockMask, "_band", fresh.BlockMask._band)

    def change(module: ModuleType, old: str, new: str) -> None:
        source = inspect.getsource(module)
        assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {module.__name__}"
        path = tmp_path / f"{module.__name__.rpartition('.')[2]}.py"
        path.write_text(source.replace(old, new), encoding="utf-8")
        load(module, path)
        for above in (row_kernel, column_kernel, area_kernel) if module is tile else ():
            load(above, Path(inspect.getfile(above)))

    return change


QUICK_MUTANTS = [
    "sums are not brought down",
    "u forgets that the maximum moved",
    "any key of the last tile",
    "only the last tile counts",
    "one key too few",
    "tiles end too early",
]


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(name, marks=[] if name in QUICK_MUTANTS else pytest.mark.slow) for name in MUTANTS],
)
def test_a_mutant_is_noticed(mutant: str, mutate: Any) -> None:
    module, old, new, reduction = MUTANTS[mutant]
    case = random_case(masks.causal(), shape=(1, 1, 1, 35, 35, 5, 3))
    mutate(module, old, new)
    with pytest.raises(AssertionError, match=f"^{reduction}: "):
        expect(case, reduction, cut=Plan(16, 16, 1, 1))


def test_the_case_of_the_mutants_is_right_without_them() -> None:
    case = random_case(masks.causal(), shape=(1, 1, 1, 35, 35, 5, 3))
    expect(case, *dict.fromkeys(reduction for *_, reduction in MUTANTS.values()), cut=Plan(16, 16, 1, 1))
