"""What was looked at, as a picture: documents, sentences and words as bars, one above the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limelight.errors import InputError
from limelight.readings.documents import LookedAt
from limelight.readings.reading import percent, visible
from limelight.readings.render.canvas import Sheet
from limelight.readings.render.colours import INK, QUIET, RAMP
from limelight.readings.unit_membership import LEVELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 8
LONGEST = 52
BAR = 0.24
"""Inches a bar takes."""


def looked_picture(looked: LookedAt, title: str = "What was looked at", most: int = MOST) -> Figure:
    """The highest documents, sentences and words, each level with a scale of its own, the shares written beside."""
    if not len(looked.documents.values):
        raise InputError("A picture of what was looked at needs at least one document.")
    sheet = Sheet()
    top = 0.0
    for level in LEVELS:
        entries = looked.ranked(level)[:most]
        height = BAR * len(entries) + 0.08
        axes = sheet.axes(0, top, 4.2, height)
        values = np.array([entry.value for entry in entries])
        highest = float(values.max(initial=0.0)) or 1.0
        shade = RAMP[{"document": 6, "sentence": 4, "word": 3}[level]]
        axes.barh(range(len(entries)), values, height=0.74, color=shade)
        names = [_name(looked, level, entry.place, entry.label) for entry in entries]
        axes.set_yticks(range(len(entries)), names, fontsize=8.5)
        axes.set_ylim(len(entries) - 0.45, -0.55)
        axes.set_xlim(0, 1.15 * highest)
        for place, entry in enumerate(entries):
            text = percent(entry.value, highest)
            axes.annotate(
                text, (entry.value, place), (4, 0), textcoords="offset points", va="center", fontsize=8
            )
        axes.set_xticks([])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.spines["left"].set_color(QUIET)
        count = len(looked.readings[level].values)
        more = f", {most} of {count}" if count > most else ""
        axes.set_title(f"{level}s{more}", fontsize=9, fontweight="bold", color=INK, loc="left", pad=3)
        top -= height + 0.38
    return sheet.finish(title, looked.how, looked.words.how)


def _name(looked: LookedAt, level: str, place: int, label: str) -> str:
    name = visible(label, LONGEST)
    if level == "document" or len(looked.documents.values) == 1:
        return name
    return f"{name}  ({visible(looked.homes[level][place], 18)})"
