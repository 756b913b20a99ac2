"""Gradients of A @ v and A.T @ x: against finite differences, the stored float64 matrix, and PyTorch's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.errors import InputError
from limelight.matrix import AttentionMatrix, Entropy, gradients, masks, matrix as matrix_module
from limelight.matrix.engine.plan import Plan
from limelight.matrix.engine.tiled import read_tiles
from limelight.matrix.gradients import Backward, Need
from limelight.matrix.reductions.products import TransposedApplied
from limelight.matrix.tile import SoftmaxStats
from tests.oracle import CUTS, MASKS, B, Case, G, H, M, N, X, dressed_case, random_case
from tests.tolerance import check

PRODUCTS: dict[str, tuple[Callable[[Any, Tensor], Tensor], int]] = {
    "A @ v": (lambda A, v: A @ v, M),
    "A.T @ x": (lambda A, x: A.T @ x, N),
}
"""A product, and how many rows its factor has."""


class Stored:
    """The truth: the matrix that torch differentiates by itself, in float64, with the products of ours."""

    def __init__(self, case: Case) -> None:
        self.weights = case.truth().weights_BHNM

    def __matmul__(self, v: Tensor) -> Tensor:
        return self._multiply(self.weights, v)

    @property
    def T(self) -> Any:
        stored = self

        class Turned:
            def __matmul__(self, x: Tensor) -> Tensor:
                return stored._multiply(stored.weights.transpose(-1, -2), x)

        return Turned()

    @staticmethod
    def _multiply(weights: Tensor, factor: Tensor) -> Tensor:
        wide = factor.double()
        if wide.dim() == 4 and wide.shape[1] > 1:
            wide = wide.repeat_interleave(weights.shape[1] // wide.shape[1], dim=1)
        return weights @ wide


def leaves(case: Case, factor: Tensor, dtype: torch.dtype | None = None) -> tuple[Case, Tensor]:
    """The same numbers as leaves that ask for a gradient, of another dtype where one is given."""
    fresh = {
        name: getattr(case, name).detach().clone().to(dtype or getattr(case, name).dtype).requires_grad_()
        for name in ("query", "key", "bias", "sink")
        if getattr(case, name) is not None
    }
    return replace(case, **fresh), factor.detach().clone().to(dtype or factor.dtype).requires_grad_()


def gradients_of(product: Any, A: Any, case: Case, factor: Tensor, dy: Tensor | None = None) -> list[Tensor]:
    """Of a product that every entry of the result takes part in, with another weight."""
    inputs = [each for each in (case.query, case.key, case.bias, case.sink, factor) if each is not None]
    result = product(A, factor)
    return list(torch.autograd.grad(result, inputs, (weights_like(result) if dy is None else dy).to(result)))


def weights_like(result: Tensor) -> Tensor:
    return torch.randn(result.shape, generator=torch.Generator().manual_seed(1))


def compare(name: str, case: Case, factor: Tensor) -> None:
    """Ours against the stored matrix, both differentiated at the same, already rounded inputs."""
    product = PRODUCTS[name][0]
    ours, ours_factor = leaves(case, factor)
    truth, truth_factor = leaves(case, factor, torch.float64)
    got = gradients_of(product, ours.matrix(), ours, ours_factor)
    wanted = gradients_of(product, Stored(truth), truth, truth_factor)
    for each, truth_of_it in zip(got, wanted, strict=True):
        if each.dtype in (torch.float32, torch.float64):
            check("gradient", each, truth_of_it)
        else:  # it was rounded once, at the end, to what it belongs to
            step = torch.finfo(each.dtype).eps * truth_of_it.abs() + 1e-5
            assert bool(((each.double() - truth_of_it).abs() <= step).all())


# ---- right everywhere ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("mask", ["causal, rows of nothing", "lengths", "documents", "dense", "function"])
def test_gradients_under_masks_are_those_of_the_stored_matrix(name: str, mask: str) -> None:
    compare(name, random_case(MASKS[mask][0]), torch.randn(PRODUCTS[name][1], 3))


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_gradients_with_everything_at_once(name: str, dtype: torch.dtype) -> None:
    compare(name, dressed_case(masks.causal(), dtype), torch.randn(PRODUCTS[name][1], 3).to(dtype))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("A @ v", (M,)),
        ("A @ v", (B, G, M, X)),
        ("A @ v", (1, H, M, X)),
        ("A @ v", (B, 1, M, X)),
        ("A.T @ x", (N,)),
        ("A.T @ x", (B, H, N, X)),
        ("A.T @ x", (1, 1, N, X)),
    ],
)
def test_factors_of_every_shape_have_their_gradient(name: str, shape: tuple[int, ...]) -> None:
    compare(name, random_case(masks.window(9)), torch.randn(shape))


@pytest.mark.parametrize("shape", [(N, M), (H, 1, M), (B, 1, N, 1), (1, 1, 1, 1), (1,)])
def test_a_bias_has_the_gradient_of_all_that_it_is_added_to(shape: tuple[int, ...]) -> None:
    # Without a sink, what all keys have in common would change nothing; these sums nearly cancel as it is.
    case = replace(random_case(dtype=torch.float64), bias=torch.randn(shape).double(), sink=torch.randn(H))
    ours, v = leaves(case, torch.randn(M, 2), torch.float64)
    got, wanted = (gradients_of(PRODUCTS["A @ v"][0], A, ours, v) for A in (ours.matrix(), Stored(ours)))
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("sizes", [(1, 2, 1, 1, 1, 3, 2), (1, 2, 1, 0, 5, 3, 2), (2, 2, 2, 5, 0, 3, 2)])
def test_short_and_empty_matrices(name: str, sizes: tuple[int, ...]) -> None:
    case = random_case(shape=sizes)
    compare(name, case, torch.randn(sizes[3] if name == "A.T @ x" else sizes[4], 2))


def test_finite_differences_agree() -> None:
    seen = masks.causal(offset=0) | masks.function(lambda b, h, i, j: (j < h) & (i > 1))

    def both(q: Tensor, k: Tensor, v: Tensor, x: Tensor, bias: Tensor, sink: Tensor) -> Tensor:
        A = AttentionMatrix(q, k, mask=seen, scale=0.7, bias=bias, softcap=1.5, sink=sink)
        return (A @ v).square().sum() + (A.T @ x).pow(3).sum()

    shapes = ((1, 2, 3, 2), (1, 1, 5, 2), (1, 1, 5, 2), (3,), (2, 1, 5), (2,))
    inputs = tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    assert torch.autograd.gradcheck(both, inputs)


@pytest.mark.slow
def test_finite_differences_agree_through_a_score_mod() -> None:
    def both(q: Tensor, k: Tensor, v: Tensor, x: Tensor) -> Tensor:
        A = AttentionMatrix(
            q,
            k,
            mask=masks.causal(),
            bias=torch.ones(3, 5),
            softcap=1.5,
            score_mod=lambda s, b, h, i, j: torch.where(j == 2, -torch.inf, s * s * (1 + h) + i - j),
        )
        return (A @ v).square().sum() + (A.T @ x).pow(3).sum()

    shapes = ((1, 2, 3, 2), (1, 1, 5, 2), (5, 2), (3,))
    inputs = tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    assert torch.autograd.gradcheck(both, inputs)


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_are_those_of_pytorchs_attention(causal: bool) -> None:
    case, value = leaves(
        random_case(masks.causal() if causal else None, shape=(2, 6, 3, 43, 43, 7, 5)), torch.ones(1)
    )
    value = case.value.clone().requires_grad_()
    theirs = F.scaled_dot_product_attention(case.query, case.key, value, is_causal=causal, enable_gqa=True)
    inputs = (case.query, case.key, value)
    dy = weights_like(theirs)
    wanted = torch.autograd.grad(theirs, inputs, dy)
    for got, expected in zip(torch.autograd.grad(case.matrix() @ value, inputs, dy), wanted, strict=True):
        check("gradient", got, expected.double())


@pytest.mark.parametrize("cut", CUTS)
def test_any_tiling_gives_the_same_gradients(cut: str) -> None:
    case, _ = leaves(dressed_case(masks.causal()), torch.ones(1), torch.float64)
    scores = case.matrix()._scores
    left, right = (weights_like(torch.empty(B, H, size, 3)).double() for size in (N, M))
    product = (Stored(case) @ right).detach()
    back = Backward(scores, left, right, product, Need(True, True, True, True, right=True))
    [state], stats = read_tiles(scores, scores.frame(N), [back], None, CUTS[cut])
    got = back.finish(state, stats)
    form = ((Stored(case) @ (given := right.clone().requires_grad_())) * left).sum()
    inputs = (case.query, case.key, case.bias, case.sink, given)
    for each, wanted in zip(got, torch.autograd.grad(form, inputs), strict=True):
        check("gradient", each, wanted)


# ---- what a graph does and does not hold --------------------------------------------------------------


def test_only_what_asks_for_a_gradient_gets_one_and_a_graph() -> None:
    case = random_case(masks.causal())
    assert not (case.matrix() @ case.value).requires_grad
    case.key.requires_grad_()
    with torch.no_grad():
        assert not (case.matrix().T @ torch.ones(N)).requires_grad
    (case.matrix() @ case.value).sum().backward()
    assert case.key.grad is not None
    assert case.query.grad is None
    v = torch.ones(M, 2, requires_grad=True)
    with torch.no_grad():
        matrix = random_case().matrix()
    (matrix @ v).sum().backward()
    check("received", v.grad, (matrix.T @ torch.ones(N, 2)).sum((0, 1)).double())


def test_a_query_that_sees_nothing_has_a_gradient_of_zero() -> None:
    case, v = leaves(random_case(masks.causal(offset=-5)), torch.randn(M, 2))
    (case.matrix() @ v).sum().backward()
    assert bool((case.query.grad[:, :, :5] == 0).all())
    assert bool((case.query.grad[:, :, 6:] != 0).any())


def test_threads_change_no_bit() -> None:
    """Heads that share a key head, a factor and a bias add to the same places, whoever comes first."""
    case, v = leaves(
        replace(random_case(shape=(2, 4, 1, 257, 521, 8, 4)), bias=torch.randn(521)), torch.randn(521, 4)
    )
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 4, 4):
            torch.set_num_threads(threads)
            found.append(gradients_of(PRODUCTS["A @ v"][0], case.matrix(), case, v))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux tells the peak")
def test_memory_grows_with_the_tokens_and_not_with_their_square() -> None:
    tokens, heads = 5_003, 4
    q, k, v = (torch.randn(1, heads, tokens, 8, requires_grad=True) for _ in range(3))
    matrix = AttentionMatrix(q, k, mask=masks.window(64))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmHWM")
    ((matrix @ v).sum() + (matrix.T @ v).sum()).backward()
    assert resident("VmHWM") - before < heads * tokens**2  # a quarter of the weights in float32


def resident(name: str) -> int:
    """A line of what Linux says of this process's memory, in bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def test_a_changed_input_is_noticed_before_the_way_back() -> None:
    case, v = leaves(random_case(), torch.randn(M, 2))
    result = case.matrix() @ v
    with torch.no_grad():
        case.query.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_gradients_have_none_themselves() -> None:
    case, v = leaves(random_case(), torch.randn(M, 2))
    [first] = torch.autograd.grad((case.matrix() @ v).square().sum(), [case.query], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_a_bias_below_a_score_mod_is_refused() -> None:
    case = replace(random_case(), bias=torch.zeros(N, M, requires_grad=True))
    matrix = AttentionMatrix(case.query, case.key, bias=case.bias, score_mod=lambda s, b, h, i, j: s * 2)
    with pytest.raises(InputError, match=r"bias.detach\(\)"):
        matrix @ case.value
    assert not matrix.read(Entropy()).requires_grad


# ---- mutants ------------------------------------------------------------------------------------------


class WithoutCorrection(Backward):
    def init(self, frame: Any) -> Any:
        state = super().init(frame)
        return state._replace(c_BHN=torch.zeros_like(state.c_BHN))


class WithoutSoftcap(Backward):
    def _through_scores(self, ds_BHRC: Tensor, tile: Any) -> None:
        return


class WithoutSink(Backward):
    def finish(self, state: Any, stats: SoftmaxStats) -> Any:
        found = super().finish(state, stats)
        return found._replace(sink=torch.zeros_like(found.sink))


class OfTheLastHead(Backward):
    """The shared key head keeps what its last query head gave."""

    def update(self, state: Any, tile: Any) -> None:
        state.gradients.key[tile.batches.start : tile.batches.stop].zero_()
        super().update(state, tile)


@pytest.mark.parametrize("mutant", [WithoutCorrection, WithoutSoftcap, WithoutSink, OfTheLastHead])
def test_a_mutated_backward_is_noticed(mutant: type, monkeypatch: pytest.MonkeyPatch) -> None:
    case, v = dressed_case(masks.causal()), torch.randn(M, 3)
    one_head = Plan(rows=64, columns=None, panel_batches=1, panel_heads=1)
    monkeypatch.setattr("limelight.matrix.engine.dispatch.plan_for", lambda scores, limit=None: one_head)
    compare("A @ v", case, v)  # green as it is …
    monkeypatch.setattr(gradients, "Backward", mutant)
    with pytest.raises(AssertionError):  # … and red as the mutant has it
        compare("A @ v", case, v)


def test_a_transposed_product_that_forgets_to_send_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    multiply = gradients.multiply

    def confused(product: Any, *rest: Any) -> Tensor:
        detached = isinstance(product, TransposedApplied)
        return multiply(TransposedApplied(product.x.detach() + 0 * product.x) if detached else product, *rest)

    monkeypatch.setattr(matrix_module, "multiply", confused)
    with pytest.raises(AssertionError):
        compare("A.T @ x", random_case(), torch.randn(N, 2))


def test_a_sink_beyond_all_measure_takes_everything_and_has_a_gradient_of_nothing() -> None:
    query, key, value = torch.randn(1, 1, 5, 4), torch.randn(1, 1, 7, 4), torch.randn(1, 1, 7, 3)
    bias = torch.zeros(1, 1, 5, 7)
    bias[..., 2, :] = torch.finfo(torch.float32).min
    sink = torch.full((1,), torch.finfo(torch.float32).max).requires_grad_()
    (AttentionMatrix(query, key, bias=bias, sink=sink) @ value).sum().backward()
    assert sink.grad is not None
    assert not sink.grad.isnan().any()


def test_a_score_function_that_looks_away_from_the_score_gives_it_no_gradient() -> None:
    query = torch.randn(1, 1, 5, 4, requires_grad=True)
    matrix = AttentionMatrix(query, torch.randn(1, 1, 7, 4), score_mod=lambda score, b, h, i, j: -1.0 * j)
    (matrix @ torch.randn(7, 3)).square().sum().backward()
    assert query.grad is not None
    assert not query.grad.any()
