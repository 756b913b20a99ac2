"""One unit's row or column: what a word, sentence or document attends to, and what it receives.

Rule, that of the reduction `Pool`: SUM over the key tokens of a unit, MEAN over its query tokens. Queries that see
nothing are left out of the mean. Heads count the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from limelight.errors import InputError, TooLargeError
from limelight.matrix.reductions.pooling import group_sums
from limelight.readings.reading import Head
from limelight.readings.words import pooling_rule
from limelight.viewer.compute.attention_layers import AttentionLayers, heads_by_layer
from limelight.viewer.compute.first_pass import LayerSummary
from limelight.viewer.compute.tiles import blocks, reach, told_and_plain
from limelight.viewer.compute.token_axis import TokenAxis
from limelight.viewer.protocol.responses import Array

STRIP = 2**23
"""Entries that are held at once."""
MOST_ENTRIES = 2**33

GoOn = Callable[[], None]


class UnitRow(NamedTuple):
    """`values` float32, one a unit of the other side; `elsewhere` what tokens of no unit have, None of a column."""

    values: Array
    elsewhere: float | None


def how(attention: AttentionLayers, level: str, by: str, direction: str, heads: tuple[Head, ...]) -> str:
    """The rule in words, as a Reading tells it."""
    queries, keys = (level, by) if direction == "from" else (by, level)
    rule = pooling_rule(attention.queries.groups(queries), attention.keys.groups(keys))
    return f"{rule} {attention.told(heads)}"


def attends_to(
    attention: AttentionLayers,
    heads: tuple[Head, ...],
    level: str,
    place: int,
    by: str,
    summaries: Mapping[int, LayerSummary],
    go_on: GoOn,
) -> UnitRow:
    """What one unit of the query side attends to, by units of the key side."""
    tokens = checked(attention.queries, level, place)
    weights_M = torch.zeros(attention.M, dtype=torch.float64)
    for layer, some in heads_by_layer(heads).items():
        summary, reweighting = summaries.get(layer), attention.reweightings.get(layer)
        by_rows = reweighting is not None and reweighting.renormalises
        if level == "document" and summary is not None and summary.from_documents is not None and not by_rows:
            looking_H = summary.looking[:, torch.from_numpy(tokens)].sum(-1).clamp(min=1)
            given_HM = summary.from_documents[..., place].double()
            if reweighting is not None:
                given_HM = given_HM * reweighting.factor_HM.cpu()
            weights_M += (given_HM / looking_H[:, None])[some].sum(0)
            continue
        weights_M += _mean_rows(attention, layer, some, tokens, go_on).sum(0)
    pooled = pool(weights_M[None] / len(heads), attention.keys, by)[0]
    return UnitRow(pooled[:-1].float().numpy(), float(pooled[-1]))


def receives_from(
    attention: AttentionLayers,
    heads: tuple[Head, ...],
    level: str,
    place: int,
    by: str,
    summaries: Mapping[int, LayerSummary],
    go_on: GoOn,
) -> UnitRow:
    """What one unit of the key side receives, from units of the query side. Needs the first pass."""
    tokens = checked(attention.keys, level, place)
    total = torch.zeros(attention.queries.count(by), dtype=torch.float64)
    index = group_index(attention.queries, by)
    for layer, some in heads_by_layer(heads).items():
        summary = summaries[layer]
        if level == "document" and summary.to_documents is not None and layer not in attention.reweightings:
            given_HN = summary.to_documents[..., place].double()[some]
        else:
            given_HN = _columns(attention, layer, some, tokens, go_on)
        looking_HN = summary.looking[some].double()
        sums_HU, counts_HU = (
            group_sums(x[:, None], index, len(total) + 1, axis=2)[:, 0, :-1]
            for x in (given_HN * looking_HN, looking_HN)
        )
        total += (sums_HU / counts_HU.clamp(min=1)).sum(0)
    return UnitRow((total / len(heads)).float().numpy(), None)


def received(
    attention: AttentionLayers, layer: int, heads: list[int], summary: LayerSummary, go_on: GoOn
) -> tuple[Tensor, Tensor]:
    """What each key receives from all queries, and from a query that could see it, (heads, M) float64 each."""
    raw_HM, per_query_HM = summary.raw[heads].double(), summary.per_query[heads].double()
    reweighting = attention.reweightings.get(layer)
    if reweighting is None:
        return raw_HM, per_query_HM
    if not reweighting.renormalises:
        factor_HM = reweighting.factor_HM[heads].cpu()
        return raw_HM * factor_HM, per_query_HM * factor_HM
    found_HM = _sums_of_rows(attention, layer, heads, go_on)
    # Their ratio is how many queries could see the key; a key that got nothing gets nothing here.
    return found_HM, found_HM * (per_query_HM / raw_HM.where(raw_HM > 0, 1))


def checked(side: TokenAxis, level: str, place: int) -> Array:
    """The tokens of a unit. Raises InputError for one that is not there."""
    if not place < side.count(level):
        raise InputError(f"{side.name} has {side.count(level)} {level}s, counted from 0; got {place}.")
    return side.tokens_of(level, place)


def group_index(side: TokenAxis, level: str) -> Tensor:
    """(tokens,) the number of each token's unit, with one number more for tokens of none."""
    index = torch.from_numpy(side.index(level))
    return index.where(index >= 0, side.count(level))


