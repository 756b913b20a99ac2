"""What can be read off the runs of efficiency: speeds, gains, costs; medians over the rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Place = Mapping[str, Any]


@dataclass(frozen=True)
class Ratio:
    """One rival's numbers over another's, round by round: both were measured in turns, so what slows the machine for
    a while slows both, and goes out.

    >>> Ratio.of([4.0, 9.0, 6.0], [2.0, 3.0, 3.0])
    Ratio(values=(2.0, 3.0, 2.0))
    """

    values: tuple[float, ...]

    @classmethod
    def of(cls, over: Sequence[float], under: Sequence[float]) -> Ratio:
        return cls(tuple(one / other for one, other in zip(over, under, strict=True)))

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def side(self) -> int:
        """1 where every round is above one, -1 where every round is below; 0 where they do not agree."""
        return 1 if min(self.values) > 1 else -1 if max(self.values) < 1 else 0


@dataclass(frozen=True)
class Measured:
    """The runs of one device. `runs` are its dicts by kind: length, batch, decoding, processes."""

    runs: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, results: Mapping[str, Mapping[str, Any]]) -> Measured:
        return cls({run["kind"]: run for run in results.values()})

    @property
    def _any(self) -> Mapping[str, Any]:
        return next(iter(self.runs.values()))

    @property
    def rivals(self) -> Mapping[str, Mapping[str, Any]]:
        return self._any["rivals"]

    @property
    def device(self) -> str:
        return self._any["device"]

    @property
    def part(self) -> str:
        """The part of the comparison that this is."""
        return "efficiency" if self.device == "cpu" else "accelerator"

    @property
    def tokens(self) -> int:
        return self._any["tokens"]

    @property
    def rounds(self) -> int:
        return max(
            len(place.get("seconds", place.get("writing", ())))
            for run in self.runs.values()
            for place in run["places"]
        )

    def label(self, rival: str) -> str:
        return self.rivals[rival]["label"]

    def shape(self, rival: str) -> Mapping[str, Any]:
        return self.rivals[rival]["shape"]

    def places(self, kind: str, **wanted: Any) -> Sequence[Place]:
        """The measurements of a kind whose values are those that are wanted."""
        run = self.runs.get(kind)
        places = [] if run is None else run["places"]
        return [place for place in places if all(place[word] == value for word, value in wanted.items())]

    def lengths(self, kind: str) -> list[int]:
        return sorted({place["length"] for place in self.places(kind)})

    def threads(self) -> list[int]:
        return sorted({place["threads"] for place in self.places("length")})

    def speeds(self, rival: str, length: int, threads: int) -> list[float]:
        """Tokens a second of a training step, round by round."""
        [place] = self.places("length", rival=rival, length=length, threads=threads)
        return [place["batch"] * length / seconds for seconds in place["seconds"]]

    def speed(self, rival: str, length: int, threads: int) -> float:
        return median(self.speeds(rival, length, threads))

    def batch_speeds(self, rival: str, batch: int) -> list[float]:
        [place] = self.places("batch", rival=rival, batch=batch)
        return [batch * place["length"] / seconds for seconds in place["seconds"]]

    def gain(self, rival: str) -> float:
        """How many times as many tokens a second two processes train on; each has a whole batch."""
        one, more = sorted(self.places("processes", rival=rival), key=lambda place: place["processes"])
        return more["processes"] * median(one["seconds"]) / median(more["seconds"])

    def decoding_rounds(self, rival: str, length: int, what: str) -> list[float]:
        """Seconds of "reading" so many tokens, or of "writing" one after them, round by round."""
        [place] = self.places("decoding", rival=rival, length=length)
        return list(place[what])

    def decoding(self, rival: str, length: int, what: str) -> float:
        return median(self.decoding_rounds(rival, length, what))

    def kept(self, rival: str, length: int) -> int:
        """Bytes between two tokens."""
        [place] = self.places("decoding", rival=rival, length=length)
        return place["bytes"]


def depth(shape: Mapping[str, Any], length: int) -> int:
    """Steps of which each must wait for the one before, in a forward: the paper's "sequential operations" (Table 1).

    A Transformer's layers wait for one another; a cell waits for the token before it and for the layer below.
    """
    layers: int = shape["decoder_layers"]
    return layers if shape["architecture"] == "transformer" else length + layers - 1
