"""The table of token vectors."""

from __future__ import annotations

import math

import pytest
import torch

from limelight.errors import ArgumentTypeError, ShapeError
from limelight.modules.embeddings import TokenEmbedding
from tests.tolerance import check

V, E = 29, 13


def test_vectors_are_rows_times_the_root_of_the_width() -> None:
    embedding = TokenEmbedding(V, E)
    ids = torch.randint(0, V, (3, 7))
    exact = embedding.table.weight.detach().double()
    check("output", embedding(ids).detach(), exact[ids] * math.sqrt(E))
    x = torch.randn(3, 7, E)
    check("output", embedding.scores(x).detach(), x.double() @ exact.T)


def test_fresh_vectors_have_unit_size_and_padding_has_none() -> None:
    embedding = TokenEmbedding(1009, 101)
    vectors = embedding(torch.arange(1, 1009)[None]).detach()
    assert vectors.std().item() == pytest.approx(1.0, rel=0.02)
    assert bool((embedding(torch.tensor([[0]])) == 0).all())
    embedding(torch.tensor([[0, 5]])).sum().backward()
    assert bool((embedding.table.weight.grad[0] == 0).all())


def test_start_from_takes_directions_and_keeps_the_spread() -> None:
    embedding = TokenEmbedding(V, E)
    fresh = embedding.table.weight.detach().clone()
    table = 40 * torch.randn(V, E)
    embedding.start_from(table)
    weight = embedding.table.weight.detach()
    cosine = torch.nn.functional.cosine_similarity(weight[1:], table[1:], dim=1)
    torch.testing.assert_close(cosine, torch.ones(V - 1))
    assert weight.std().item() == pytest.approx(fresh.std().item(), rel=0.15)
    assert bool((weight[0] == 0).all())
    assert embedding.table.weight.requires_grad


def test_nonsense_is_refused() -> None:
    embedding = TokenEmbedding(V, E)
    with pytest.raises(ArgumentTypeError, match="must be integers; got torch.float32"):
        embedding(torch.ones(2, 3))
    with pytest.raises(ShapeError, match=r"\(29, 13\).*got \(29, 14\)"):
        embedding.start_from(torch.ones(V, E + 1))
