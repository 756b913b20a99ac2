"""Rollout between words, against the stored product pooled by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limelight.errors import InputError, ShapeError
from limelight.matrix import Rollout, masks
from limelight.readings import rollout as module, word_rollout
from tests.readings.cases import SOURCE, TARGET, B, H, Layers, M, pool_by_hand, random_layers


def stored(layers: Layers, heads: list[int], batch: int) -> torch.Tensor:
    product = torch.eye(M, dtype=torch.float64)
    for weights_BHNM in layers.truth_LBHNM:
        product = (
            0.5 * weights_BHNM[batch, heads].mean(0) + 0.5 * torch.eye(M, dtype=torch.float64)
        ) @ product
    return product


@pytest.mark.parametrize("together", [2, 256])
@pytest.mark.parametrize("batch", range(B))
def test_words_hold_what_their_tokens_hold(
    batch: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER", together)
    layers = random_layers(masks.causal(), shape=(B, H, M, M))
    reading = word_rollout(Rollout(layers.matrices, heads=[3, 0]), SOURCE, SOURCE, batch)
    expected = pool_by_hand(stored(layers, [0, 3], batch), SOURCE, SOURCE)[:, :-1]
    np.testing.assert_allclose(reading.values, expected.numpy(), atol=1e-6)
    assert reading.axes == ("query word", "key word")
    assert reading.labels == (SOURCE.names, SOURCE.names)
    assert reading.unit == "probability"
    assert reading.heads == ((0, 0), (0, 3), (1, 0), (1, 3), (2, 0), (2, 3))
    assert "through 3 layers" in reading.how
    assert "averaged over the query tokens of a word" in reading.how


def test_another_text_of_the_batch_is_noticed() -> None:
    layers = random_layers(shape=(B, H, M, M))
    reading = word_rollout(Rollout(layers.matrices, heads="mean"), SOURCE, SOURCE, 0)
    wrong = pool_by_hand(stored(layers, list(range(H)), 1), SOURCE, SOURCE)[:, :-1]
    assert np.abs(reading.values - wrong.numpy()).max() > 1e-3


def test_what_does_not_fit_is_said() -> None:
    rollout = Rollout(random_layers(shape=(B, H, M, M)).matrices, heads="mean")
    with pytest.raises(InputError, match=f"batch must be from 0 to {B - 1}"):
        word_rollout(rollout, SOURCE, SOURCE, B)
    with pytest.raises(ShapeError, match="must number every token"):
        word_rollout(rollout, TARGET, SOURCE)
