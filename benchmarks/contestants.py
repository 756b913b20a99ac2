"""What `reading` measures: every reduction, all the standard ones together, and the other ways to the same numbers.

Each contestant is prepared for a setting and then called again and again; a call does all the work, from Q and K to
the readings. Nothing is kept between two calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limelight import matrix as heart
from limelight.matrix import AttentionMatrix, Reduction, masks

STRIP = 64
"""Rows of scores at a time in the floor, as in our own loop."""
GROUP = 64
"""Tokens to a group, for Pool."""
EAGER_LIMIT = 2**31
"""Bytes of stored weights beyond which the eager way is left out: it needs them three to four times."""
Prepared = Callable[[], Any]


@dataclass(frozen=True)
class Setting:
    """One shape: B = 1, as many keys as queries, and as many key heads as query heads."""

    tokens: int
    heads: int
    width: int
    dtype: str
    causal: bool
    device: str = "cpu"

    @property
    def entries(self) -> int:
        """Of the matrix, those that are seen."""
        return self.heads * self.tokens**2 // (2 if self.causal else 1)

    def __str__(self) -> str:
        count = f"{self.tokens // 1024}k" if self.tokens % 1024 == 0 else f"{self.tokens}"
        return f"{count} × {self.heads} {'causal' if self.causal else 'full'}"


@dataclass(frozen=True)
class Inputs:
    """Q, K and V of a setting, drawn once."""

    setting: Setting
    query: Tensor
    key: Tensor
    value: Tensor

    @classmethod
    def of(cls, setting: Setting) -> Inputs:
        generator = torch.Generator(setting.device).manual_seed(0)
        shape = (1, setting.heads, setting.tokens, setting.width)
        dtype = getattr(torch, setting.dtype)
        drawn = (torch.randn(shape, generator=generator, device=setting.device).to(dtype) for _ in range(3))
        return cls(setting, *drawn)

    def matrix(self) -> AttentionMatrix:
        mask = masks.causal() if self.setting.causal else None
        return AttentionMatrix(self.query, self.key, self.value, mask=mask)


# ---- ours ---------------------------------------------------------------------------------------------


def _groups(setting: Setting) -> Tensor:
    return torch.arange(setting.tokens, device=setting.device) // GROUP


STANDARD: dict[str, Callable[[Setting], Reduction[Any]]] = {
    "Received": lambda setting: heart.Received(),
    "Entropy": lambda setting: heart.Entropy(),
    "ArgMax": lambda setting: heart.ArgMax(),
    "MeanDistance": lambda setting: heart.MeanDistance(),
    "TopK(8)": lambda setting: heart.TopK(8),
    "Pool": lambda setting: heart.Pool(_groups(setting), _groups(setting)),
}
OTHERS: dict[str, Callable[[Setting], Reduction[Any]]] = {
    "RowStats": lambda setting: heart.RowStats(),
    "BottomK(8)": lambda setting: heart.BottomK(8),
    "SinkMass": lambda setting: heart.SinkMass([0]),
    "Downsample": lambda setting: heart.Downsample(256, 256),
    "Histogram": lambda setting: heart.Histogram(),
    "ValueNorms": lambda setting: heart.ValueNorms(),
    "AttentionOutput": lambda setting: heart.AttentionOutput(),
    "Reweighted": lambda setting: heart.Reweighted(heart.Received(), torch.ones(setting.tokens)),
    "Quantiles": lambda setting: heart.Quantiles(0.5, 0.9),
}
"""The one place where the benchmarks name the reductions; a test compares it with what the heart exports."""


def _ours(names: tuple[str, ...], loop: str | None) -> Callable[[Inputs], Prepared]:
    def prepare(inputs: Inputs) -> Prepared:
        reductions = [(STANDARD | OTHERS)[name](inputs.setting) for name in names]
        return lambda: inputs.matrix().read(*reductions, loop=loop)

    return prepare


# ---- the others ---------------------------------------------------------------------------------------


def forward(inputs: Inputs) -> Prepared:
    """One SDPA forward of the same shape: the unit of every ratio."""
    q, k, v, causal = inputs.query, inputs.key, inputs.value, inputs.setting.causal
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def _floor(inputs: Inputs) -> Prepared:
    """QKᵀ and exp in PyTorch, head by head and strip by strip, and nothing else: what every reading begins with."""
    query, key, N = inputs.query[0], inputs.key[0].transpose(-1, -2), inputs.setting.tokens
    room = torch.empty(STRIP * N, dtype=query.dtype, device=query.device)

    def run() -> None:
        for head, keys in zip(query, key, strict=True):
            for i0 in range(0, N, STRIP):
                rows = head[i0 : i0 + STRIP]
                seen = i0 + len(rows) if inputs.setting.causal else N
                strip = room[: len(rows) * seen].view(len(rows), seen)
                torch.matmul(rows, keys[:, :seen], out=strip).exp_()

    return run


def _turned_round(inputs: Inputs) -> Prepared:
    """Received from SDPA alone: its log-sums first, then queries and keys swapped with those as a key bias.

    PyTorch's CPU kernel; exact. Causal: both sequences are turned round, so that what was below the diagonal
    is below it again.
    """
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    q, k, causal = inputs.query, inputs.key, inputs.setting.causal

    def run() -> Tensor:
        _, log_sums = kernel(q, k, k, is_causal=causal)
        bias = -log_sums.to(q.dtype)[:, :, None, :]
        if not causal:
            _, received = kernel(k, q, q, attn_mask=bias.expand(-1, -1, k.shape[2], -1))
            return received.exp()
        keys, queries = k.flip(2), q.flip(2)
        bias = bias.flip(-1).expand(-1, -1, k.shape[2], -1)
        _, received = kernel(keys, queries, queries, is_causal=True, attn_mask=bias)
        return received.exp().flip(-1)

    return run


def _eager(names: tuple[str, ...]) -> Callable[[Inputs], Prepared]:
    """A forward that stores its weights, as models do with attn_implementation="eager", and reductions of them."""

    def prepare(inputs: Inputs) -> Prepared:
        q, k, v, setting = inputs.query, inputs.key, inputs.value, inputs.setting
        place = torch.arange(setting.tokens, device=q.device)
        distance_NM = (place[:, None] - place).abs().to(q.dtype) if "MeanDistance" in names else None
        hidden = (place[:, None] < place) if setting.causal else None
        reductions: dict[str, Callable[[Tensor], Any]] = {
            "Received": lambda weights: weights.sum(-2),
            "Entropy": lambda weights: torch.special.entr(weights).sum(-1),
            "ArgMax": lambda weights: weights.max(-1),
            "MeanDistance": lambda weights: (weights * distance_NM).sum(-1),
            "TopK(8)": lambda weights: weights.topk(8, -1),
            "Pool": lambda weights: F.avg_pool2d(weights, GROUP) * GROUP,
        }

        def run() -> list[Any]:
            scores = q @ k.transpose(-1, -2) * setting.width**-0.5
            if hidden is not None:
                scores = scores.masked_fill(hidden, -torch.inf)
            weights = scores.softmax(-1, dtype=torch.float32).to(q.dtype)
            return [weights @ v, *(reductions[name](weights) for name in names)]

        return run

    return prepare


def _colreduce(inputs: Inputs) -> Prepared:
    """Column sums by the package flash-colreduce, where it is installed (GPU only)."""
    from flash_colreduce import flash_colreduce

    q, k, causal = inputs.query, inputs.key, inputs.setting.causal
    return lambda: flash_colreduce(q, k, reduction="sum", is_causal=causal)


# ---- who takes part -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contestant:
    """Someone who makes these numbers in some way."""

    name: str
    prepare: Callable[[Inputs], Prepared]


def contestants(setting: Setting) -> list[Contestant]:
    """Those that can take part, the most telling first, for when time runs out."""
    six = tuple(STANDARD)
    found = [
        Contestant("Received", _ours(("Received",), None)),
        Contestant("six together", _ours(six, None)),
        Contestant("floor: QKᵀ and exp", _floor),
    ]
    others = [loop for loop in quicker_loops(setting) if loop != "plain"]
    if others:
        found += [
            Contestant("Received, plain loop", _ours(("Received",), "plain")),
            Contestant("six together, plain loop", _ours(six, "plain")),
        ]
    if setting.device == "cpu":
        found.append(Contestant("Received, SDPA turned round", _turned_round))
    elif _has_colreduce():
        found.append(Contestant("Received, flash-colreduce", _colreduce))
    if setting.heads * setting.tokens**2 * 4 <= EAGER_LIMIT:
        found += [
            Contestant("Received, eager weights", _eager(("Received",))),
            Contestant("six together, eager weights", _eager(six)),
        ]
    found += [Contestant(name, _ours((name,), None)) for name in [*STANDARD, *OTHERS] if name != "Received"]
    return found


def quicker_loops(setting: Setting) -> list[str]:
    """The loops that can read the standard reductions here, the quickest first."""
    from limelight.matrix.engine.dispatch import BACKENDS
    from limelight.matrix.validation import scores_of

    few = Inputs.of(Setting(GROUP, 1, setting.width, setting.dtype, setting.causal, setting.device))
    mask = masks.causal() if setting.causal else None
    scores = scores_of(few.query, few.key, few.value, mask, None, None, None, None)
    reductions = [make(few.setting) for make in STANDARD.values()]
    return [loop.name for loop in BACKENDS if loop.rejection(scores, reductions) is None]


def _has_colreduce() -> bool:
    import importlib.util

    return importlib.util.find_spec("flash_colreduce") is not None
