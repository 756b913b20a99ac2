"""AttentionMatrix as its user meets it: entries, products, what it says of itself, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError, TooLargeError
from limelight.matrix import AttentionMatrix, Downsample, Entropy, Received, Rollout, RowStats, biases, masks
from limelight.matrix.logits import Logits
from tests.examples import examples
from tests.oracle import MASKS, REDUCTIONS, B, D, G, H, M, N, X, dressed_case, random_case
from tests.tolerance import check

CASE = dressed_case(masks.causal())
TRUTH = CASE.truth().weights_BHNM


def indices(size: int) -> st.SearchStrategy[Any]:
    bound = st.none() | st.integers(-size - 2, size + 2)
    return st.integers(-size, size - 1) | st.builds(slice, bound, bound)


# ---- entries ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS)
def test_dense_is_the_truth(mask: str) -> None:
    case = random_case(MASKS[mask][0])
    check("weights", case.matrix().dense(), case.truth().weights_BHNM)


@examples(15)
@given(b=indices(B), h=indices(H), i=indices(N), j=indices(M), read_before=st.booleans())
def test_any_block_is_indexed_as_the_stored_matrix_is(
    b: Any, h: Any, i: Any, j: Any, read_before: bool
) -> None:
    matrix = CASE.matrix()
    if read_before:
        matrix.read(RowStats())
    check("weights", matrix[b, h, i, j], TRUTH[b, h, i, j])


def test_short_indices_and_ellipsis() -> None:
    matrix = CASE.matrix()
    check("weights", matrix[1], TRUTH[1])
    check("weights", matrix[..., 3], TRUTH[..., 3])
    check("weights", matrix[0, ..., 2:5], TRUTH[0, ..., 2:5])
    check("weights", matrix[1, 2, 3, 4], TRUTH[1, 2, 3, 4])


def test_numpy_takes_the_whole_matrix() -> None:
    matrix = CASE.matrix()
    assert numpy.array_equal(numpy.asarray(matrix), matrix.dense().numpy())
    assert numpy.asarray(matrix, dtype=numpy.float16).dtype == numpy.float16
    huge = AttentionMatrix(torch.zeros(1, 1, 2**15, 1), torch.zeros(1, 1, 2**15, 1))
    with pytest.raises(TooLargeError):
        numpy.asarray(huge)


def test_rows() -> None:
    matrix = CASE.matrix()
    check("weights", matrix.rows(7), TRUTH[:, :, 7])
    check("weights", matrix.rows(-1), TRUTH[:, :, -1])
    check("weights", matrix.rows([9, 2, 9]), TRUTH[:, :, [9, 2, 9]])
    check("weights", matrix.rows(torch.tensor([4])), TRUTH[:, :, [4]])
    check("weights", matrix.rows(numpy.int64(5)), TRUTH[:, :, 5])
    check("weights", matrix.rows(torch.tensor(6)), TRUTH[:, :, 6])
    check("weights", matrix.rows(numpy.array([3, 4])), TRUTH[:, :, [3, 4]])
    matrix.read(RowStats())
    check("weights", matrix.rows([9, 2, 9]), TRUTH[:, :, [9, 2, 9]])
    assert matrix.rows([]).shape == (B, H, 0, M)


@pytest.mark.parametrize("known", [False, True])
def test_the_keys_of_several_batches_are_opened_together_and_once(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = random_case(masks.lengths(key=[7, 3, 9, 1, 0]), shape=(5, 4, 2, 8, 9, 3, 2))
    matrix, truth = case.matrix(), case.truth().weights_BHNM
    if known:
        matrix.read(RowStats())
    opened = []
    honest = Logits.panel
    monkeypatch.setattr(Logits, "panel", lambda *given: opened.append(given[1:]) or honest(*given))
    check("weights", matrix.dense(), truth)
    check("weights", matrix.rows([5, 1, 2]), truth[:, :, [5, 1, 2]])
    check("weights", matrix[1:4, 2:, 3:5], truth[1:4, 2:, 3:5])
    assert opened == [(range(5), range(4))] * 2 + [(range(1, 4), range(2, 4))]
    check("weights", matrix[1:4, 1:3], truth[1:4, 1:3])  # heads of two key heads, neither of them whole
    assert opened[3:] == [(range(1, 4), range(1, 2)), (range(1, 4), range(2, 3))]


def test_dense_refuses_above_its_limit_and_says_the_size() -> None:
    matrix = AttentionMatrix(torch.ones(1, 2, 300_000, 1), torch.ones(1, 2, 300_000, 1))
    with pytest.raises(TooLargeError, match=f"takes {2 * 300_000**2 * 4} bytes"):
        matrix.dense()
    with pytest.raises(TooLargeError):
        matrix[0, 0]
    small = CASE.matrix()
    with pytest.raises(TooLargeError, match=rf"dense\(limit={TRUTH.numel() * 4}\)"):
        small.dense(limit=1_000)
    assert small.dense(limit=TRUTH.numel() * 4).shape == TRUTH.shape


# ---- the linear operator ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(B, G, M, X), (B, H, M, X), (B, 1, M, X), (1, 1, M, 2), (M, 3), (M, 0)])
def test_a_times_v(shape: tuple[int, ...]) -> None:
    v = torch.randn(shape)
    wide = v.double() if v.dim() == 2 else v.double().repeat_interleave(H // v.shape[1], dim=1)
    check("output", CASE.matrix() @ v, (TRUTH @ wide).expand(B, H, N, shape[-1]))


@pytest.mark.parametrize("shape", [(B, H, N, X), (B, 1, N, X), (1, 1, N, 2), (N, 3)])
def test_a_transposed_times_x(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    check("output", CASE.matrix().T @ x, TRUTH.transpose(-1, -2) @ x.double())


def test_products_with_a_vector() -> None:
    matrix, v, x = CASE.matrix(), torch.randn(M), torch.randn(N)
    check("output", matrix @ v, TRUTH @ v.double())
    check("output", matrix.T @ x, TRUTH.transpose(-1, -2) @ x.double())
    check("received", matrix.T @ torch.ones(N), matrix.read(Received()).raw.double())
    assert matrix.T.shape == (B, H, M, N)


# ---- what it is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "tiles"),
    [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float64, torch.float64)],
)
def test_entries_are_float32_and_float64_stays(dtype: torch.dtype, tiles: torch.dtype) -> None:
    case = random_case(masks.causal(), dtype)
    matrix = case.matrix()
    assert matrix.dtype == matrix.dense().dtype == matrix.read(Entropy()).dtype == tiles
    assert matrix.shape == (B, H, N, M)
    assert matrix.value is not None
    assert repr(matrix) == f"AttentionMatrix({B} × {H} heads, {N} queries × {M} keys, {tiles}, cpu)"


def test_inputs_are_referred_to_and_not_copied() -> None:
    case = random_case()
    matrix = case.matrix()
    case.query.zero_()
    check("weights", matrix.rows(0), torch.full((B, H, M), 1 / M, dtype=torch.float64))


def test_readings_carry_no_gradient() -> None:
    case = random_case()
    case.query.requires_grad_()
    matrix = case.matrix()
    for tensor in (matrix.dense(), matrix.read(Entropy()), matrix.rows(2)):  # only products carry one
        assert not tensor.requires_grad


def test_autocast_does_not_round_the_tiles() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        matrix = CASE.matrix()
        check("weights", matrix[1, 2], TRUTH[1, 2])
        check("output", matrix @ CASE.value, CASE.truth().output_BHND)
        check("received", matrix.read(Received()).raw, TRUTH.sum(2))


def test_nothing_is_made_where_torch_makes_tensors_by_default() -> None:
    reductions = [build(CASE) for build, _ in REDUCTIONS.values()]

    def read() -> tuple[Any, ...]:
        mask = masks.lengths(key=[M] * (B - 1) + [17], side="left") | masks.window(3)
        matrix = AttentionMatrix(CASE.query, CASE.key, CASE.value, mask=mask, bias=biases.alibi(H))
        return matrix.read(*reductions, Downsample(3, 50))

    usual = tensors_of(read())
    with torch.device("meta"):
        here = tensors_of(read())
    assert all(torch.equal(one, other) for one, other in zip(here, usual, strict=True))


def tensors_of(readings: tuple[Any, ...]) -> list[Tensor]:
    return [each for one in readings for each in ([one] if isinstance(one, Tensor) else one)]


def test_inference_mode_within_and_around() -> None:
    with torch.inference_mode():
        query = CASE.query.clone()
        matrix = replace(CASE, query=query).matrix()
        check("entropy", matrix.read(Entropy()), torch.special.entr(TRUTH).sum(-1))
    check("received", matrix.read(Received()).raw, TRUTH.sum(2))
    check("weights", matrix.rows(3), TRUTH[:, :, 3])


def test_transposed_storage_reads_the_same() -> None:
    """Hugging Face models keep (batch, tokens, heads, width) in memory."""
    case = random_case(masks.causal())
    turned = {
        name: getattr(case, name).transpose(1, 2).contiguous().transpose(1, 2) for name in ("query", "key")
    }
    assert not turned["key"].is_contiguous()
    check("weights", replace(case, **turned).matrix().dense(), case.truth().weights_BHNM)


def test_a_bias_may_be_a_function_of_the_place() -> None:
    slopes = 2.0 ** -torch.arange(1, H + 1)
    place = torch.arange(M)[None, :] - torch.arange(N)[:, None]
    case = replace(random_case(masks.causal()), bias=(slopes[:, None, None] * place)[None])
    by_function = AttentionMatrix(
        case.query, case.key, mask=case.mask, bias=lambda b, h, i, j: slopes[h] * (j - i)
    )
    check("weights", by_function.dense(), case.truth().weights_BHNM)
    check("entropy", by_function.read(Entropy()), torch.special.entr(case.truth().weights_BHNM).sum(-1))


def test_a_bool_tensor_is_taken_as_a_mask() -> None:
    table = torch.rand(N, M) > 0.5
    case = random_case(masks.dense(table))
    matrix = AttentionMatrix(case.query, case.key, mask=table)
    check("weights", matrix.dense(), case.truth().weights_BHNM)


def test_why_says_what_is_skipped_and_what_is_held() -> None:
    q = torch.ones(1, 2, 2_048, 1)
    whole, causal = AttentionMatrix(q, q).why(), AttentionMatrix(q, q, mask=masks.causal()).why()
    assert whole.computed == 1
    assert 0.5 < causal.computed < 0.6
    near = AttentionMatrix(q, q, mask=masks.window(64)).why()
    assert near.computed < 0.2
    assert causal.dense_bytes == 2 * 2_048**2 * 4
    assert causal.bytes < causal.dense_bytes
    assert "one pass" in str(causal)
    long = AttentionMatrix(torch.ones(1, 1, 100_000, 1), torch.ones(1, 1, 100_000, 1))
    assert long.why(loop="plain").passes == 2
    assert long.why(loop="plain").bytes < 2**24
    matrix = AttentionMatrix(q, q)
    matrix.read(RowStats())
    assert matrix.why().passes == 1


# ---- what it refuses ----------------------------------------------------------------------------------

q, k = torch.ones(B, H, N, D), torch.ones(B, G, M, D)


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda: AttentionMatrix(q[0], k), ShapeError, "query must have 4 axes"),
        (lambda: AttentionMatrix(q, k[..., 1:]), ShapeError, "must agree on D"),
        (
            lambda: AttentionMatrix(q[:, :5], k),
            ShapeError,
            "multiple of the key heads; got 5",
        ),
        (
            lambda: AttentionMatrix(q.int(), k),
            ArgumentTypeError,
            "query must be a float tensor; got torch.int32",
        ),
        (lambda: AttentionMatrix(q, k, k[:, :, 1:]), ShapeError, "value must have a row for every key"),
        (
            lambda: AttentionMatrix(q, k, mask=torch.zeros(N, M)),
            ArgumentTypeError,
            "additive mask of 0 and -inf",
        ),
        (lambda: AttentionMatrix(q, k, mask="causal"), ArgumentTypeError, "must be a bool tensor"),
        (lambda: AttentionMatrix(q, k, mask=masks.causal), ArgumentTypeError, "called: masks.causal()"),
        (lambda: AttentionMatrix(q, k, mask=torch.ones(B, M).int()), ArgumentTypeError, "mask.bool()"),
        (lambda: AttentionMatrix(q, k, bias=torch.zeros(N, 2)), ShapeError, "bias must broadcast"),
        (lambda: AttentionMatrix(q, k, bias=torch.ones(N, M).bool()), ArgumentTypeError, "as mask="),
        (lambda: AttentionMatrix(q, k, softcap=0.0), InputError, "softcap must be above 0"),
        (lambda: AttentionMatrix(q, k, softcap=torch.inf), InputError, "Leave it out for no cap"),
        (lambda: AttentionMatrix(q, k, softcap=torch.nan), InputError, "softcap must be finite"),
        (
            lambda: AttentionMatrix(q, k, softcap=torch.ones((), requires_grad=True)),
            InputError,
            "no gradient",
        ),
        (lambda: AttentionMatrix(q, k, scale=-torch.inf), InputError, "scale must be finite"),
        (lambda: AttentionMatrix(q, k, scale=torch.nan), InputError, "scale must be finite"),
        (lambda: AttentionMatrix(q, k, scale=torch.ones(H)), ArgumentTypeError, "scale must be a number"),
        (lambda: AttentionMatrix(q, k, scale="1"), ArgumentTypeError, "scale must be a number; got '1'"),
        (
            lambda: AttentionMatrix(q, k, scale=torch.ones((), requires_grad=True)),
            InputError,
            "scale.detach()",
        ),
        (lambda: AttentionMatrix(q, k, sink=torch.zeros(G)), ShapeError, "one score a query head"),
        (lambda: AttentionMatrix(q, k, sink=torch.full((H,), torch.inf)), InputError, "finite scores"),
        (lambda: AttentionMatrix(q, k, sink=torch.full((H,), torch.nan)), InputError, "finite scores"),
        (lambda: AttentionMatrix(q, k).read(), InputError, "got no reduction"),
        (lambda: AttentionMatrix(q, k).read(Entropy), ArgumentTypeError, "read() takes reductions"),
        (lambda: AttentionMatrix(q, k).why(Entropy), ArgumentTypeError, "why() takes reductions"),
        (lambda: AttentionMatrix(q, k).why("Entropy"), ArgumentTypeError, "why() takes reductions"),
        (lambda: AttentionMatrix(q, k).read({}), ArgumentTypeError, "read() takes reductions"),
        (
            lambda: AttentionMatrix(q, k).read(Entropy(), limit="1GB"),
            ArgumentTypeError,
            "bytes for its limit; got '1GB'",
        ),
        (lambda: AttentionMatrix(q, k).why(limit=0.5), ArgumentTypeError, "bytes for its limit; got 0.5"),
        (lambda: AttentionMatrix(q, k).dense(limit=None), ArgumentTypeError, "bytes for its limit; got None"),
        (lambda: AttentionMatrix(q, k)[0, 0, ::2], InputError, "step 1"),
        (lambda: AttentionMatrix(q, k)[0, 0, [1, 2]], ArgumentTypeError, "rows()"),
        (lambda: AttentionMatrix(q, k)[True], ArgumentTypeError, "takes a whole number or a slice; got True"),
        (lambda: AttentionMatrix(q, k)[0, 0, numpy.array([1, 2])], ArgumentTypeError, "rows()"),
        (lambda: AttentionMatrix(q, k).rows(1.5), ArgumentTypeError, "takes a whole number"),
        (
            lambda: AttentionMatrix(q, k).rows(torch.tensor([True, False])),
            ArgumentTypeError,
            "takes a whole number",
        ),
        (
            lambda: AttentionMatrix(q, k).rows(numpy.array([True, False])),
            ArgumentTypeError,
            "takes a whole number",
        ),
        (
            lambda: AttentionMatrix(q, k)[0, torch.tensor(True)],
            ArgumentTypeError,
            "takes a whole number or a slice",
        ),
        (
            lambda: Rollout([AttentionMatrix(q, q)], heads=torch.ones(H).bool()),
            ArgumentTypeError,
            "whole numbers",
        ),
        (lambda: AttentionMatrix(q, k)[0, 0, 0, 0, 0], InputError, "got 5 indices"),
        (lambda: AttentionMatrix(q, k)[0, H], IndexError, f"head {H} is out of range"),
        (lambda: AttentionMatrix(q, k) @ torch.ones(N), ShapeError, "v must have the shape"),
        (lambda: AttentionMatrix(q, k).T @ torch.ones(B, G, N, 1), ShapeError, "x must have the shape"),
        (lambda: AttentionMatrix(q, k) @ torch.ones(M).int(), ArgumentTypeError, "takes a float tensor"),
    ],
)
def test_what_does_not_fit_is_said(build: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says.replace("(", r"\(").replace(")", r"\)")):
        build()


def test_iterating_gives_one_batch_after_the_other() -> None:
    found: list[Tensor] = list(CASE.matrix())
    assert len(found) == B
    check("weights", found[1], TRUTH[1])


# ---- what may change under it -------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["query", "key", "bias", "sink"])
@pytest.mark.parametrize("loop", ["plain", None])
def test_what_was_found_is_found_anew_once_an_input_was_written_into(written: str, loop: str | None) -> None:
    """A cache of keys and values is written into, step after step."""
    case = dressed_case(masks.causal())
    matrix = case.matrix()
    matrix.read(Entropy(), loop=loop)
    getattr(case, written).mul_(3)
    truth = replace(case).truth().weights_BHNM
    check("received", matrix.read(Received(), loop=loop).raw, truth.sum(2))
    check("weights", matrix.dense(), truth)


@pytest.mark.parametrize("written", ["query", "key", "sink"])
def test_what_was_made_in_inference_mode_is_found_anew_by_every_reading(written: str) -> None:
    """torch counts no writing there. Further passes of one reading go on with the stats that its first has found."""
    with torch.inference_mode():
        case = dressed_case(masks.causal())
        matrix = case.matrix()
        matrix.read(Entropy())
        getattr(case, written).mul_(3)
        truth = replace(case).truth().weights_BHNM
        check("weights", matrix.dense(), truth)
        check("received", matrix.read(Received()).raw, truth.sum(2))
        REDUCTIONS["RowStats"][1](matrix.read(RowStats()), replace(case))
        REDUCTIONS["Quantiles"][1](matrix.read(REDUCTIONS["Quantiles"][0](case)), replace(case))


@pytest.mark.parametrize("loop", ["plain", None])
def test_a_mask_or_a_modified_bias_that_was_written_into_is_read_anew(loop: str | None) -> None:
    query, key = torch.randn(2, 1, 2, N, 5).unbind()
    seen, bias = torch.ones(N, N).tril().bool(), torch.randn(N, N)

    def double(score: Tensor, b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return 2 * score

    mask = masks.dense(seen) & ~masks.window(1)
    matrix = AttentionMatrix(query, key, mask=mask | masks.causal(), bias=bias, score_mod=double)
    other = AttentionMatrix(query, key, mask=mask)
    for one in (matrix, other):
        one.read(Entropy(), loop=loop)
    seen[2:, 0] = False
    bias.mul_(3)
    for one, again in (
        (matrix, AttentionMatrix(query, key, mask=mask | masks.causal(), bias=bias, score_mod=double)),
        (other, AttentionMatrix(query, key, mask=mask)),
    ):
        check("weights", one.dense(), again.dense())
        check("entropy", one.read(Entropy(), loop=loop), again.read(Entropy(), loop=loop))


def test_lengths_and_documents_are_as_they_were_given() -> None:
    lengths, documents = torch.tensor([3, 4]), torch.tensor([0, 0, 1, 1])
    mask = masks.lengths(key=lengths) & masks.documents(documents)
    before = mask.dense(4, 4).clone()
    lengths.fill_(1)
    documents.fill_(0)
    assert torch.equal(mask.dense(4, 4), before)


def test_several_rows_are_refused_above_the_limit_and_neighbours_come_as_one_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrix = CASE.matrix()
    asked = [4, 5, 6, 2, 2, N - 1]
    check("weights", matrix.rows(asked), CASE.truth().weights_BHNM[:, :, asked])
    needed = 4 * B * H * len(asked) * M
    monkeypatch.setattr("limelight.matrix.matrix.DENSE_LIMIT", needed - 1)
    with pytest.raises(TooLargeError, match=f"takes {needed} bytes") as error:
        matrix.rows(asked)
    assert "dense(limit" not in str(error.value)  # which would be refused as well
    assert matrix.rows(asked[1:]).shape == (B, H, len(asked) - 1, M)
    with pytest.raises(TooLargeError, match=rf"dense\(limit={4 * B * H * N * M}\)"):
        matrix.dense(limit=100)


@pytest.mark.parametrize("key_heads", [1, 2, 6])
def test_how_many_heads_the_keys_have_is_told(key_heads: int) -> None:
    matrix = AttentionMatrix(torch.randn(2, 6, 3, 5), torch.randn(2, key_heads, 7, 5))
    assert matrix.key_heads == key_heads and matrix.shape == (2, 6, 3, 7)
