"""The strongest of all rows and columns of a level, for a page that must hold them all and cannot ask.

One sweep over the queries finds both directions: strips of query units against all keys, from which each query unit
keeps its strongest keys, and each key the strongest queries so far. What is not kept is summed by stretches of
neighbouring units, so that every unit still has a colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limelight.matrix.pools import group_sums
from limelight.readings.reading import Head
from limelight.viewer.attentions import Attention, by_layer
from limelight.viewer.envelope import Answer, Array, Scale
from limelight.viewer.maps import blocks
from limelight.viewer.rows import group_index, how, pool
from limelight.viewer.whole import Whole

STRIP = 2**22
"""Entries of a layer that are held at once."""


@dataclass(frozen=True)
class Strongest:
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
        """The `rows` of the contract, with at most so many kept (without `unit`, `how`)."""
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
        """What is left of each stretch; nothing is left below what rounding may leave."""
        rest = self.sums.copy()
        units = np.broadcast_to(np.arange(len(place))[:, None], place.shape)
        homes = np.searchsorted(self.stretch, place, side="right") - 1
        there = place >= 0
        np.subtract.at(rest, (units[there], homes[there]), value[there])
        rest[rest < self.sums * 1e-6] = 0
        return rest


def sweep(
    attention: Attention,
    heads: tuple[Head, ...],
    level: str,
    wholes: Mapping[int, Whole],
    most: int,
    stretches: int,
    heard: Callable[[int], None] = lambda entries: None,
) -> dict[str, Strongest]:
    """Both directions, units of one level on both sides: "from" and "to"."""
    queries, keys = attention.queries, attention.keys
    U, V = queries.count(level), keys.count(level)
    across, down = _stretches(V, stretches), _stretches(U, stretches)
    index_N = group_index(queries, level)
    from_value, from_place = torch.zeros(U, min(most, V)), torch.full((U, min(most, V)), -1)
    from_sums, elsewhere = torch.zeros(U, len(across) - 1, dtype=torch.float64), torch.zeros(U)
    to_value, to_place = torch.zeros(V, 0), torch.zeros(V, 0, dtype=torch.int64)
    to_sums = torch.zeros(V, len(down) - 1, dtype=torch.float64)
    share_HN = _shares(attention, heads, index_N, U, wholes)
    for units, rows in _strips(index_N, U, attention.M * max(len(each) for each in by_layer(heads).values())):
        weights_RM = _mixed(attention, heads, rows, share_HN)
        heard(len(rows) * attention.M * len(heads))
        local = (index_N[rows.start : rows.stop] - units.start).clamp(min=-1)
        local = local.where((local >= 0) & (local < len(units)), len(units))
        sums_UM = group_sums(weights_RM[None], local, len(units) + 1, axis=1)[0, :-1]
        pooled = pool(sums_UM, keys, level)
        table, here = pooled[:, :-1].float(), slice(units.start, units.stop)
        elsewhere[here] = pooled[:, -1].float()
        found = table.topk(min(most, V), dim=1)
        from_value[here], from_place[here] = found.values, found.indices
        from_sums[here] = _by_stretch(pooled[:, :-1], across)
        to_sums += _spread(pooled[:, :-1].T, units, down)
        to_value, to_place = _stronger(to_value, to_place, table.T, units, most)
    from_place = from_place.where(from_value > 0, -1)
    to_place = to_place.where(to_value > 0, -1)
    return {
        "from": Strongest(
            from_value.numpy(), from_place.numpy(), V, across.numpy(), from_sums.numpy(), elsewhere.numpy()
        ),
        "to": Strongest(to_value.numpy(), to_place.numpy(), U, down.numpy(), to_sums.numpy(), None),
    }


def answered(
    found: Strongest, attention: Attention, heads: tuple[Head, ...], level: str, direction: str, most: int
) -> Answer:
    """As the page gets it, with unit and rule."""
    bare = found.kept(most)
    head = {"unit": "probability", "how": how(attention, level, level, direction, heads), "heads": len(heads)}
    return Answer("rows", head | dict(bare.head), bare.arrays, bare.scales, bare.planes)


# ---- inside -------------------------------------------------------------------------------------------


def _stretches(units: int, most: int) -> Tensor:
    """Where each of at most so many stretches of neighbours begins, and the end."""
    parts = max(1, min(most, units))
    return torch.arange(parts + 1) * units // parts


def _shares(
    attention: Attention, heads: tuple[Head, ...], index_N: Tensor, units: int, wholes: Mapping[int, Whole]
) -> dict[Head, Tensor]:
    """Of each head, (N,): by what a row is multiplied, so that a sum over heads and a unit's rows is their mean."""
    found = {}
    for layer, head in heads:
        looking_N = wholes[layer].looking[head].double()
        count = torch.zeros(units + 1, dtype=torch.float64).index_add_(0, index_N, looking_N)
        found[layer, head] = 1 / (count.clamp(min=1)[index_N] * len(heads))
    return found


def _mixed(
    attention: Attention, heads: tuple[Head, ...], rows: range, share_HN: Mapping[Head, Tensor]
) -> Tensor:
    """(rows, M) float64: the heads together, each row by its share."""
    total = torch.zeros(len(rows), attention.M, dtype=torch.float64)
    for layer, some in by_layer(heads).items():
        place = 0
        for block_HRM in blocks(attention, layer, some, rows, range(attention.M)):
            for weights_RM in block_HRM.cpu():
                share_R = share_HN[layer, some[place]][rows.start : rows.stop]
                total.addcmul_(weights_RM.double(), share_R[:, None])
                place += 1
    return total


def _strips(index_N: Tensor, units: int, width: int) -> list[tuple[range, range]]:
    """Neighbouring units, and the rows from the first to the last of theirs."""
    most = max(1, STRIP // max(1, width))
    rows = index_N.numpy()
    firsts, lasts = np.full(units, len(rows)), np.full(units, -1)
    inside = rows < units
    np.minimum.at(firsts, rows[inside], np.flatnonzero(inside))
    np.maximum.at(lasts, rows[inside], np.flatnonzero(inside))
    found, start = [], 0
    while start < units:
        stop = start + 1
        low, high = firsts[start], lasts[start]
        while stop < units and max(high, lasts[stop]) - min(low, firsts[stop]) < most:
            low, high = min(low, firsts[stop]), max(high, lasts[stop])
            stop += 1
        found.append((range(start, stop), range(int(low), int(high) + 1)))
        start = stop
    return found


def _by_stretch(table: Tensor, borders: Tensor) -> Tensor:
    home = torch.repeat_interleave(torch.arange(len(borders) - 1), borders.diff())
    return group_sums(table[None], home, len(borders) - 1, axis=2)[0]


def _spread(table: Tensor, units: range, borders: Tensor) -> Tensor:
    """Sums by stretch of columns that are the units `units` of all."""
    home = torch.searchsorted(borders, torch.arange(units.start, units.stop), right=True) - 1
    return group_sums(table[None], home, len(borders) - 1, axis=2)[0]


def _stronger(value: Tensor, place: Tensor, table: Tensor, units: range, most: int) -> tuple[Tensor, Tensor]:
    """The strongest of those so far and of new columns."""
    places = torch.arange(units.start, units.stop).expand(len(table), -1)
    values, all_places = torch.cat([value, table], 1), torch.cat([place, places], 1)
    found = values.topk(min(most, values.shape[1]), dim=1)
    return found.values, all_places.gather(1, found.indices)
