"""The two pictures of heart.md: how a matrix is cut, and what becomes of one tile.

They are made by the page's own code (`python docs/build.py heart`), from the heart's own answers: what is computed is
what `spans` lets through, and the curves are readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from limelight.matrix import AttentionMatrix, Entropy, Mask, Received
from limelight.matrix.engine.plan import Plan, row_blocks
from limelight.matrix.validation import scores_of
from limelight.readings.render.canvas import RESOLUTION
from limelight.readings.render.colours import INK, PEAK, QUIET, RAMP

ALL, SOME, NONE = RAMP[1], RAMP[4], "#f4f5f7"
SHADES = LinearSegmentedColormap.from_list("limelight", RAMP)


# ---- how it is cut ------------------------------------------------------------------------------------


def cut_picture(panels: Sequence[tuple[str, Mask, Plan]], tokens: int, file: str) -> None:
    """Each mask with the tiles that a plan makes of it: computed unmasked, computed and masked, skipped."""
    figure = Figure(figsize=(2.55 * len(panels), 3.35), dpi=RESOLUTION, facecolor="white")
    FigureCanvasAgg(figure)
    for place, (name, mask, cut) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        computed = _draw_cut(axes, mask, cut, tokens)
        axes.set_title(f"{name}\n{computed:.0%} computed", fontsize=8.5, color=INK, pad=6)
    figure.subplots_adjust(left=0.03, right=0.985, top=0.84, bottom=0.17, wspace=0.09)
    for x, colour, told in (
        (0.035, ALL, "seen by every row: not masked"),
        (0.335, SOME, "seen by some rows: masked"),
        (0.60, NONE, "seen by none: skipped"),
        (0.825, "none", "held at once"),
    ):
        edge, wide = (PEAK, 1.6) if colour == "none" else (QUIET, 0.5)
        figure.add_artist(
            Rectangle((x, 0.045), 0.018, 0.04, facecolor=colour, edgecolor=edge, linewidth=wide)
        )
        figure.text(x + 0.026, 0.065, told, fontsize=7.5, color=INK, va="center")
    _save(figure, file, "What three plans compute of a matrix, and what they hold at once")


def _draw_cut(axes: Axes, mask: Mask, cut: Plan, tokens: int) -> float:
    """Draw it; gives the share of the entries that is computed."""
    one = torch.zeros(1, 1, tokens, 1)
    scores = scores_of(one, one, None, mask, None, None, None, None)
    done, held = 0, (0, 0, 0, 0)
    blocks = list(row_blocks(tokens, cut))
    for i0, i1 in blocks:
        width = cut.columns or tokens
        for start in range(0, tokens, width):
            for span in scores.spans(i0, i1, start, min(start + width, tokens), cut.grain):
                done += (i1 - i0) * (span.j1 - span.j0)
                axes.add_patch(_box(span.j0, span.j1, i0, i1, facecolor=ALL))
                for j0, j1 in span.partial:
                    axes.add_patch(_box(j0, j1, i0, i1, facecolor=SOME))
                if i0 == blocks[len(blocks) * 5 // 8][0]:  # a row block to show what lives together
                    first = held[0] if cut.columns is None and held[3] else span.j0
                    held = (first, span.j1, i0, i1)
    for _, i1 in blocks:
        axes.plot([0, tokens], [i1, i1], color="white", linewidth=0.7)
    for edge in range(cut.columns or tokens, tokens, cut.columns or tokens):
        axes.plot([edge, edge], [0, tokens], color="white", linewidth=0.7)
    axes.add_patch(_box(*held, facecolor="none", edgecolor=PEAK, linewidth=1.6, zorder=3))
    axes.set(xlim=(0, tokens), ylim=(tokens, 0), xticks=[], yticks=[], aspect="equal", facecolor=NONE)
    axes.set_xlabel(f"{tokens:,} keys", fontsize=7.5, color=QUIET, labelpad=3)
    if axes.get_subplotspec().colspan.start == 0:
        axes.set_ylabel(f"{tokens:,} queries", fontsize=7.5, color=QUIET, labelpad=3)
    axes.spines[:].set(color=QUIET, linewidth=0.5)
    return done / tokens**2


def _box(j0: int, j1: int, i0: int, i1: int, **style: Any) -> Rectangle:
    return Rectangle((j0, i0), j1 - j0, i1 - i0, **{"linewidth": 0, **style})


# ---- what becomes of a tile ---------------------------------------------------------------------------


def tile_picture(matrix: AttentionMatrix, rows: tuple[int, int], columns: tuple[int, int], file: str) -> None:
    """One tile of head 0 in the empty matrix, and beside it the states that it is taken into, as curves."""
    entropy, received = matrix.read(Entropy(), Received())
    N, M = matrix.shape[2:]
    (i0, i1), (j0, j1) = rows, columns
    figure = Figure(figsize=(7.2, 4.5), dpi=RESOLUTION, facecolor="white")
    FigureCanvasAgg(figure)
    whole = figure.add_axes((0.075, 0.30, 0.375, 0.60))
    whole.imshow(
        matrix[0, 0, i0:i1, j0:j1].sqrt().numpy(),
        extent=(j0, j1, i1, i0),
        cmap=SHADES,
        aspect="auto",
        zorder=2,
    )
    whole.add_patch(_box(j0, j1, i0, i1, facecolor="none", edgecolor=PEAK, linewidth=1.5, zorder=3))
    for edge in range(0, N, i1 - i0):
        whole.axhline(edge, color="#e3e5e9", linewidth=0.7)
    for edge in range(0, M, j1 - j0):
        whole.axvline(edge, color="#e3e5e9", linewidth=0.7)
    whole.set(xlim=(0, M), ylim=(N, 0), xticks=[], yticks=[], facecolor="white")
    whole.set_title("A, of which one tile exists at a time", fontsize=8.5, color=INK, pad=5)
    whole.set_ylabel(f"{N} queries", fontsize=8, color=QUIET)
    kept = figure.add_axes((0.475, 0.30, 0.105, 0.60))
    kept.plot(entropy[0, 0], range(N), color=RAMP[6], linewidth=0.9)
    kept.axhspan(i0, i1, color=PEAK, alpha=0.15, linewidth=0)
    kept.set(ylim=(N, 0), yticks=[])
    kept.set_title("Entropy", fontsize=8.5, color=INK, pad=5)
    kept.set_xlabel("nats", fontsize=7.5, color=QUIET)
    below = figure.add_axes((0.075, 0.115, 0.375, 0.15))
    below.plot(range(M), received.raw[0, 0], color=RAMP[6], linewidth=0.9)
    below.axvspan(j0, j1, color=PEAK, alpha=0.15, linewidth=0)
    below.set(xlim=(0, M), xticks=[])
    below.set_ylabel("Received", fontsize=8.5, color=INK)
    below.set_xlabel(f"{M} keys", fontsize=8, color=QUIET)
    for axes in (whole, kept, below):
        axes.spines[:].set(color=QUIET, linewidth=0.5)
        axes.tick_params(labelsize=7, length=2, color=QUIET, labelcolor=INK)
    _tell(figure)
    _save(figure, file, "One tile of an attention matrix and the states of two reductions beside it")


STEPS = (
    ("1  scores", "scale · Q[i0:i1] · K[j0:j1]ᵀ, capped, biased, masked"),
    ("2  row stats", "largest score m and log-sum l of each of its rows: all that is kept of the matrix"),
    ("3  weights", "exp(score − m − l), computed once and shared by all reductions"),
    ("4  absorb", "a query's state takes what its row gives (Entropy, right); a key's state what its column gives "
     "(Received, below)"),
    ("5  gone", "the next tile is written over this one"),
    ("6  merge, finish", "states add up, whatever the order; the reading is made of them"),
)  # fmt: skip


def _tell(figure: Figure) -> None:
    import textwrap

    y = 0.905
    for head, told in STEPS:
        figure.text(0.625, y, head, fontsize=8.5, color=PEAK, va="top", weight="bold")
        lines = textwrap.wrap(told, 44)
        for line in lines:
            y -= 0.038
            figure.text(0.625, y, line, fontsize=8, color=INK, va="top")
        y -= 0.063


def _save(figure: Figure, file: str, told: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Description": told, "Software": "Limelight"})
