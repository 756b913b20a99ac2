"""Which tokens are padding and where texts begin, from the mask rather than from the weights.

A batch of texts of different lengths is padded, on the left or on the right, and a row may hold several texts that do
not look at each other. "The first token", "the token before" and "how far" are meant within a text, so a measure asks
here first.

A key is hidden from a query by the mask, or by a bias that lowers its score out of reach, as models without boolean
masks do. In such a model a query that may look at nothing spreads over everything; it is told as one that looks at
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.matrix import AttentionMatrix, Mask, TileCoverage
from limelight.matrix.biases import Bias
from limelight.matrix.index_functions import Device, TileIndex, part

SIDE = 1024
"""Queries and keys that are looked at together."""
ENTRIES = 2**22
"""Of a bias, over all heads."""
HIDING = -5e3
"""A number added to a score that hides the key: models use -1e4 or less."""


class VisibleTokens(NamedTuple):
    """Who may look at whom in one text of a batch, in any head: three summaries of (queries, keys)."""

    first_N: Tensor
    """The first key that a query may look at; the number of keys where there is none."""
    last_N: Tensor
    """The last one; -1 where there is none."""
    seen_M: Tensor
    """Whether any query may look at the key."""


def sight_of(matrix: AttentionMatrix, batch: int = 0) -> VisibleTokens:
    """Of text `batch`. It asks the mask and the bias, tile by tile, and computes no score."""
    N, M = matrix.shape[2:]
    first_N = torch.full((N,), M)
    last_N = torch.full((N,), -1)
    seen_M = torch.zeros(M, dtype=torch.bool)
    for (i0, i1, j0, j1), seen_RC in _tiles(matrix, batch, range(M)):
        looks_R = seen_RC.any(1)
        first_R = j0 + seen_RC.int().argmax(1)
        last_R = j1 - 1 - seen_RC.flip(1).int().argmax(1)
        first_N[i0:i1] = torch.minimum(first_N[i0:i1], first_R.where(looks_R, M))
        last_N[i0:i1] = torch.maximum(last_N[i0:i1], last_R.where(looks_R, -1))
        seen_M[j0:j1] |= seen_RC.any(0)
    return VisibleTokens(first_N, last_N, seen_M)


def first_key(matrix: AttentionMatrix, batch: int = 0) -> int:
    """The first key that is no padding: the first that any query may look at; 0 where there is none."""
    M = matrix.shape[3]
    for start in range(0, M, SIDE):
        columns = range(start, min(start + SIDE, M))
        seen_C = torch.zeros(len(columns), dtype=torch.bool)
        for _, seen_RC in _tiles(matrix, batch, columns):
            seen_C |= seen_RC.any(0)
            if bool(seen_C[0]):
                return start
        if bool(seen_C.any()):
            return start + int(seen_C.int().argmax())
    return 0


def _tiles(
    matrix: AttentionMatrix, batch: int, columns: range
) -> Iterator[tuple[tuple[int, int, int, int], Tensor]]:
    """The tiles in which anything may be seen: their place i0, i1, j0, j1, and what, bool (i1 - i0, j1 - j0)."""
    scores = matrix.logits
    _, H, N, M = matrix.shape
    mask = scores.mask
    if scores.bias is not None:
        mask = mask & LowScores(scores.bias, range(batch, batch + 1), range(H), scores.dtype)
    mask = mask.at(batch, batch + 1, 0, H)
    rows = SIDE if scores.bias is None else max(1, min(SIDE, ENTRIES // (SIDE * max(H, 1))))
    for i0, j0 in product(range(0, N, rows), range(columns.start, columns.stop, SIDE)):
        i1, j1 = min(i0 + rows, N), min(j0 + SIDE, columns.stop)
        cover = mask.coverage(i0, i1, j0, j1, N, M)
        if cover is TileCoverage.EMPTY:
            continue
        seen_HRC = torch.ones(1, 1, 1, dtype=torch.bool)
        if cover is TileCoverage.PARTIAL:
            seen_HRC = mask.block(i0, i1, j0, j1, N, M, scores.device)[0]
        yield (i0, i1, j0, j1), seen_HRC.any(0).expand(i1 - i0, j1 - j0).cpu()


# ---- keys that are hidden by a number ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LowScores(Mask):
    """Hides the keys whose score a bias lowers out of reach."""

    bias: Tensor | Bias
    batches: range
    heads: range
    dtype: torch.dtype

    def block(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int, device: Device = None) -> Tensor:
        if isinstance(self.bias, Tensor):
            added_BHRC = part(part(self.bias, i0, i1, axis=2), j0, j1, axis=3)
            for axis, span in enumerate((self.batches, self.heads)):
                added_BHRC = part(added_BHRC, span.start, span.stop, axis)
            return (added_BHRC > HIDING).expand(-1, -1, i1 - i0, j1 - j0).to(device)
        place = TileIndex(self.batches, self.heads, range(i0, i1), range(j0, j1), N, M)
        zeros = torch.zeros(*map(len, place[:4]), dtype=self.dtype, device=device)
        return self.bias.apply(zeros, place) > HIDING

    def coverage(self, i0: int, i1: int, j0: int, j1: int, N: int, M: int) -> TileCoverage:
        return TileCoverage.PARTIAL

    def at(self, b0: int, b1: int, h0: int, h1: int) -> Mask:
        return replace(self, batches=range(b0, b1), heads=range(h0, h1))

    @property
    def own(self) -> tuple[int, int]:
        return self.batches.stop, self.heads.stop

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.bias,) if isinstance(self.bias, Tensor) else self.bias.tensors


def hidden_by_mask(matrix: AttentionMatrix) -> AttentionMatrix:
    """The same matrix, in which what a table hides by a large negative number is hidden by the mask.

    Weights stay what they are, but for a query that may look at nothing: its row is empty, where the number lets it
    spread over everything. So what counts the queries that could see a key counts right.
    """
    scores, inputs = matrix.logits, matrix.inputs
    if not isinstance(scores.bias, Tensor) or not bool((scores.bias <= HIDING).any()):
        return matrix
    B, H = matrix.shape[:2]
    low = LowScores(scores.bias, range(B), range(H), scores.dtype)
    return AttentionMatrix(
        inputs.query,
        inputs.key,
        matrix.value,
        scores.mask & low,
        scores.scale,
        inputs.bias,
        scores.softcap,
        inputs.sink,
    )


@dataclass(frozen=True)
class Texts:
    """The tokens of one row of a batch that has a query and a key for each.

    inside_N   which tokens are no padding
    looking_N  which of them look at anything
    place_N    the number of each token among those that are no padding, from 0; -1 for padding
    begin_N    the place in the row of the first token of each token's text; -1 for padding
    """

    inside_N: Tensor
    looking_N: Tensor
    place_N: Tensor
    begin_N: Tensor

    @property
    def begins(self) -> list[int]:
        """Where the texts begin: one place, unless the row holds several that do not look at each other."""
        return [int(place) for place in self.begin_N[self.inside_N].unique()]

    @property
    def neighbours(self) -> bool:
        """Whether no padding stands between two tokens."""
        places = self.inside_N.nonzero().flatten()
        return not len(places) or int(places[-1] - places[0]) + 1 == len(places)

    def before(self, ids_N: Tensor) -> Tensor:
        """Of each token the id of the token before it in its text; -1 for the first ones and for padding."""
        found_N = torch.full_like(ids_N, -1)
        places = self.inside_N.nonzero().flatten()
        found_N[places[1:]] = ids_N[places[:-1]]
        found_N[self.begins] = -1
        return found_N


def texts_of(matrix: AttentionMatrix, batch: int = 0, inside: Tensor | None = None) -> Texts:
    """The texts in a square matrix of self-attention, (N queries, N keys).

    inside: which tokens are no padding, bool (N,); unless given, those that any query may look at.
    """
    sight = sight_of(matrix, batch)
    inside_N = sight.seen_M if inside is None else inside.cpu()
    N = len(inside_N)
    looking_N = inside_N & (sight.last_N >= 0)
    # A text begins where nobody from there on looks back, and nobody before looks ahead.
    ahead_N = sight.last_N.where(looking_N, -1).cummax(0).values if N else sight.last_N
    back_N = sight.first_N.where(looking_N, N).flip(0).cummin(0).values.flip(0) if N else sight.first_N
    place_N = torch.arange(N)
    furthest_N = torch.cat([torch.full((1,), -1), ahead_N[:-1]]) if N else ahead_N
    begins_N = inside_N & (back_N >= place_N) & (furthest_N < place_N)
    if inside is not None and bool(inside_N.any()):
        begins_N[int(inside_N.int().argmax())] = (
            True  # padding that is looked at all the same stands before it
        )
    begin_N = place_N.where(begins_N, -1).cummax(0).values if N else place_N
    return Texts(
        inside_N,
        looking_N,
        (inside_N.cumsum(0) - 1).where(inside_N, -1),
        begin_N.where(inside_N, -1),
    )
