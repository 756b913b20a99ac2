"""Who may look at whom: a small sum type of masks, joined by `&`, `|` and `~`.

    causal(offset=None)          keys up to one's own position
    window(w)                    keys less than w positions away
    lengths(query, key, side)    keys (and queries) that are not padding
    documents(query_ids, key_ids)  keys of one's own document
    dense(tensor)                a bool tensor, as it is
    function(mask_mod)           a function (b, h, q_idx, kv_idx) -> bool, as FlexAttention takes it
    everything()                 no mask at all

True means "may attend". A mask holds a rule, never an N × M table (except `dense`, which was given one; a bool
tensor that is joined to a mask is one, too). For any tile, rows i0:i1 and columns j0:j1 of an N × M matrix, it gives

    block(i0, i1, j0, j1, N, M, device)   the bool tile, (B or 1, H or 1, i1-i0, j1-j0)
    coverage(i0, i1, j0, j1, N, M)        EMPTY, PARTIAL or FULL of the tile may be seen

so that tiles of EMPTY cost nothing, and `print(mask.draw(N, M))` shows it. The classes are in
`base.py`, `positional.py` and `by_token.py`.

A mask does not know how long the sequences are. Where N ≠ M, the last query stands beside the last key
(bottom-right, as in decoding with a cache): query i stands at key position i + offset, offset = M - N.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from limelight.errors import ArgumentTypeError, InputError, ShapeError, is_one_of
from limelight.matrix.checks import maybe_whole, tensor_of, whole_number
from limelight.matrix.index_functions import PlaceFunction
from limelight.matrix.masks.base import Dense, FullMask, Mask, TileCoverage
from limelight.matrix.masks.by_token import Documents, Function, Lengths
from limelight.matrix.masks.positional import Causal, Window

__all__ = [
    "Mask",
    "TileCoverage",
    "causal",
    "dense",
    "documents",
    "everything",
    "function",
    "lengths",
    "window",
]


def everything() -> Mask:
    """No mask: every query may look at every key."""
    return FullMask()


def causal(offset: int | None = None) -> Mask:
    """Keys up to one's own position: j ≤ i + offset.

    Without an offset the last query sees every key (bottom-right, M - N), as in decoding with a cache.
    `causal(offset=0)` is top-left. In the paper: section 3.2.3, "leftward information flow".
    """
    return Causal(maybe_whole(offset, "causal(offset) must be a whole number of positions"))


def window(w: int, offset: int | None = None) -> Mask:
    """Keys less than `w` positions away, on both sides, oneself counted.

    `causal() & window(w)` sees w keys: oneself and w - 1 before. `offset` as in `causal`.
    """
    wide = whole_number(
        w, "window(w) must be a whole number of positions", "Leave it out to see any distance."
    )
    if wide < 1:
        raise InputError(f"window(w) must be at least 1, since it counts oneself; got {wide}.")
    return Window(wide, maybe_whole(offset, "window(…, offset) must be a whole number of positions"))


def lengths(
    query: Tensor | Sequence[int] | int | None = None,
    key: Tensor | Sequence[int] | int | None = None,
    side: Literal["right", "left"] = "right",
) -> Mask:
    """Padding: only the first `key` keys of each sequence may be seen (the last, with `side="left"`).

    Give one length a sequence, or one for all. `side` names where the padding is. With `query`, rows of
    padding see nothing: their weights are 0.
    """
    if not is_one_of(side, ("right", "left")):
        raise InputError(f"side must be 'right' or 'left', where the padding is; got {side!r}.")
    query_B, key_B = _whole_numbers("query", query, axes=1), _whole_numbers("key", key, axes=1)
    for name, given in (("query", query_B), ("key", key_B)):
        if given is not None and bool((given < 0).any()):
            raise InputError(f"lengths({name}=…) must not be below 0; got {int(given.min())}.")
    return Lengths(query_B, key_B, side)


def documents(
    query_ids: Tensor | Sequence[int], key_ids: Tensor | Sequence[int] | None = None, earlier: bool = False
) -> Mask:
    """Keys whose document id equals the query's; with `earlier=True`, those of lower ids too.

    Ids are whole numbers, (N,) for all sequences or (B, N) for each; `key_ids` are the same unless given.
    """
    if query_ids is None:
        raise ArgumentTypeError("documents(query_ids) must be whole numbers, one a query; got None.")
    query_BN = _whole_numbers("query_ids", query_ids, axes=2)
    key_BM = query_BN if key_ids is None else _whole_numbers("key_ids", key_ids, axes=2)
    assert query_BN is not None and key_BM is not None
    return Documents(query_BN, key_BM, earlier)


def dense(seen: Tensor) -> Mask:
    """A bool tensor, True = may attend: (N, M), or (batch, heads, N, M) where each size may be 1."""
    return Dense.of(seen)


def function(mask_mod: PlaceFunction, batch: int | None = None, heads: int | None = None) -> Mask:
    """A function (b, h, q_idx, kv_idx) -> bool with FlexAttention's signature.

    It is written for single numbers and called through `torch.vmap`. `batch=1` or `heads=1` says that the
    answer does not depend on them, which saves time. Nothing is known of a tile before it is computed,
    so no tile can be skipped: join it with another mask (`causal() & function(…)`) where one fits.
    """
    if not callable(mask_mod):
        raise ArgumentTypeError(
            f"mask_mod must be a function (b, h, q_idx, kv_idx); got {type(mask_mod).__name__}."
        )
    counts = [
        maybe_whole(given, f"function({name}) must be a whole number: how many the answer is for")
        for name, given in (("batch", batch), ("heads", heads))
    ]
    return Function(mask_mod, *(None if count is None else range(count) for count in counts))


def _whole_numbers(name: str, given: Tensor | Sequence[int] | int | None, axes: int) -> Tensor | None:
    """Lengths or ids as an int64 tensor on the CPU, with a batch axis in front."""
    if given is None:
        return None
    numbers = tensor_of(given, f"{name} must be whole numbers", "cpu").detach()
    if numbers.dtype == torch.bool or numbers.is_floating_point() or numbers.is_complex():
        if numbers.numel():  # an empty list has no numbers and torch calls it float
            raise ArgumentTypeError(f"{name} must be whole numbers; got {numbers.dtype}.")
    while numbers.dim() < axes:
        numbers = numbers[None]
    if numbers.dim() > axes:
        raise ShapeError(f"{name} must have at most {axes} axes, batch first; got {tuple(numbers.shape)}.")
    return numbers.to(torch.int64, copy=True)  # what is written into `given` later says nothing here
