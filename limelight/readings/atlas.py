"""The atlas of a model's heads: for every layer and head, what kind of reader it is.

Six numbers a head, each a mean over queries:

    entropy          nats                 how widely it spreads: 0 one key, ln M all alike
    distance         tokens               Σ a·|j - i|: how far away it looks
    sink             share of attention   on the first token, or on the tokens that are named as sinks
    previous token   share of attention   on the token right before
    duplicate token  share of attention   on earlier occurrences of the same token, over queries that can see one
    induction        share of attention   on what followed earlier occurrences of the same token, over the same

Sources: previous-token, duplicate-token and induction heads as in Wang et al. 2022, "Interpretability in the Wild"
(arXiv 2211.00593), section 3; induction is the prefix matching score of Olsson et al. 2022, "In-context Learning
and Induction Heads" (arXiv 2209.11895), section 4, which takes it on repeated random tokens: see `repeated_tokens`.
Sinks: Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks" (arXiv 2309.17453).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.checked import checked
from limelight.errors import InputError, ShapeError
from limelight.matrix import AttentionMatrix, Distance, Entropy, Fold, Received, RowStats, masks
from limelight.readings.measures import Matrices, by_layer, check_batch
from limelight.readings.reading import Head, Reading
from limelight.readings.shares import Share, ShareReading, duplicate_token, induction, previous_token

MEASURES = ("entropy", "distance", "sink", "previous token", "duplicate token", "induction")

_RULES = {
    "entropy": ("nats", "Entropy of a query's weights, -Σ a·ln a"),
    "distance": ("tokens", "Distance to the keys looked at, Σ a·|j - i|"),
    "sink": ("probability", "Weight on the sinks"),
    "previous token": ("probability", "Weight on the token right before the query's"),
    "duplicate token": ("probability", "Weight on earlier occurrences of the query's token"),
    "induction": (
        "probability",
        "Weight on the tokens that followed earlier occurrences of the query's token",
    ),
}


@dataclass(frozen=True)
class Atlas:
    """One reading a measure, each with the axes ("layer", "head"); NaN for a head that a layer has not."""

    readings: dict[str, Reading]

    def __repr__(self) -> str:
        layers, heads = self["entropy"].values.shape
        return f"Atlas({layers} layers × {heads} heads: {', '.join(self.readings)})"

    def __getitem__(self, measure: str) -> Reading:
        if measure not in self.readings:
            raise InputError(f"A measure is one of {', '.join(self.readings)}; got {measure!r}.")
        return self.readings[measure]

    @property
    def heads(self) -> tuple[Head, ...]:
        """Every (layer, head) that was read."""
        return next(iter(self.readings.values())).heads

    def table(self) -> list[dict[str, float]]:
        """One row a head: its layer, its number and its six numbers; for `pandas.DataFrame`."""
        layers = [int(label.removeprefix("layer ")) for label in self["entropy"].labels[0]]
        numbers = [int(label.removeprefix("head ")) for label in self["entropy"].labels[1]]
        return [
            {"layer": layer, "head": head}
            | {
                name: float(reading.values[layers.index(layer), numbers.index(head)])
                for name, reading in self.readings.items()
            }
            for layer, head in self.heads
        ]

    def ranked(self, measure: str) -> list[tuple[Head, float]]:
        """The heads from high to low by one measure."""
        rows = [((int(row["layer"]), int(row["head"])), row[measure]) for row in self.table()]
        return sorted([row for row in rows if row[1] == row[1]], key=lambda row: -row[1])


@checked
def atlas(
    matrices: Matrices, ids: Sequence[int] | Tensor, sinks: Sequence[int] = (0,), batch: int = 0
) -> Atlas:
    """Read every head of self-attention in one pass a layer.

    ids: the tokens that the model read, one a query, special ones too; they tell which tokens are the same.
    sinks: the places of the tokens to count as sinks: the first one, unless given.

    Queries that see nothing, and those of padding, are left out of every mean. Padding is what no query may look at
    (under a mask that closes each token to itself, the last one is taken for it).
    Raises ShapeError where a matrix is not square.
    """
    tokens = torch.as_tensor(ids).flatten().cpu()
    N = len(tokens)
    if strange := [place for place in sinks if not -N <= place < N]:
        raise InputError(f"sinks are places of the {N} tokens, counted from 0; got {strange[0]}.")
    first = torch.zeros(N, dtype=torch.int64)
    sink_N = torch.ones(N, dtype=torch.int64)
    sink_N[list(sinks)] = 0
    folds: list[Fold[object]] = [
        Entropy(),
        Distance(),
        Share(masks.documents(first, sink_N)),
        Share(previous_token(N)),
        Share(duplicate_token(tokens)),
        Share(induction(tokens)),
    ]
    found: dict[int, Tensor] = {}
    layers = by_layer(matrices)
    for layer, matrix in layers.items():
        if matrix.shape[2:] != (N, N):
            raise ShapeError(
                f"An atlas reads self-attention, a query and a key for each of the {N} ids; layer {layer} has "
                f"{matrix.shape[2]} queries and {matrix.shape[3]} keys."
            )
        check_batch(matrix, batch)
        found[layer] = _of_layer(matrix, folds, batch)
    heads = tuple((layer, head) for layer in found for head in layers[layer].head_numbers)
    numbers = sorted({head for _, head in heads})
    table = torch.full((len(MEASURES), len(found), len(numbers)), torch.nan, dtype=torch.float64)
    for place, (layer, means) in enumerate(found.items()):
        start = numbers.index(layers[layer].head_numbers.start) if len(means) else 0
        table[:, place, start : start + len(means)] = means.T
    labels = (tuple(f"layer {layer}" for layer in found), tuple(f"head {head}" for head in numbers))
    named = "the first token" if tuple(sinks) == (0,) else f"{len(sinks)} tokens"
    readings = {}
    for number, name in enumerate(MEASURES):
        unit, rule = _RULES[name]
        over = " that can see one" if name in ("duplicate token", "induction") else ""
        how = f"{rule}{f' ({named})' if name == 'sink' else ''}; mean over the queries{over}."
        readings[name] = Reading(table[number].numpy(), ("layer", "head"), labels, unit, how, heads)
    return Atlas(readings)


def repeated_tokens(
    vocabulary: Sequence[int] | int, length: int = 25, times: int = 4, seed: int = 0
) -> Tensor:
    """Random tokens said again and again, (times · length,): what induction is measured on, away from any meaning.

    vocabulary: the ids to draw from, or their number; leave out special tokens. Drawn without replacement, so
    that a token stands once in each repeat. Source: Olsson et al. 2022, section 4: 25 random tokens, 4 times.
    """
    pool = torch.arange(vocabulary) if isinstance(vocabulary, int) else torch.as_tensor(list(vocabulary))
    if len(pool) < length:
        raise InputError(f"{length} different tokens are needed; the vocabulary has {len(pool)}.")
    drawn = pool[torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))[:length]]
    return drawn.repeat(times)


def _of_layer(matrix: AttentionMatrix, folds: list[Fold[object]], batch: int) -> Tensor:
    """(heads, measures)"""
    stats, received, entropy, distance, *shares = matrix.read(RowStats(), Received(), *folds)
    padding_N = (received.queries[batch] == 0).all(0)  # as many keys as queries: query i is token i
    looking_HN = ~stats.empty[batch] & ~padding_N
    columns = [_mean(entropy[batch], looking_HN), _mean(distance.mean[batch], looking_HN)]
    for place, share in enumerate(shares):
        assert isinstance(share, ShareReading)
        having = looking_HN if place < 2 else looking_HN & (share.keys[batch] > 0)
        columns.append(_mean(share.share[batch], having))
    return torch.stack(columns, dim=1).cpu()


def _mean(values_HN: Tensor, over_HN: Tensor) -> Tensor:
    """The mean over the queries chosen; NaN where there are none."""
    total = (values_HN.double() * over_HN).sum(-1)
    return total / over_HN.sum(-1).where(over_HN.any(-1), torch.nan)
