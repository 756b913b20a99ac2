"""A `Look` in the terminal and as a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from limelight.ablation.leave_one_out import AblationResult
from limelight.looking.look import Look
from limelight.readings.reading import visible
from limelight.readings.render.terminal import alignment_table, ranked_list, word_shades

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 8
"""Words in the list from high to low."""


def shown(look: Look) -> RenderableType:
    """The answer, the source words by what they receive, and each answer word's source words from high to low.

    What the words receive stands there twice: as the text, shaded, and as a list of the highest.
    """
    answer = look.prediction
    parts: list[RenderableType] = [_labelled("text", answer.source), _labelled("answer", answer.text, "bold")]
    if not math.isnan(answer.log_probability):
        parts.append(_labelled("", _certainty(look), "dim"))
    words = list(look.received.labels[0])
    parts += [Text(), Text("What each word receives, in the order of the text", style="bold")]
    parts.append(word_shades(words, look.received.values.tolist(), look.received.unit))
    parts += [Text(), Text("The same from high to low", style="bold"), ranked_list(look.received, most=MOST)]
    if look.removal is not None:
        parts += [Text(), Text("How far the answer moves without each word", style="bold")]
        parts += [ranked_list(look.removal.effect, most=MOST), Text(_agreement(look.removal), style="dim")]
    parts.append(Text())
    if look.alignment is not None:
        parts += [
            Text("What each word of the answer attends to", style="bold"),
            alignment_table(look.alignment),
        ]
    parts += [Text(look.heads, style="dim"), Text()]
    return Group(*parts)


def picture(look: Look) -> Figure:
    """The alignment as a map of words by words; for a classifier what each word receives, as bars."""
    from limelight.readings.render.figures import alignment_picture, bars_picture

    return alignment_picture(look.alignment) if look.alignment is not None else bars_picture(look.received)


def _agreement(removal: AblationResult) -> str:
    """Whether what moves the answer is what receives attention."""
    if math.isnan(removal.correlation):
        return "Spearman's rank correlation with what the words receive: undefined."
    return f"Spearman's rank correlation with what the words receive: {removal.correlation:.2f}."


def _certainty(look: Look) -> str:
    answer = look.prediction
    told = f"probability {math.exp(answer.log_probability):.3g} (log {answer.log_probability:.2f} nats)"
    if answer.others:
        other, log_probability = answer.others[0]
        order = "next" if look.alignment is None else "next by length-adjusted score"
        told += f"; {order}: {other} ({log_probability:.2f})"
    return told if answer.complete else f"{told}; cut at the longest length allowed"


def _labelled(label: str, text: str, style: str = "") -> Text:
    return Text.assemble((f"{label:<8}", "dim"), (visible(text), style))
