"""What DeBERTa adds to its scores is kept as what it is made of, and every tile of it is the model's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import limelight as ll
from limelight.capture.sources.op_tracing.relative_lookups import Looked, index_by_distance
from limelight.matrix.index_functions import TileIndex
from tests.capture.foreign import transformers
from tests.capture.sources.test_op_tracing import plain, product, watched
from tests.tolerance import check

B, H, N, M, D, SPAN = 2, 3, 17, 13, 5, 7
VECTORS = torch.randn(2, 1, H, SPAN, D, generator=torch.Generator().manual_seed(3))
"""Those of queries, and those of keys."""
BIAS = torch.randn(1, H, N, M, generator=torch.Generator().manual_seed(5))


def bucket(distance: Tensor) -> Tensor:
    return (distance.sign() * distance.abs().float().sqrt().round()).long().clamp(-3, 3) + 3


AHEAD_OF_KEYS = bucket(torch.arange(N)[:, None] - torch.arange(M))
AHEAD_OF_QUERIES = bucket(torch.arange(M)[:, None] - torch.arange(N))


def of_queries(q: Tensor, vectors: Tensor = VECTORS[0]) -> Tensor:
    products = q @ vectors.transpose(-1, -2)
    return torch.gather(products, dim=-1, index=AHEAD_OF_KEYS.expand(*products.shape[:-2], N, M))


def of_keys(k: Tensor, vectors: Tensor = VECTORS[1]) -> Tensor:
    products = k @ vectors.transpose(-1, -2)
    return products.gather(-1, AHEAD_OF_QUERIES.expand(*products.shape[:-2], M, N)).transpose(-1, -2)


def as_deberta(q: Tensor, k: Tensor) -> Tensor:
    """Heads and batches in one axis, numbers that scale, the two added in place to zero, and then to the scores."""
    flat, keys = q.flatten(0, 1), k.flatten(0, 1)
    of_q, of_k = (each.repeat(B, 1, 1) for each in VECTORS[:, 0])
    score: Any = 0
    score += of_queries(flat, of_q) / 3.0
    score += of_keys(keys, of_k) / 2.0
    return (torch.bmm(flat, keys.transpose(-1, -2) / 3.0) + score).view(B, H, N, M)


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "of queries": lambda q, k: product(q, k) + of_queries(q),
    "of keys": lambda q, k: of_keys(k) * 0.5 + product(q, k),
    "as DeBERTa": as_deberta,
    "and then scaled": lambda q, k: (product(q, k) + of_queries(q) + of_keys(k)) / 4,
    "beside a table": lambda q, k: product(q, k) + BIAS + of_queries(q),
    "with a table": lambda q, k: product(q, k) + (of_keys(k) + BIAS),
}


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(B, H, N, D), torch.randn(B, H, M, D), torch.randn(B, H, M, D + 2)


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_those_that_were_computed(way: str) -> None:
    module = plain(WAYS[way])
    (heard,), missed, _ = watched(module, *inputs())
    matrix = heard.matrix()
    assert not missed
    check("weights", matrix.dense(), module.weights)
    check("weights", matrix[1, 2, 3:11, 5:12], module.weights[1, 2, 3:11, 5:12])
    assert isinstance(heard.bias, Looked)
    assert (heard.bias.rest is not None) == ("table" in way)


def test_what_is_kept_does_not_grow_with_the_square() -> None:
    (heard,), _, _ = watched(plain(WAYS["as DeBERTa"]), *inputs())
    assert isinstance(heard.bias, Looked)
    for kept in heard.bias.lines:
        assert kept.numel() < H * N * M
        assert kept.shape[-2:] not in ((N, M), (M, N))


@pytest.mark.parametrize("rows", [range(0), range(1), range(4, 15), range(N)])
@pytest.mark.parametrize("columns", [range(0), range(M - 1, M), range(2, 9), range(M)])
def test_any_tile(rows: range, columns: range) -> None:
    module = plain(WAYS["and then scaled"])
    (heard,), _, _ = watched(module, *inputs())
    assert isinstance(heard.bias, Looked)
    whole, tile = (
        heard.bias.apply(torch.zeros(1, 2, len(r), len(c)), TileIndex(range(1, 2), range(1, 3), r, c, N, M))
        for r, c in ((range(N), range(M)), (rows, columns))
    )
    torch.testing.assert_close(tile, whole[:, :, rows.start : rows.stop, columns.start : columns.stop])


def test_on_another_device_it_is_all_there() -> None:
    (heard,), _, _ = watched(plain(WAYS["beside a table"]), *inputs())
    assert isinstance(heard.bias, Looked)
    moved = heard.bias.moved(lambda tensor: tensor.to("meta"))
    assert moved.rest is not None and moved.rest.device.type == "meta"
    assert {lookup.x.device.type for lookup in moved.lookups} == {"meta"}


def test_places_that_do_not_go_by_distance_stay_a_table() -> None:
    index = torch.randint(SPAN, (N, M))
    assert index_by_distance(index) is None
    module = plain(lambda q, k: product(q, k) + (q @ VECTORS[0].mT).gather(-1, index.expand(B, H, N, M)))
    (heard,), missed, _ = watched(module, *inputs())
    assert isinstance(heard.bias, Tensor) and not missed
    check("weights", heard.matrix().dense(), module.weights)


def test_one_number_a_distance() -> None:
    of = index_by_distance(AHEAD_OF_KEYS.expand(B, H, N, M))
    assert of is not None
    assert of.tolist() == [int(bucket(torch.tensor(i))) for i in range(1 - M, N)]
    assert (
        index_by_distance(torch.stack([AHEAD_OF_KEYS, AHEAD_OF_KEYS])) is None
    )  # it may differ from head to head


def test_a_lookup_alone_is_no_attention() -> None:
    heard, (why,), _ = watched(plain(lambda q, k: of_queries(q)), *inputs())
    assert not heard and "softmax" in why


@pytest.mark.parametrize("name", ["Deberta", "DebertaV2"])
def test_deberta_holds_what_grows_with_its_text(name: str) -> None:
    config = getattr(transformers, f"{name}Config")(
        vocab_size=61, hidden_size=30, num_hidden_layers=1, num_attention_heads=5, intermediate_size=11,
        max_position_embeddings=61, relative_attention=True, pos_att_type=["c2p", "p2c"], position_buckets=7,
    )  # fmt: skip
    model = getattr(transformers, f"{name}Model")(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    ids = torch.randint(5, 60, (1, 53))
    with ll.watch(model, verify=True) as seen, torch.no_grad():
        model(input_ids=ids)
    with torch.no_grad():
        [official] = model(input_ids=ids, output_attentions=True).attentions
    matrix = seen[0]
    check("weights", matrix.dense(), official)
    bias = matrix._scores.bias
    assert isinstance(bias, Looked) and bias.rest is None and len(bias.lookups) == 2
    # Ten times the text: ten times the memory.
    assert seen.memory(tokens=530) <= 10 * seen.memory() + 10
