"""The alignment: raw and sink-free weights and what goes elsewhere, all equal to the dense truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from limelight.matrix import AttentionMatrix
from limelight.readings import Groups, Reading, alignment
from tests.readings.cases import SOURCE, TARGET, pool_by_hand, random_layers
from tests.tolerance import check

HEADS = [(2, 1), (0, 4), (2, 3)]


@pytest.mark.parametrize("batch", [0, 1])
def test_equal_to_the_truth(batch: int) -> None:
    layers = random_layers()
    found = alignment(layers.matrices, TARGET, SOURCE, HEADS, batch)
    heads = [layers.truth_LBHNM[layer, batch, head] for layer, head in HEADS]
    mean = torch.stack([pool_by_hand(head, TARGET, SOURCE) for head in heads]).mean(0)
    words, elsewhere = mean[:, :-1], mean[:, -1]
    check("pooled", torch.tensor(found.raw.values), words)
    check("pooled", torch.tensor(found.elsewhere.values), elsewhere)
    check("pooled", torch.tensor(found.sink_free.values), words / words.sum(-1, keepdim=True))
    check("pooled", torch.tensor(found.received().values), words.sum(0))
    # Nothing is lost: words and elsewhere share one.
    assert np.allclose(found.raw.values.sum(-1) + found.elsewhere.values, 1, atol=1e-6)
    assert [link.source for link in found.links()] == words.argmax(-1).tolist()


def test_the_row_of_the_end_is_left_out() -> None:
    layers = random_layers()
    before = alignment(layers.matrices, TARGET, SOURCE)
    for each in layers.inputs:
        query = each["query"]
        assert isinstance(query, torch.Tensor)
        query[:, :, -1] = 100.0
    after = alignment(layers.matrices, TARGET, SOURCE)
    assert (before.raw.values == after.raw.values).all()


def test_a_row_predicts_its_own_target_word() -> None:
    # Query i is built to look at key i: row i (input token i, start first) is target word i's.
    key = 30 * torch.eye(4)[None, None]
    words = Groups.tokens(["eins", "zwei", "drei"], after=1)
    found = alignment(AttentionMatrix(torch.eye(4)[None, None], key), words, words)
    assert [(link.target_name, link.source_name) for link in found.links()] == [
        ("eins", "eins"),
        ("zwei", "zwei"),
        ("drei", "drei"),
    ]


def test_ranks_are_complete_and_fall() -> None:
    found = alignment(random_layers().matrices, TARGET, SOURCE)
    for target in range(len(TARGET)):
        ranked = found.ranked(target)
        assert sorted(entry.place for entry in ranked) == list(range(len(SOURCE)))
        values = [entry.value for entry in ranked]
        assert values == sorted(values, reverse=True)
        assert [e.place for e in ranked] == [e.place for e in found.ranked(target, sink_free=True)]


def test_it_says_how() -> None:
    found = alignment(random_layers().matrices, TARGET, SOURCE, HEADS)
    for reading in (found.raw, found.sink_free, found.elsewhere):
        assert "layer 0 head 4; layer 2 heads 1, 3" in reading.how
        assert reading.heads == tuple(HEADS)
        assert reading.unit == "probability"
    assert "Sink-free" in found.sink_free.how
    assert "Sink-free" not in found.raw.how
    assert found.received().unit == "target words"


def test_all_attention_on_the_end_token() -> None:
    # The end token takes everything: no link, no division by 0, nothing hidden.
    key = torch.zeros(1, 1, 3, 2)
    key[0, 0, 2] = 1000.0
    words = Groups.tokens(["a", "b"], after=1)
    found = alignment(AttentionMatrix(torch.ones(1, 1, 3, 2), key), words, words)
    assert found.links() == []
    assert found.elsewhere.values.tolist() == [1.0, 1.0]
    assert found.sink_free.values.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_json() -> None:
    found = alignment(random_layers().matrices, TARGET, SOURCE, HEADS)
    data = json.loads(json.dumps(found.to_json()))
    assert (Reading.from_json(data["raw"]).values == found.raw.values).all()
    assert (Reading.from_json(data["sink_free"]).values == found.sink_free.values).all()
    assert (Reading.from_json(data["elsewhere"]).values == found.elsewhere.values).all()
    assert data["links"] == [[link.target, link.source] for link in found.links()]
