"""One ramp of colours for every picture and the terminal: from white over lime to night blue.

Made in OKLCH with lightness falling in equal steps and hue turning from lime to blue, so that equal
differences look equal, a print in grey keeps the order, and no pair needs telling red from green.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

RAMP = ("#ffffff", "#c9eeba", "#75dd9e", "#0fc2a0", "#0d9f9c", "#097e8f", "#015e7f", "#003f6f", "#1a2444")
"""From low to high on paper; a terminal, which is mostly dark, takes it from high to low."""

LIGHT_ON = 0.5
"""Above this share of the ramp, text on it is white, below it black."""

PEAK = "#e4572e"
"""The outline of a row's peak: orange-red, far from the ramp in hue for every kind of colour vision."""

INK = "#1f2430"
QUIET = "#6b7280"


def shades(colours: Sequence[str] = RAMP) -> Any:
    """The colours as matplotlib's map from 0 … 1, even steps between them."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("limelight", list(colours))
