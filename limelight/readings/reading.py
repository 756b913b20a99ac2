"""Reading: an array with named axes, labels, a unit and how it was computed.

Every measure returns one, and every picture and table takes one; so no number travels without its meaning.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from limelight.checked import checked, checked_class
from limelight.errors import ArgumentTypeError, InputError, ShapeError, one_of

Head = tuple[int, int]
"""(layer, head), both counted from 0."""


class Entry(NamedTuple):
    """One number of a ranked reading: `rank` 1 is the highest, `place` is where it stands on its axis."""

    rank: int
    label: str
    value: float
    place: int


@checked_class
@dataclass(frozen=True, eq=False)
class Reading:
    """Values with the name and the labels of every axis, their unit, and how they were computed.

    values   float array, one axis for each name in `axes`; NaN where there is no value
    axes     such as ("target word", "source word"), all different
    labels   for each axis one label an entry; labels may repeat (a word may stand twice)
    unit     "probability", "nats", "tokens", "words"
    how      what was computed, in plain sentences
    heads    the (layer, head) pairs that the numbers come from, counted from 0

    Raises ShapeError where values, axes and labels disagree, InputError for infinite values.

    >>> labels = (("to", "Rome", "!"),)
    >>> Reading(np.float64([0.2, 0.7, 0.1]), ("word",), labels, "probability", "By hand.").ranked()[0]
    Entry(rank=1, label='Rome', value=0.7, place=1)
    """

    values: NDArray[Any]
    axes: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    unit: str
    how: str
    heads: tuple[Head, ...] = ()

    def __post_init__(self) -> None:
        values = np.array(self.values)
        if values.dtype not in (np.float32, np.float64):
            raise ArgumentTypeError(
                f"The values of a Reading must be float32 or float64; got {values.dtype}."
            )
        if np.isinf(values).any():
            raise InputError(
                "The values of a Reading must be finite, or NaN for no value; some are infinite."
            )
        axes, labels = tuple(self.axes), tuple(tuple(map(str, each)) for each in self.labels)
        if len(set(axes)) != len(axes):
            raise ShapeError(f"The axes of a Reading must have different names; got {axes}.")
        if values.ndim != len(axes) or values.shape != tuple(len(each) for each in labels):
            raise ShapeError(
                f"A Reading must have a name for every axis and a label for every entry; got values of shape "
                f"{values.shape}, axes {axes} and {[len(each) for each in labels]} labels."
            )
        values.flags.writeable = False
        made = {"values": values, "axes": axes, "labels": labels}
        made["heads"] = tuple((int(layer), int(head)) for layer, head in self.heads)
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        size = " × ".join(
            f"{count} {axis}s" for axis, count in zip(self.axes, self.values.shape, strict=True)
        )
        return f"Reading({size or 'one number'}, {self.unit})"

    # ---- parts ------------------------------------------------------------------------------------

    def axis(self, name: str) -> int:
        """The number of the axis with this name."""
        if name not in self.axes:
            raise InputError(one_of("axis", map(repr, self.axes), name))
        return self.axes.index(name)

    def at(self, axis: str, place: int) -> Reading:
        """The part at one place of an axis, which then has that axis no more."""
        number = self.axis(axis)
        size = self.values.shape[number]
        if not -size <= place < size:
            raise InputError(f"The axis {axis!r} has {size} entries, counted from 0; got {place}.")
        label = self.labels[number][place]
        return Reading(
            self.values.take(place, number),
            self.axes[:number] + self.axes[number + 1 :],
            self.labels[:number] + self.labels[number + 1 :],
            self.unit,
            f"{self.how} Of all entries of the axis {axis!r} only {label!r} (number {place % size}).",
            self._heads_at(axis, place % size),
        )

    def _heads_at(self, axis: str, place: int) -> tuple[Head, ...]:
        """Those that are left at one place of an axis."""
        both = {"layer", "head"} <= set(self.axes)
        if axis == "head" and not both and len(self.heads) == len(self.labels[self.axis(axis)]):
            return (self.heads[place],)
        if axis in ("layer", "head") and both:
            numbers = sorted({head[axis == "head"] for head in self.heads})
            if len(numbers) == len(self.labels[self.axis(axis)]):
                return tuple(head for head in self.heads if head[axis == "head"] == numbers[place])
        return self.heads

    def ranked(self) -> list[Entry]:
        """The entries of a reading with one axis from high to low; of equals the first comes first.

        Entries without a value come last. Take a part with `at` first if there are more axes.
        """
        if self.values.ndim != 1:
            raise ShapeError(
                f"Ranks run along one axis; this reading has {len(self.axes)}: {', '.join(self.axes)}. "
                "Choose a place on the others first: reading.at(axis, place).ranked()."
            )
        order = np.argsort(-self.values, kind="stable")  # NaN sorts last
        labels = self.labels[0]
        return [
            Entry(rank, labels[place], float(self.values[place]), int(place))
            for rank, place in enumerate(order, start=1)
        ]

    # ---- to other programs ------------------------------------------------------------------------

    def rows(self) -> Iterator[dict[str, Any]]:
        """One dictionary a number, for tables: `csv.DictWriter`, `pandas.DataFrame(reading.rows())`.

        Each axis gives its label and, as `axis number`, its place, since labels may repeat.
        """
        for places, value in np.ndenumerate(self.values):
            row: dict[str, Any] = {}
            for axis, labels, place in zip(self.axes, self.labels, places, strict=True):
                row |= {axis: labels[place], f"{axis} number": place}
            yield row | {"value": float(value), "unit": self.unit}

    def to_json(self) -> dict[str, Any]:
        """Plain lists and strings for `json.dumps`; `from_json` gives the same numbers to the last bit.

        A number is written with as many digits as tell it from its neighbours, and no value is null.
        """
        return {
            "axes": list(self.axes),
            "labels": [list(each) for each in self.labels],
            "unit": self.unit,
            "how": self.how,
            "heads": [list(head) for head in self.heads],
            "dtype": str(self.values.dtype),
            "values": _plain(self.values),
        }

    @classmethod
    @checked
    def from_json(cls, data: Mapping[str, Any]) -> Reading:
        """The reading that `to_json` wrote. Raises InputError for anything else."""
        try:
            labels = tuple(tuple(each) for each in data["labels"])
            values = np.array(data["values"], dtype=data["dtype"])  # null becomes NaN
            return cls(
                values.reshape([len(each) for each in labels]),
                tuple(data["axes"]),
                labels,
                data["unit"],
                data["how"],
                tuple((layer, head) for layer, head in data["heads"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"This is no reading as to_json() writes it; it does not hold {error}."
            ) from error


def _plain(values: NDArray[Any]) -> Any:
    if values.ndim:
        return [_plain(each) for each in values]
    # str of a NumPy number is the shortest text that reads back as the same number in its own precision.
    return None if np.isnan(values) else float(str(values[()]))


MOST_HEADS_NAMED = 6
"""Where there is little room, more heads than these are counted."""


def name_heads(heads: Sequence[Head], most: int | None = None) -> str:
    """The heads in words, counted from 0; of more than `most` how many they are, and of which layers.

    >>> name_heads([(2, 1), (2, 3), (3, 0)])
    'layer 2 heads 1, 3; layer 3 head 0'
    >>> name_heads([(2, 1), (2, 3), (3, 0)], most=2)
    '3 heads of layers 2 to 3'
    """
    if most is not None and len(heads) > most:
        layers = sorted({layer for layer, _ in heads})
        if len(layers) == 1:
            return f"{len(heads)} heads of layer {layers[0]}"
        whole = layers == list(range(layers[0], layers[-1] + 1))
        said = f"{layers[0]} to {layers[-1]}" if whole else ", ".join(map(str, layers))
        return f"{len(heads)} heads of layers {said}"
    parts = []
    for layer, group in groupby(sorted(heads), key=lambda head: head[0]):
        numbers = [str(number) for _, number in group]
        parts.append(f"layer {layer} head{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}")
    return "; ".join(parts)


def digits_after_point(highest: float) -> int:
    """How many digits to show, so that the highest of several values has two that are not 0.

    >>> digits_after_point(0.81), digits_after_point(0.0034), digits_after_point(120.0)
    (2, 4, 2)
    """
    return 2 if highest <= 0 else max(2, 1 - math.floor(math.log10(highest)))


_SHOWN = {"\n": "↵", "\t": "⇥", "\r": "␍"}


def visible(text: str, most: int | None = None) -> str:
    """A text on one line, safe to print: nothing in it moves the cursor, sends a command or turns the line.

    Line ends and tabs get a sign, every other control character `�`; beyond `most` characters it ends in `…`.

    >>> visible("one\\ttwo\\x1b[2J")
    'one⇥two�[2J'
    """
    # Cc: control (the terminal's escape among them); Cf: format, such as the signs that reverse a line, but
    # not the joiners that hold an emoji together; Cs: half a surrogate pair, which no stream can write.
    shown = "".join(
        _SHOWN.get(sign, "�")
        if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") and sign not in "\u200c\u200d"
        else sign
        for sign in text
    )
    if most is not None and len(shown) > most:
        return shown[: most - 1] + "…"
    return shown


def percent(value: float, highest: float) -> str:
    """A share, with as many digits as tell the highest of them."""
    return f"{value:.{max(1, digits_after_point(highest) - 2)}%}"
