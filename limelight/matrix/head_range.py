"""HeadRange: which of a model's heads a matrix holds, under tensor parallelism."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HeadRange:
    """Some neighbouring heads of a layer, as one process of several has them.

    >>> print(HeadRange(4, 4, 8)), HeadRange(4, 4, 8).numbers
    heads 4–7 of 8
    (None, range(4, 8))
    """

    first: int | None
    """The model's own number of the first; None where it is not known."""
    heads: int
    whole: int
    """How many the layer has in all processes."""
    where: str = ""
    """Which process that is."""

    @property
    def numbers(self) -> range:
        """The model's own numbers of these heads; from 0 where they are not known."""
        first = self.first or 0
        return range(first, first + self.heads)

    def __str__(self) -> str:
        if self.first is None:
            return f"{self.heads} of {self.whole} heads, and it is not known which"
        last = self.first + self.heads - 1
        few = f"head {self.first}" if self.heads == 1 else f"heads {self.first}–{last}"
        return f"{few} of {self.whole}"
