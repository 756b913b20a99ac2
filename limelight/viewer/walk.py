"""The walk over everything: every matrix of a subject is read once, and what the answers need of it is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from limelight.matrix import Tile
from limelight.viewer.attentions import Attention, Matrix
from limelight.viewer.whole import Whole, read_whole


@dataclass(eq=False)
class Reading:
    """How far the first walk over all layers is."""

    total: int
    done: int = 0
    what: str = ""
    error: str | None = None
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None

    @property
    def share(self) -> float:
        return 1.0 if self.seconds is not None else min(0.999, self.done / max(1, self.total))


class Walk:
    """Over the layers of some attentions; what it has kept stands in `wholes`, one dictionary an attention."""

    def __init__(self, attentions: Sequence[Attention]) -> None:
        self.attentions = attentions
        self.wholes: list[dict[int, Whole]] = [{} for _ in attentions]
        self.reading = Reading(sum(map(weights, attentions)))
        self._lock = Lock()

    @property
    def ready(self) -> bool:
        """Whether all matrices were read."""
        return self.reading.seconds is not None

    def read(self, go_on: Callable[[], None] = lambda: None) -> None:
        """Go on from what was read before; `go_on` is called between tiles and may raise."""
        with self._lock:
            if self.ready:
                return
            self.reading = Reading(self.reading.total)
            layers = sum(len(attention.layers) for attention in self.attentions)
            number = 0
            try:
                for attention, wholes in zip(self.attentions, self.wholes, strict=True):
                    for layer, matrix in attention.layers.items():
                        number += 1
                        self.reading.what = f"layer {number} of {layers}"
                        before = self.reading.done
                        if layer not in wholes:
                            wholes[layer] = read_whole(attention, layer, self._heard(matrix, go_on))
                        self.reading.done = before + matrix.shape[1] * attention.N * attention.M
            except Exception as error:
                self.reading.error = str(error)
                raise
            self.reading.seconds = time.monotonic() - self.reading.started

    def _heard(self, matrix: Matrix, go_on: Callable[[], None]) -> Callable[[Tile], None]:
        """Counts rows: what a mask hides is no tile. Rows of a panel are read from the first to the last."""
        before, rows = self.reading.done, dict[int, int]()

        def heard(tile: Tile) -> None:
            rows[tile.heads.start] = len(tile.heads) * max(
                tile.i1, rows.get(tile.heads.start, 0) // len(tile.heads)
            )
            self.reading.done = before + sum(rows.values()) * matrix.shape[3]
            go_on()

        return heard


def weights(attention: Attention) -> int:
    """How many there are, of all heads and layers."""
    return len(attention.heads) * attention.N * attention.M
