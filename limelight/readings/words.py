"""AttentionMatrix → Reading: what words attend to, and what they receive.

A measure reads reductions, so that nothing of size N × M is ever stored: it keeps words × words, or one number a
word. No measure averages heads unless asked: each returns the axis "head", and `average_heads` says in the
reading's `how` over which heads it took the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.matrix import AttentionMatrix, Pool, Received, select_queries
from limelight.readings.padding import hidden_by_mask
from limelight.readings.reading import Head, Reading, name_heads
from limelight.readings.token_groups import Groups


class CapturedCall(Protocol):
    """One call of a captured model, as `limelight.watch` gives it."""

    @property
    def layer(self) -> int: ...

    @property
    def matrix(self) -> AttentionMatrix: ...


Matrices = (
    AttentionMatrix | Sequence[AttentionMatrix] | Mapping[int, AttentionMatrix] | Iterable[CapturedCall]
)
"""One matrix (layer 0), the matrices of layers 0, 1, 2 …, those of the layers that are named, or what a watch saw."""


# ---- between words ------------------------------------------------------------------------------------


def word_attention(
    matrices: Matrices,
    queries: Groups,
    keys: Groups,
    heads: Sequence[Head] | None = None,
    batch: int = 0,
) -> Reading:
    """What each query word attends to: axes ("head", "query word", "key word"), unit probability.

    Rule (the reduction `Pool`): SUM over the key tokens of a word, MEAN over the query tokens of a word. A row
    adds up to 1 less what went to tokens of no word.

    queries, keys: the groups of the rows and columns of the matrices; their level names the axes.
    heads: (layer, head) pairs, counted from 0, in the order wanted; None takes all.
    batch: which text of the batch.
    """
    table, chosen = pooled(matrices, queries, keys, heads, batch)
    return Reading(
        _array(table[..., :-1]),
        ("head", f"query {queries.level}", f"key {keys.level}"),
        (head_labels(chosen), queries.names, keys.names),
        "probability",
        pooling_rule(queries, keys),
        chosen,
    )


def average_heads(reading: Reading) -> Reading:
    """The mean over the axis "head", each head with equal weight; `how` names the heads.

    >>> two = Reading(np.float64([[.5, 0], [.25, 1]]), ("head", "word"), (("a", "b"), ("he", "is")),
    ...               "probability", "By hand.", ((0, 1), (2, 0)))
    >>> averaged = average_heads(two)
    >>> averaged.values.tolist(), averaged.how
    ([0.375, 0.5], 'By hand. Mean of layer 0 head 1; layer 2 head 0, each with equal weight.')
    """
    axis = reading.axis("head")
    if reading.values.shape[axis] == 0:
        raise InputError("The mean over heads needs at least one head; this reading has none.")
    alone = len(reading.heads) == 1
    how = (
        f"Of {name_heads(reading.heads)}." if alone else f"Mean of {_named(reading)}, each with equal weight."
    )
    return Reading(
        reading.values.mean(axis, dtype=np.float64).astype(reading.values.dtype),
        reading.axes[:axis] + reading.axes[axis + 1 :],
        reading.labels[:axis] + reading.labels[axis + 1 :],
        reading.unit,
        f"{reading.how} {how}",
        reading.heads,
    )


# ---- what words receive -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReceivedWords:
    """What each word receives: readings with the axes ("head", "word"), and ("head",) for `elsewhere`."""

    raw: Reading
    """In query tokens: all words and `elsewhere` together receive as many as there are queries that count."""
    per_query: Reading
    """The mean weight among the queries that could see it: without the advantage of early words."""
    elsewhere: Reading
    """In query tokens: what went to tokens of no word, such as start and end."""


def received_words(
    matrices: Matrices,
    keys: Groups,
    heads: Sequence[Head] | None = None,
    batch: int = 0,
    queries: Tensor | None = None,
) -> ReceivedWords:
    """How much attention each word receives from all queries (the reduction `Received`, summed over its tokens).

    Under a causal mask early words are seen by more queries; `per_query` takes that out.

    queries: bool, (N,) or (B, N), which of them count: of a padded batch its attention mask, for padding looks too.
    A query that may look at nothing never counts, also where an eager model's row then spreads over everything.
    """
    sums: list[Tensor] = []
    layers, chosen = chosen_layers(matrices, heads)
    by_layer: dict[int, tuple[Tensor, Tensor]] = {}
    for layer, matrix in layers.items():
        keys.fit(matrix.shape[3], "keys")
        check_batch(matrix, batch)
        told = hidden_by_mask(matrix)
        received = (told if queries is None else select_queries(told, queries)).read(Received())
        by_layer[layer] = (received.raw[batch], received.per_query[batch])
    index = torch.tensor([number if number >= 0 else len(keys) for number in keys.index], dtype=torch.int64)
    for which in range(2):
        tokens = [by_layer[layer][which][place_of(layers, layer, head)].cpu() for layer, head in chosen]
        table = torch.zeros(len(chosen), len(keys) + 1, dtype=torch.float64)
        for row, weights in zip(table, tokens, strict=True):
            row.index_add_(0, index, weights.double())
        sums.append(table.to(tokens[0].dtype if tokens else torch.float32))
    raw, per_query = sums
    labels = head_labels(chosen)
    rule = f"Summed over the tokens of a {keys.level}:"
    from_all = f"{rule} the weight that all queries together give to the token."
    from_each = f"{rule} the mean weight that the token gets from a query that could see it."
    outside = f"The weight that all queries together give to tokens of no {keys.level}."
    axes, words = ("head", keys.level), (labels, keys.names)
    return ReceivedWords(
        Reading(_array(raw[:, :-1]), axes, words, "tokens", from_all, chosen),
        Reading(_array(per_query[:, :-1]), axes, words, "probability", from_each, chosen),
        Reading(_array(raw[:, -1]), ("head",), (labels,), "tokens", outside, chosen),
    )


# ---- shared with alignment.py and alignment_heads.py -------------------------------------------------------------


def pooled(
    matrices: Matrices, queries: Groups, keys: Groups, heads: Sequence[Head] | None, batch: int
) -> tuple[Tensor, tuple[Head, ...]]:
    """(heads, query groups, key groups + 1) and the heads; the last column is what tokens of no group got."""
    layers, chosen = chosen_layers(matrices, heads)
    tables: dict[int, Tensor] = {}
    for layer, matrix in layers.items():
        queries.fit(matrix.shape[2], "queries")
        keys.fit(matrix.shape[3], "keys")
        check_batch(matrix, batch)
        B, H, N, _ = matrix.shape
        rows_BN = torch.full((B, N), -1)
        rows_BN[batch] = torch.tensor(queries.index, dtype=torch.int64)
        cols_M = torch.tensor([number if number >= 0 else len(keys) for number in keys.index])
        found = matrix.read(Pool(rows_BN, cols_M.long()))[batch].cpu()
        # Pool counts groups up to the last that has a token; the names may go on.
        tables[layer] = torch.zeros(H, len(queries), len(keys) + 1, dtype=found.dtype)
        tables[layer][:, : found.shape[1], : found.shape[2]] = found
    if not chosen:
        return torch.zeros(0, len(queries), len(keys) + 1), ()
    return torch.stack([tables[layer][place_of(layers, layer, head)] for layer, head in chosen]), chosen


def place_of(layers: Mapping[int, AttentionMatrix], layer: int, head: int) -> int:
    """Where a head stands in the matrix of its layer, which may hold a part of the model's heads."""
    return layers[layer].head_numbers.index(head)


