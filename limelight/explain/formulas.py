"""Positions, masks and activations in float64, written out a second time for the reference model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limelight.errors import ArgumentTypeError
from limelight.modules.attention import MultiHeadAttention
from limelight.modules.positions import ALiBi, Positions, Rotary


def causal(length: int, without: Sequence[int] = (), window: int | None = None) -> Tensor:
    """Each token sees itself and those before it, except those `without`, which only themselves can see; (N, N) bool.

    In a text longer than `window`, a token sees the latest `window` tokens, itself counted, and the first (START).
    """
    seen_NN = torch.ones(length, length, dtype=torch.bool).tril()
    if window is not None:
        seen_NN = seen_NN.triu(1 - window)
        seen_NN[:, 0] = True
    taken = list(without)
    seen_NN[:, taken] = False
    seen_NN[taken, taken] = True
    return seen_NN


def waves(length: int, width: int) -> Tensor:
    """sin(pos / 10000^(2i/E)) in the even features, cos of the same in the odd ones (§3.5); (length, width)."""
    feature_E = torch.arange(width)
    rate_E = 10_000.0 ** (-(feature_E - feature_E % 2).double() / width)
    angle_NE = torch.arange(length).double()[:, None] * rate_E
    return torch.where(feature_E % 2 == 0, angle_NE.sin(), angle_NE.cos())


def angles(rotary: Rotary, length: int) -> Tensor:
    """By how much each pair of features is turned at each position, in radians: (length, D/2)."""
    pair_K = torch.arange(rotary.head_width // 2).double()
    return torch.arange(length).double()[:, None] * rotary.base ** (-2 * pair_K / rotary.head_width)


def turned(positions: Positions, x_BHND: Tensor, first: int = 0) -> Tensor:
    """Rotary: each pair (i, i + D/2) as one complex number, times e^(i·angle). Others leave x as it is.

    `first` is the position of the first row.
    """
    if not isinstance(positions, Rotary):
        return x_BHND
    left, right = x_BHND.chunk(2, dim=-1)
    angle_NK = angles(positions, first + x_BHND.shape[2])[first:]
    turned_BHNK = torch.complex(left, right) * torch.polar(torch.ones_like(angle_NK), angle_NK)
    return torch.cat((turned_BHNK.real, turned_BHNK.imag), dim=-1)


def slopes(heads: int) -> Tensor:
    """ALiBi's slope of each head: 2^(-8(h+1)/P) for the first P heads, P the largest power of two that fits,
    and for the others 2^(-8(2k+1)/2P), k = 0, 1, …; (H,)."""
    power = 1 << (heads.bit_length() - 1)
    eighths = [8 * (h + 1) / power for h in range(power)]
    eighths += [4 * (2 * k + 1) / power for k in range(heads - power)]
    return 2.0 ** -torch.tensor(eighths, dtype=torch.float64)


def distance_bias(attention: MultiHeadAttention, length: int) -> Tensor | None:
    """ALiBi: -slope · |i - j|, (H, N, N). None for the other kinds."""
    if not isinstance(attention.positions, ALiBi):
        return None
    place_N = torch.arange(length).double()
    return -slopes(attention.heads)[:, None, None] * (place_N[:, None] - place_N).abs()


def activated(activation: nn.Module, x: Tensor) -> Tensor:
    """max(0, x), x·Φ(x) or x·σ(x)."""
    match activation:
        case nn.ReLU():
            return x.clamp(min=0.0)
        case nn.GELU():
            return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))
        case nn.SiLU():
            return x / (1.0 + torch.exp(-x))
    raise ArgumentTypeError(
        f"The feed-forward's activation must be relu, gelu or silu; got {type(activation).__name__}."
    )