def pool(weights_RM: Tensor, keys: TokenAxis, by: str) -> Tensor:
    """(R, units + 1): summed over the tokens of a unit; last, what tokens of no unit have."""
    index = group_index(keys, by)
    return group_sums(weights_RM[:, None], index, keys.count(by) + 1, axis=2)[:, 0]


def _mean_rows(
    attention: AttentionLayers, layer: int, heads: list[int], tokens: Array, go_on: GoOn
) -> Tensor:
    """(heads, M) float64: the mean over the queries that see anything."""
    _affordable(len(tokens) * attention.M * len(heads))
    found = []
    for some in _apart(attention, layer, heads):
        total = torch.zeros(len(some), attention.M, dtype=torch.float64)
        looking = torch.zeros(len(some), 1, dtype=torch.float64)
        for run in runs(tokens, STRIP // max(1, attention.M * len(some))):
            go_on()
            for told_HRM, plain_HRM in told_and_plain(attention, layer, some, run, range(attention.M)):
                total += told_HRM.sum(1, dtype=torch.float64).cpu()
                looking += (plain_HRM > 0).any(-1).sum(-1, keepdim=True).cpu()
        found.append(total / looking.clamp(min=1))
    return torch.cat(found)


def _sums_of_rows(attention: AttentionLayers, layer: int, heads: list[int], go_on: GoOn) -> Tensor:
    """(heads, M) float64: the sum over all queries."""
    _affordable(attention.N * attention.M * len(heads))
    found = []
    for some in _apart(attention, layer, heads):
        total = torch.zeros(len(some), attention.M, dtype=torch.float64)
        for run in runs(np.arange(attention.N), STRIP // max(1, attention.M * len(some))):
            go_on()
            if not (near := reach(attention, layer, run)):
                continue
            for told_HRC in blocks(attention, layer, some, run, near):
                total[:, : near.stop] += told_HRC.sum(1, dtype=torch.float64).cpu()
        found.append(total)
    return torch.cat(found)


def _columns(attention: AttentionLayers, layer: int, heads: list[int], tokens: Array, go_on: GoOn) -> Tensor:
    """(heads, N) float64: the sum over some keys."""
    _affordable(len(tokens) * attention.N * len(heads))
    found = []
    for some in _apart(attention, layer, heads):
        total = torch.zeros(len(some), attention.N, dtype=torch.float64)
        for run in runs(tokens, STRIP // max(1, attention.N * len(some))):
            go_on()
            for block_HNC in blocks(attention, layer, some, range(attention.N), run):
                total += block_HNC.sum(-1, dtype=torch.float64).cpu()
        found.append(total)
    return torch.cat(found)


def _apart(attention: AttentionLayers, layer: int, heads: list[int]) -> list[list[int]]:
    """All heads of a layer together, or one by one."""
    return [heads] if len(heads) == attention.layers[layer].shape[1] else [[head] for head in heads]


def runs(tokens: Array, most: int) -> Iterator[range]:
    """Sorted places as ranges of neighbours, none longer than `most` (and at least 1)."""
    most = max(1, most)
    for run in np.split(tokens, np.flatnonzero(np.diff(tokens) != 1) + 1):
        for start in range(0, len(run), most):
            part = run[start : start + most]
            yield range(int(part[0]), int(part[-1]) + 1)


def _affordable(entries: int) -> None:
    if entries > MOST_ENTRIES:
        raise TooLargeError(
            f"This takes in {entries:,} weights, and at most {MOST_ENTRIES:,} are computed at once. "
            "Choose a smaller unit, or fewer heads."
        )
