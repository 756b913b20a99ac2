"""The choice of a loop, its threads, and the limit that is set to its memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from limelight.errors import InputError, TooLargeError
from limelight.matrix import (
    ArgMax,
    AttentionMatrix,
    AttentionOutput,
    BottomK,
    Downsample,
    Entropy,
    Histogram,
    MeanDistance,
    Pool,
    Quantiles,
    Received,
    Reduction,
    RowStats,
    TopK,
    ValueNorms,
    masks,
)
from limelight.matrix.engine import dispatch as choice, threads as engine_threads
from limelight.matrix.engine.dispatch import BACKENDS, PLAIN, Backend, choose
from limelight.matrix.engine.native import loop as native
from limelight.matrix.engine.plan import Plan, stats_bytes
from limelight.matrix.engine.tiled import read_tiles
from limelight.matrix.logits import Logits
from tests.examples import mostly_slow
from tests.oracle import REDUCTIONS, Case, random_case
from tests.tolerance import check

NOT_HERE = "this loop does not serve here: Triton needs a GPU, the C++ loop a compiler"


def reductions_for(case: Case) -> list[Reduction[Any]]:
    N, M = case.query.shape[2], case.key.shape[2]
    known = [RowStats(), Received(), Entropy(), ArgMax(), MeanDistance(), TopK(5)]
    others = [BottomK(2), ValueNorms(), AttentionOutput(), Downsample(5, 7), Histogram(5)]
    return [*known, Pool(torch.arange(N) // 5, torch.arange(M) // 3), *others]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, has even a small matrix read by all of them, and sets it back."""
    before = torch.get_num_threads()
    monkeypatch.setattr(engine_threads, "WORTH_A_THREAD", 0)
    yield torch.set_num_threads
    torch.set_num_threads(before)


def leaves(reading: Any) -> list[Tensor]:
    return [reading] if isinstance(reading, Tensor) else [leaf for each in reading for leaf in leaves(each)]


# ---- the choice ---------------------------------------------------------------------------------------


def test_the_first_loop_that_serves_is_taken_and_the_others_say_why_not() -> None:
    scores = random_case().matrix()._scores
    never = Backend("never", "nothing", lambda scores, reductions: "it is a test", PLAIN.plan, PLAIN.read)
    always = replace(PLAIN, name="always")
    found = choose(scores, [Received()], loops=(never, always, PLAIN))
    assert (found.loop, found.passed_over) == (always, (("never", "it is a test"),))
    assert choose(scores, [Received()], only="plain", loops=(never, always, PLAIN)).loop is PLAIN
    with pytest.raises(InputError, match="cannot read this: it is a test"):
        choose(scores, [Received()], only="never", loops=(never, PLAIN))


def test_the_plain_loop_reads_whatever_is_asked() -> None:
    assert BACKENDS[-1] is PLAIN
    assert PLAIN.rejection(random_case().matrix()._scores, [ValueNorms()]) is None


def test_a_loop_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="loop must be one of .*plain; got 'quick'"):
        random_case().matrix().read(Received(), loop="quick")


# ---- threads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [each.name for each in BACKENDS])
@pytest.mark.parametrize("shape", [(1, 1, 1, 311, 331, 3, 2), (2, 5, 5, 127, 131, 3, 2)])
def test_the_same_to_the_bit_with_any_number_of_threads(
    loop: str, shape: tuple[int, ...], threads: Callable[[int], None]
) -> None:
    case = random_case(masks.causal(), shape=shape)
    reductions = reductions_for(case)
    served = next(each for each in BACKENDS if each.name == loop)
    if served.rejection(case.matrix()._scores, reductions):
        pytest.skip(NOT_HERE)
    small = 4 * 311 * 400  # bytes: a limit that cuts the matrix into many blocks
    readings = []
    for count in (1, 2, 3, 7):
        threads(count)
        matrix = case.matrix()
        cut = replace(served.plan(matrix._scores, reductions, small), most_workers=None)
        forced = replace(served, plan=lambda scores, reductions, limit, cut=cut: cut)
        assert forced.plan(matrix._scores, reductions, None).workers(matrix._scores) == count
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(choice, "BACKENDS", (forced,))
            readings.append(leaves(matrix.read(*reductions, loop=loop)))
        assert torch.get_num_threads() == count
    for others in readings[1:]:
        for one, other in zip(readings[0], others, strict=True):
            assert torch.equal(one, other)


