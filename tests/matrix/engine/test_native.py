"""The native loop: what it knows against the float64 truth, its variants, and the ways in which it is absent."""

from __future__ import annotations

import ctypes
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limelight.errors import InputError
from limelight.matrix import (
    ArgMax,
    AttentionMatrix,
    Entropy,
    Mask,
    MeanDistance,
    Pool,
    Received,
    Reduction,
    RowStats,
    TopK,
    ValueNorms,
    masks,
    reference,
)
from limelight.matrix.engine.native import build, library as shelf, loop
from limelight.matrix.engine.native.library import library, loaded
from limelight.matrix.engine.native.reduction_adapters import LARGEST_K, TAKES, Found, those_taken
from limelight.matrix.engine.plan import Plan
from limelight.matrix.tile import Arena
from limelight.matrix.validation import scores_of
from tests.matrix.reductions.test_reductions import extreme
from tests.oracle import MASKS, REDUCTIONS, B, Case, H, dressed_case, random_case
from tests.tolerance import check

built = pytest.mark.skipif(isinstance(library(), str), reason=f"the native loop: {library()}")

CUTS = {
    "few rows": Plan(rows=11, columns=None, panel_batches=1, panel_heads=2, grain=32, held=7),
    "all at once": Plan(rows=240, columns=None, panel_batches=B, panel_heads=H),
}
KNOWN = {name: REDUCTIONS[name] for name in REDUCTIONS if type(REDUCTIONS[name][0](random_case())) in TAKES}


def expect_known(case: Case, cut: Plan) -> None:
    """Read every known reduction, as many in one pass as go together, and compare each with its truth."""
    assert {type(build_one(case)) for build_one, _ in KNOWN.values()} == set(TAKES)
    scores = scores_of(**case.inputs())
    waiting = {name: build_one(case) for name, (build_one, _) in KNOWN.items()}
    waiting = {name: reduction for name, reduction in waiting.items() if those_taken([reduction])}
    while waiting:
        names = [list(waiting)[place] for place in those_taken(list(waiting.values()))]
        reductions = [waiting.pop(name) for name in names]
        states, stats = loop.read(scores, scores.frame(scores.N), reductions, None, cut)
        REDUCTIONS["RowStats"][1](stats, case)
        for name, reduction, state in zip(names, reductions, states, strict=True):
            try:
                KNOWN[name][1](reduction.finish(state, stats), case)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error


# ---- the truth ----------------------------------------------------------------------------------------


@built
def test_the_smallest_exponentials_are_as_exact_as_the_largest() -> None:
    """To a unit in the last place, down to where float32 ends; ln 2 in one rounded part costs three."""
    key = torch.linspace(-87.2, -40, 4_099)[None, None, :, None].clone()
    key[..., 0, 0] = 0.0  # the row's maximum, and with it the sum, is 1
    [[raw]] = AttentionMatrix(torch.ones(1, 1, 1, 1), key, scale=1.0).read(Received(), loop="native").raw
    truth = key[0, 0, :, 0].double().exp()
    assert float(((raw - truth).abs() / truth).max()) < 1.2 * torch.finfo(torch.float32).eps


@built
def test_the_library_bears_the_flags_that_it_was_built_with(monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.source()
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-Og"))
    assert build.source() != before


@built
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("mask", MASKS)
def test_every_known_reduction_reads_the_truth(mask: str, cut: str) -> None:
    expect_known(random_case(MASKS[mask][0]), CUTS[cut])


@built
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_with_bias_softcap_and_sink(dtype: torch.dtype, cut: str) -> None:
    expect_known(dressed_case(masks.causal(), dtype), CUTS[cut])


@built
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("mask", [None, masks.causal()])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1, 1, 1, 1, 1),
        (2, 2, 1, 1, 13, 3, 2),
        (2, 2, 1, 13, 1, 3, 2),
        (2, 2, 1, 0, 13, 3, 2),
        (2, 2, 1, 13, 0, 3, 2),
        (0, 2, 1, 5, 7, 3, 2),
        (2, 0, 0, 5, 7, 3, 2),
        (1, 2, 1, 5, 7, 0, 0),
        (1, 2, 1, 61, 1_031, 5, 2),
    ],
)
def test_sizes_of_zero_and_one_and_more_than_a_chunk(
    shape: tuple[int, ...], mask: Mask | None, cut: str
) -> None:
    expect_known(random_case(mask, shape=shape), CUTS[cut])


