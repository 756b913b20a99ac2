"""A text in a padded batch reads as it does alone; queries can be left out of a matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.matrix import AttentionMatrix, Received, RowStats, biases, masks, select_queries
from limelight.readings import Groups, received_words
from limelight.readings.atlas import MEASURES, atlas
from limelight.readings.documents import attention_to_units
from limelight.text.segments import Segments

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
        np.testing.assert_allclose(found[name].values, expected[name].values, atol=1e-5, err_msg=name)
    groups = Groups.tokens([str(token) for token in range(T)])
    words = received_words(batch, groups, batch=1, queries=seen)
    expected_words = received_words(alone, Groups.tokens(groups.names[here]))
    for name in ("raw", "per_query"):
        values, truth = getattr(words, name).values, getattr(expected_words, name).values
        np.testing.assert_allclose(values[:, here], truth, atol=1e-5)
        assert values.sum() == pytest.approx(truth.sum(), rel=1e-5)


@pytest.mark.parametrize("least", [False, True], ids=["mask", "least number"])
@pytest.mark.parametrize("window", [None, 3])
def test_padding_anywhere_changes_nothing(least: bool, window: int | None) -> None:
    """On the left, in the middle and on the right, told by a mask, or by adding the least number as eager models do:
    there a query that may look at nothing spreads over everything."""
    inside = torch.zeros(T, dtype=torch.bool)
    inside[[3, 4, 5, 6, 9, 10, 11, 13, 14, 17, 18]] = True
    query, key = torch.randn(1, H, T, D), torch.randn(1, G, T, D)
    seen = inside & torch.ones(T, T, dtype=torch.bool).tril()
    places = inside.cumsum(0)
    if window is not None:
        seen &= places[:, None] - places < window
    seen &= inside[:, None]  # padding looks at nothing
    bias = torch.zeros(1, 1, T, T).masked_fill(~seen, torch.finfo(torch.float32).min) if least else None
    whole = AttentionMatrix(query, key, mask=None if least else seen, bias=bias)
    short = seen[inside][:, inside]
    alone = AttentionMatrix(query[:, :, inside], key[:, :, inside], mask=short)
    ids = torch.randint(0, 4, (T,))  # padding has the number of a token that the text holds, too
    found, expected = atlas(whole, ids), atlas(alone, ids[inside])
    for name in MEASURES:
        np.testing.assert_allclose(found[name].values, expected[name].values, atol=1e-5, err_msg=name)
    assert "first token that is no padding" in found["sink"].how
    groups = Groups.tokens([str(token) for token in range(T)])
    received = received_words(whole, groups)
    truth = received_words(alone, Groups.tokens(groups.names[: int(inside.sum())]))
    for name in ("raw", "per_query"):
        values = getattr(received, name).values[:, inside]
        np.testing.assert_allclose(values, getattr(truth, name).values, atol=2e-5, err_msg=name)
    # Where the mask does not tell what padding is, whoever asks does.
    untold = AttentionMatrix(query, key, mask=seen | ~inside[:, None])
    assert not np.allclose(atlas(untold, ids)["entropy"].values, expected["entropy"].values, atol=1e-2)
    told = atlas(untold, ids, queries=inside)
    for name in MEASURES:
        np.testing.assert_allclose(told[name].values, expected[name].values, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("causal", [False, True])
def test_texts_in_one_row_each_have_a_first_token(causal: bool) -> None:
    lengths = (5, 7, 11)
    documents = torch.arange(3).repeat_interleave(torch.tensor(lengths))
    query, key = torch.randn(1, H, T, D), torch.randn(1, G, T, D)
    mask = masks.documents(documents, documents) & (masks.causal() if causal else masks.everything())
    ids = torch.randint(0, 3, (T,))
    packed = atlas(AttentionMatrix(query, key, mask=mask), ids)
    rows = {name: np.zeros((1, H)) for name in ("entropy", "distance", "sink", "previous token")}
    for number, length in enumerate(lengths):
        here = documents == number
        alone = AttentionMatrix(
            query[:, :, here], key[:, :, here], mask=masks.causal() if causal else masks.everything()
        )
        for name, total in rows.items():
            total += length * atlas(alone, ids[here])[name].values
    for name, total in rows.items():
        np.testing.assert_allclose(packed[name].values, total / T, atol=1e-5, err_msg=name)
    assert "each part of the row" in packed["sink"].how


def test_the_first_token_of_a_padded_text_is_left_out_of_documents() -> None:
    inside = torch.arange(T) >= T - REAL
    query, key = torch.randn(1, H, T, D), torch.randn(1, G, T, D)
    padded = AttentionMatrix(query, key, mask=masks.causal() & masks.dense(inside[None, None, None]))
    alone = AttentionMatrix(query[:, :, inside], key[:, :, inside], mask=masks.causal())
    words = " ".join("abcdefghijk")
    spans = [(2 * number, 2 * number + 1) for number in range(REAL)]
    short = Segments.from_spans(words, spans)
    long = Segments.from_spans(words, [(0, 0)] * (T - REAL) + spans)
    found = attention_to_units(padded, long, [-1], sink_free=True)
    expected = attention_to_units(alone, short, [-1], sink_free=True)
    np.testing.assert_allclose(found.words.values, expected.words.values, atol=1e-6)
    assert found.words.values[0] == 0


def test_ids_and_sinks_that_do_not_go_with_the_text() -> None:
    inside = torch.arange(T) >= T - REAL
    query, key = torch.randn(2, H, T, D), torch.randn(2, G, T, D)
    matrix = AttentionMatrix(query, key, mask=masks.causal() & masks.dense(inside[None, None, None]))
    ids = torch.randint(0, 9, (2, T))
    for batch in range(2):
        one, of_two = (atlas(matrix, given, batch=batch) for given in (ids[batch], ids))
        assert one["induction"].to_json() == of_two["induction"].to_json()
    with pytest.raises(InputError, match="place 0 is padding in text 1. Leave sinks out"):
        atlas(matrix, ids, sinks=(0,), batch=1)
    with pytest.raises(ShapeError, match=r"the last token was never read by the model: .* out\[:, :-1\]"):
        atlas(matrix, torch.randint(0, 9, (2, T + 1)))
    with pytest.raises(ArgumentTypeError, match=r"queries=mask.bool\(\)"):
        atlas(matrix, ids, queries=torch.ones(2, T))
    with pytest.raises(ArgumentTypeError, match="ids must be whole numbers"):
        atlas(matrix, "abc")  # type: ignore[arg-type]


@pytest.mark.parametrize("each", [False, True])
def test_only_the_chosen_queries_look(each: bool) -> None:
    chosen = torch.rand(2, T) < 0.5 if each else torch.rand(T) < 0.5
    given = {"mask": masks.causal(), "bias": biases.alibi(H), "softcap": 3.0, "sink": torch.randn(H)}
    matrix = AttentionMatrix(
        torch.randn(2, H, T, D), torch.randn(2, G, T, D), torch.randn(2, G, T, 3), **given
    )
    some = select_queries(matrix, chosen)
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
    (select_queries(AttentionMatrix(query, key, bias=bias), chosen) @ value).square().sum().backward()
    found = [each.grad.clone() for each in (query, key, bias)]
    weights = (query @ key.mT / D**0.5 + bias).softmax(-1) * chosen[:, None]
    expected = torch.autograd.grad((weights @ value).square().sum(), (query, key, bias))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-6)


def test_each_query_must_be_spoken_of() -> None:
    matrix = AttentionMatrix(torch.randn(2, H, T, D), torch.randn(2, G, T, D))
    for wrong in (torch.ones(T + 1, dtype=torch.bool), torch.ones(1, 1, T, dtype=torch.bool)):
        with pytest.raises(ShapeError, match="whether it looks"):
            select_queries(matrix, wrong)
    for other in (torch.ones(T), [True] * T):
        with pytest.raises(ArgumentTypeError, match="must be a bool tensor"):
            select_queries(matrix, other)  # type: ignore[arg-type]
