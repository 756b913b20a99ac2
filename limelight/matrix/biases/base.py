"""What every bias is: numbers added to the scores before the mask, or scores made of scores, tile by tile."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from limelight.matrix.index_functions import TileIndex


class Bias(ABC):
    """What every bias must give (`apply`), and may give (the rest)."""

    @abstractmethod
    def apply(self, s_BHRC: Tensor, place: TileIndex) -> Tensor:
        """The scores of a tile with the bias; it may write into them."""

    @property
    def adds(self) -> bool:
        """Whether it only adds numbers that do not depend on the scores: then gradients pass it unchanged."""
        return True

    @property
    def requires_grad(self) -> bool:
        """Whether what it is made of asks for a gradient, which it does not receive."""
        return False

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Those that it refers to, and that somebody may write into."""
        return ()

    def fit(self, B: int, H: int, N: int, M: int) -> Bias:
        """This bias for one attention matrix, or a ShapeError."""
        return self
