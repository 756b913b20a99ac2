"""The legend of shape letters, and the check that stands at every public door.

Names wear their shapes: `q_BHND` is a tensor of four axes, batch × heads × queries × width.
One legend serves the whole package.
"""

from __future__ import annotations

from types import SimpleNamespace

from torch import Tensor

from limelight.errors import ArgumentTypeError, ShapeError

LEGEND = {
    "B": "batch",
    "H": "query heads",
    "G": "key/value heads",
    "N": "queries",
    "M": "keys",
    "D": "head width",
    "E": "model width",
    "F": "feed-forward width",
    "V": "vocabulary",
    "L": "layers",
    "R": "rows of a tile",
    "C": "columns of a tile",
}


def sizes(**tensors: Tensor) -> SimpleNamespace:
    """Read the size of every axis off tensors whose names end in their shape letters.

    `sizes(q_BHND=q, k_BGMD=k)` gives an object with B, H, N, D, G and M, and raises when a tensor has
    another number of axes than its letters, or when one letter would have two sizes.

    >>> import torch
    >>> found = sizes(q_BHND=torch.ones(2, 6, 5, 8), k_BGMD=torch.ones(2, 3, 7, 8))
    >>> found.H, found.G, found.M
    (6, 3, 7)
    """
    found: dict[str, tuple[int, str]] = {}
    for name, tensor in tensors.items():
        plain, _, letters = name.rpartition("_")
        if not isinstance(tensor, Tensor):
            raise ArgumentTypeError(
                f"{plain} must be a torch.Tensor of axes {letters}; got {type(tensor).__name__}."
            )
        if tensor.dim() != len(letters):
            axes = " × ".join(LEGEND[letter] for letter in letters)
            raise ShapeError(
                f"{plain} must have {len(letters)} axes ({axes}); got shape {tuple(tensor.shape)}."
            )
        for letter, size in zip(letters, tensor.shape, strict=True):
            known, first = found.setdefault(letter, (size, plain))
            if known != size:
                raise ShapeError(
                    f"{first} and {plain} must agree on {letter} ({LEGEND[letter]}); "
                    f"{first} has {known}, {plain} has {size}."
                )
    return SimpleNamespace(**{letter: size for letter, (size, _) in found.items()})
