"""Files that a command writes beside its answer: checked before the work, written after it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from limelight.cli.messages import tell_written
from limelight.errors import require
from limelight.files import PAGE_ENDINGS, folder_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from limelight.viewer.subject import Subject


def check_pictures(png: Path | None, svg: Path | None) -> None:
    """Raises InputError for a picture that could not be written, MissingExtraError where nothing can draw it."""
    for path, ending in ((png, ".png"), (svg, ".svg")):
        if path is not None:
            folder_for(path, "picture", (ending,))
            require("matplotlib", extra="plot", purpose="A picture")


def check_page(path: Path | None) -> None:
    """Raises InputError for a page of the viewer that could not be written, or whose front end was not built."""
    if path is not None:
        from limelight.viewer.template import SCRIPT, needed

        folder_for(path, "page", PAGE_ENDINGS)
        needed(SCRIPT)


def save_picture(figure: Figure, path: Path) -> None:
    """A picture, and a line on stderr where it went."""
    from limelight.readings.render.canvas import save, without_a_glyph

    save(figure, path)
    tell_written(path)
    if path.suffix.lower() != ".svg" and (said := without_a_glyph(figure)):
        Console(stderr=True, soft_wrap=True).print(
            f"note: {path.name}: {said}", style="yellow", highlight=False, markup=False
        )


def save_page(
    subject: Subject, path: Path, heads: list[tuple[int, int]] | None, layers: list[int] | None = None
) -> None:
    """The page as one file, with these heads and the means of these layers, and a line on stderr where it went."""
    from limelight.viewer.export.html_file import save

    each = [*map(str, layers or []), *(f"{layer}.{number}" for layer, number in heads or [])]
    save(subject, path, each, again="limelight look … --html FILE --head LAYER.HEAD")
    tell_written(path, "page")


def numbered(path: Path, number: int, count: int) -> Path:
    """The path itself where there is one thing to write; else with its number at the end of its name.

    >>> numbered(Path("look.png"), 2, 3).name
    'look-2.png'
    """
    return path if count == 1 else path.with_stem(f"{path.stem}-{number}")
