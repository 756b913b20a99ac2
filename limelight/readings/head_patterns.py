"""MaskedShare: a query's attention on keys that a mask selects (previous token, duplicate, induction).

Heads that do one thing are known by where they look: at the token before, at the same token earlier, at what came
after it then. Each such place is a mask, and the masks of `limelight.matrix.masks` can say all three of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.matrix import Mask, MatrixSpec, SoftmaxStats, Tile, TileCoverage, masks


class MaskedShareResult(NamedTuple):
    """Of each query, (B, H, N)."""

    share: Tensor
    """The sum of its weights on the keys pointed at; 0 where it has none."""
    keys: Tensor
    """How many keys are pointed at that it can see, whole numbers."""


@dataclass(frozen=True)
class MaskedShare:
    """Σ over the keys j that `at` points at of a[i, j], and how many of them query i can see.

    `at` is a mask: True points at the key. What the matrix's own mask hides has no weight and is not counted.

    State: two sums a query.    Neutral: 0.    Law: sums add.
    """

    at: Mask

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Pointed:
        shape = (frame.B, frame.H, frame.N)
        at = self.at.fit(frame.B, frame.H, frame.N, frame.M)
        sums = frame.full(*shape, dtype=frame.wide), frame.full(*shape, dtype=torch.int64)
        return Pointed(*sums, at, frame.N, frame.M)

    def update(self, state: Pointed, tile: Tile) -> None:
        place = (tile.i0, tile.i1, tile.j0, tile.j1, state.N, state.M)
        if state.at.coverage(*place) is TileCoverage.EMPTY:
            return
        here = state.at.at(tile.batches.start, tile.batches.stop, tile.heads.start, tile.heads.stop)
        at_BHRC = here.block(*place, tile.scores.device)
        state.share[tile.rows] += (tile.weights * at_BHRC).sum(-1)
        state.keys[tile.rows] += (at_BHRC & (tile.scores != -torch.inf)).sum(-1)

    def merge(self, state: Pointed, other: Pointed) -> Pointed:
        return state._replace(share=state.share + other.share, keys=state.keys + other.keys)

    def finish(self, state: Pointed, stats: SoftmaxStats) -> MaskedShareResult:
        return MaskedShareResult(state.share.to(stats.maximum.dtype), state.keys)


class Pointed(NamedTuple):
    share: Tensor
    keys: Tensor
    at: Mask
    N: int
    M: int


@dataclass(frozen=True, eq=False)
class Apart:
    """How far each query looks where padding stands among the tokens: Σ a·|place of the key - own place|, (B, H, N).

    places: of each token, as many queries as keys, its place in its text, (N,) whole numbers.

    State: one sum a query.    Neutral: 0.    Law: sums add.
    """

    places: Tensor

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Tensor:
        return frame.full(frame.B, frame.H, frame.N, dtype=frame.wide)

    def update(self, state: Tensor, tile: Tile) -> None:
        places = self.places.to(state.device)
        far_RC = (places[tile.i0 : tile.i1, None] - places[tile.j0 : tile.j1]).abs()
        state[tile.rows] += (tile.weights * far_RC).sum(-1)

    def merge(self, state: Tensor, other: Tensor) -> Tensor:
        return state + other

    def finish(self, state: Tensor, stats: SoftmaxStats) -> Tensor:
        return state.to(stats.maximum.dtype)


# ---- the places that name a head ----------------------------------------------------------------------


def previous_token(tokens: int | Tensor) -> Mask:
    """The key right before the query's own position: j = i - 1.

    tokens: how many there are; or, where padding stands among them, the place of each, -1 for padding.
    """
    places = torch.arange(tokens) if isinstance(tokens, int) else tokens
    return masks.documents(places, (places + 1).where(places >= 0, -2))


def duplicate_token(ids: Sequence[int] | Tensor) -> Mask:
    """Earlier keys that hold the query's own token: t[j] = t[i], j < i.

    Source: Wang et al. 2022, "Interpretability in the Wild" (arXiv 2211.00593), section 3: duplicate token heads.
    """
    tokens = torch.as_tensor(ids)
    return masks.documents(tokens, tokens) & masks.causal(offset=-1)


def induction(ids: Sequence[int] | Tensor, before: Tensor | None = None) -> Mask:
    """Earlier keys that came right after the query's own token: t[j - 1] = t[i], j - 1 < i.

    before: of each token the id of the one before it, -1 where there is none; the neighbour's unless given.
    Source: Olsson et al. 2022, "In-context Learning and Induction Heads" (arXiv 2209.11895): the prefix
    matching score.
    """
    tokens = torch.as_tensor(ids)
    if before is None:
        before = torch.cat([torch.full_like(tokens[:1], -1), tokens[:-1]])
    return masks.documents(tokens, before) & masks.causal(offset=0)
