"""Pool: attention between groups of tokens, such as words, sentences, documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError, TooLargeError
from limelight.matrix.checks import tensor_of, whole_bytes
from limelight.matrix.tile import MatrixSpec, SoftmaxStats, Tile

ENTRIES = 2**18  # of the result, brought to its dtype together


class Pooled(NamedTuple):
    sums: Tensor
    rows_BN: Tensor
    cols_BM: Tensor


@dataclass(frozen=True, eq=False)
class Pool:
    """From tokens to words, sentences or documents: attention between groups, (B, H, P, Q).

    Rule: SUM over the keys of a group, MEAN over the queries of a group. So a word of three tokens receives
    what its tokens receive together, and a row still adds up to what its queries gave. Queries that see
    nothing are left out of the mean; a group of none but those has a row of 0.

    `rows` and `cols` name the group of each query and key: (N,) and (M,) for all batches, or (B, N) and
    (B, M); whole numbers from 0, in any order; -1 is a token of no group, which is left out (in lists, None too,
    as Hugging Face's `word_ids()` has it). The state is as large
    as the result, P × Q numbers a head: above `limit` bytes for both it is refused.

    State: a sum a pair of groups.    Neutral: 0.    Law: sums add.
    """

    rows: Tensor | Sequence[int]
    cols: Tensor | Sequence[int]
    limit: int = 2**30

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", whole_bytes(self.limit, "Pool"))

    independent_heads = True

    def init(self, frame: MatrixSpec) -> Pooled:
        rows_BN, P = _groups("rows", self.rows, frame.B, frame.N, frame.device)
        cols_BM, Q = _groups("cols", self.cols, frame.B, frame.M, frame.device)
        wide, own = (torch.finfo(dtype).bits // 8 for dtype in (frame.wide, frame.dtype))
        needed = frame.B * frame.H * ((P + 1) * (Q + 1) * wide + P * Q * own)
        if needed > self.limit:
            raise TooLargeError(
                f"Pool would keep {frame.B} × {frame.H} × {P} × {Q} numbers, {needed} bytes, and may keep "
                f"{self.limit}. Pool into fewer groups, or raise it: Pool(rows, cols, limit={needed})."
            )
        # One group more on either axis takes in the tokens of no group; `finish` cuts it off.
        sums = frame.full(frame.B, frame.H, P + 1, Q + 1, dtype=frame.wide)
        return Pooled(sums, rows_BN.where(rows_BN >= 0, P), cols_BM.where(cols_BM >= 0, Q))

    def update(self, state: Pooled, tile: Tile) -> None:
        heads = slice(tile.heads.start, tile.heads.stop)
        for b, weights_HRC in zip(tile.batches, tile.weights, strict=True):
            # Rows first: of a strip they are many in few groups, and what is left is quick.
            present, local_R = torch.unique(state.rows_BN[b, tile.i0 : tile.i1], return_inverse=True)
            summed_HPC = group_sums(weights_HRC, local_R, len(present), axis=1)
            cols_C = state.cols_BM[b, tile.j0 : tile.j1]
            pooled_HPQ = group_sums(summed_HPC, cols_C, state.sums.shape[-1], axis=2)
            state.sums[b, heads, present] += pooled_HPQ

    def merge(self, state: Pooled, other: Pooled) -> Pooled:
        return state._replace(sums=state.sums + other.sums)

    def finish(self, state: Pooled, stats: SoftmaxStats) -> Tensor:
        looking_BHN = (~stats.empty).to(state.sums.dtype)
        queries_BHP = state.sums.new_zeros(state.sums.shape[:3])  # whole numbers: their sums are exact
        queries_BHP.scatter_add_(-1, state.rows_BN[:, None].expand_as(looking_BHN), looking_BHN)
        queries_BHP.clamp_(min=1)
        B, H, P, Q = (state.sums.shape[0], state.sums.shape[1], *(size - 1 for size in state.sums.shape[2:]))
        means = stats.maximum.new_empty(B, H, P, Q)
        step = max(1, ENTRIES // max(1, B * H * Q))  # a few groups at a time: there is no room for all twice
        for start in range(0, P, step):
            some = slice(start, min(start + step, P))
            means[:, :, some] = state.sums[:, :, some, :Q] / queries_BHP[:, :, some, None]
        return means


def group_sums(x: Tensor, groups: Tensor, count: int, axis: int) -> Tensor:
    """Sums over the members of each group along an axis of x (any, any, any), always in the same order.

    On the CPU `index_add_` is the quickest; on a GPU it would add in another order each time.
    """
    if x.device.type != "cpu":
        return segment_sums(x, groups, count, axis)
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    return x.new_zeros(shape).index_add_(axis, groups, x)


def segment_sums(x: Tensor, groups: Tensor, count: int, axis: int) -> Tensor:
    """The same, with the members of a group brought side by side and summed segment by segment."""
    by_group = groups.argsort(stable=True)
    lengths = torch.bincount(groups, minlength=count)
    members_first = x.index_select(axis, by_group).movedim(axis, 0).contiguous()
    return torch.segment_reduce(members_first, "sum", lengths=lengths, axis=0).movedim(0, axis)


def _numbered(ids: Sequence[Any]) -> list[Any]:
    """Lists with -1 where they have None, for all texts or for each."""
    return [
        -1 if each is None else _numbered(each) if isinstance(each, list | tuple) else each for each in ids
    ]


def _groups(
    name: str, ids: Tensor | Sequence[int], B: int, size: int, device: torch.device
) -> tuple[Tensor, int]:
    """The group of each token, (B, size), and how many groups there are."""
    if isinstance(ids, Sequence):
        ids = _numbered(ids)
    groups = tensor_of(ids, f"Pool({name}=…) must be whole numbers, the group of each token", device)
    if groups.numel() and (groups.is_floating_point() or groups.dtype == torch.bool):
        raise ArgumentTypeError(
            f"Pool({name}=…) must be whole numbers, the group of each token; got {groups.dtype}."
        )
    if tuple(groups.shape) not in ((size,), (1, size), (B, size)):
        raise ShapeError(
            f"Pool({name}=…) must name one group a token, ({size},) or ({B}, {size}); "
            f"got shape {tuple(groups.shape)}."
        )
    if groups.numel() and int(groups.min()) < -1:
        raise InputError(f"Pool({name}=…) must count from 0, with -1 for no group; got {int(groups.min())}.")
    count = int(groups.max()) + 1 if groups.numel() else 0
    return groups.long().expand(B, size), count
