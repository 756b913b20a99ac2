"""The atlas of a model's heads: for every layer and head, what kind of reader it is.

Six numbers a head, each a mean over queries:

    entropy          nats                 how widely it spreads: 0 one key, ln M all alike
    distance         tokens               Σ a·|j - i|: how far away it looks
    sink             share of attention   on the first token of the text, or on the tokens that are named as sinks
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
from limelight.errors import ArgumentTypeError, InputError, ShapeError, one_of
from limelight.matrix import AttentionMatrix, Entropy, MeanDistance, Reduction, RowStats, masks
from limelight.matrix.reductions.distance import DistanceResult
from limelight.readings.head_patterns import (
    Apart,
    MaskedShare,
    MaskedShareResult,
    duplicate_token,
    induction,
    previous_token,
)
from limelight.readings.padding import Texts, hidden_by_mask, texts_of
from limelight.readings.reading import Head, Reading
from limelight.readings.words import Matrices, by_layer, check_batch

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
            raise InputError(one_of("A measure", self.readings, measure))
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
    matrices: Matrices,
    ids: Sequence[int] | Tensor,
    sinks: Sequence[int] | None = None,
    batch: int = 0,
    queries: Tensor | None = None,
) -> Atlas:
    """Read every head of self-attention in one pass a layer.

    ids: the tokens that the model read, one a query, special ones too, (N,), or (B, N) for all texts; they tell which
    tokens are the same.
    sinks: the places of the tokens to count as sinks. Unless given, the first token that is no padding, of each text
    where a row holds several that do not look at each other.
    batch: which text of the batch.
    queries: bool, (N,) or (B, N), which tokens are no padding: of a padded batch its attention mask. Unless given,
    padding is what no query may look at (under a mask that closes each token to itself, the last one is taken for
    it).

    A padded text reads as it does alone: padding, and queries that see nothing, are left out of every mean, and the
    token before and the distance are counted without the padding between two tokens.
    Raises ShapeError where a matrix is not square or the ids are not those that were read, InputError for a sink that
    is padding.
    """
    layers = by_layer(matrices)
    for matrix in layers.values():
        check_batch(matrix, batch)
    tokens = _row(ids, batch, "ids").flatten()
    N = len(tokens)
    if strange := [place for place in sinks or () if not -N <= place < N]:
        raise InputError(f"sinks are places of the {N} tokens, counted from 0; got {strange[0]}.")
    inside = None if queries is None else _inside(queries, batch, N)
    found: dict[int, Tensor] = {}
    several = behind = False
    for layer, matrix in layers.items():
        if matrix.shape[2:] != (N, N):
            raise ShapeError(_not_the_ids(layer, matrix, N))
        texts = texts_of(matrix, batch, inside)
        if padding := [place for place in sinks or () if not texts.inside_N[place]]:
            raise InputError(
                f"sinks must be tokens of the text; place {padding[0]} is padding in text {batch}. Leave sinks out "
                "for the first token that is none."
            )
        several |= len(texts.begins) > 1
        behind |= texts.begins[:1] not in ([], [0])
        found[layer] = _of_layer(matrix, _reductions(tokens, texts, sinks), texts, batch)
    heads = tuple((layer, head) for layer in found for head in layers[layer].head_numbers)
    numbers = sorted({head for _, head in heads})
    table = torch.full((len(MEASURES), len(found), len(numbers)), torch.nan, dtype=torch.float64)
    for place, (layer, means) in enumerate(found.items()):
        start = numbers.index(layers[layer].head_numbers.start) if len(means) else 0
        table[:, place, start : start + len(means)] = means.T
    labels = (tuple(f"layer {layer}" for layer in found), tuple(f"head {head}" for head in numbers))
    if sinks is not None and tuple(sinks) != (0,):
        named = f"{len(sinks)} tokens"
    elif several:
        named = "the first token, of each part of the row that no other part looks at"
    else:
        named = "the first token that is no padding" if behind else "the first token"
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


def _row(given: Sequence[int] | Tensor, batch: int, name: str) -> Tensor:
    """Those of one text: of (B, N) its row."""
    try:
        whole = torch.as_tensor(given).cpu()
    except (TypeError, ValueError, RuntimeError):
        raise ArgumentTypeError(
            f"{name} must be whole numbers, one a token, as the tokenizer gives them; got {type(given).__name__}."
        ) from None
    if whole.dim() != 2 or len(whole) == 1:
        return whole
    if not -len(whole) <= batch < len(whole):
        raise ShapeError(f"{name} must hold a row for text {batch}; got shape {tuple(whole.shape)}.")
    return whole[batch]


def _inside(queries: Tensor, batch: int, N: int) -> Tensor:
    """Which tokens of one text are no padding, bool (N,)."""
    if not isinstance(queries, Tensor) or queries.dtype != torch.bool:
        came = queries.dtype if isinstance(queries, Tensor) else type(queries).__name__
        raise ArgumentTypeError(
            f"queries must be a bool tensor, of each token whether it is no padding; got {came}. Of an attention "
            "mask: queries=mask.bool()."
        )
    inside_N = _row(queries, batch, "queries").flatten()
    if len(inside_N) != N:
        raise ShapeError(
            f"queries must say of each of the {N} tokens whether it is no padding; got shape {tuple(queries.shape)}."
        )
    return inside_N


def _not_the_ids(layer: int, matrix: AttentionMatrix, N: int) -> str:
    """Why these ids do not go with this matrix, and what would."""
    said = (
        f"An atlas reads self-attention, a query and a key for each of the {N} ids; layer {layer} has "
        f"{matrix.shape[2]} queries and {matrix.shape[3]} keys."
    )
    if matrix.shape[2] == matrix.shape[3] == N - 1:
        said += (
            " Of what model.generate() has written the last token was never read by the model: leave it out, "
            "ids = out[:, :-1]."
        )
    return said


def _reductions(tokens: Tensor, texts: Texts, sinks: Sequence[int] | None) -> list[Reduction[object]]:
    """What is read of a layer: entropy, distance, and four shares in the order of the measures."""
    N = len(tokens)
    # The same token of another text, and padding, are other tokens.
    pairs = torch.stack([texts.begin_N, tokens.long()], dim=1)
    same = pairs.unique(dim=0, return_inverse=True)[1] if N else tokens.long()
    same = same.where(texts.inside_N, -2 - torch.arange(N))
    if sinks is None:
        places = torch.arange(N)
        at_sinks = masks.documents(
            texts.begin_N, places.where((texts.begin_N == places) & texts.inside_N, -2)
        )
    else:
        sink_N = torch.ones(N, dtype=torch.int64)
        sink_N[list(sinks)] = 0
        at_sinks = masks.documents(torch.zeros(N, dtype=torch.int64), sink_N)
    return [
        Entropy(),
        MeanDistance() if texts.neighbours else Apart(texts.place_N),
        MaskedShare(at_sinks),
        MaskedShare(previous_token(texts.place_N)),
        MaskedShare(duplicate_token(same)),
        MaskedShare(induction(same, texts.before(same))),
    ]


def _of_layer(
    matrix: AttentionMatrix, reductions: list[Reduction[object]], texts: Texts, batch: int
) -> Tensor:
    """(heads, measures)"""
    stats, entropy, distance, *shares = hidden_by_mask(matrix).read(RowStats(), *reductions)
    apart = distance.mean if isinstance(distance, DistanceResult) else distance
    looking_HN = ~stats.empty[batch] & texts.looking_N.to(matrix.device)
    columns = [_mean(entropy[batch], looking_HN), _mean(apart[batch], looking_HN)]
    for place, share in enumerate(shares):
        assert isinstance(share, MaskedShareResult)
        having = looking_HN if place < 2 else looking_HN & (share.keys[batch] > 0)
        columns.append(_mean(share.share[batch], having))
    return torch.stack(columns, dim=1).cpu()


def _mean(values_HN: Tensor, over_HN: Tensor) -> Tensor:
    """The mean over the queries chosen; NaN where there are none."""
    total = (values_HN.double() * over_HN).sum(-1)
    return total / over_HN.sum(-1).where(over_HN.any(-1), torch.nan)
