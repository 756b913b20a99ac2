"""Relative position terms of the scores (DeBERTa), kept as vectors and one index per distance.

DeBERTa adds to q[i]·k[j]

    q[i]·r[f(i - j)]    what a query makes of the distance to the key
    k[j]·p[g(j - i)]    what a key makes of the distance to the query

with a few trained vectors r and p. A model multiplies with all of them and gathers a number for every pair, N × M a
head. Kept here is what these are made of: q, k, the vectors, and f, g as one number a distance. Any tile of them is
computed when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limelight.matrix.biases import Bias
from limelight.matrix.biases.custom import Table
from limelight.matrix.index_functions import TileIndex, part


@dataclass(frozen=True, eq=False)
class Lookup:
    """factor · x[a]·vectors[of[a - b]] for rows a and columns b of a model's table; `turned`, that table's transpose.

    x        (…, rows, D)
    vectors  (…, X, D)
    of       (rows + columns - 1,): which vector stands at the distance a - b, from 1 - columns on
    """

    x: Tensor
    vectors: Tensor
    of: Tensor
    turned: bool = False
    factor: float = 1.0

    def moved(self, move: Callable[[Tensor], Tensor]) -> Lookup:
        """The same with other leading axes, or on another device."""
        return replace(self, x=move(self.x), vectors=move(self.vectors))

    def block(self, place: TileIndex, like: Tensor) -> Tensor:
        """A tile, (B, H, R, C), of the device and dtype of `like`."""
        rows, columns = (place.columns, place.rows) if self.turned else (place.rows, place.columns)
        of = self.of.to(like.device)
        first = len(of) - self.x.shape[2]  # the place of distance 0: as many columns lie before it, less one
        a, b = (torch.arange(span.start, span.stop, device=like.device) for span in (rows, columns))
        which_AB = of[a[:, None] - b + first]
        low, high = int(which_AB.min()), int(which_AB.max())
        x = _panel(self.x, place).narrow(2, rows.start, len(rows)).to(like)
        vectors = _panel(self.vectors, place).narrow(2, low, high - low + 1).to(like)
        products = x @ vectors.mT * self.factor
        found = products.gather(-1, (which_AB - low).expand(*products.shape[:2], -1, -1))
        return found.mT if self.turned else found


def _panel(x_BHND: Tensor, place: TileIndex) -> Tensor:
    of_batches = part(x_BHND, place.batches.start, place.batches.stop)
    return part(of_batches, place.heads.start, place.heads.stop, axis=1)


@dataclass(frozen=True, eq=False)
class Looked(Bias):
    """Lookups of four axes, and the rest of what is added, if any, as a tensor."""

    lookups: tuple[Lookup, ...]
    rest: Tensor | None = None

    def apply(self, s_BHRC: Tensor, place: TileIndex) -> Tensor:
        if self.rest is not None:
            s_BHRC = Table(self.rest).apply(s_BHRC, place)
        if s_BHRC.numel():
            for lookup in self.lookups:
                s_BHRC = s_BHRC.add_(lookup.block(place, s_BHRC))
        return s_BHRC

    @property
    def lines(self) -> tuple[Tensor, ...]:
        """What it refers to that grows with the tokens, or not at all; `rest` may be a table."""
        return tuple(one for lookup in self.lookups for one in (lookup.x, lookup.vectors, lookup.of))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.lines if self.rest is None else (*self.lines, self.rest)

    def moved(self, move: Callable[[Tensor], Tensor]) -> Looked:
        """The same on another device."""
        rest = None if self.rest is None else move(self.rest)
        return Looked(tuple(lookup.moved(move) for lookup in self.lookups), rest)


def index_by_distance(index: Tensor) -> Tensor | None:
    """A table of places (…, rows, columns) as one number a distance, (rows + columns - 1,); None where it is none.

    It must be the same for all leading axes, and along each of its diagonals.
    """
    while index.dim() > 2:
        if index.shape[0] != 1 and index.stride(0) != 0:
            return None
        index = index[0]
    if index.dim() < 2 or not index.numel() or not torch.equal(index[1:, 1:], index[:-1, :-1]):
        return None
    return torch.cat([index[0].flip(0), index[1:, 0]])
