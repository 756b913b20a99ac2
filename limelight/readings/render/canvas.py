"""The sheet that pictures are drawn on: axes placed in inches, title, colour bar, and the file on disk."""

from __future__ import annotations

import textwrap
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limelight.errors import require
from limelight.files import folder_for, written_aside
from limelight.readings.render.colours import INK, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".pdf")
RESOLUTION = 200
"""Dots an inch of a PNG."""
MARGIN = 0.15
LEAST_WIDTH = 3.6
FONTS = (
    *("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP"),
    *("WenQuanYi Zen Hei", "Hiragino Sans", "PingFang SC", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic"),
    *("Arial Unicode MS", "Noto Emoji"),
)
"""Asked in this order for a letter; those that are not installed are passed over."""


class Sheet:
    """A figure as large as what is on it. Measures are inches, y upwards; `finish` gives the figure."""

    def __init__(self) -> None:
        require("matplotlib", extra="plot", purpose="A picture")
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._figure = Figure(dpi=RESOLUTION / 2, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)
        self._places: dict[Axes, tuple[float, float, float, float]] = {}

    @property
    def first(self) -> Axes:
        """The axes that were put on it first."""
        return next(iter(self._places))

    def axes(self, x: float, top: float, width: float, height: float) -> Axes:
        """Empty axes with the upper left corner at (x, top)."""
        axes = self._figure.add_axes((0, 0, 1, 1))
        axes.set_facecolor("white")
        self._places[axes] = (x, top - height, width, height)
        return axes

    def colour_bar(self, beside: Axes, ramp: Any, highest: float, unit: str) -> None:
        """What the colours mean, to the right of everything, its top level with the top of `beside`."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        right = max(x + width for x, _, width, _ in self._places.values())
        bottom = min(y for _, y, _, _ in self._places.values())
        _, y, _, own_height = self._places[beside]
        top = y + own_height
        height = min(max(top - bottom, 0.9), 2.5)
        axes = self.axes(right + 0.3, top, 0.13, height)
        bar = self._figure.colorbar(ScalarMappable(Normalize(0, highest), ramp), cax=axes)
        bar.ax.tick_params(labelsize=8, length=2, color=QUIET, labelcolor=INK)
        bar.ax.locator_params(nbins=max(2, int(3 * height)))
        bar.set_label(unit, fontsize=9, color=QUIET)
        bar.outline.set(edgecolor=QUIET, linewidth=0.6)

    def finish(self, title: str, line: str, how: str) -> Figure:
        """The figure, with its title and a line below it; `how` travels in the file as its description."""
        with _no_glyph_warnings():
            self._plain_text()
            left, _, right, top = self._extent()
            width = max(right - left, LEAST_WIDTH)
            line = " ".join(filter(None, [line, without_a_glyph(self._figure)]))
            below = self._write(line, 9, "normal", left, top + 0.15, width)
            self._write(title, 12, "bold", left, below, width)
            self._plain_text()
            self._extent()
            self._figure.set_label(how)
        return self._figure

    def _write(self, text: str, size: float, weight: str, left: float, bottom: float, width: float) -> float:
        """Left-aligned lines that fit the width; gives where the next may stand above them."""
        letters = int(width * 72 / (0.58 * size))  # of a mean letter's width
        lines = textwrap.wrap(text, max(20, letters)) if text else []
        height = 1.35 * size / 72
        for number, part in enumerate(reversed(lines)):
            axes = self.axes(left, bottom + (number + 1) * height, 0.01, height)
            axes.set_axis_off()
            axes.text(0, 0, part, fontsize=size, fontweight=weight, color=INK, transform=axes.transAxes)
        return bottom + len(lines) * height + (0.04 if lines else 0.0)

    def _extent(self) -> tuple[float, float, float, float]:
        """Put everything into its place on a figure that just holds it: its left, bottom, right, top."""
        renderer = self._canvas.get_renderer()
        width, height = self._figure.get_size_inches()
        left, bottom = self._lay(0.0, 0.0, width, height)
        box = self._figure.get_tightbbox(renderer)  # in inches from the figure's lower left corner
        size = (box.width + 2 * MARGIN, box.height + 2 * MARGIN)
        self._figure.set_size_inches(*size)
        x, y = box.x0 - MARGIN, box.y0 - MARGIN
        self._lay(x, y, *size)
        return left + box.x0, bottom + box.y0, left + box.x1, bottom + box.y1

    def _lay(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float]:
        for axes, (x, y, wide, high) in self._places.items():
            axes.set_position(((x - left) / width, (y - bottom) / height, wide / width, high / height))
        return left, bottom

    def _plain_text(self) -> None:
        """Every text in fonts that have its letters, and dollar signs as dollar signs, not as formulas."""
        from matplotlib.text import Text

        for text in self._figure.findobj(Text):
            text.set_fontfamily(_fonts())
            text.set_parse_math(False)


NAMED = 5
"""Letters without a glyph that are named, by their numbers: as letters they would be boxes again."""


def without_a_glyph(figure: Figure) -> str:
    """What a reader must know of letters in a figure that no font on this machine has; "" where there are none."""
    from matplotlib.text import Text

    shown = sorted({sign for text in figure.findobj(Text) for sign in text.get_text()})
    missing = [sign for sign in shown if ord(sign) not in _glyphs() and _is_drawn(sign)]
    if not missing:
        return ""
    named = ", ".join(f"U+{ord(sign):04X}" for sign in missing[:NAMED])
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return (
        f"No font on this machine has the letter{'s' if len(missing) > 1 else ''} {named}{more}: in a PNG or PDF "
        "they are boxes. Install a font that has them, such as Noto Sans CJK, or write an SVG, which holds text."
    )


def _is_drawn(sign: str) -> bool:
    """Whether anything is to be seen of it: line ends, joiners and variation selectors need no glyph."""
    return (
        unicodedata.category(sign) not in ("Cc", "Cf", "Zl", "Zp", "Zs") and not 0xFE00 <= ord(sign) <= 0xFE0F
    )


@cache
def _glyphs() -> frozenset[int]:
    """The letters that the fonts have which pictures are drawn in."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    files = {font_manager.findfont(name) for name in _fonts()}
    return frozenset(code for file in files for code in FT2Font(file).get_charmap())


@cache
def _fonts() -> list[str]:
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [name for name in FONTS if name in installed] or ["sans-serif"]


@contextmanager
def _no_glyph_warnings() -> Iterator[None]:
    """A letter that no font has becomes a box in a PNG; an SVG holds it as text all the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        warnings.filterwarnings(
            "ignore", message="Matplotlib currently does not support", category=UserWarning
        )
        yield


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF, by the path's ending. Returns the path.

    It is written aside and renamed: whoever reads the path sees the old file or the whole new one. The same
    figure gives the same bytes. Raises InputError for another ending or a folder that does not exist.
    """
    path = Path(path)
    folder_for(path, "picture", ENDINGS)
    import matplotlib

    kind = path.suffix.lower().removeprefix(".")
    metadata = {
        "png": {"Description": str(figure.get_label()), "Software": None},
        "svg": {"Description": str(figure.get_label()), "Date": None},
        "pdf": {"Subject": str(figure.get_label()), "CreationDate": None},
    }[kind]
    # Text in an SVG stays text: it can be searched, read aloud, and shown in the reader's own fonts.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "limelight", "pdf.fonttype": 42}
    with written_aside(path) as aside, matplotlib.rc_context(settings), _no_glyph_warnings():
        figure.savefig(aside, format=kind, dpi=RESOLUTION, metadata=metadata)
    return path
