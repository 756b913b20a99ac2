"""What few or many looking rows look at, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limelight.errors import InputError, LimelightError
from limelight.matrix import AttentionMatrix, masks, reference
from limelight.readings import documents, row_attention
from limelight.readings.documents import attention_to_units, ways_to_look
from limelight.readings.row_attention import MANY, Weigh
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
    looking = torch.randperm(T)[:count].tolist()
    found = attention_to_units(layers.matrices, TEXT, looking)
    truth = layers.truth_LBHNM[:, 0].mean((0, 1))[looking].mean(0)
    expected = [float(truth[TEXT.index("document") == number].sum()) for number in range(3)]
    np.testing.assert_allclose(found.documents.values, expected, atol=CLOSE)


@pytest.mark.parametrize("looking", [[], [T], [-T - 1]])
def test_rows_that_are_not_there_are_refused(looking: list[int]) -> None:
    for matrices, heads in (([], None), (random_layers(layers=1, shape=(1, H, T, T)).matrices, [])):
        with pytest.raises(InputError, match="at least one head"):
            attention_to_units(matrices, TEXT, [0], heads=heads)
    with pytest.raises(InputError, match="rows"):
        attention_to_units(random_layers(layers=1, shape=(1, H, T, T)).matrices, TEXT, looking)


def test_all_ways_to_look_are_told_of_one_reading() -> None:
    """Against the stored weights: α and ‖α·v‖ in shares of a head, with the sinks and without them."""
    special = 5
    spans = [(0, 0) if token == special else span for token, span in enumerate(TEXT.spans)]
    text = Segments(TEXT.text, tuple(spans), TEXT.documents, TEXT.names)
    inputs = random_layers(masks.causal(), layers=1, shape=(1, H, T, T)).inputs[0] | {
        "value": torch.randn(1, H, T, 11)
    }
    ways: list[tuple[Weigh, bool]] = [
        ("weight", False),
        ("weight", True),
        ("value-norm", False),
        ("value-norm", True),
    ]
    looking = [T - 1, 23, 7]
    truth = reference.attention(**inputs)
    alpha_HM = truth.weights_BHNM[0][:, looking].mean(1)
    value_HM = alpha_HM * inputs["value"][0].double().norm(dim=-1)
    found = ways_to_look(AttentionMatrix(**inputs), text, looking, ways)
    for (weigh, free), looked in zip(ways, found, strict=True):
        shares_M = (
            alpha_HM.mean(0) if weigh == "weight" else (value_HM / value_HM.sum(-1, keepdim=True)).mean(0)
        )
        if free:
            shares_M = shares_M.index_fill(0, torch.tensor([0, special]), 0)
            shares_M /= shares_M.sum()
        expected = [float(shares_M[text.index("document") == number].sum()) for number in range(3)]
        np.testing.assert_allclose(looked.documents.values, expected, atol=CLOSE)
        in_words = float(shares_M[text.index("word") >= 0].sum())
        assert looked.words.values.sum() == pytest.approx(in_words, abs=CLOSE)
        together = looked.documents.values.sum() + looked.elsewhere.values.sum()
        assert together == pytest.approx(1, abs=CLOSE)
        assert (looked.weigh, looked.sink_free) == (weigh, free)


def test_the_rows_of_all_ways_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    monkeypatch.setattr(
        documents, "mean_of_rows", lambda *given: [reads.append(given), row_attention.mean_of_rows(*given)][1]
    )
    matrix = AttentionMatrix(*torch.randn(3, 1, H, T, 7))
    ways_to_look(matrix, TEXT, [3], [("weight", False), ("weight", True), ("value-norm", False)])
    assert len(reads) == 1


def test_names_of_documents_that_are_a_tensor_are_refused() -> None:
    matrices = random_layers(layers=1, shape=(1, H, T, T)).matrices
    with pytest.raises(LimelightError):
        attention_to_units(matrices, TEXT, [T - 1], among=torch.zeros(2))  # type: ignore[arg-type]
