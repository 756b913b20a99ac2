"""A mask in the few numbers that a kernel takes, and the tiles that it lets each block see.

Causal masks and windows are a band: low ≤ j - i ≤ high. Lengths are a box a sequence: its rows and its columns.
Documents are two lists of ids, a dense mask is a table. Joined by `&`, they are a `BlockMask`; masks joined by `|`,
negated ones and functions are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from limelight.matrix.masks.base import And, Dense, FullMask, Mask
from limelight.matrix.masks.by_token import Documents, Lengths
from limelight.matrix.masks.positional import Causal, Window

AT_ONCE = 2**24  # pairs of blocks whose documents are compared at a time


@dataclass(frozen=True, eq=False)
class BlockMask:
    """Query i may see key j where all of these allow it; None allows everything."""

    N: int
    M: int
    low: int | None
    high: int | None
    box_B4: Tensor | None
    """First row, row behind the last, first column, column behind the last; (B or 1, 4)."""
    documents: Documents | None
    table_BHNM: Tensor | None

    def runs(self, size: int, step: int, device: torch.device) -> Tensor:
        """For blocks of `size` queries: which keys they pass over, `step` at a time, (B or 1, blocks, 4) int32.

        The keys first:last hold all that a block may see; each query of it may see all of full:behind_full, a
        part of them. The first three of (first, full, behind_full, last) stand on the grid of the steps.
        """
        start = torch.arange(0, max(self.N, 1), size, device=device)
        stop = (start + size).clamp(max=self.N)
        runs = self._band(start, stop, step)
        if self.box_B4 is not None:
            runs = self._box(runs, self.box_B4.to(device)[:, :, None], start, stop, step)
        if self.documents is not None:
            runs = _within(runs, _same_documents(self.documents, size, step, device))
        if self.table_BHNM is not None:
            runs[..., 2] = runs[..., 1] = runs[..., 0]
        return runs.to(torch.int32).contiguous()

    def turned(self) -> BlockMask:
        """The same seen from the keys: which queries see them."""
        low, high = (None if self.high is None else -self.high), (None if self.low is None else -self.low)
        box = None if self.box_B4 is None else self.box_B4[:, [2, 3, 0, 1]]
        turned = self.documents
        if turned is not None:
            # "Not later than the query's" is, seen from the key, "not earlier": negated ids say so.
            query, key = turned.query_BN, turned.key_BM
            turned = Documents(-key, -query, True) if turned.earlier else Documents(key, query)
        return BlockMask(self.M, self.N, low, high, box, turned, self.table_BHNM)

    def _band(self, start: Tensor, stop: Tensor, step: int) -> Tensor:
        nothing, everything = torch.zeros_like(start), torch.full_like(start, self.M)
        first = nothing if self.low is None else start + self.low
        last = everything if self.high is None else stop + self.high
        full = nothing if self.low is None else stop - 1 + self.low
        behind_full = everything if self.high is None else start + self.high + 1
        return _on_grid(first, full, behind_full, last, self.M, step)[None]

    def _box(self, runs: Tensor, box: Tensor, start: Tensor, stop: Tensor, step: int) -> Tensor:
        row0, row1, column0, column1 = box.unbind(1)
        touched = (start < row1) & (stop > row0)
        inside = (start >= row0) & (stop <= row1)
        first, last = column0.expand_as(touched), column1.where(touched, column0)
        behind_full = column1.where(inside, column0)
        return _within(runs, _on_grid(first, first, behind_full, last, self.M, step))


def block_mask_of(mask: Mask, N: int, M: int) -> BlockMask | str:
    """The mask as a `BlockMask` for N queries and M keys, or the words for what in it is no part of one."""
    parts = list(_parts(mask))
    shift = M - N
    lows, highs, boxes = [], [], []
    documents, tables = [], []
    for part in parts:
        match part:
            case FullMask():
                pass
            case Causal(offset):
                highs.append(shift if offset is None else offset)
            case Window(w, offset):
                own = shift if offset is None else offset
                lows.append(own - w + 1)
                highs.append(own + w - 1)
            case Lengths():
                boxes.append(_box_of(part, N, M))
            case Documents():
                documents.append(part)
            case Dense(seen):
                tables.append(seen)
            case _:
                return f"a mask joined by | or ~ or a function ({type(part).__name__})"
    if len(documents) > 1:
        return "more than one mask of documents"
    return BlockMask(
        N,
        M,
        max(lows, default=None),
        min(highs, default=None),
        reduce(_narrower, boxes) if boxes else None,
        documents[0] if documents else None,
        reduce(torch.logical_and, tables) if tables else None,
    )


def _parts(mask: Mask) -> Iterator[Mask]:
    if isinstance(mask, And):
        yield from _parts(mask.left)
        yield from _parts(mask.right)
    else:
        yield mask


def _box_of(lengths: Lengths, N: int, M: int) -> Tensor:
    edges = []
    for given, size in ((lengths.query_B, N), (lengths.key_B, M)):
        length = torch.tensor([size], device="cpu") if given is None else given
        left = lengths.side == "left"
        edges += (
            [size - length, torch.full_like(length, size)] if left else [torch.zeros_like(length), length]
        )
    return torch.stack(torch.broadcast_tensors(*edges), dim=-1).clamp(min=0)


def _narrower(one: Tensor, other: Tensor) -> Tensor:
    """The box that lies within both, (B or 1, 4)."""
    starts = torch.maximum(one[:, ::2], other[:, ::2])
    return torch.stack([starts, torch.minimum(one[:, 1::2], other[:, 1::2])], dim=-1).flatten(1)


def _on_grid(first: Tensor, full: Tensor, behind_full: Tensor, last: Tensor, M: int, step: int) -> Tensor:
    """(…, 4), with all but `last` on the grid, and none of them out of order."""
    first, last = first.clamp(min=0), last.clamp(0, M)
    empty = first >= last
    first = first.minimum(last) // step * step
    last = last.where(~empty, first)
    full = (full.maximum(first) + step - 1) // step * step
    behind_full = behind_full.minimum(last) // step * step
    none = behind_full <= full
    return torch.stack([first, full.where(~none, first), behind_full.where(~none, first), last], dim=-1)


def _within(runs: Tensor, others: Tensor) -> Tensor:
    """What both runs hold; both are on the grid."""
    first = runs[..., 0].maximum(others[..., 0])
    last = runs[..., 3].minimum(others[..., 3]).maximum(first)
    full = runs[..., 1].maximum(others[..., 1])
    behind_full = runs[..., 2].minimum(others[..., 2])
    none = behind_full <= full
    return torch.stack([first, full.where(~none, first), behind_full.where(~none, first), last], dim=-1)


def _same_documents(documents: Documents, size: int, step: int, device: torch.device) -> Tensor:
    """The runs that documents allow, from the lowest and highest id of each block, (B or 1, blocks, 4)."""
    own_low, own_high = _id_range(documents.query_BN.to(device), size)
    low, high = _id_range(documents.key_BM.to(device), step)
    M = documents.key_BM.shape[1]
    blocks = max(1, AT_ONCE // max(1, low.shape[1]))
    found = []
    for start in range(0, own_low.shape[1], blocks):
        lowest, highest = (own[:, start : start + blocks, None] for own in (own_low, own_high))
        if documents.earlier:
            some, every = low[:, None] <= highest, high[:, None] <= lowest
        else:
            some = (low[:, None] <= highest) & (high[:, None] >= lowest)
            every = (low[:, None] == high[:, None]) & (lowest == highest) & (low[:, None] == lowest)
        first, last, _ = _span(some)
        full, behind_full, gapless = _span(every)
        # Beyond the last key there is nothing to see in full.
        behind_full = (behind_full * step).clamp(max=M // step * step).where(gapless, 0)
        last = (last * step).clamp(max=M)
        found.append(_on_grid(first * step, full * step, behind_full, last, M, step))
    return torch.cat(found, dim=1) if found else torch.zeros(1, 1, 4, dtype=torch.int64, device=device)


def _id_range(ids: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The lowest and highest id of each block of `size` tokens, (B or 1, blocks)."""
    missing = -ids.shape[1] % size
    blocks = torch.cat([ids, ids[:, -1:].expand(-1, missing)], dim=1).view(len(ids), -1, size)
    return blocks.amin(-1), blocks.amax(-1)


def _span(true: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first True of the last axis, the place behind the last, and whether there is no gap between."""
    count = true.sum(-1)
    first = true.long().argmax(-1)
    behind = (true.shape[-1] - true.flip(-1).long().argmax(-1)).where(count > 0, first)
    return first, behind, behind - first == count
