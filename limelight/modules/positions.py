"""Position encodings: attention alone does not know the order of its tokens, these tell it.

A position encoding acts at one of three places, and leaves the other two alone:

    add      x → x + p          sinusoidal (§3.5), learned
    rotate   q, k → R·q, R·k    rotary: RoPE (Su et al. 2021, arXiv:2104.09864)
    bias     scores + b         ALiBi (Press et al. 2021, arXiv:2108.12409)

`none` leaves all three alone. Rotary is Limelight's default; the paper's sinusoids are one switch away.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from limelight.errors import InputError, ShapeError, one_of
from limelight.matrix.biases import Bias, alibi, alibi_slopes


class Positions(nn.Module):
    """No position encoding, and the three hooks that the others override one of."""

    def add(self, x_BNE: Tensor, start: int = 0) -> Tensor:
        """Embeddings (B, N, E) whose first token stands at position `start` → the same shape."""
        return x_BNE

    def rotate(self, q_BHND: Tensor, start: int = 0) -> Tensor:
        """Queries or keys (B, H, N, D) whose first token stands at position `start` → the same shape."""
        return q_BHND

    def bias(self, heads: int, queries: int, keys: int, device: torch.device) -> Tensor | None:
        """(H, N, M) to add to the scores, the last query standing at the last key; or None."""
        return None

    def rule(self, heads: int) -> Bias | None:
        """The same as a rule, for who keeps an attention matrix: a rule takes no room."""
        return None


def sinusoids(length: int, width: int) -> Tensor:
    """PE(pos, 2i) = sin(pos / 10000^(2i/E)), PE(pos, 2i+1) = cos(…): §3.5. Shape (length, width)."""
    position_N1 = torch.arange(length, dtype=torch.float64)[:, None]
    rate_K = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10_000.0) / width))
    table_NE = torch.zeros(length, width, dtype=torch.float64)
    table_NE[:, 0::2] = torch.sin(position_N1 * rate_K)
    table_NE[:, 1::2] = torch.cos(position_N1 * rate_K)[:, : width // 2]
    return table_NE


def _ample(length: int) -> int:
    """The next power of two, at least 512: tables are made for few lengths and kept."""
    return max(512, 1 << (length - 1).bit_length())


# Tables are made outside of inference mode: kept ones serve training as well as prediction.


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _wave_table(length: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return sinusoids(length, width).to(device, dtype)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _turn_table(
    length: int, head_width: int, base: float, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Cosine and sine of every position's angles, (2, N, D/2); one table serves all layers and models."""
    rate_K = base ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    angle_NK = torch.arange(length, dtype=torch.float64)[:, None] * rate_K
    return torch.stack((angle_NK.cos(), angle_NK.sin())).to(device, dtype)


class Sinusoidal(Positions):
    """The paper's waves, added to the embeddings; they reach any length."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def add(self, x_BNE: Tensor, start: int = 0) -> Tensor:
        end = start + x_BNE.shape[1]
        return x_BNE + _wave_table(_ample(end), self.width, x_BNE.device, x_BNE.dtype)[start:end]


class Learned(Positions):
    """One trained vector a position, up to a fixed length (the paper's comparison in §3.5)."""

    def __init__(self, width: int, longest: int) -> None:
        super().__init__()
        self.table = nn.Embedding(longest, width)
        nn.init.normal_(self.table.weight, std=0.02)

    def add(self, x_BNE: Tensor, start: int = 0) -> Tensor:
        end, longest = start + x_BNE.shape[1], self.table.num_embeddings
        if end > longest:
            raise ShapeError(
                f"Learned positions reach {longest} tokens; got a text of {end}. Cut it, or train with a larger "
                "`longest`, or with rotary or sinusoidal positions, which have no end."
            )
        return x_BNE + self.table.weight[start:end]


def check_pairs(head_width: int) -> None:
    """Raises InputError where rotary positions would leave a feature without a pair."""
    if head_width % 2:
        raise InputError(
            f"Rotary positions turn pairs of features: the head width must be even; got {head_width}."
        )


class Rotary(Positions):
    """RoPE: turn each pair of features by an angle that grows with the position.

    After it the score of a query and a key depends on their contents and their distance alone.
    Feature i is paired with feature i + D/2; the angle of pair i at position p is p / base^(2i/D).
    """

    def __init__(self, head_width: int, base: float = 10_000.0) -> None:
        super().__init__()
        check_pairs(head_width)
        self.head_width, self.base = head_width, base

    def rotate(self, q_BHND: Tensor, start: int = 0) -> Tensor:
        end = start + q_BHND.shape[2]
        table_2NK = _turn_table(_ample(end), self.head_width, self.base, q_BHND.device, q_BHND.dtype)
        cos_NK, sin_NK = table_2NK[:, start:end]
        left, right = q_BHND.chunk(2, dim=-1)
        return torch.cat((left * cos_NK - right * sin_NK, right * cos_NK + left * sin_NK), dim=-1)


class ALiBi(Positions):
    """A straight penalty on distance, one slope a head, added to the scores; nothing is trained."""

    def bias(self, heads: int, queries: int, keys: int, device: torch.device) -> Tensor:
        query_N1 = torch.arange(keys - queries, keys, device=device)[:, None]
        distance_NM = (query_N1 - torch.arange(keys, device=device)).abs()
        return -alibi_slopes(heads).to(device)[:, None, None] * distance_NM

    def rule(self, heads: int) -> Bias:
        return alibi(heads)


KINDS = ("rotary", "sinusoidal", "learned", "alibi", "none")


def positions(kind: str, width: int, head_width: int, longest: int) -> Positions:
    """Build a position encoding by name: one of `KINDS`."""
    match kind:
        case "rotary":
            return Rotary(head_width)
        case "sinusoidal":
            return Sinusoidal(width)
        case "learned":
            return Learned(width, longest)
        case "alibi":
            return ALiBi()
        case "none":
            return Positions()
    raise InputError(one_of("positions", KINDS, kind))