def by_layer(matrices: Matrices) -> dict[int, AttentionMatrix]:
    """The matrices under the numbers of their layers. Raises InputError where one number has two matrices."""
    if isinstance(matrices, AttentionMatrix):
        return {0: matrices}
    if isinstance(matrices, Mapping):
        return dict(matrices)
    found: dict[int, AttentionMatrix] = {}
    calls: Iterable[AttentionMatrix | CapturedCall] = matrices
    for number, each in enumerate(calls):
        layer, matrix = (number, each) if isinstance(each, AttentionMatrix) else (each.layer, each.matrix)
        if layer in found:
            raise InputError(
                f"Every layer must have one matrix; layer {layer} has several. Choose those of one kind first, "
                "such as the self-attention of the decoder: [call for call in seen if call.kind == 'self']."
            )
        found[layer] = matrix
    return found


def pooling_rule(queries: Groups, keys: Groups) -> str:
    """The rule of `Pool` in a sentence."""
    return (
        f"Attention weights, summed over the key tokens of a {keys.level}, "
        f"averaged over the query tokens of a {queries.level}."
    )


def head_labels(heads: Sequence[Head]) -> tuple[str, ...]:
    """One label a head, by its number in the model."""
    return tuple(name_heads([head]) for head in heads)


def chosen_layers(
    matrices: Matrices, heads: Sequence[Head] | None
) -> tuple[dict[int, AttentionMatrix], tuple[Head, ...]]:
    """The layers that are needed, and the heads, checked."""
    layers = by_layer(matrices)
    there = [(layer, head) for layer, matrix in layers.items() for head in matrix.head_numbers]
    try:
        chosen = tuple(there if heads is None else ((int(layer), int(head)) for layer, head in heads))
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(
            f"heads must be (layer, head) pairs, such as [(2, 1)]; got {heads!r}."
        ) from error
    strangers = [head for head in chosen if head not in set(there)]
    if strangers:
        raise InputError(
            f"heads must be (layer, head) pairs, counted from 0, of the {len(layers)} layers given; "
            f"there is no {name_heads(strangers)}."
        )
    return {layer: layers[layer] for layer in sorted({layer for layer, _ in chosen})}, chosen


def check_batch(matrix: AttentionMatrix, batch: int) -> None:
    """Raises ShapeError where the matrix has no such text."""
    if not 0 <= batch < matrix.shape[0]:
        raise ShapeError(f"batch must be one of the {matrix.shape[0]} texts, counted from 0; got {batch}.")


def _named(reading: Reading) -> str:
    """The heads of a reading in words; a reading that was made by hand has labels only."""
    return name_heads(reading.heads) or ", ".join(reading.labels[reading.axis("head")])


def _array(table: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = table.numpy()
    return array