@built
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(
    "name",
    [
        "logits of ten thousand",
        "rows of finfo.min",
        "rows of -inf",
        "a sink above everything",
        "a sink below everything",
    ],
)
def test_extreme_rows(name: str, cut: str) -> None:
    expect_known(extreme(name), CUTS[cut])


@built
def test_each_variant_that_this_processor_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The narrower ones are what other processors run."""
    best = loaded().limelight_variant().decode()
    ran = 0
    for variant in ("avx512", "avx2", "plain"):
        ran += variant == best
        if ran and hasattr(loaded(), f"limelight_read_{variant}"):
            monkeypatch.setattr(loaded(), "limelight_read", getattr(loaded(), f"limelight_read_{variant}"))
            case = random_case(masks.causal(), shape=(1, 4, 2, 61, 1_031, 5, 2))
            expect_known(replace(case, sink=torch.randn(4)), CUTS["few rows"])
            expect_known(extreme("rows of finfo.min"), CUTS["all at once"])
    assert ran


@built
def test_small_terms_keep_their_digits_beside_a_large_sum() -> None:
    """All rows alike: what one addition to the sum of a column rounds away, the next does again (found by fuzz)."""
    query, key = torch.zeros(1, 1, 211, 4), torch.zeros(1, 1, 3, 4)
    query[..., 0], key[:, :, 1, 0] = 1.0, -9.7
    key[:, :, 2, 1], query[:, :, :90, 1] = 9.7, 1.0
    received = AttentionMatrix(query, key, scale=1.0).read(Received(), loop="native")
    truth = reference.attention(query, key, scale=1.0).weights_BHNM.sum(2)
    assert float(((received.raw - truth).abs() / truth).max()) < 5e-7


@built
def test_of_equals_the_lowest_key_wins() -> None:
    case = random_case(masks.causal(), shape=(1, 2, 2, 31, 1_031, 5, 2))
    case = replace(case, query=torch.zeros_like(case.query))
    peak, top = case.matrix().read(ArgMax(), TopK(20), loop="native")
    assert not peak.keys.any()
    assert torch.equal(top.keys, torch.arange(20).expand(top.keys.shape))
    assert torch.equal(case.matrix().read(TopK(20), loop="plain").keys, top.keys)


@built
def test_what_is_no_number_is_not_hidden() -> None:
    case = random_case(masks.causal())
    case.query[0, 1, 5] = torch.nan
    case.key[1, 0, 2] = torch.nan
    native, plain = (
        case.matrix().read(RowStats(), Received(), Entropy(), ArgMax(), TopK(2), loop=name)
        for name in ("native", "plain")
    )
    for ours, theirs in zip(native[0], plain[0], strict=True):
        assert torch.equal(ours.isnan(), theirs.isnan())
    assert native[0].log_sum.isnan().any()
    assert torch.equal(native[1].raw.isnan(), plain[1].raw.isnan())
    assert torch.equal(native[2].isnan(), plain[2].isnan())
    for ours, theirs in zip(native[3:], plain[3:], strict=True):
        assert torch.equal(ours.keys, theirs.keys)


NUDGED = [each.name for each in fields(Found) if each.name not in ("rows", "spans", "run")]


@built
@pytest.mark.parametrize("name", NUDGED)
def test_a_mutated_answer_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = loop.read_strip

    def lying(*arguments: Any) -> Found | None:
        found = honest(*arguments)
        answer = getattr(found, name, None)
        if isinstance(answer, Tensor):
            answer += 1e-5 if answer.is_floating_point() else 1
        return found

    monkeypatch.setattr(loop, "read_strip", lying)
    with pytest.raises(
        (AssertionError, RuntimeError, IndexError)
    ):  # a key beyond the last one cannot even be looked up
        expect_known(random_case(masks.causal()), CUTS["all at once"])


# ---- what it does not do itself -----------------------------------------------------------------------


@built
def test_reductions_it_does_not_know_are_read_with_those_it_does() -> None:
    case = random_case(masks.causal())
    asked: list[Reduction[Any]] = [
        ValueNorms(),
        Received(),
        TopK(LARGEST_K + 1),
        MeanDistance(),
        MeanDistance(3),
        Entropy(),
    ]
    assert case.matrix().why(*asked).loop == "native"
    expected = [case.matrix().read(reduction, loop="plain") for reduction in asked]
    for got, truth in zip(case.matrix().read(*asked), expected, strict=True):
        pairs = zip(got, truth, strict=True) if isinstance(got, tuple) else [(got, truth)]
        for ours, theirs in pairs:
            assert torch.allclose(ours.double(), theirs.double(), rtol=1e-5, atol=1e-5)


@built
def test_it_says_why_it_does_not_read() -> None:
    case = random_case(dtype=torch.float64)
    why = case.matrix().why(Received())
    assert why.loop == "plain"
    assert ("native", "it counts in float32, and the matrix is torch.float64") in why.passed_over
    assert "counts in float32" in str(why)
    with pytest.raises(InputError, match="does not know ValueNorms"):
        random_case().matrix().read(ValueNorms(), loop="native")


@built
def test_the_caller_s_defaults_do_not_reach_it() -> None:
    case = random_case(masks.causal())
    groups = torch.arange(case.query.shape[2]) // 3, torch.arange(case.key.shape[2]) // 3
    try:
        torch.set_default_dtype(torch.float64)
        reading = case.matrix().read(Pool(*groups), TopK(2), Received(), loop="native")[2]
    finally:
        torch.set_default_dtype(torch.float32)
    check("received", reading.raw, case.truth().weights_BHNM.sum(2))


def absent(monkeypatch: pytest.MonkeyPatch, path: Path) -> str:
    """The reason that stands in `why` when the library is this file; the plain loop must read all the same."""
    monkeypatch.setattr(loop, "library", lambda: library(path))
    case = random_case(masks.causal())
    matrix = case.matrix()
    check("received", matrix.read(Received()).raw, case.truth().weights_BHNM.sum(2))
    why = matrix.why(Received())
    assert why.loop == "plain"
    return dict(why.passed_over)["native"]


def test_without_its_library_the_plain_loop_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "python -m limelight.matrix.engine.native" in absent(monkeypatch, tmp_path / "none.so")


def test_a_broken_library_is_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    assert "cannot be loaded" in absent(monkeypatch, broken)
    foreign = Path(next(iter(torch.__path__))) / "lib" / "libtorch_global_deps.so"
    if foreign.exists():
        assert "cannot be loaded" in absent(monkeypatch, foreign)


@built
def test_a_library_of_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "copy.so"
    shutil.copy(build.LIBRARY, copy)
    monkeypatch.setattr(shelf, "source", lambda: "of another time")
    assert "other sources" in absent(monkeypatch, copy)


def test_without_a_compiler_nothing_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    missing = build.build(tmp_path / "strip.so")
    assert missing is not None
    assert "no C++ compiler" in missing
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho it broke >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("CXX", str(failing))
    assert "it broke" in str(build.build(tmp_path / "strip.so"))
    assert list(tmp_path.iterdir()) == [failing]


@built
def test_the_other_side_of_the_structs_is_as_long() -> None:
    assert loaded().limelight_size_of_job() == ctypes.sizeof(shelf.JobStruct)


def long(mask: Mask, N: int = 40_000, **more: Any) -> AttentionMatrix:
    query, key = torch.randn(2, 1, 1, N, 4).unbind()
    return AttentionMatrix(query, key, mask=mask, **more)


def alone_among(N: int) -> Mask:
    """Neighbours, but a few queries look at everything and a few at much; no call that is asked has one of them."""
    near = masks.causal() & masks.window(64)
    row, key = torch.zeros(N, dtype=torch.int64), torch.ones(N, dtype=torch.int64)
    row[9_700:9_710], row[26_500:26_510] = 2, 1
    key[15_000:] = 2
    return near | masks.documents(row, key, earlier=True)


@built
def test_calls_are_cut_by_what_rows_see_and_not_by_how_long_the_text_is() -> None:
    for mask in (masks.causal() & masks.window(64), masks.documents(torch.arange(40_000) // 512)):
        cut = loop.plan(long(mask)._scores, [Received()])
        assert cut.rows == loop.MOST_ROWS
        assert cut.held == shelf.ROOM_ROWS
    for mask in (masks.causal(), masks.everything(), masks.function(lambda b, h, i, j: i >= j)):
        cut = loop.plan(long(mask)._scores, [Received()])
        assert cut.rows * 40_000 <= loop.CALL_ENTRIES
        assert cut.wider is None


@built
@pytest.mark.slow
@pytest.mark.parametrize("softcap", [None, 3.0])
def test_rows_that_see_more_than_was_asked_of_others_are_read_in_parts_and_memory_is_kept(
    softcap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = long(alone_among(40_000), softcap=softcap)
    reductions = Received(), Entropy(), ArgMax()
    cut = loop.plan(matrix._scores, reductions)
    assert cut.rows == loop.MOST_ROWS
    assert cut.wider is not None
    calls, held = [], 0
    honest, fresh = loop.read_strip, Arena.take

    def counting(*arguments: Any) -> Found:
        nonlocal held
        found, room, keys = honest(*arguments), arguments[-1], arguments[1]
        calls.append(arguments[-2] - arguments[-3])
        tensors = [getattr(found, each.name) for each in fields(Found)] + [room._memory, keys.packed]
        held = max(held, sum(each.nbytes for each in tensors if isinstance(each, Tensor)))
        return found

    def fitting(arena: Arena, *shape: int) -> Tensor:
        taken = fresh(arena, *shape)
        assert taken.untyped_storage().data_ptr() == arena._memory.untyped_storage().data_ptr()
        return taken

    monkeypatch.setattr(loop, "read_strip", counting)
    monkeypatch.setattr(Arena, "take", fitting)
    received, entropy, peak = matrix.read(*reductions, loop="native")
    assert calls.count(loop.MOST_ROWS) == 40_000 // loop.MOST_ROWS - 1
    assert set(calls) - {loop.MOST_ROWS} >= {cut.wider.rows}
    assert held <= cut.worker_bytes
    monkeypatch.setattr(loop, "_widest", lambda scores: scores.M)
    others = matrix.read(*reductions, loop="native")
    check("received", received.raw, others[0].raw.double())
    check("entropy", entropy, others[1].double())
    assert torch.equal(peak.keys, others[2].keys)
    assert torch.equal(received.queries, others[0].queries)


@built
def test_how_much_is_held_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor that a call makes, against what the plan says that one worker holds."""
    q = torch.randn(1, 4, 700, 16)
    matrix = AttentionMatrix(q, q, mask=masks.causal())
    held = 0
    honest = loop.read_strip

    def counting(*arguments: Any) -> Found | None:
        nonlocal held
        found, room, keys = honest(*arguments), arguments[-1], arguments[1]
        tensors = [getattr(found, each.name) for each in fields(Found)] + [room._memory, keys.packed]
        held = max(held, sum(each.nbytes for each in tensors if isinstance(each, Tensor)))
        return found

    monkeypatch.setattr(loop, "read_strip", counting)
    matrix.read(Received(), Entropy(), ArgMax())
    said = matrix.why(Received()).worker_bytes
    assert said / 3 < held <= said
