"""Layers × heads: one number of each, or one small picture of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from limelight.errors import InputError, one_of
from limelight.matrix import AttentionMatrix
from limelight.matrix.reductions.downsample import CellRun
from limelight.readings.atlas import MEASURES as ATLAS, atlas
from limelight.viewer.compute.attention_layers import AttentionLayers
from limelight.viewer.compute.first_pass import LayerSummary, sinks_told
from limelight.viewer.compute.grid_reduction import areas, edges
from limelight.viewer.protocol.responses import Array

THUMB = 32
"""Cells of a small picture's side, at most."""


class Measure(NamedTuple):
    """A number a head: its name, its unit, and what was computed."""

    name: str
    unit: str
    how: str


def measures(attention: AttentionLayers) -> list[Measure]:
    """Which there are for this attention."""
    sinks = sinks_told(attention)
    found = [
        Measure("entropy", "nats", "Entropy of a query's weights, -Σ a·ln a; mean over the queries."),
        Measure("distance", "tokens", "Distance to the keys looked at, Σ a·|j - i|; mean over the queries."),
        Measure("sink", "probability", f"Weight on the sinks ({sinks}); mean over the queries."),
        Measure(
            "agreement",
            "probability",
            "How much of the head's attention falls where the heads look on average: Σ min(its share, their mean "
            "share) over the cells of a row of the coarse map; mean over the rows.",
        ),
    ]
    if attention.ids and attention.N == attention.M:
        found += [
            Measure(
                name, "probability", f"{FROM_ATLAS[name]}; mean over the queries{_THAT_CAN.get(name, '')}."
            )
            for name in FROM_ATLAS
        ]
    return found


FROM_ATLAS = {
    "previous token": "Weight on the token right before the query's",
    "duplicate token": "Weight on earlier occurrences of the query's token",
    "induction": "Weight on the tokens that followed earlier occurrences of the query's token",
}
_THAT_CAN = dict.fromkeys(("duplicate token", "induction"), " that can see one")
assert set(FROM_ATLAS) < set(ATLAS)


def values(
    attention: AttentionLayers,
    measure: str,
    summaries: Mapping[int, LayerSummary],
    go_on: Callable[[], None] = lambda: None,
) -> Array:
    """(layers, most heads) float32; NaN for a head that a layer has not. `go_on` is called between layers that must
    be read anew, and may raise."""
    known = [each.name for each in measures(attention)]
    if measure not in known:
        raise InputError(one_of("measure", known, measure[:40]))
    if measure in FROM_ATLAS:
        return _from_atlas(attention, go_on)[measure]
    if measure == "agreement":
        rows = _agreement(summaries)
    else:
        rows = [summaries[layer].means[measure] for layer in attention.layers]
    return table(attention, rows)


def table(attention: AttentionLayers, rows: list[Tensor]) -> Array:
    """Rows of as many numbers as their layer has heads, side by side."""
    most = max(matrix.shape[1] for matrix in attention.layers.values())
    found = np.full((len(rows), most), np.nan, dtype=np.float32)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row.float().numpy()
    return found


def thumbs(attention: AttentionLayers, summaries: Mapping[int, LayerSummary]) -> Array:
    """(layers, most heads, rows, columns) float32: the mean weight of a cell."""
    pictures = [_small(attention, summaries[layer]) for layer in attention.layers]
    most = max(len(each) for each in pictures)
    found = np.zeros((len(pictures), most, *pictures[0].shape[1:]), dtype=np.float32)
    for place, each in enumerate(pictures):
        found[place, : len(each)] = each.float().numpy()
    return found


def _small(attention: AttentionLayers, summary: LayerSummary) -> Tensor:
    """(H, rows, columns) float64: the cells of the map, several together, each by its area."""
    step = attention.step(summary.zoom)
    cells = summary.map.mean.double()
    area = areas(edges(attention.N, step), edges(attention.M, step)).double()
    sums = [CellRun.of(_parts(size), 0, size) for size in cells.shape[1:]]
    down, across = sums
    return across.sums(down.sums(cells * area, -2), -1) / across.sums(down.sums(area, -2), -1)


def _parts(size: int) -> Tensor:
    """Edges of at most `THUMB` parts, as equal as they can be."""
    parts = min(THUMB, size)
    return torch.arange(parts + 1) * size // max(1, parts)


def _agreement(summaries: Mapping[int, LayerSummary]) -> list[Tensor]:
    """Of each layer (H,)."""
    shares = []
    for summary in summaries.values():
        cells = summary.map.mean.double()
        shares.append(cells / cells.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny))
    mean = torch.cat(shares).mean(0)
    looking = mean.sum(-1) > 0
    return [torch.minimum(each, mean).sum(-1)[:, looking].mean(-1) for each in shares]


_FOUND: WeakKeyDictionary[AttentionLayers, dict[str, Array]] = WeakKeyDictionary()


def _from_atlas(attention: AttentionLayers, go_on: Callable[[], None]) -> dict[str, Array]:
    """The measures that need the tokens' numbers: one pass of their own for all of them."""
    if attention in _FOUND:
        return _FOUND[attention]
    rows: dict[str, list[Tensor]] = {name: [] for name in FROM_ATLAS}
    for layer, matrix in attention.layers.items():
        assert isinstance(matrix, AttentionMatrix), "`measures` offers these of such layers alone"
        go_on()
        found = atlas({layer: matrix}, attention.ids, batch=attention.batch)
        for name in FROM_ATLAS:
            rows[name].append(torch.tensor(found[name].values[0]))
    _FOUND[attention] = {name: table(attention, each) for name, each in rows.items()}
    return _FOUND[attention]
