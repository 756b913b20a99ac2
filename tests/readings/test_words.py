"""Every number of the measures is that of the dense float64 truth."""

from __future__ import annotations

import pytest
import torch

from limelight.errors import InputError, ShapeError
from limelight.matrix import AttentionMatrix, Mask, masks
from limelight.readings import Groups, average_heads, received_words, word_attention
from tests.readings.cases import SOURCE, TARGET, B, H, L, M, N, pool_by_hand, random_layers
from tests.tolerance import check

MASKS: list[Mask | None] = [None, masks.causal(offset=-2), masks.lengths(key=[M, 11])]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("batch", range(B))
def test_words_attend_as_the_truth_says(mask: Mask | None, batch: int) -> None:
    layers = random_layers(mask)
    reading = word_attention(layers.matrices, TARGET, SOURCE, batch=batch)
    truth = layers.truth_LBHNM[:, batch].flatten(0, 1)
    expected = torch.stack([pool_by_hand(head, TARGET, SOURCE)[:, :-1] for head in truth])
    check("pooled", torch.tensor(reading.values), expected)
    assert reading.axes == ("head", "query word", "key word")
    assert reading.labels[1:] == (TARGET.names, SOURCE.names)
    assert reading.labels[0][H] == "layer 1 head 0"
    assert reading.unit == "probability"


def test_heads_come_in_the_order_asked_and_only_they() -> None:
    layers = random_layers()
    heads = [(2, 3), (0, 1), (2, 0)]
    chosen = word_attention(layers.matrices, TARGET, SOURCE, heads)
    every = word_attention(layers.matrices, TARGET, SOURCE)
    assert chosen.heads == tuple(heads)
    for place, (layer, head) in enumerate(heads):
        assert (chosen.values[place] == every.values[layer * H + head]).all()


def test_layers_can_be_named() -> None:
    layers = random_layers()
    named = word_attention({7: layers.matrices[1]}, TARGET, SOURCE, [(7, 2)])
    assert named.labels[0] == ("layer 7 head 2",)
    alone = word_attention(layers.matrices[1], TARGET, SOURCE, [(0, 2)])
    assert (named.values == alone.values).all()


def test_the_mean_over_heads_says_so() -> None:
    layers = random_layers()
    heads = [(0, 1), (2, 4)]
    reading = word_attention(layers.matrices, TARGET, SOURCE, heads)
    mean = average_heads(reading)
    truth = [
        pool_by_hand(layers.truth_LBHNM[layer, 0, head], TARGET, SOURCE)[:, :-1] for layer, head in heads
    ]
    check("pooled", torch.tensor(mean.values), torch.stack(truth).mean(0))
    assert mean.axes == reading.axes[1:]
    assert mean.heads == tuple(heads)
    assert "Mean of layer 0 head 1; layer 2 head 4, each with equal weight." in mean.how


@pytest.mark.parametrize("mask", MASKS)
def test_words_receive_what_the_truth_says(mask: Mask | None) -> None:
    layers = random_layers(mask)
    received = received_words(layers.matrices, SOURCE, batch=1)
    truth_HNM = layers.truth_LBHNM[:, 1].flatten(0, 1)
    seen = torch.ones(N, M, dtype=torch.bool) if mask is None else mask.fit(B, H, N, M).dense(N, M)[-1, 0]
    raw = torch.zeros(L * H, len(SOURCE) + 1, dtype=torch.float64)
    each = torch.zeros_like(raw)
    for j, number in enumerate(SOURCE.index):
        raw[:, number] += truth_HNM[..., j].sum(-1)  # number −1 is the last column
        each[:, number] += truth_HNM[..., j].sum(-1) / max(int(seen[:, j].sum()), 1)
    check("received", torch.tensor(received.raw.values), raw[:, :-1])
    check("received", torch.tensor(received.per_query.values), each[:, :-1])
    check("received", torch.tensor(received.elsewhere.values), raw[:, -1])
    assert received.raw.axes == ("head", "word")
    assert received.raw.unit == "tokens"
    assert received.per_query.unit == "probability"


def test_float64_stays_float64() -> None:
    wide = AttentionMatrix(torch.randn(1, 1, N, 3).double(), torch.randn(1, 1, M, 3).double())
    assert word_attention(wide, TARGET, SOURCE).values.dtype == "float64"


def test_a_long_text_is_read_without_the_matrix() -> None:
    # The dense matrix would take 2·10⁸ bytes a head and is refused above that; reductions hold words × words.
    n, words = 7_001, 11
    query = torch.randn(1, 1, n, 2)
    groups = Groups(tuple("abcdefghijk"), tuple(i * words // n for i in range(n)))
    reading = word_attention(AttentionMatrix(query, query), groups, groups)
    assert reading.values.shape == (1, words, words)
    assert abs(reading.values.sum(-1) - 1).max() < 1e-5


def test_nothing_to_read() -> None:
    empty = Groups((), ())
    reading = word_attention(AttentionMatrix(torch.ones(1, 2, 0, 3), torch.ones(1, 2, 0, 3)), empty, empty)
    assert reading.values.shape == (2, 0, 0)
    none = word_attention(random_layers().matrices, TARGET, SOURCE, heads=[])
    assert none.values.shape == (0, len(TARGET), len(SOURCE))
    with pytest.raises(InputError, match="at least one head"):
        average_heads(none)


def test_what_does_not_fit_is_refused() -> None:
    matrices = random_layers().matrices
    with pytest.raises(InputError, match="no layer 3 head 0"):
        word_attention(matrices, TARGET, SOURCE, [(3, 0)])
    with pytest.raises(ShapeError, match=f"13 numbers for {M} keys"):
        word_attention(matrices, TARGET, TARGET)
    with pytest.raises(ShapeError, match=f"17 numbers for {N} queries"):
        word_attention(matrices, SOURCE, SOURCE)
    with pytest.raises(ShapeError, match="one of the 2 texts"):
        word_attention(matrices, TARGET, SOURCE, batch=2)
