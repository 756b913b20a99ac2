"""ArgMax, TopK and BottomK: each query's largest and smallest weights, with their keys.

They rank by score, which within a row is the order of the weights, and keep apart weights that have both
underflowed to 0. Of equal scores the lowest key wins, so that no reading depends on how the matrix was cut.

`max` with its index and `topk` are slow over long rows. The largest entry of each chunk of columns is quick
to find; only the chunks that can hold a winner are then looked into. Both steps are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from limelight.errors import InputError, TooLargeError
from limelight.matrix.checks import whole_bytes, whole_number
from limelight.matrix.reductions.base import maybe_hidden
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile

CHUNK = 32
LIMIT = 2**31  # bytes, unless another is given


class TopKResult(NamedTuple):
    """The entries that won: for ArgMax (B, H, N) each, for TopK and BottomK (B, H, N, k), the winner first."""

    weights: Tensor
    """The weights; 0 where the query sees no (more) keys, NaN where one of its scores is no number."""
    keys: Tensor
    """The positions of their keys; -1 where the query sees no (more) keys, or one of its scores is no number."""


class Best(NamedTuple):
    scores: Tensor
    keys: Tensor


@dataclass(frozen=True)
class ArgMax:
    """The largest weight of each query and its key, (B, H, N) each.

    State: (score, key).    Neutral: (-∞, -1).    Law: the larger score wins, of equals the lower key.
    """

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Best:
        shape = (frame.B, frame.H, frame.N)
        return Best(frame.full(*shape, value=-torch.inf), frame.full(*shape, value=-1, dtype=torch.int64))

    def update(self, state: Best, tile: Tile) -> None:
        scores, columns = largest(tile.scores)
        found = Best(scores, (columns + tile.j0).masked_fill(scores == -torch.inf, -1))
        here = Best(state.scores[tile.rows], state.keys[tile.rows])
        state.scores[tile.rows], state.keys[tile.rows] = self.merge(here, found)

    def merge(self, state: Best, other: Best) -> Best:
        wins = (other.scores > state.scores) | ((other.scores == state.scores) & (other.keys < state.keys))
        return Best(other.scores.where(wins, state.scores), other.keys.where(wins, state.keys))

    def finish(self, state: Best, stats: SoftmaxStats) -> TopKResult:
        weights = stats.weigh(state.scores[..., None])[..., 0]
        return TopKResult(weights, state.keys.masked_fill(stats.has_nan, -1))


@dataclass(frozen=True)
class TopK:
    """The `k` largest weights of each query and their keys, (B, H, N, k) each, the largest first.

    The state is as large as the reading: above `limit` bytes for both it is refused.

    State: k (score, key) a query.    Neutral: k times (-∞, -1).
    Law: of both lists the k largest, of equal scores the lower key first.
    """

    k: int
    limit: int = field(default=LIMIT, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", _entries("TopK", self.k))
        object.__setattr__(self, "limit", whole_bytes(self.limit, "TopK"))

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Best:
        return _no_entries("TopK", self.k, self.limit, frame)

    def update(self, state: Best, tile: Tile) -> None:
        _keep_first(state, tile, tile.scores, self.k)

    def merge(self, state: Best, other: Best) -> Best:
        return _merged(state, other, self.k)

    def finish(self, state: Best, stats: SoftmaxStats) -> TopKResult:
        return TopKResult(stats.weigh(state.scores), state.keys.masked_fill(stats.has_nan[..., None], -1))


@dataclass(frozen=True)
class BottomK:
    """The `k` smallest weights of each query among the keys that it sees, (B, H, N, k) each, the smallest first.

    The state is as large as the reading: above `limit` bytes for both it is refused.

    State: k (-score, key) a query.    Neutral: k times (-∞, -1).
    Law: of both lists the k smallest scores, of equals the lower key first.
    """

    k: int
    limit: int = field(default=LIMIT, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", _entries("BottomK", self.k))
        object.__setattr__(self, "limit", whole_bytes(self.limit, "BottomK"))

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Best:
        return _no_entries("BottomK", self.k, self.limit, frame)

    def update(self, state: Best, tile: Tile) -> None:
        turned = torch.neg(tile.scores, out=tile.scratch)
        for start, stop in maybe_hidden(tile):
            here = turned[..., start - tile.j0 : stop - tile.j0]
            here.masked_fill_(here == torch.inf, -torch.inf)  # what is hidden wins nothing
        _keep_first(state, tile, turned, self.k)

    def merge(self, state: Best, other: Best) -> Best:
        return _merged(state, other, self.k)

    def finish(self, state: Best, stats: SoftmaxStats) -> TopKResult:
        scores, lost = -state.scores, stats.has_nan[..., None]
        weights = stats.weigh(scores, scores).masked_fill_((state.keys < 0) & ~lost, 0.0)
        return TopKResult(weights, state.keys.masked_fill(lost, -1))


def _entries(reduction: str, k: int) -> int:
    k = whole_number(k, f"{reduction}(k) must keep a whole number of entries a query")
    if k < 1:
        raise InputError(f"{reduction}(k) must keep at least one entry a query; got k = {k}.")
    return k


def _no_entries(reduction: str, k: int, limit: int, frame: MatrixSpec) -> Best:
    shape = (frame.B, frame.H, frame.N, k)
    needed = math.prod(shape) * (2 * torch.finfo(frame.dtype).bits + torch.iinfo(torch.int64).bits) // 8
    if needed > limit:
        raise TooLargeError(
            f"{reduction} would keep {frame.B} × {frame.H} × {frame.N} × {k} scores, keys and weights, {needed} "
            f"bytes, and may keep {limit}. Ask for fewer a query, or raise it: {reduction}({k}, limit={needed})."
        )
    return Best(frame.full(*shape, value=-torch.inf), frame.full(*shape, value=-1, dtype=torch.int64))


def _keep_first(state: Best, tile: Tile, scores: Tensor, k: int) -> None:
    """Take into the state the first k entries of a tile's rows, ranked by `scores`."""
    size = scores.shape[-1]
    if size > 2 * CHUNK * k:
        # A chunk that is not among the first k is beaten by k entries, the largest of each of those.
        maxima = _chunk_maxima(scores)
        chunks = _first(Best(maxima, _positions(maxima)), k).keys
        columns = _chunk_columns(chunks)  # a row that sees less than k chunks has -1 for the others
        candidates = scores.gather(-1, columns.clamp(min=0, max=size - 1))
        candidates = candidates.masked_fill_((columns < 0) | (columns >= size), -torch.inf)
    else:
        columns, candidates = _positions(scores), scores
    here = Best(state.scores[tile.rows], state.keys[tile.rows])
    found = _merged(here, _first(Best(candidates, columns + tile.j0), k), k)
    state.scores[tile.rows], state.keys[tile.rows] = found