@dataclass(frozen=True)
class OfAllHeads:
    """A reduction as a user may write it: one number for the whole matrix, which says nothing of threads."""

    def init(self, frame: Any) -> Tensor:
        return frame.full(1, dtype=frame.wide)

    def update(self, state: Tensor, tile: Any) -> None:
        before = float(state)
        total = float(tile.weights.sum())
        time.sleep(0)
        state[0] = before + total

    def merge(self, state: Tensor, other: Tensor) -> Tensor:
        return state + other

    def finish(self, state: Tensor, stats: Any) -> Tensor:
        return state


def test_a_state_that_heads_share_is_not_written_by_two_threads(threads: Callable[[int], None]) -> None:
    threads(4)
    matrix = random_case(shape=(1, 16, 16, 13, 20_011, 2, 2)).matrix()
    for _ in range(3):
        assert float(matrix.read(OfAllHeads())) == pytest.approx(16 * 13, rel=1e-6)


def test_the_reductions_of_the_package_say_that_heads_are_apart() -> None:
    case = random_case()
    assert all(build(case).independent_heads for build, _ in REDUCTIONS.values())


@dataclass(frozen=True)
class Failing:
    """A reduction that fails after some tiles."""

    error: type[BaseException]

    def init(self, frame: Any) -> list[int]:
        return []

    def update(self, state: list[int], tile: Any) -> None:
        state.append(torch.get_num_threads())
        if len(state) > 3:
            raise self.error("on purpose")

    def merge(self, state: list[int], other: list[int]) -> list[int]:
        return state + other

    def finish(self, state: list[int], stats: Any) -> list[int]:
        return state


@pytest.mark.parametrize("shape", [(1, 1, 1, 700, 31, 3, 2), (3, 4, 4, 700, 3_001, 3, 2)])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_a_thread_comes_out_and_the_setting_is_restored(
    error: type[BaseException], shape: tuple[int, ...], threads: Callable[[int], None]
) -> None:
    threads(3)
    running = threading.active_count()
    with pytest.raises(error, match="on purpose"):
        random_case(shape=shape).matrix().read(Failing(error))
    assert torch.get_num_threads() == 3
    assert threading.active_count() == running


@dataclass(frozen=True)
class Watching(Failing):
    """A reduction that notes how many threads an operation has, and takes its time."""

    def update(self, state: list[int], tile: Any) -> None:
        state.append(torch.get_num_threads())
        time.sleep(0.002)


def test_two_readings_at_once_leave_the_user_s_number_of_threads(threads: Callable[[int], None]) -> None:
    threads(3)
    found: list[int] = []

    def read() -> None:
        found.extend(random_case(shape=(1, 1, 1, 700, 31, 3, 2)).matrix().read(Watching(ValueError)))

    others = [threading.Thread(target=read) for _ in range(3)]
    for other in others:
        other.start()
    read()
    for other in others:
        other.join()
    assert set(found) == {1}
    assert torch.get_num_threads() == 3


def test_inference_mode_reaches_the_threads(threads: Callable[[int], None]) -> None:
    threads(2)
    case = random_case(masks.causal(), shape=(1, 3, 3, 97, 101, 3, 2))
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        reading, output = case.matrix().read(Received(), AttentionOutput())
    check("received", reading.raw, case.truth().weights_BHNM.sum(2))
    check("output", output, case.truth().output_BHND)


# ---- memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [each.name for each in BACKENDS])
@pytest.mark.parametrize("limit", mostly_slow([2**16, 2**18, 2**21], 2**18, 2**21))
def test_a_limit_is_kept_and_the_readings_are_the_same(loop: str, limit: int) -> None:
    case = random_case(masks.causal(), shape=(1, 4, 2, 211, 997, 3, 2))
    matrix = case.matrix()
    if next(each for each in BACKENDS if each.name == loop).rejection(matrix._scores, [Received()]):
        pytest.skip(NOT_HERE)
    assert matrix.why(Received(), limit=limit, loop=loop).bytes <= limit
    reading, stats = matrix.read(Received(), RowStats(), limit=limit, loop=loop)
    check("received", reading.raw, case.truth().weights_BHNM.sum(2))
    assert bool(stats.maximum.isfinite().all())


