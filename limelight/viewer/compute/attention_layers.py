"""AttentionLayers: the matrices of one kind (self or cross), layer by layer, with their two texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from limelight.errors import InputError, ShapeError
from limelight.matrix import Mask
from limelight.readings.reading import MOST_HEADS_NAMED, Head, name_heads
from limelight.readings.words import head_labels
from limelight.viewer.compute.token_axis import UNITS, TokenAxis

TILE = 256
"""Cells of a tile's side."""
MOST_BETWEEN = 10**6
"""Numbers of a table from units to units."""


class Matrix(Protocol):
    """What the page needs of an attention matrix: `AttentionMatrix` has it, and so has `PrecomputedMatrix`."""

    @property
    def shape(self) -> tuple[int, int, int, int]: ...
    @property
    def mask(self) -> Mask: ...
    @property
    def device(self) -> torch.device: ...
    def __getitem__(self, index: Any, /) -> Tensor: ...
    def read(self, /, *reductions: Any) -> Any: ...


@dataclass(frozen=True, eq=False)
class Reweighting:
    """Reweighting of one layer: c[j]·a[i, j], with `others` divided by Σ_j c[j]·a[i, j].

    factor_HM  c, by head and key
    others     gives these sums of all queries, (H, N), once they are known, else None; no division without

    A query whose sum is 0 has 0 everywhere. Any entry is as exact as the weight, and costs no more, once the sums
    are known.
    """

    factor_HM: Tensor
    others: Callable[[], Tensor | None] | None = None

    @property
    def renormalises(self) -> bool:
        """Whether a number of the query goes in too."""
        return self.others is not None

    def apply(
        self,
        plain_HRC: Tensor,
        heads: slice,
        rows: slice,
        columns: slice,
        complete: Callable[[slice], Tensor],
    ) -> Tensor:
        """A block of reweighted weights; `complete(rows)` gives the weights of all keys of these rows."""
        kept_HRC = plain_HRC * self.factor_HM[heads, None, columns]
        if self.others is None:
            return kept_HRC
        if kept_HRC.shape[-1] == self.factor_HM.shape[-1]:
            sums_HR = kept_HRC.sum(-1, dtype=torch.float64)
        elif (known_HN := self.others()) is not None:
            sums_HR = known_HN[heads, rows]
        else:
            sums_HR = (complete(rows) * self.factor_HM[heads, None]).sum(-1, dtype=torch.float64)
        return kept_HRC / sums_HR.where(sums_HR > 0, 1)[..., None].to(kept_HRC)


@dataclass(frozen=True, eq=False)
class AttentionLayers:
    """Layers of one kind between the same two sides.

    layers  number of the layer → matrix, all of the same size
    names   number of the layer → what the model calls it
    ids     the tokens' numbers in the vocabulary, of self-attention; () where they are not known
    start   the slice that a page begins with
    batch   which text of the matrices' batch
    note    what a reader should know, such as which row predicts what
    reweightings  number of the layer → its reweighting, where the weights are not shown as the softmax gave them
    unit    of the numbers shown; rule: how they came of the weights, "" where they are the weights
    """

    name: str
    kind: Literal["self", "cross"]
    queries: TokenAxis
    keys: TokenAxis
    layers: Mapping[int, Matrix]
    names: Mapping[int, str] = field(default_factory=dict)
    ids: tuple[int, ...] = ()
    start: str = "mean"
    batch: int = 0
    note: str = ""
    reweightings: Mapping[int, Reweighting] = field(default_factory=dict)
    unit: str = "probability"
    rule: str = ""

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError(f"There is no attention to show: {self.name} has no layers.")
        for layer, matrix in self.layers.items():
            if 0 in matrix.shape:
                B, H, N, M = matrix.shape
                raise ShapeError(
                    f"A page needs something that looks, and something to look at; layer {layer} of {self.name} has "
                    f"{B} texts, {H} heads, {N} queries and {M} keys."
                )
            if matrix.shape[2:] != (len(self.queries), len(self.keys)):
                raise ShapeError(
                    f"The texts must have a token for every query and key; layer {layer} of {self.name} has "
                    f"{matrix.shape[2]} × {matrix.shape[3]}, and the texts {len(self.queries)} and "
                    f"{len(self.keys)} tokens."
                )
            if not 0 <= self.batch < matrix.shape[0]:
                raise ShapeError(
                    f"batch must be one of the {matrix.shape[0]} texts, counted from 0; got {self.batch}."
                )

    @property
    def N(self) -> int:
        """Queries."""
        return len(self.queries)

    @property
    def M(self) -> int:
        """Keys."""
        return len(self.keys)

    @property
    def heads(self) -> tuple[Head, ...]:
        """Every (layer, head)."""
        return tuple(
            (layer, head) for layer, matrix in self.layers.items() for head in range(matrix.shape[1])
        )

    @property
    def deepest(self) -> int:
        """The zoom at which a cell is one token."""
        cells = -(-max(self.N, self.M, 1) // TILE)
        return (cells - 1).bit_length()

    @property
    def between(self) -> tuple[str, str]:
        """Units of the queries and of the keys to compare first: on either side the largest of which it has several;
        documents where that were too many numbers."""
        rows, columns = _several(self.queries), _several(self.keys)
        few = self.queries.count(rows) * self.keys.count(columns) <= MOST_BETWEEN
        return (rows, columns) if few else ("document", "document")

    def step(self, zoom: int) -> int:
        """How many tokens a cell takes in, each way."""
        return 1 << (self.deepest - zoom)

    def chosen(self, text: str) -> tuple[Head, ...]:
        """The heads of a slice, as `protocol/requests.py` writes it: "mean", "3", "3.5", "3.5,4.1"."""
        if text == "mean":
            return self.heads
        found: list[Head] = []
        for part in text.split(","):
            layer, dot, head = part.partition(".")
            known = layer.isdecimal() and int(layer) in self.layers and (not dot or head.isdecimal())
            if not known or (dot and int(head) >= self.layers[int(layer)].shape[1]):
                raise InputError(
                    f"slice is 'mean', a layer such as '{next(iter(self.layers))}', or LAYER.HEAD, several with "
                    f"commas; {self.name} has no {part[:40]!r}."
                )
            every = range(self.layers[int(layer)].shape[1])
            found += [(int(layer), one) for one in ([int(head)] if dot else every)]
        return tuple(dict.fromkeys(found))

    def told(self, heads: tuple[Head, ...]) -> str:
        """The heads in words, that each counts the same, and the rule by which their weights are told."""
        return f"{self._named(heads)} {self.rule}".rstrip()

    def _named(self, heads: tuple[Head, ...]) -> str:
        if heads == self.heads and len(heads) > MOST_HEADS_NAMED:
            return f"Mean of all {len(heads)} heads of {len(self.layers)} layers, each with equal weight."
        if len(heads) == 1:
            return f"Of {head_labels(heads)[0]}."
        return f"Mean of {name_heads(heads)}, each with equal weight."


def _several(side: TokenAxis) -> str:
    return next((level for level in reversed(UNITS) if side.count(level) > 1), "document")


def heads_by_layer(heads: tuple[Head, ...]) -> dict[int, list[int]]:
    """Layer → its heads among these."""
    found: dict[int, list[int]] = {}
    for layer, head in heads:
        found.setdefault(layer, []).append(head)
    return found
