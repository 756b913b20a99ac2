"""TopRows: the largest entries of every row and column, for an offline page.

One sweep over the queries finds both directions and all levels: strips of queries against all keys, from which each
query unit keeps its strongest keys, and each key unit the strongest queries so far. What is not kept is summed by
stretches of neighbouring units, so that every unit still has a colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limelight.matrix.reductions.downsample import CellRun
from limelight.matrix.reductions.pooling import group_sums
from limelight.readings.reading import Head
from limelight.viewer.compute.attention_layers import AttentionLayers, heads_by_layer
from limelight.viewer.compute.first_pass import LayerSummary
from limelight.viewer.compute.grid_reduction import areas, edges
from limelight.viewer.compute.tiles import blocks, reach
from limelight.viewer.compute.unit_rows import group_index, how, pool
from limelight.viewer.protocol.responses import Answer, Array, Scale

STRIP = 2**22
"""Entries of a layer that are held at once."""
DENSE = 2**21
"""A table of so many units by units is summed up as it is."""
ROUNDING = 1e-6
"""Of a sum: what is left below it may be rounding."""


@dataclass(frozen=True)
class TopRows:
    """Of each of U units the strongest of V others, and sums of all by stretches.

    value, place  (U, most) float32 and int64, from high to low; −1 where there are no more
    stretch       (S + 1) where each stretch begins
    sums          (U, S) float64: all of a stretch, those kept too
    elsewhere     (U) float32, or None
    """

    value: Array
    place: Array
    others: int
    stretch: Array
    sums: Array
    elsewhere: Array | None

    def kept(self, most: int) -> Answer:
        """The `rows` of the contract, with at most so many kept (without `unit` and `how`)."""
        k = min(most, self.value.shape[1], self.others)
        place, value = self.place[:, :k], np.where(self.place[:, :k] >= 0, self.value[:, :k], 0)
        dtype = np.uint16 if self.others < np.iinfo(np.uint16).max else np.uint32
        arrays: dict[str, Array] = {
            "place": np.where(place >= 0, place, np.iinfo(dtype).max).astype(dtype),
            "value": value.astype(np.float32),
        }
        scales = {}
        if self.elsewhere is not None:
            arrays["elsewhere"] = self.elsewhere
        if k < self.others:
            rest = self._rest(place, value)
            scales["rest"] = Scale.of(rest)
            arrays |= {"rest": scales["rest"].encode(rest), "stretch": self.stretch.astype(np.uint32)}
        head = {"units": len(self.value), "others": self.others, "kept": k}
        return Answer("rows", head, arrays, scales, frozenset({"place", "value"}))

    def _rest(self, place: Array, value: Array) -> Array:
        """What is left of each stretch."""
        rest = self.sums.copy()
        units = np.broadcast_to(np.arange(len(place))[:, None], place.shape)
        homes = np.searchsorted(self.stretch, place, side="right") - 1
        there = place >= 0
        np.subtract.at(rest, (units[there], homes[there]), value[there])
        rest[rest < self.sums * ROUNDING] = 0
        return rest


@dataclass(frozen=True)
class SweepResult:
    """(level, direction) → the strongest; `map` float32 the mean over the heads in cells, None without."""

    strongest: dict[tuple[str, str], TopRows]
    map: Tensor | None


def answered(
    found: TopRows, attention: AttentionLayers, heads: tuple[Head, ...], level: str, direction: str, most: int
) -> Answer:
    """As the page gets it, with unit and rule."""
    bare = found.kept(most)
    head = {
        "unit": attention.unit,
        "how": how(attention, level, level, direction, heads),
        "heads": len(heads),
    }
    return Answer("rows", head | dict(bare.head), bare.arrays, bare.scales, bare.planes)


def sweep(
    attention: AttentionLayers,
    heads: tuple[Head, ...],
    levels: Sequence[str],
    summaries: Mapping[int, LayerSummary],
    most: int,
    stretches: int,
    heard: Callable[[int], None] = lambda entries: None,
    side: int | None = None,
) -> SweepResult:
    """The strongest, the units of one level on both sides; with `side`, the mean map in cells of that side too."""
    looking_XN = torch.stack([summaries[layer].looking[head] for layer, head in heads])
    if len(levels) > 1 and not bool((looking_XN == looking_XN[:1]).all()):
        # Where heads see nothing at different queries, what a query counts depends on the head and the level.
        parts = [sweep(attention, heads, [level], summaries, most, stretches, heard) for level in levels]
        return SweepResult({key: found for part in parts for key, found in part.strongest.items()}, None)
    tables = [_Table.of(attention, level, looking_XN, most, stretches) for level in levels]
    width = attention.M * max(len(each) for each in heads_by_layer(heads).values())
    share_XN = tables[0].share_XN if len(tables) == 1 else torch.ones(looking_XN.shape, dtype=torch.float64)
    map_ = None if side is None or len(tables) == 1 else _Map.of(attention, side)
    for rows in _strips(tables, attention.N, max(1, STRIP // max(1, width))):
        mixed_RM = _mixed(attention, heads, rows, share_XN)
        if map_ is not None:
            map_.take(mixed_RM, rows)
        for table in tables:
            share_R = None if len(tables) == 1 else table.share_XN[0, rows.start : rows.stop]
            table.take(mixed_RM if share_R is None else mixed_RM * share_R[:, None], rows)
        heard(len(rows) * attention.M * len(heads))
    found = {(table.level, name): found for table in tables for name, found in table.found().items()}
    return SweepResult(found, None if map_ is None else map_.mean(len(heads)))


# ---- inside -------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Map:
    """Sums of cells of side × side."""

    sums: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, attention: AttentionLayers, side: int) -> _Map:
        rows, columns = edges(attention.N, side), edges(attention.M, side)
        return cls(torch.zeros(len(rows) - 1, len(columns) - 1, dtype=torch.float64), rows, columns)

    def take(self, weights_RM: Tensor, rows: range) -> None:
        down, across = (
            CellRun.of(self.rows, rows.start, rows.stop),
            CellRun.of(self.columns, 0, weights_RM.shape[1]),
        )
        self.sums[down.cells] += across.sums(down.sums(weights_RM, -2), -1)

    def mean(self, heads: int) -> Tensor:
        return (self.sums / areas(self.rows, self.columns) / heads).float()


@dataclass(eq=False)
class _Table:
    """Units by units of one level, of which the strongest are kept; summed up as it is where it is small."""

    attention: AttentionLayers
    level: str
    share_XN: Tensor
    """By what the row of a head is multiplied, so that a sum over heads and a unit's rows is their mean."""
    most: int
    across: Tensor
    down: Tensor
    dense: Tensor | None
    from_value: Tensor
    from_place: Tensor
    from_sums: Tensor
    elsewhere: Tensor
    to_value: Tensor
    to_place: Tensor
    to_sums: Tensor

    @classmethod
    def of(
        cls, attention: AttentionLayers, level: str, looking_XN: Tensor, most: int, stretches: int
    ) -> _Table:
        U, V = attention.queries.count(level), attention.keys.count(level)
        index_N = group_index(attention.queries, level)
        counts_XU = torch.zeros(len(looking_XN), U + 1, dtype=torch.float64)
        counts_XU.index_add_(1, index_N, looking_XN.double())
        share_XN = 1 / (counts_XU.clamp(min=1)[:, index_N] * len(looking_XN))
        across, down = _stretches(V, stretches), _stretches(U, stretches)
        wide = torch.float64
        return cls(
            attention,
            level,
            share_XN,
            most,
            across,
            down,
            torch.zeros(U, V + 1, dtype=wide) if U * V <= DENSE else None,
            torch.zeros(U, min(most, V)),
            torch.full((U, min(most, V)), -1),
            torch.zeros(U, len(across) - 1, dtype=wide),
            torch.zeros(U),
            torch.zeros(V, 0),
            torch.zeros(V, 0, dtype=torch.int64),
            torch.zeros(V, len(down) - 1, dtype=wide),
        )

    def take(self, weights_RM: Tensor, rows: range) -> None:
        """Some rows, multiplied by their share."""
        index_R = torch.from_numpy(self.attention.queries.index(self.level)[rows.start : rows.stop])
        inside = index_R >= 0
        if not bool(inside.any()):
            return
        units = range(int(index_R[inside].min()), int(index_R.max()) + 1)
        local_R = torch.where(inside, index_R - units.start, len(units))
        sums_UM = group_sums(weights_RM[None], local_R, len(units) + 1, axis=1)[0, :-1]
        pooled = pool(sums_UM, self.attention.keys, self.level)
        if self.dense is not None:
            self.dense[units.start : units.stop] += pooled
        else:
            self._keep(pooled, units)

    def found(self) -> dict[str, TopRows]:
        if self.dense is not None:
            self._keep(self.dense, range(len(self.dense)))
            self.dense = None
        values = self.from_value.numpy(), self.to_value.numpy()
        places = (
            self.from_place.where(self.from_value > 0, -1).numpy(),
            self.to_place.where(self.to_value > 0, -1).numpy(),
        )
        U, V = len(values[0]), len(values[1])
        across, down = self.across.numpy(), self.down.numpy()
        return {
            "from": TopRows(values[0], places[0], V, across, self.from_sums.numpy(), self.elsewhere.numpy()),
            "to": TopRows(values[1], places[1], U, down, self.to_sums.numpy(), None),
        }

    def _keep(self, pooled: Tensor, units: range) -> None:
        """Of complete units (units, V + 1): their strongest, and what they are to the keys' strongest."""
        table, here = pooled[:, :-1], slice(units.start, units.stop)
        exact = table.float()
        self.elsewhere[here] = pooled[:, -1].float()
        best = exact.topk(self.from_value.shape[1], dim=1)
        self.from_value[here], self.from_place[here] = best.values, best.indices
        homes = torch.repeat_interleave(torch.arange(len(self.across) - 1), self.across.diff())
        self.from_sums[here] = group_sums(table[None], homes, len(self.across) - 1, axis=2)[0]
        own = torch.arange(units.start, units.stop)
        homes = torch.searchsorted(self.down, own, right=True) - 1
        self.to_sums += group_sums(table.T[None], homes, len(self.down) - 1, axis=2)[0]
        values = torch.cat([self.to_value, exact.T], 1)
        places = torch.cat([self.to_place, own.expand(len(exact.T), -1)], 1)
        best = values.topk(min(self.most, values.shape[1]), dim=1)
        self.to_value, self.to_place = best.values, places.gather(1, best.indices)