def test_what_the_plain_loop_reads_beside_another_keeps_to_the_limit_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The native loop does not know Quantiles and hands them on."""
    matrix = random_case(masks.causal(), shape=(1, 4, 2, 211, 997, 3, 2)).matrix()
    reductions = Received(), Quantiles(0.5)
    if native.rejection(matrix._scores, reductions):
        pytest.skip(NOT_HERE)
    limit = 2**18
    cuts = []
    monkeypatch.setattr(native, "read_tiles", lambda *given: cuts.append(given[-1]) or read_tiles(*given))
    together = matrix.read(*reductions, limit=limit, loop="native")
    assert [stats_bytes(matrix._scores) + cut.worker_bytes <= limit for cut in cuts] == [True] * len(cuts)
    assert cuts
    assert matrix.why(*reductions, limit=limit, loop="native").bytes <= limit
    apart = matrix.read(*reductions, loop="plain")
    check("received", together[0].raw, apart[0].raw.double())
    assert torch.equal(together[1].keys, apart[1].keys)


@pytest.mark.parametrize("loop", [each.name for each in BACKENDS])
def test_a_limit_that_nothing_fits_is_refused_with_the_figures(loop: str) -> None:
    matrix = AttentionMatrix(torch.ones(1, 2, 503, 4), torch.ones(1, 2, 503, 4))
    if next(each for each in BACKENDS if each.name == loop).rejection(matrix._scores, [Received()]):
        pytest.skip(NOT_HERE)
    with pytest.raises(TooLargeError, match=r"takes \d+ bytes at least, 8048 for its row stats") as error:
        matrix.read(Received(), limit=5_000, loop=loop)
    enough = int(str(error.value).split("limit=")[1].split(",")[0])
    matrix.read(Received(), limit=enough, loop=loop)
    with pytest.raises(TooLargeError):
        matrix.read(Received(), limit=enough - 1, loop=loop)


def test_where_the_quickest_loop_does_not_fit_the_next_one_reads() -> None:
    matrix = AttentionMatrix(torch.ones(1, 2, 20_011, 32), torch.ones(1, 2, 20_011, 32))
    why = matrix.why(Received(), limit=2_000_000)
    if "C++" not in matrix.why(Received()).runs:
        pytest.skip(NOT_HERE)
    assert why.loop == "plain"
    assert (why.passed_over[0][0], why.passed_over[0][1][:22]) == ("native", "the limit is too small")
    assert why.bytes <= 2_000_000
    with pytest.raises(TooLargeError, match="the limit is 1000"):
        matrix.read(Received(), limit=1_000)


def test_why_tells_of_every_pass() -> None:
    why = random_case(masks.causal()).matrix().why(Received(), Quantiles(0.5), loop="plain")
    assert (why.afterwards, why.again) == ((), ("Quantiles",))
    assert "Quantiles: further passes" in str(why)
    if "C++" in random_case().matrix().why(Received()).runs:
        why = random_case().matrix().why(Received(), BottomK(3))
        assert why.afterwards == ("BottomK",)
        assert "but BottomK, which the plain loop reads in another" in str(why)


def test_the_mask_is_asked_once_a_row_block_however_many_squares_it_is_cut_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = random_case(masks.causal() & masks.window(40), shape=(1, 1, 1, 97, 301, 3, 2))
    cut = Plan(rows=32, columns=32, panel_batches=1, panel_heads=1, grain=32)
    asked, honest = [], Logits.spans
    monkeypatch.setattr(Logits, "spans", lambda *given: asked.append(given[1:5]) or honest(*given))
    received, entropy = case.read(Received(), Entropy(), cut=cut)
    assert asked == [
        (i0, min(i0 + 32, 97), 0, 301) for i0 in (0, 32, 64, 96) for _ in range(2)
    ]  # a pass each
    REDUCTIONS["Received"][1](received, case)
    REDUCTIONS["Entropy"][1](entropy, case)


def test_a_limit_takes_threads_away_before_it_changes_the_cut(threads: Callable[[int], None]) -> None:
    threads(7)
    matrix = AttentionMatrix(torch.ones(1, 8, 997, 4), torch.ones(1, 8, 997, 4))
    free = matrix.why(loop="plain")
    tight = matrix.why(loop="plain", limit=free.stats_bytes + 3 * free.worker_bytes)
    assert (free.workers, tight.workers) == (7, 3)
    assert (tight.rows, tight.heads_at_once) == (free.rows, free.heads_at_once)