def _merged(state: Best, other: Best, k: int) -> Best:
    scores = torch.cat([state.scores, other.scores], -1)
    return _first(Best(scores, torch.cat([state.keys, other.keys], -1)), k)


def largest(x: Tensor) -> tuple[Tensor, Tensor]:
    """The largest entry of each row, and its column, of equals the lowest."""
    if x.shape[-1] <= 2 * CHUNK:
        values, columns = x.max(-1)
        return values, columns
    winner = _chunk_maxima(x).argmax(-1, keepdim=True)  # argmax gives the first of equals
    inside = x.gather(-1, _chunk_columns(winner).clamp(max=x.shape[-1] - 1))
    values, columns = inside.max(-1)
    return values, winner[..., 0] * CHUNK + columns


def _chunk_maxima(x: Tensor) -> Tensor:
    """The largest entry of each `CHUNK` columns; the last chunk may be shorter."""
    whole = x.shape[-1] // CHUNK * CHUNK
    chunked = x[..., :whole].reshape(*x.shape[:-1], -1, CHUNK)
    maxima = chunked.amax(-1)
    if whole == x.shape[-1]:
        return maxima
    return torch.cat([maxima, x[..., whole:].amax(-1, keepdim=True)], -1)


def _chunk_columns(chunks: Tensor) -> Tensor:
    """The columns of the chunks (…, c) → (…, c·CHUNK); of the last chunk, beyond the last column too."""
    inside = torch.arange(CHUNK, device=chunks.device)
    return (chunks[..., None] * CHUNK + inside).flatten(-2)


def _positions(x: Tensor) -> Tensor:
    return torch.arange(x.shape[-1], device=x.device).expand(x.shape)


def _first(entries: Best, k: int) -> Best:
    """The k largest entries by score, of equals the lower key first; filled up with (-∞, -1)."""
    scores, keys = entries
    missing = k - scores.shape[-1]
    if missing > 0:
        scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
        keys = torch.nn.functional.pad(keys, (0, missing), value=-1)
    if scores.dtype == torch.float32:
        # Score and key packed into one whole number, whose order is the order wanted: topk does the rest.
        # (Adding 0 turns -0 into 0, which the bits of a float tell apart.)
        bits = (scores + 0.0).view(torch.int32)
        rising = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()
        order = (rising << 32) | (0xFFFFFFFF - (keys & 0xFFFFFFFF))
        chosen = order.topk(k, dim=-1).indices
    else:
        by_key = keys.argsort(dim=-1, stable=True)
        by_score = scores.gather(-1, by_key).argsort(dim=-1, descending=True, stable=True)
        chosen = by_key.gather(-1, by_score[..., :k])
    scores = scores.gather(-1, chosen)
    return Best(scores, keys.gather(-1, chosen).masked_fill(scores == -torch.inf, -1))
