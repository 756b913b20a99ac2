"""A subject whose heads share keys and values; one row sees nothing, and one the first token alone."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

import limelight as ll
from limelight.viewer.builders.from_matrices import build_subject
from limelight.viewer.subject import Subject
from tests.viewer import cases

HEADS, KEY_HEADS, WIDTH, VALUES = 6, 2, 5, 3
ONLY_SINK, NOTHING = 11, 13
"""The query that sees the first token alone, and the one that sees nothing."""


def inputs(N: int, M: int, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(1, KEY_HEADS, M, VALUES, generator=generator)
    return {
        "query": 2 * torch.randn(1, HEADS, N, WIDTH, generator=generator),
        "key": torch.randn(1, KEY_HEADS, M, WIDTH, generator=generator),
        "value": values * torch.linspace(0, 3, M)[:, None],
    }


def seen(N: int, M: int) -> torch.Tensor:
    """Causal, but for two rows."""
    mask = torch.ones(N, M, dtype=torch.bool).tril()
    mask[ONLY_SINK, 1:], mask[NOTHING] = False, False
    return mask


@cache
def given() -> dict[int, dict[str, Any]]:
    """Layers 0 and 2 of a text; the second has a sink of its own, and rests on the first token."""
    N = len(cases.context().ids)
    first, second = inputs(N, N, 1), inputs(N, N, 2)
    second["key"][..., 0, :] = 4 * second["query"].mean((0, 1, 2))
    shared = {"mask": seen(N, N)}
    return {0: first | shared, 2: second | shared | {"sink": torch.linspace(-2, 2, HEADS)}}


def matrices_of(all_given: dict[int, dict[str, Any]]) -> dict[int, ll.AttentionMatrix]:
    return {layer: ll.AttentionMatrix(**each) for layer, each in all_given.items()}


@cache
def subject() -> Subject:
    return build_subject(matrices_of(given()), cases.context())
