"""LazyAttentionTensor: a tensor to whoever takes one, computed only where it is looked at."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from limelight.capture.lazy.tensor import LazyAttentionTensor
from limelight.errors import InputError, TooLargeError
from limelight.matrix import AttentionMatrix, masks

B, H, N, M, D = 2, 6, 5, 7, 3
CLOSE = 1e-6


@pytest.fixture
def pair() -> tuple[LazyAttentionTensor, Tensor]:
    """The same weights, computed on demand and stored."""
    query, key = 2 * torch.randn(B, H, N, D), 2 * torch.randn(B, H // 2, M, D)
    matrix = AttentionMatrix(query, key, mask=masks.causal())
    return LazyAttentionTensor(matrix), matrix.dense()


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, Tensor):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, atol=CLOSE, rtol=0)
    else:
        np.testing.assert_allclose(found, expected, atol=CLOSE)


# ── Indexing ──

INDICES = (
    *(0, -1, (1, 5), (slice(None), 2), (..., 3), (0, ..., slice(1, 3)), (0, 1, 2, 3), slice(0, 1), ()),
    *(
        (None, 0),
        (0, [1, 3]),
        (slice(None), torch.tensor([0, 2])),
        (0, [0, 1], 2, [3, 4]),
        slice(None, None, 2),
    ),
    *(
        (slice(None), [1, 2], None, 3),
        np.int64(1),
        torch.tensor(1),
        (0, torch.tensor([True, False] * 3)),
        ...,
    ),
    *((0, 1, slice(2, 2)), (slice(-3, None), slice(4)), (0, 0, [[0], [1]], [[2, 3]])),
)


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_every_index_that_a_tensor_takes(index: Any, pair: tuple[LazyAttentionTensor, Tensor]) -> None:
    lazy, stored = pair
    same(lazy[index], stored[index])


def test_a_mask_is_an_index(pair: tuple[LazyAttentionTensor, Tensor]) -> None:
    lazy, stored = pair
    same(lazy[lazy > 0.2], stored[stored > 0.2])
    assert 0 < int((lazy > 0.2).sum()) < lazy.numel()


@pytest.mark.parametrize("index", [2, -3, (0, 6), (0, 0, 0, 0, 0), (0, 0, 0, 7)])
def test_a_place_that_is_not_there_is_an_index_error(
    index: Any, pair: tuple[LazyAttentionTensor, Tensor]
) -> None:
    with pytest.raises(IndexError):
        pair[1][index]
    with pytest.raises(IndexError):
        pair[0][index]


def test_only_what_is_asked_for_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    long = 30_011  # stored, 3.6 GB a head
    lazy = LazyAttentionTensor(
        AttentionMatrix(torch.randn(1, 2, long, D), torch.randn(1, 2, long, D), mask=masks.causal())
    )
    assert lazy[0, 1, 20_000:20_003].shape == (3, long)
    assert lazy.shape == (1, 2, long, long)
    with pytest.raises(TooLargeError, match="Ask for a smaller block"):
        lazy.mean()


# ── What a tensor can do ──

OPERATIONS = {
    "stack": lambda x: torch.stack([x, x]),
    "cat": lambda x: torch.cat((x, x), 1),
    "einsum": lambda x: torch.einsum("bhnm,bhnm->bh", x, x),
    "mean over heads": lambda x: x.mean(1),
    "squeeze": lambda x: x[:1].squeeze(0),
    "permute": lambda x: x.permute(1, 0, 2, 3),
    "add": lambda x: x + 1,
    "subtract from": lambda x: 1 - x,
    "multiply": lambda x: x * x,
    "divide": lambda x: x / 3,
    "negate": lambda x: -x,
    "power": lambda x: x**2,
    "matrix product": lambda x: x @ torch.ones(M),
    "matrix product from the left": lambda x: torch.ones(N) @ x,
    "above": lambda x: x > 0.1,
    "equal": lambda x: x == x,
    "softmax": lambda x: torch.nn.functional.softmax(x, -1),
    "log": lambda x: torch.log(x + 1),
    "half": lambda x: x.to(torch.float16),
    "double": lambda x: x.double(),
    "clone": lambda x: x.clone(),
    "numpy": lambda x: x.detach().cpu().numpy(),
    "asarray": np.asarray,
    "tolist": lambda x: x.tolist(),
    "item": lambda x: x[0, 0, 0, 0].item(),
    "deep copy": lambda x: copy.deepcopy(x),
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),  # noqa: S301
    "topk": lambda x: x.topk(2).values,
    "zeros like": torch.zeros_like,
    "where": lambda x: torch.where(x > 0.1, x, 0.0),
    "unbind": lambda x: x.unbind(1)[3],
    "iterate": lambda x: list(x)[1],
    "sum of a list": lambda x: sum([x, x]),
    "out": lambda x: torch.add(x, 1, out=torch.empty(B, H, N, M)),
    "in place on another": lambda x: torch.ones(B, H, N, M).mul_(x),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_works_on_the_stored_weights_works_here(
    name: str, pair: tuple[LazyAttentionTensor, Tensor]
) -> None:
    lazy, stored = pair
    same(OPERATIONS[name](lazy), OPERATIONS[name](stored))


def test_torch_save_gives_the_weights(pair: tuple[LazyAttentionTensor, Tensor]) -> None:
    file = io.BytesIO()
    torch.save([pair[0]], file)
    file.seek(0)
    same(torch.load(file)[0], pair[1])


def test_what_is_told_without_computing(
    pair: tuple[LazyAttentionTensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    lazy, stored = pair
    monkeypatch.setattr(AttentionMatrix, "dense", pytest.fail)
    monkeypatch.setattr(AttentionMatrix, "__getitem__", pytest.fail)
    for name in (
        "shape",
        "dtype",
        "device",
        "ndim",
        "requires_grad",
        "is_cuda",
        "itemsize",
        "nbytes",
        "layout",
    ):
        assert getattr(lazy, name) == getattr(stored, name), name
    assert (len(lazy), lazy.dim(), lazy.numel(), lazy.size(1)) == (B, 4, B * H * N * M, H)
    assert lazy.is_floating_point() and torch.is_tensor(lazy)
    for kept in (
        lazy.detach(),
        lazy.cpu(),
        lazy.float(),
        lazy.to("cpu"),
        lazy.to(torch.float32),
        lazy.contiguous(),
    ):
        assert kept is lazy
    assert (
        repr(lazy) == f"{lazy}" == "LazyAttentionTensor(2 × 6 heads, 5 queries × 7 keys, torch.float32, cpu)"
    )


def test_it_is_a_tensor_and_says_what_it_is(pair: tuple[LazyAttentionTensor, Tensor]) -> None:
    lazy, stored = pair
    assert isinstance(lazy, Tensor) and isinstance(lazy, LazyAttentionTensor)
    assert not isinstance(stored, LazyAttentionTensor)
    assert lazy.matrix.shape == (B, H, N, M)


def test_entries_have_the_dtype_of_the_model() -> None:
    matrix = AttentionMatrix(torch.randn(1, 2, N, D), torch.randn(1, 2, M, D))
    lazy = LazyAttentionTensor(matrix, torch.bfloat16)
    assert lazy.dtype == lazy[0].dtype == (lazy + 1).dtype == torch.bfloat16
    same(lazy.float(), matrix.dense().bfloat16().float())


# ── Writing ──


def test_adding_to_a_name_gives_it_a_new_tensor(pair: tuple[LazyAttentionTensor, Tensor]) -> None:
    total, stored = pair
    total += pair[0]
    total *= 2
    same(total, 4 * stored)
    same(pair[0].clone(), stored)


@pytest.mark.parametrize(
    "write", [lambda x: x.mul_(2), lambda x: x.zero_(), lambda x: x.__setitem__(0, 1.0), lambda x: x.copy_(x)]
)
def test_writing_into_it_is_refused(write: Any, pair: tuple[LazyAttentionTensor, Tensor]) -> None:
    with pytest.raises(InputError, match=r"attention = attention\.clone\(\)"):
        write(pair[0])


@pytest.mark.parametrize(
    "rows", [[5, 900], [-1, 3, 3], slice(2, None, 400), torch.tensor([[7], [8]]), np.array([6]), []], ids=str
)
def test_rows_here_and_there_are_computed_alone(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = AttentionMatrix(torch.randn(1, H, 1009, D), torch.randn(1, H, 1009, D), mask=masks.causal())
    expected = matrix.dense()
    asked: list[int] = []
    block = AttentionMatrix.__getitem__

    def counted(matrix: AttentionMatrix, index: Any) -> Tensor:
        found = block(matrix, index)
        asked.append(found.shape[2])
        return found

    monkeypatch.setattr(AttentionMatrix, "__getitem__", counted)
    same(LazyAttentionTensor(matrix)[0, 1, rows], expected[0, 1, rows])
    same(LazyAttentionTensor(matrix)[0, [1, 2], ..., :4][..., :2], expected[0, [1, 2], ..., :4][..., :2])
    assert sum(asked[:-1]) <= 4
