"""What few or many looking rows look at, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limelight.errors import InputError
from limelight.matrix import masks
from limelight.readings.documents import MANY, looked_at
from limelight.text.segments import Segments
from tests.readings.cases import random_layers

T, H = 41, 3
CLOSE = 2e-6
TEXT = Segments.of(
    ["a b c d e f g h i j", "k l m n. o p q", "r s t u."], lambda text: [(i, i + 1) for i in range(len(text))]
)


def test_the_text_has_as_many_tokens_as_the_matrices() -> None:
    assert len(TEXT) == T


@pytest.mark.parametrize("count", [1, T // MANY, T // MANY + 1, T])
def test_few_rows_and_many_rows_are_read_alike(count: int) -> None:
    layers = random_layers(masks.causal(), layers=2, shape=(1, H, T, T))
    rows = torch.randperm(T)[:count].tolist()
    found = looked_at(layers.matrices, TEXT, rows)
    truth = layers.truth_LBHNM[:, 0].mean((0, 1))[rows].mean(0)
    expected = [float(truth[TEXT.index("document") == number].sum()) for number in range(3)]
    np.testing.assert_allclose(found.documents.values, expected, atol=CLOSE)


@pytest.mark.parametrize("rows", [[], [T], [-T - 1]])
def test_rows_that_are_not_there_are_refused(rows: list[int]) -> None:
    with pytest.raises(InputError, match="rows"):
        looked_at(random_layers(layers=1, shape=(1, H, T, T)).matrices, TEXT, rows)
