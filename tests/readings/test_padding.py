"""A text in a padded batch reads as it does alone; queries can be left out of a matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limelight.errors import KindError, ShapeError
from limelight.matrix import AttentionMatrix, Received, RowStats, biases, masks, only_queries
from limelight.readings import Groups, received_words
from limelight.readings.atlas import MEASURES, atlas

H, G, T, D = 4, 2, 23, 7
REAL = 11


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("causal", [False, True])
def test_padding_changes_nothing(side: str, causal: bool) -> None:
    query, key = torch.randn(2, H, T, D), torch.randn(2, G, T, D)
    here = slice(0, REAL) if side == "right" else slice(T - REAL, T)
    seen = torch.ones(2, T, dtype=torch.bool)
    seen[1] = False
    seen[1, here] = True
    every = masks.causal() if causal else masks.everything()
    batch = AttentionMatrix(query, key, mask=every & masks.dense(seen[:, None, None, :]))
    alone = AttentionMatrix(query[1:, :, here], key[1:, :, here], mask=every)
    ids = torch.full((T,), 9)  # the number of padding, which is no text's
    ids[here] = torch.randint(0, 5, (REAL,))
    found, expected = atlas([batch], ids, batch=1), atlas([alone], ids[here])
    for name in MEASURES:
        if name == "sink" and side == "left":  # the sink is the first token of the batch
            continue
        np.testing.assert_allclose(found[name].values, expected[name].values, atol=1e-5, err_msg=name)
    groups = Groups.tokens([str(token) for token in range(T)])
    words = received_words(batch, groups, batch=1, queries=seen)
    expected_words = received_words(alone, Groups.tokens(groups.names[here]))
    for name in ("raw", "per_query"):
        values, truth = getattr(words, name).values, getattr(expected_words, name).values
        np.testing.assert_allclose(values[:, here], truth, atol=1e-5)
        assert values.sum() == pytest.approx(truth.sum(), rel=1e-5)


@pytest.mark.parametrize("each", [False, True])
def test_only_the_chosen_queries_look(each: bool) -> None:
    chosen = torch.rand(2, T) < 0.5 if each else torch.rand(T) < 0.5
    given = {"mask": masks.causal(), "bias": biases.alibi(H), "softcap": 3.0, "sink": torch.randn(H)}
    matrix = AttentionMatrix(
        torch.randn(2, H, T, D), torch.randn(2, G, T, D), torch.randn(2, G, T, 3), **given
    )
    some = only_queries(matrix, chosen)
    rows = chosen.expand(2, T)[:, None, :, None]
    torch.testing.assert_close(some.dense(), matrix.dense() * rows, atol=1e-6, rtol=0)
    stats, received = some.read(RowStats(), Received())
    assert torch.equal(stats.empty[:, 0], ~chosen.expand(2, T))
    torch.testing.assert_close(received.raw, (matrix.dense() * rows).sum(2), atol=1e-5, rtol=0)
    assert some.value is not None


def test_without_a_word_on_queries_all_of_them_count() -> None:
    seen = torch.arange(T) < REAL  # of a cross-attention with as many queries as keys
    cross = AttentionMatrix(torch.randn(1, H, T, D), torch.randn(1, G, T, D), mask=masks.lengths(key=[REAL]))
    words = received_words(cross, Groups.tokens([str(token) for token in range(T)]))
    assert words.raw.values.sum(1) == pytest.approx([T] * H, rel=1e-5)
    assert not words.raw.values[:, ~seen.numpy()].any()


def test_gradients_flow_to_what_was_given() -> None:
    query, key = (torch.randn(1, H, T, D, dtype=torch.float64, requires_grad=True) for _ in range(2))
    bias = torch.randn(1, H, T, T, dtype=torch.float64, requires_grad=True)
    value, chosen = torch.randn(1, H, T, 3, dtype=torch.float64), torch.arange(T) % 2 == 0
    (only_queries(AttentionMatrix(query, key, bias=bias), chosen) @ value).square().sum().backward()
    found = [each.grad.clone() for each in (query, key, bias)]
    weights = (query @ key.mT / D**0.5 + bias).softmax(-1) * chosen[:, None]
    expected = torch.autograd.grad((weights @ value).square().sum(), (query, key, bias))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-6)


def test_each_query_must_be_spoken_of() -> None:
    matrix = AttentionMatrix(torch.randn(2, H, T, D), torch.randn(2, G, T, D))
    for wrong in (torch.ones(T + 1, dtype=torch.bool), torch.ones(1, 1, T, dtype=torch.bool)):
        with pytest.raises(ShapeError, match="whether it looks"):
            only_queries(matrix, wrong)
    for other in (torch.ones(T), [True] * T):
        with pytest.raises(KindError, match="must be a bool tensor"):
            only_queries(matrix, other)  # type: ignore[arg-type]
