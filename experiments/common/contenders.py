"""Who is compared: networks of one size, whatever they are made of.

A rival is a name and how it looks at a given width. Its width is chosen so that its parameters are as many as
the reference's, within `TOLERANCE`, on the same vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from limelight.errors import InputError
from limelight.modules.recurrent import RecurrentConfig
from limelight.modules.transformer import TransformerConfig

TOLERANCE = 0.05
"""How far the numbers of parameters may be apart, as a share."""


@dataclass(frozen=True)
class Rival:
    """A network that takes part: what it is called in a table, and its shape."""

    name: str
    label: str
    shape: TransformerConfig | RecurrentConfig


def parameters(build: Callable[[Any], nn.Module], shape: TransformerConfig | RecurrentConfig) -> int:
    """How many parameters the network has; no random number is used up."""
    # On the meta device nothing would be made, but its first use imports for two seconds.
    with torch.random.fork_rng(devices=[]):
        return sum(parameter.numel() for parameter in build(shape).parameters())


def as_large(build: Callable[[Any], nn.Module], shape: RecurrentConfig, wanted: int) -> RecurrentConfig:
    """`shape` at the even width that comes nearest to `wanted` parameters.

    Raises InputError where no width comes within `TOLERANCE`, which happens with very small networks only.
    """
    low, high = 1, 2
    while parameters(build, replace(shape, width=2 * high)) < wanted:
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if parameters(build, replace(shape, width=2 * middle)) < wanted:
            low = middle
        else:
            high = middle
    fits = min((low, high), key=lambda half: abs(parameters(build, replace(shape, width=2 * half)) - wanted))
    found = replace(shape, width=2 * fits)
    count = parameters(build, found)
    if abs(count - wanted) > TOLERANCE * wanted:
        raise InputError(
            f"No width gives {shape.cell} with {shape.attention} attention {wanted:,} parameters; the nearest, "
            f"{found.width}, has {count:,}. Compare larger networks."
        )
    return found
