"""The two doors of the page for programs: `show` in a notebook, `save_html` as one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limelight.checked import checked
from limelight.explain import Explanation
from limelight.explain.render.page import save_page
from limelight.viewer.builders.from_matrices import Text, build_subject
from limelight.viewer.export.html_file import FILE_BUDGET, save
from limelight.viewer.notebook import HEIGHT, widget


@checked
def show(
    what: Any,
    text: Text = None,
    queries: Text = None,
    title: str = "",
    height: int = HEIGHT,
    batch: int = 0,
) -> Any:
    """The page in a notebook, as a widget.

    what     an AttentionMatrix; several, or layer (or name) → matrix; what `limelight.watch` has seen; a Reading
    text     what the keys are tokens of: Segments, a Context, or one label a token; the queries' too where they
             are as many. Without it tokens are shown by their numbers.
    queries  what the queries are tokens of, in cross-attention
    batch    which text of a batch, counted from 0

    Needs the extra `notebook`.
    """
    return widget(build_subject(what, text, queries, title, batch), height)


@checked
def save_html(
    what: Any,
    path: str | Path,
    text: Text = None,
    queries: Text = None,
    title: str = "",
    slices: Sequence[str] = (),
    budget: int = FILE_BUDGET,
    batch: int = 0,
) -> Path:
    """The page as one file that needs no network and no Python; `what`, `text`, `queries` and `batch` as for `show`.

    An Explanation, which `explain_text` makes, becomes its own page, and has use for nothing but `path`.

    slices  heads that must be in it beside the mean over all: "3.5" (layer 3, head 5), "3" (the mean of layer 3)
    budget  bytes of the file: what has room is in it, and the page says what is not
    """
    if isinstance(what, Explanation):
        return save_page(what, path)
    return save(build_subject(what, text, queries, title, batch), path, slices, budget)