def _stretches(units: int, most: int) -> Tensor:
    """Where each of at most so many stretches of neighbours begins, and the end."""
    parts = max(1, min(most, units))
    return torch.arange(parts + 1) * units // parts


def _mixed(attention: AttentionLayers, heads: tuple[Head, ...], rows: range, share_XN: Tensor) -> Tensor:
    """(rows, M) float64: the heads together, each row by its share."""
    total = torch.zeros(len(rows), attention.M, dtype=torch.float64)
    share = {head: share_XN[place, rows.start : rows.stop] for place, head in enumerate(heads)}
    for layer, some in heads_by_layer(heads).items():
        place = 0
        columns = reach(attention, layer, rows)
        for block_HRM in blocks(attention, layer, some, rows, columns):
            here = torch.stack([share[layer, head] for head in some[place : place + len(block_HRM)]])
            if bool((here == here[:1]).all()):
                total[:, : len(columns)] += block_HRM.sum(0).cpu() * here[0][:, None]
            else:
                total[:, : len(columns)] += (block_HRM.cpu() * here[..., None]).sum(0)
            place += len(block_HRM)
    return total


def _strips(tables: Sequence[_Table], rows: int, most: int) -> list[range]:
    """Neighbouring rows that cut through no unit of a table which is not kept as it is."""
    free = np.ones(rows + 1, dtype=bool)  # free[i]: a strip may end before row i
    for table in tables:
        if table.dense is None:
            index = table.attention.queries.index(table.level)
            last: dict[int, int] = {int(unit): row for row, unit in enumerate(index) if unit >= 0}
            until = np.array([last.get(int(unit), row) for row, unit in enumerate(index)])
            free[1:] &= np.maximum.accumulate(until) == np.arange(rows)
    found, start = [], 0
    ends = np.flatnonzero(free)[1:]
    while start < rows:
        within = ends[(ends > start) & (ends <= start + most)]
        stop = int(within[-1]) if len(within) else int(ends[ends > start][0])
        found.append(range(start, stop))
        start = stop
    return found
