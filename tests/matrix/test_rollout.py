"""Rollout: against the stored product in float64, by its laws, by hand, and with mutants that must fail."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError, TooLargeError
from limelight.matrix import AttentionMatrix, masks, rollout_layer
from limelight.matrix.rollout import Rollout
from limelight.matrix.rollout_layer import Layer
from tests.examples import examples
from tests.matrix.test_gradients import resident
from tests.oracle import B, Case, G, H, random_case
from tests.tolerance import check

T = 37
SQUARE = (B, H, G, T, T, 7, 5)
WEIGHTS = torch.tensor([0.3, 0.0, 1.2, 0.7, 0.1, 0.2])
FEW_SEE = masks.function(lambda b, h, i, j: (j < i) & (h > 2)) | (
    masks.causal() & masks.function(lambda b, h, i, j: (i < 9) & (h == 0))
)
"""Some queries see something in some heads only."""


def layers(mask: masks.Mask | None, sink: bool = False, count: int = 3) -> list[Case]:
    cases = [random_case(mask, shape=SQUARE) for _ in range(count)]
    return [replace(case, sink=torch.randn(H)) if sink else case for case in cases]


def expected(
    cases: Sequence[Case],
    shares: Tensor,
    residual: float = 0.5,
    renormalise: bool = True,
    values: bool = False,
) -> Tensor:
    """Equation 1 of the paper, stored, in float64."""
    product: Tensor | None = None
    for case in cases:
        weights = case.truth().weights_BHNM
        if values:
            norms_BGM = case.value.double().norm(dim=-1)
            shared = weights.shape[1] // norms_BGM.shape[1]
            weights = weights * norms_BGM.repeat_interleave(shared, dim=1)[:, :, None]
        mixed = torch.einsum("bhnm,h->bnm", weights, (shares / shares.sum()).double())
        if values:
            mixed = divided(mixed)
        mixed = (1 - residual) * mixed + residual * torch.eye(mixed.shape[1], dtype=torch.float64)
        if renormalise:
            mixed = divided(mixed)
        product = mixed if product is None else mixed @ product
    assert product is not None
    return product


def divided(rows: Tensor) -> Tensor:
    sums = rows.sum(-1, keepdim=True)
    return torch.where(sums > 0, rows / sums, 0.0)


def matrices(cases: Sequence[Case]) -> list[AttentionMatrix]:
    return [case.matrix() for case in cases]


def compare(rollout: Rollout, truth: Tensor) -> None:
    """All five ways to read it."""
    few, x, v = [30, 3, 4, 5, 30], torch.randn(T, 3), torch.randn(B, T, 2)
    check("weights", rollout.dense(), truth)
    check("weights", rollout.rows(few), truth[:, few])
    check("weights", rollout.columns(few), truth[:, :, few])
    check("output", rollout @ v, truth @ v.double())
    check("output", rollout.T @ x, truth.transpose(1, 2) @ x.double())


# ---- what it is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("values", [True, False])
@pytest.mark.parametrize("residual", [0.0, 0.4])
@pytest.mark.parametrize("sink", [True, False])
def test_every_variant_is_the_stored_product(
    sink: bool, residual: float, values: bool, renormalise: bool
) -> None:
    cases = layers(masks.causal(offset=-3), sink, count=2)
    how: dict[str, Any] = {"residual": residual, "renormalise": renormalise, "values": values}
    compare(Rollout(matrices(cases), heads=WEIGHTS, **how), expected(cases, WEIGHTS, **how))


@pytest.mark.parametrize(
    "mask",
    [
        None,
        masks.causal(),
        masks.lengths(query=[13, T], key=[T, 17]),
        masks.documents(torch.arange(T) // 5),
        masks.window(4) | masks.function(lambda b, h, i, j: j == 0),
        FEW_SEE,
    ],
    ids=["everything", "causal", "padded", "documents", "apart", "some heads see nothing"],
)
def test_under_every_kind_of_mask(mask: masks.Mask | None) -> None:
    cases = layers(mask, count=2)
    compare(Rollout(matrices(cases), heads="mean"), expected(cases, torch.ones(H)))


def test_heads_are_chosen_or_weighed_and_never_mixed_unasked() -> None:
    cases = layers(masks.causal())
    built = matrices(cases)
    chosen = torch.tensor([0.0, 1, 0, 0, 1, 0])
    check("weights", Rollout(built, heads=[4, 1]).rows(30), expected(cases, chosen)[:, 30])
    check("weights", Rollout(built, heads=torch.tensor([1, 4])).rows(30), expected(cases, chosen)[:, 30])
    by_layer = torch.rand(3, H)
    one_by_one = [expected([case], shares) for case, shares in zip(cases, by_layer, strict=True)]
    check("weights", Rollout(built, heads=by_layer).dense(), one_by_one[2] @ one_by_one[1] @ one_by_one[0])
    with pytest.raises(TypeError, match="heads"):
        Rollout(built)  # type: ignore[call-arg]


def test_by_hand() -> None:
    """Two tokens, two layers: the second looks at both alike, in the paper's own terms."""
    once = AttentionMatrix(torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2, 3), mask=masks.causal())
    assert Rollout([once], heads="mean").dense().tolist() == [[[1.0, 0.0], [0.25, 0.75]]]
    assert Rollout([once, once], heads="mean").dense().tolist() == [[[1.0, 0.0], [0.4375, 0.5625]]]
    assert Rollout([once, once], heads=[0], residual=0).dense().tolist() == [[[1.0, 0.0], [0.75, 0.25]]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    cases = [random_case(masks.causal(), dtype, SQUARE) for _ in range(2)]
    rollout = Rollout(matrices(cases), heads="mean", values=True)
    assert rollout.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    check("weights", rollout.rows([5, 36]), expected(cases, torch.ones(H), values=True)[:, [5, 36]])


def test_layers_that_are_not_square_follow_each_other_without_a_residual() -> None:
    first, second = (random_case(shape=(2, 4, 2, *sizes, 7, 5)) for sizes in ((11, 19), (5, 11)))
    rollout = Rollout(matrices([first, second]), heads="mean", residual=0)
    truth = second.truth().weights_BHNM.mean(1) @ first.truth().weights_BHNM.mean(1)
    assert rollout.shape == (2, 5, 19)
    assert rollout.T.shape == (2, 19, 5)
    check("weights", rollout.dense(), truth)
    check("weights", rollout.columns(7), truth[:, :, 7])


@pytest.mark.parametrize("sink", [True, False])
def test_rows_of_nothing_and_rows_of_the_smallest_number(sink: bool) -> None:
    """A row of -inf has no weights; a row of finfo.min, as Hugging Face pads, is as even as SDPA has it."""
    bias = torch.randn(1, H, T, T)
    bias[:, 1, 3] = -torch.inf
    bias[:, :, 5] = -torch.inf
    bias[:, :, 8] = torch.finfo(torch.float32).min
    bias[:, :, :, 11] = -torch.inf
    cases = [replace(case, bias=bias, softcap=2.5, scale=3.0) for case in layers(masks.causal(), sink, 2)]
    compare(Rollout(matrices(cases), heads=WEIGHTS), expected(cases, WEIGHTS))


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux tells the peak")
def test_memory_grows_with_the_tokens_and_not_with_their_square() -> None:
    tokens, heads = 6_007, 4
    q = torch.randn(1, heads, tokens, 8)
    layer = AttentionMatrix(q, q, mask=masks.causal() & masks.window(64))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident("VmHWM")
    Rollout([layer] * 2, heads="mean").rows(range(tokens - 13, tokens))
    assert resident("VmHWM") - before < heads * tokens**2  # a quarter of one layer's weights in float32


def test_long_sums_keep_their_precision() -> None:
    """Each key sums over many strips; float32 alone would lose digits."""
    tokens = 1_009
    case = random_case(shape=(1, 1, 1, tokens, tokens, 3, 1))
    truth = case.truth().weights_BHNM[:, 0].sum(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollout_layer, "STRIP_ROWS", (3, 3))
        got = Rollout([case.matrix()], heads="mean", residual=0).T @ torch.ones(tokens)
    check("received", got, truth)


# ---- laws ---------------------------------------------------------------------------------------------

SMALL = (1, 2, 1, 19, 19, 3, 2)  # laws are tried many times, so the matrices are small
CASES = {
    "causal": [random_case(masks.causal(), shape=SMALL) for _ in range(2)],
    "sinks, rows of nothing": [
        replace(random_case(masks.causal(offset=-3), shape=SMALL), sink=torch.randn(2)) for _ in range(2)
    ],
}


@examples(5)
@given(
    name=st.sampled_from(sorted(CASES)),
    rows=st.integers(1, 20),
    entries=st.integers(1, 800),
    flush=st.integers(1, 5),
    residual=st.sampled_from([0.0, 0.5]),
)
def test_any_strips_give_the_same(name: str, rows: int, entries: int, flush: int, residual: float) -> None:
    cases = CASES[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollout_layer, "STRIP_ROWS", (rows, rows))
        patch.setattr(rollout_layer, "STRIP_ENTRIES", entries)
        patch.setattr(rollout_layer, "FLUSH", flush)
        rollout = Rollout(matrices(cases), heads="mean", residual=residual)
        truth = expected(cases, torch.ones(2), residual)
        check("weights", rollout.dense(), truth)
        check("weights", rollout.columns([0, 18]), truth[:, :, [0, 18]])


@examples(5)
@given(rows=st.integers(1, 40), seed=st.integers(0, 99))
def test_sums_of_one_term_are_the_same_to_the_bit(rows: int, seed: int) -> None:
    """Where each query looks at one key, nothing is rounded, however the matrix is cut."""
    target = torch.randint(19, (19,), generator=torch.Generator().manual_seed(seed))
    mask = masks.dense(torch.arange(19) == target[:, None])
    hard = [random_case(mask, shape=SMALL).matrix() for _ in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollout_layer, "STRIP_ROWS", (rows, rows))
        got = Rollout(hard, heads=[1], residual=0).dense()
    three_steps = target[target[target]]
    assert torch.equal(got[0], (torch.arange(19) == three_steps[:, None]).float())


@examples(5)
@given(seed=st.integers(0, 99), name=st.sampled_from(sorted(CASES)), factor=st.floats(-3, 3))
def test_linear_and_adjoint(seed: int, name: str, factor: float) -> None:
    rollout = Rollout(matrices(CASES[name]), heads="mean")
    x, y, v = torch.randn(3, 19, 2, generator=torch.Generator().manual_seed(seed))
    check("output", rollout.T @ (x + factor * y), (rollout.T @ x + factor * (rollout.T @ y)).double())
    left, right = ((x * (rollout @ v)).sum((1, 2)), ((rollout.T @ x) * v).sum((1, 2)))
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def test_a_residual_of_one_is_the_identity() -> None:
    rollout = Rollout(matrices(layers(masks.causal())), heads="mean", residual=1)
    assert torch.equal(rollout.dense(), torch.eye(T).expand(B, T, T))
    v = torch.randn(T, 2)
    assert torch.equal(rollout @ v, v.expand(B, T, 2))


def test_rows_add_up_to_one_and_a_causal_token_has_nothing_from_later_ones() -> None:
    rollout = Rollout(matrices(layers(masks.causal())), heads="mean").dense()
    torch.testing.assert_close(rollout.sum(-1), torch.ones(B, T))
    assert bool((rollout.triu(1) == 0).all())


def test_threads_change_no_bit() -> None:
    tokens = 1_201
    case = random_case(masks.causal(), shape=(1, 2, 1, tokens, tokens, 8, 1))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3, 3):
            torch.set_num_threads(threads)
            found.append(Rollout([case.matrix()] * 2, heads="mean").rows([7, 1_200]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


# ---- what it costs, says and refuses ------------------------------------------------------------------


def test_rows_that_nothing_is_asked_of_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_layer, "STRIP_ROWS", (5, 5))
    computed: list[tuple[int, int]] = []
    read = rollout_layer._Strips.read

    def noted(self: Any, i0: int, i1: int, room: Any) -> Any:
        computed.append((i0, i1))
        return read(self, i0, i1, room)

    monkeypatch.setattr(rollout_layer._Strips, "read", noted)
    built = matrices(layers(masks.causal(), count=2))
    Rollout(built, heads="mean").rows(11)
    assert sorted(set(computed)) == [(0, 5), (5, 10), (10, 15), (11, 12)]


def test_tokens_are_named_as_in_a_list() -> None:
    rollout = Rollout(matrices(layers(None, count=1)), heads="mean")
    whole = rollout.dense()
    for name in (3, -1, numpy.int64(4), torch.tensor(5)):
        check("weights", rollout.rows(name), whole[:, int(name)].double())
        check("weights", rollout.columns(name), whole[:, :, int(name)].double())
    check("weights", rollout.rows(torch.tensor([2, -3])), whole[:, [2, -3]].double())
    assert rollout.rows([]).shape == (B, 0, T)
    with pytest.raises(IndexError, match=f"token {T} is out of range"):
        rollout.rows(T)


def test_it_says_what_it_is() -> None:
    built = matrices(layers(None, count=2))
    rollout = Rollout(built, heads=[1, 3], residual=0, renormalise=False, values=True)
    assert repr(rollout) == f"Rollout(2 layers, {B} × {T} tokens from {T} tokens, torch.float32)"
    for said in ("2 layers", "norms of the values", "heads 1, 3", "no identity", "not divided"):
        assert said in rollout.how
    assert "the mean of all heads" in Rollout(built, heads="mean").how
    assert "0.5 of the identity" in Rollout(built, heads=WEIGHTS).how


def test_all_tokens_are_refused_above_the_limit_with_the_size() -> None:
    rollout = Rollout(matrices(layers(None, count=1)), heads="mean")
    needed = B * T * T * 4
    with pytest.raises(TooLargeError, match=rf"takes {needed} bytes .* dense\(limit={needed}\)"):
        rollout.dense(limit=needed - 1)
    assert rollout.dense(limit=needed).shape == (B, T, T)


square, wide = random_case(shape=SQUARE).matrix(), random_case(shape=(B, H, G, T, 41, 7, 5)).matrix()
headless = AttentionMatrix(torch.ones(B, 0, T, 7), torch.ones(B, 0, T, 7))
bare = AttentionMatrix(torch.ones(B, H, T, 7), torch.ones(B, H, T, 7))


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda: Rollout([], heads="mean"), ArgumentTypeError, "one AttentionMatrix a layer"),
        (lambda: Rollout([torch.ones(2)], heads="mean"), ArgumentTypeError, "got Tensor"),
        (lambda: Rollout([square], heads="max"), InputError, 'must be "mean"'),
        (lambda: Rollout([square], heads=[H]), InputError, f"from 0 to {H - 1}"),
        (lambda: Rollout([square], heads=[]), InputError, "at least one"),
        (lambda: Rollout([square], heads=[1, 1]), InputError, "different numbers"),
        (lambda: Rollout([square], heads=[1.5]), ArgumentTypeError, "whole numbers of heads"),
        (
            lambda: Rollout([square], heads=0),
            ArgumentTypeError,
            "the numbers of heads, or their weights; got 0",
        ),
        (
            lambda: Rollout([square], heads=None),
            ArgumentTypeError,
            "the numbers of heads, or their weights; got None",
        ),
        (
            lambda: Rollout([square], heads="mean", residual="0.5"),
            ArgumentTypeError,
            "must be a number; got '0.5'",
        ),
        (lambda: Rollout([headless], heads="mean"), InputError, "layer 0 has none"),
        (
            lambda: Rollout([square], heads="mean").dense(limit=None),
            ArgumentTypeError,
            "whole number of bytes",
        ),
        (lambda: Rollout([square], heads=torch.ones(H + 1)), ShapeError, "a weight for each head"),
        (lambda: Rollout([square], heads=torch.zeros(H)), InputError, "must be above 0"),
        (lambda: Rollout([square], heads=-torch.ones(H)), InputError, "must not be negative"),
        (lambda: Rollout([square], heads="mean", residual=1.5), InputError, "from 0 to 1"),
        (lambda: Rollout([wide], heads="mean"), ShapeError, "as many queries as keys; layer 0"),
        (lambda: Rollout([square, wide], heads="mean", residual=0), ShapeError, "Layer 1 must look at"),
        (lambda: Rollout([bare], heads="mean", values=True), InputError, "layer 0 was made without"),
        (lambda: Rollout([square], heads="mean") @ torch.ones(T + 1), ShapeError, "v must have the shape"),
        (
            lambda: Rollout([square], heads="mean").T @ torch.ones(T).int(),
            ArgumentTypeError,
            "takes a float tensor",
        ),
        (lambda: Rollout([square], heads="mean").rows(1.5), ArgumentTypeError, "whole numbers"),
    ],
)
def test_what_does_not_fit_is_said(build: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        build()


# ---- mutants ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutant", ["order", "identity", "rows", "heads", "sides", "strips"])
def test_a_mutated_rollout_is_noticed(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = layers(masks.causal(offset=-3), sink=True)
    truth = expected(cases, WEIGHTS)
    compare(Rollout(matrices(cases), heads=WEIGHTS), truth)  # green as it is …
    rollout = Rollout(matrices(cases), heads=WEIGHTS)
    read, scales = rollout_layer._Strips.read, Layer.scales
    if mutant == "order":
        rollout._layers.reverse()
    elif mutant == "identity":
        rollout = Rollout(matrices(cases), heads=WEIGHTS, residual=0.45)
    elif mutant == "rows":
        monkeypatch.setattr(Layer, "scales", lambda self, sums: scales(self, torch.ones_like(sums)))
    elif mutant == "heads":
        rollout = Rollout(matrices(cases), heads=WEIGHTS.flip(0))
    elif mutant == "sides":
        monkeypatch.setattr(Layer, "down", Layer.up)
    elif mutant == "strips":
        monkeypatch.setattr(rollout_layer, "STRIP_ROWS", (8, 8))
        monkeypatch.setattr(
            rollout_layer._Strips, "read", lambda self, i0, i1, room: read(self, max(0, i0 - 1), i1, room)
        )
    with pytest.raises((AssertionError, RuntimeError, KeyError)):  # … and red as the mutant has it
        compare(rollout, truth)


@pytest.mark.parametrize("name", ["values", "renormalise"])
def test_what_is_neither_true_nor_false_is_refused(name: str) -> None:
    matrix = AttentionMatrix(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4))
    with pytest.raises(ArgumentTypeError, match=f"{name} must be True or False"):
        Rollout([matrix], heads="mean", **{name: torch.zeros(2)})  # type: ignore[arg-type]
