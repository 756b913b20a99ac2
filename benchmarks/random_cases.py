"""Random attention matrices, small and odd, each drawn from one number: what `fuzz` tries.

A mask is drawn together with its meaning, a table filled place by place, and a bias function together with the
table of its values: the truth shares no code with the library.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from limelight.matrix import Mask, biases, masks
from tests.oracle import ORDINARY, Case

LARGEST = 60_000
"""Entries of a matrix, all heads together: what is wrong is wrong in a small one too, and quickly found."""
FEW = (2, 3, 5, 7, 11, 13, 17)
MORE = (19, 23, 29, 31, 37, 43, 61, 67, 71, 97)
MANY = (127, 131, 251, 257, 521)
"""On both sides of the edges that the loops know: chunks of 32 columns, grains of 128, strips of 64 rows."""


@dataclass(frozen=True, eq=False)
class Drawn(Case):
    """A case that knows what its mask and bias mean, and whether float32 holds its scores exactly."""

    seen: Tensor | None = None
    """(B, H, N, M)."""
    bias_table: Tensor | None = None
    exact: bool = False
    told: str = ""
    """How it was drawn, in words."""

    def meaning(self) -> dict[str, Any]:
        return super().meaning() | {"mask": self.seen, "bias": self.bias_table}

    @cached_property
    def _logits(self) -> float:
        if self.exact:
            return 0.0
        sink = [] if self.sink is None else self.sink[self.sink.abs() < 1e30].abs().double().tolist()
        largest = max([super().logits, *sink])  # a sink is one more score of its head
        return largest if largest > ORDINARY else 0.0

    @property
    def logits(self) -> float:
        return self._logits


@dataclass(frozen=True)
class Places:
    """The sizes of a matrix and where each of its entries stands; i and j, b and h broadcast to all of them."""

    B: int
    H: int
    N: int
    M: int

    @cached_property
    def b(self) -> Tensor:
        return torch.arange(self.B)[:, None, None, None]

    @cached_property
    def h(self) -> Tensor:
        return torch.arange(self.H)[:, None, None]

    @cached_property
    def i(self) -> Tensor:
        return torch.arange(self.N)[:, None]

    @cached_property
    def j(self) -> Tensor:
        return torch.arange(self.M)


def draw_case(dice: random.Random) -> Drawn:
    """One case; tensors come from torch's own random numbers, which the caller has seeded."""
    B, G, share = _size(dice, (1, 2, 3)), _size(dice, (1, 1, 2, 3)), dice.choice((1, 1, 2, 3))
    N, M = _size(dice, FEW + MORE), _size(dice, FEW + MORE + (MANY if dice.random() < 0.5 else ()))
    if dice.random() < 0.3:
        M = N
    D = 0 if dice.random() < 0.02 else dice.choice((1, 2, 3, 7, 8, 16, 17, 64))
    while B * G * share * N * M > LARGEST:
        B, G, share, N = max(1, B // 2), max(1, G // 2), 1, N if B * G > 1 else N // 2
    H = G * share
    at = Places(B, H, N, M)
    told = [f"B={B} H={H} G={G} N={N} M={M} D={D}"]

    dtype = dice.choices((torch.float32, torch.float64, torch.bfloat16, torch.float16), (9, 3, 3, 3))[0]
    other = dtype if dice.random() < 0.95 else torch.float32
    numbers = dice.choice(tuple(NUMBERS))
    query, key, scale = NUMBERS[numbers](dice, (B, H, N, D), (B, G, M, D))
    value = torch.randn(B, G, M, dice.choice((0, 1, 3, 8)))
    query, key, value = query.to(dtype), key.to(other), value.to(dtype)
    told.append(f"{numbers} numbers, {dtype}, {other}, scale {scale}".replace("torch.", ""))
    placed = []
    for tensor in (query, key, value):
        way = dice.choice(tuple(LAYOUTS)) if dice.random() < 0.4 else "plain"
        placed.append(LAYOUTS[way](dice, tensor))
        told.append(way)

    words, mask, seen = ("no mask", None, None) if dice.random() < 0.15 else draw_mask(dice, at)
    told.append(words)
    bias = bias_table = softcap = sink = score_mod = None
    if dice.random() < 0.3:
        words, bias, bias_table = draw_bias(dice, at, dtype)
        told.append(words)
    if dice.random() < 0.2:
        softcap = dice.choice((0.01, 1.0, 2.5, 50.0))
        told.append(f"softcap {softcap}")
    if dice.random() < 0.25:
        sink = _sink(dice, H, dice.choice((dtype, torch.float32)))
        told.append(f"sink {[round(each, 2) for each in sink.tolist()]}")
    if dice.random() < 0.05:
        score_mod = _turned_down
        told.append("score_mod")
    return Drawn(
        *placed,
        mask=mask,
        scale=scale,
        bias=bias,
        softcap=softcap,
        sink=sink,
        score_mod=score_mod,
        seen=seen,
        bias_table=bias_table,
        exact=numbers in ("whole", "tied") and softcap is bias is score_mod is sink is None,
        told=", ".join(told),
    )


def _turned_down(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """A score_mod with FlexAttention's signature."""
    return score * torch.where((i + j + h) % 3 == 0, 0.25, 1.0)


def _size(dice: random.Random, ordinary: tuple[int, ...]) -> int:
    return dice.choices((0, 1, dice.choice(ordinary)), (2, 6, 92))[0]


def _sink(dice: random.Random, heads: int, dtype: torch.dtype) -> Tensor:
    largest = min(1e30, torch.finfo(dtype).max)
    extreme = dice.choice((0.0, 0.0, 0.0, 9.0, 500.0, -500.0, 1e4, -1e4, largest, -largest, -torch.inf))
    sink = torch.randn(heads).to(dtype)
    if heads and extreme:
        sink[dice.randrange(heads)] = extreme
    return sink


# ---- queries and keys ---------------------------------------------------------------------------------

Shape = tuple[int, ...]
Numbers = tuple[Tensor, Tensor, float | None]


def _ordinary(dice: random.Random, query: Shape, key: Shape) -> Numbers:
    return torch.randn(query), torch.randn(key), dice.choice((None, None, None, 0.3, -0.7, 0.0))


def _large(dice: random.Random, query: Shape, key: Shape) -> Numbers:
    """Scores of about a hundred, or about ten thousand."""
    size = dice.choice((10.0, 60.0))
    return size * torch.randn(query), size * torch.randn(key), dice.choice((None, 1.0))


def _tiny(dice: random.Random, query: Shape, key: Shape) -> Numbers:
    return 1e-3 * torch.randn(query), 1e-3 * torch.randn(key), None


def _whole(dice: random.Random, query: Shape, key: Shape) -> Numbers:
    """Small whole numbers: float32 holds every score exactly, up to ten thousand and beyond."""
    size = dice.choice((0.25, 1.0, 4.0, 16.0))
    return torch.randint(-9, 10, query) * size, torch.randint(-9, 10, key) * size, dice.choice((1.0, 0.5))


def _tied(dice: random.Random, query: Shape, key: Shape) -> Numbers:
    """Few different scores, so that many keys get the same."""
    return torch.randint(-1, 2, query).float(), torch.randint(-1, 2, key).float(), 1.0


NUMBERS: dict[str, Callable[[random.Random, Shape, Shape], Numbers]] = {
    "ordinary": _ordinary,
    "large": _large,
    "tiny": _tiny,
    "whole": _whole,
    "tied": _tied,
}


def _strided(dice: random.Random, x: Tensor) -> Tensor:
    """Every second place of a tensor that is twice as long along one axis."""
    axis = dice.randrange(x.dim())
    return x.repeat_interleave(2, axis)[(slice(None),) * axis + (slice(None, None, 2),)]


def _expanded(dice: random.Random, x: Tensor) -> Tensor:
    """One for all along an axis, held once in memory."""
    axis = dice.randrange(x.dim())
    return x.narrow(axis, 0, 1).expand_as(x) if x.shape[axis] else x


def _within(dice: random.Random, x: Tensor) -> Tensor:
    """The end of a longer tensor, so that it does not begin where its memory does."""
    axis = dice.randrange(x.dim())
    return torch.cat([x, x], axis).narrow(axis, x.shape[axis], x.shape[axis])


LAYOUTS: dict[str, Callable[[random.Random, Tensor], Tensor]] = {
    "plain": lambda dice, x: x,
    "tokens before heads": lambda dice, x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "width before tokens": lambda dice, x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "strided": _strided,
    "expanded": _expanded,
    "within a longer one": _within,
}


# ---- masks --------------------------------------------------------------------------------------------

Meant = tuple[str, Mask, Tensor]
"""A mask in words, the mask, and which places may be seen, a table that broadcasts to (B, H, N, M)."""


def draw_mask(dice: random.Random, at: Places, depth: int = 2) -> Meant:
    """A mask, or up to two levels of joined masks."""
    roll = dice.random()
    if depth == 0 or roll < 0.5:
        words, mask, seen = dice.choice(MASKS)(dice, at)
        return words, mask, seen.expand(at.B, at.H, at.N, at.M)
    words, mask, seen = draw_mask(dice, at, depth - 1)
    if roll < 0.6:
        return f"~({words})", ~mask, ~seen
    also, other, seen_too = draw_mask(dice, at, depth - 1)
    if roll < 0.8:
        return f"({words} & {also})", mask & other, seen & seen_too
    return f"({words} | {also})", mask | other, seen | seen_too


def _everything(dice: random.Random, at: Places) -> Meant:
    return "everything", masks.everything(), torch.tensor(True)


def _offset(dice: random.Random, at: Places) -> tuple[int | None, int]:
    """An offset as it is given, and what it means."""
    given = None if dice.random() < 0.6 else dice.randint(-at.N, at.M)
    return given, at.M - at.N if given is None else given


def _causal(dice: random.Random, at: Places) -> Meant:
    given, offset = _offset(dice, at)
    return f"causal({given})", masks.causal(given), at.j <= at.i + offset


def _window(dice: random.Random, at: Places) -> Meant:
    w = dice.choice((1, 2, 5, 40))
    given, offset = _offset(dice, at)
    return f"window({w}, {given})", masks.window(w, given), (at.j - at.i - offset).abs() < w


def _lengths(dice: random.Random, at: Places) -> Meant:
    side = dice.choice(("left", "right"))
    query = [dice.randint(0, at.N) for _ in range(at.B)] if dice.random() < 0.5 else None
    key = [dice.randint(0, at.M) for _ in range(at.B)]
    rows = torch.tensor([at.N] * at.B if query is None else query, dtype=torch.int64)[:, None, None, None]
    columns = torch.tensor(key, dtype=torch.int64)[:, None, None, None]
    seen = (
        (at.i < rows) & (at.j < columns)
        if side == "right"
        else (at.i >= at.N - rows) & (at.j >= at.M - columns)
    )
    return f"lengths({query}, {key}, {side})", masks.lengths(query, key, side), seen


def _documents(dice: random.Random, at: Places) -> Meant:
    batches, earlier = dice.choice((1, at.B)), dice.random() < 0.5
    query, key = torch.randint(0, 4, (batches, at.N)), torch.randint(0, 4, (batches, at.M))
    if dice.random() < 0.7:
        query, key = query.sort().values, key.sort().values
    rows, columns = query[:, None, :, None], key[:, None, None, :]
    seen = columns <= rows if earlier else columns == rows
    return f"documents({batches}, {earlier=})", masks.documents(query, key, earlier), seen


def _dense(dice: random.Random, at: Places) -> Meant:
    shape = [dice.choice((1, size)) for size in (at.B, at.H, at.N, at.M)]
    seen = torch.rand(shape) < dice.choice((0.03, 0.5, 0.97))
    return f"dense{tuple(shape)}", masks.dense(seen), seen


def _function(dice: random.Random, at: Places) -> Meant:
    step, rest = dice.randint(2, 5), dice.randint(0, 1)
    if dice.random() < 0.5:
        seen = (at.i + 2 * at.j) % step > rest
        mask = masks.function(lambda b, h, i, j: (i + 2 * j) % step > rest, batch=1, heads=1)
        return f"function((i + 2·j) % {step} > {rest})", mask, seen
    seen = (at.i + 2 * at.j + at.b + at.h) % step > rest
    mask = masks.function(lambda b, h, i, j: (i + 2 * j + b + h) % step > rest)
    return f"function((i + 2·j + b + h) % {step} > {rest})", mask, seen


MASKS = (_everything, _causal, _causal, _window, _lengths, _documents, _dense, _function)


# ---- biases -------------------------------------------------------------------------------------------


def draw_bias(dice: random.Random, at: Places, dtype: torch.dtype) -> tuple[str, Any, Tensor]:
    """A bias in words, as it is given, and its table."""
    if dice.random() < 0.2:
        slope = dice.choice((0.1, -0.5))
        table = (slope * (at.j - at.i) + 0.25 * at.h).expand(at.B, at.H, at.N, at.M)
        return f"a bias function of slope {slope}", lambda b, h, i, j: slope * (j - i) + 0.25 * h, table
    if dice.random() < 0.2:
        given, offset = _offset(dice, at)
        slopes = torch.tensor([0.5, 0.125, 2.0, 0.25, 1.0, 0.03125, 0.75, 0.1, 4.0])[: at.H]
        table = -slopes[:, None, None].double() * (at.j - at.i - offset).abs()
        return f"alibi({given})", biases.alibi(slopes, given), table[None]
    shape = [dice.choice((1, size)) for size in (at.B, at.H, at.N, at.M)]
    given = torch.randn(shape).to(dice.choice((dtype, torch.float32)))
    kind = dice.choice(("plain", "-inf here and there", "-inf rows", "finfo.min rows", "finfo.min columns"))
    if kind == "-inf here and there":
        given.masked_fill_(torch.rand(shape) < 0.3, -torch.inf)
    elif kind == "-inf rows":
        given.masked_fill_(torch.rand(shape[2], 1) < 0.3, -torch.inf)
    elif kind != "plain":
        lines = torch.rand(shape[2], 1) if "rows" in kind else torch.rand(shape[3])
        given.masked_fill_(lines < 0.3, torch.finfo(given.dtype).min)
    table = given
    while given.dim() and given.shape[0] == 1 and dice.random() < 0.5:
        given = given[0]
    return f"bias{tuple(given.shape)} {given.dtype} {kind}".replace("torch.", ""), given, table
