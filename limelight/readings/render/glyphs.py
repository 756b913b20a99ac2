"""Signs for a terminal: bars, blocks, labels of a width, and letters where the stream has nothing else.

A stream that is not Unicode gets `.:-=+*#@` in place of blocks, and words in letters for signs of ours (√, →, …) that
it has not. The user's words are shown as far as the stream can write them; nothing in them reaches the terminal as a
command.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import ConsoleOptions

from limelight.readings.reading import visible

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = ".:-=+*#@"
EIGHTHS = " ▏▎▍▌▋▊▉"
LEVELS = len(BLOCKS)
LETTERS = {
    "√": "sqrt ", "·": ".", "−": "-", "–": "-", "‖": "||", "Σ": "sum", "∞": "inf", "×": "x", "≤": "<=",
    "→": "->", "←": "<-", "α": "a", "ᵀ": "^T", "′": "'", "…": "...", "ε": "eps", "“": '"', "”": '"',
    "§": "section ", "✓": "ok", "✗": "FAILED", "½": "1/2", "▁": "_", "›": ">",
}  # fmt: skip
"""What stands for a sign of ours on a stream that has it not."""


class Pen:
    """What can be written on this stream: `width` columns, all signs or, where `ascii`, those of its encoding."""

    def __init__(self, options: ConsoleOptions) -> None:
        self.ascii, self.encoding, self.width = options.ascii_only, options.encoding, options.max_width

    def text(self, words: str, most: int | None = None) -> str:
        """On one line, in at most `most` columns: an ellipsis at the end says that something is left out."""
        shown = visible(words)
        if self.ascii:
            shown = "".join(LETTERS.get(sign, sign) if self._lacks(sign) else sign for sign in shown)
            shown = shown.encode(self.encoding, "replace").decode(self.encoding)
        if most is None or cell_len(shown) <= most:
            return shown
        return set_cell_size(shown, max(most - 1, 0)).rstrip() + ("." if self._lacks("…") else "…")

    def name(self, label: str, width: int) -> str:
        """A label on exactly `width` columns."""
        return set_cell_size(self.text(label, width), width)

    def names(self, labels: Sequence[str], longest: int) -> int:
        """The columns that a list of labels takes."""
        return min(max((cell_len(self.text(label)) for label in labels), default=1), longest)

    def block(self, level: int) -> str:
        """One sign for a level from 1 to 8; 0 is blank."""
        return (ASCII_BLOCKS if self.ascii else BLOCKS)[level - 1] if level else " "

    def bar(self, share: float, width: int) -> str:
        """A bar of `width` columns at a share of 1; the least share above 0 still shows."""
        if self.ascii:
            return "#" * min(width, max(round(share * width), 1 if share > 0 else 0))
        eighths = min(width * 8, max(round(share * width * 8), 1 if share > 0 else 0))
        return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()

    def _lacks(self, sign: str) -> bool:
        """Whether the stream cannot write it."""
        try:
            sign.encode(self.encoding)
        except UnicodeEncodeError:
            return True
        return False


def level_of(weight: float, highest: float = 1.0) -> int:
    """0 for no weight, else 1 to 8, in equal steps up to the highest.

    >>> [level_of(weight, 0.8) for weight in (0.0, 0.01, 0.4, 0.8, float("nan"))]
    [0, 1, 4, 8, 0]
    """
    if not (weight > 0 and highest > 0):
        return 0
    return min(LEVELS, math.ceil(LEVELS * weight / highest))
