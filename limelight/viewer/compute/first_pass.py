"""The first pass: every matrix of a subject is read once, and what the answers need of it is kept.

Of each layer a `LayerSummary`: the map, what each key receives, and numbers of each head.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from limelight.matrix import AttentionMatrix, Entropy, MeanDistance, Received, RowStats, SinkMass, Tile
from limelight.matrix.reductions.downsample import DownsampleResult
from limelight.matrix.reductions.products import Applied, TransposedApplied
from limelight.readings.padding import first_key, texts_of
from limelight.viewer.compute.attention_layers import AttentionLayers, Matrix
from limelight.viewer.compute.grid_reduction import Cells

MAP_BYTES = 2**28
"""What the map of one layer may take, of all its heads: as many cells as fit."""
MOST_CELLS = 4096
"""A side. Deeper, a tile is computed from its weights before anybody notices."""
MOST_DOCUMENTS = 16
"""Up to so many, what every token gives to and gets from each document is kept."""
NUMBERS_A_CELL = 2
"""Mean and maximum."""


@dataclass(frozen=True)
class LayerSummary:
    """Of one layer, for every head.

    map         the cells of zoom `zoom`, (H, cells, cells) each; `seen` of the first head alone
    raw, per_query  what each key receives, (H, M); see `Received`
    looking     which queries see anything, bool (H, N)
    others      what each query gives to all keys but the sinks, (H, N)
    means       name → the mean over looking queries that are no padding, (H,) float64: "entropy", "distance", "sink"
    from_documents  Σ over a document's queries of what each key gets, (H, M, P); None where documents are too many
    to_documents    Σ over a document's keys of what each query gives, (H, N, P); None likewise
    """

    zoom: int
    map: DownsampleResult
    raw: Tensor
    per_query: Tensor
    looking: Tensor
    others: Tensor
    means: dict[str, Tensor]
    from_documents: Tensor | None
    to_documents: Tensor | None

    @property
    def nbytes(self) -> int:
        """What it holds."""
        kept = (self.raw, self.per_query, self.looking, self.others)
        tensors = (*self.map, *kept, self.from_documents, self.to_documents)
        return sum(each.nbytes for each in tensors if each is not None)


def map_zoom(attention: AttentionLayers) -> int:
    """The deepest zoom whose cells, of all heads of a layer, fit into `MAP_BYTES`."""
    heads = max(matrix.shape[1] for matrix in attention.layers.values())
    for zoom in range(attention.deepest, 0, -1):
        step = attention.step(zoom)
        rows, columns = math.ceil(attention.N / step), math.ceil(attention.M / step)
        bytes_needed = 4 * NUMBERS_A_CELL * heads * rows * columns
        if max(rows, columns) <= MOST_CELLS and bytes_needed <= MAP_BYTES / len(attention.layers) ** 0.5:
            return zoom
    return 0


def sinks_of(attention: AttentionLayers) -> Tensor:
    """(M,) bool: where attention rests whatever the text says: the first token of self-attention that is no padding,
    the special tokens of cross-attention."""
    at = torch.zeros(attention.M, dtype=torch.bool)
    if attention.kind == "self":
        matrix = next(iter(attention.layers.values()))
        at[first_key(matrix, attention.batch) if isinstance(matrix, AttentionMatrix) else 0] = True
    else:
        at[[start == end for start, end in attention.keys.segments.spans]] = True
    return at


def sinks_told(attention: AttentionLayers) -> str:
    """The sinks in words."""
    return "the first token" if attention.kind == "self" else "special tokens"


def summarise_layer(attention: AttentionLayers, layer: int, heard: Callable[[Tile], None]) -> LayerSummary:
    """Read one layer in one pass. `heard` is called with every tile."""
    matrix, b = attention.layers[layer], attention.batch
    zoom, sinks = map_zoom(attention), sinks_of(attention).to(matrix.device)
    reductions: list[Any] = [
        RowStats(),
        Received(),
        Entropy(),
        MeanDistance(),
        SinkMass(sinks),
        SinkMass(
            ~sinks
        ),  # summed by itself: 1 less the sinks would lose the digits of a head that rests on them
        Cells(attention.step(zoom), heard),
    ]
    if few := 1 < attention.queries.count("document") <= MOST_DOCUMENTS:
        reductions.append(TransposedApplied(_members(attention, "queries", matrix.device)))
    if few_keys := 1 < attention.keys.count("document") <= MOST_DOCUMENTS:
        reductions.append(Applied(_members(attention, "keys", matrix.device)))
    stats, received, entropy, distance, sink, others, cells, *products = matrix.read(*reductions)
    looking_HN = ~stats.empty[b]
    counted_HN = looking_HN
    if (
        attention.kind == "self"
        and isinstance(matrix, AttentionMatrix)
        and matrix.shape[2] == matrix.shape[3]
    ):
        counted_HN = looking_HN & texts_of(matrix, b).looking_N.to(matrix.device)  # padding looks, too
    count_H = counted_HN.sum(-1).clamp(min=1)
    per_query = {"entropy": entropy, "distance": distance.mean, "sink": sink.total}
    means = {name: ((x[b].double() * counted_HN).sum(-1) / count_H).cpu() for name, x in per_query.items()}
    return LayerSummary(
        zoom,
        DownsampleResult(
            cells.mean[b].float().cpu(),
            cells.maximum[b].float().cpu(),
            cells.seen[b, :1].float().cpu().clone(),
        ),
        received.raw[b].cpu(),
        received.per_query[b].cpu(),
        looking_HN.cpu(),
        others.keys[b].cpu(),
        means,
        products.pop(0)[b].cpu() if few else None,
        products.pop(0)[b].cpu() if few_keys else None,
    )


def _members(attention: AttentionLayers, side: str, device: torch.device) -> Tensor:
    """(tokens, documents): 1 where a token is in a document."""
    index = torch.from_numpy(getattr(attention, side).index("document"))
    return one_hot(index + 1)[:, 1:].float().to(device)


# ---- over all layers ------------------------------------------------------------------------------------


@dataclass(eq=False)
class PassProgress:
    """How far the first pass over all layers is."""

    total: int
    done: int = 0
    what: str = ""
    error: str | None = None
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None

    @property
    def share(self) -> float:
        return 1.0 if self.seconds is not None else min(0.999, self.done / max(1, self.total))


class FirstPass:
    """Over the layers of some attentions; what it has kept stands in `summaries`, one dictionary an attention."""

    def __init__(self, attentions: Sequence[AttentionLayers]) -> None:
        self.attentions = attentions
        self.summaries: list[dict[int, LayerSummary]] = [{} for _ in attentions]
        self.reading = PassProgress(sum(map(weights, attentions)))
        self._lock = Lock()

    @property
    def ready(self) -> bool:
        """Whether all matrices were read."""
        return self.reading.seconds is not None

    def read(self, go_on: Callable[[], None] = lambda: None) -> None:
        """Go on from what was read before; `go_on` is called between tiles and may raise."""
        with self._lock:
            if self.ready:
                return
            self.reading = PassProgress(self.reading.total)
            layers = sum(len(attention.layers) for attention in self.attentions)
            number = 0
            try:
                for attention, summaries in zip(self.attentions, self.summaries, strict=True):
                    for layer, matrix in attention.layers.items():
                        number += 1
                        self.reading.what = f"layer {number} of {layers}"
                        before = self.reading.done
                        if layer not in summaries:
                            summaries[layer] = summarise_layer(attention, layer, self._heard(matrix, go_on))
                        self.reading.done = before + matrix.shape[1] * attention.N * attention.M
            except Exception as error:
                self.reading.error = str(error)
                raise
            self.reading.seconds = time.monotonic() - self.reading.started

    def _heard(self, matrix: Matrix, go_on: Callable[[], None]) -> Callable[[Tile], None]:
        """Counts rows: what a mask hides is no tile. Rows of a panel are read from the first to the last."""
        before, rows = self.reading.done, dict[int, int]()

        def heard(tile: Tile) -> None:
            rows[tile.heads.start] = len(tile.heads) * max(
                tile.i1, rows.get(tile.heads.start, 0) // len(tile.heads)
            )
            self.reading.done = before + sum(rows.values()) * matrix.shape[3]
            go_on()

        return heard


def weights(attention: AttentionLayers) -> int:
    """How many there are, of all heads and layers."""
    return len(attention.heads) * attention.N * attention.M
