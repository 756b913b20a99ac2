"""Pictures are written whole, hold every label inside, outline the peaks, and take any word."""

from __future__ import annotations

import re
import struct
import sys
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from limelight.errors import InputError, MissingExtraError, ShapeError
from limelight.readings import Alignment, Groups, Reading, alignment, word_attention
from limelight.readings.render import canvas, figures
from limelight.readings.render.canvas import save
from limelight.readings.render.colours import PEAK, RAMP
from limelight.readings.render.figures import _heads_line
from tests.examples import mostly_slow
from tests.readings.cases import SOURCE, TARGET, random_layers

STRANGE = ("$x^2$", "東京", "🙂", "a\x1b[2Jb", "w" * 90, "<b>&amp;", "")


@pytest.fixture
def found() -> Alignment:
    return alignment(random_layers(layers=3).matrices, TARGET, SOURCE, [(1, 2), (2, 0)])


def square(size: int, names: tuple[str, ...] | None = None) -> Reading:
    labels = names or tuple(f"word{i}" for i in range(size))
    values = np.random.default_rng(0).dirichlet(np.full(size, 0.2), size).astype(np.float32)
    return Reading(values, ("target word", "source word"), (labels, labels), "probability", "Drawn.")


def svg_texts(path: Path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    return ["".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]


def test_png_and_svg_are_written_and_not_blank(found: Alignment, tmp_path: Path) -> None:
    figure = figures.alignment_picture(found)
    png = save(figure, tmp_path / "a.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert width > 400 and height > 400
    assert b"layer 1 head 2; layer 2 head 0" in png  # how it was computed travels in the file
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
    assert len(np.unique(pixels.view(np.uint32))) > 100
    texts = svg_texts(save(figure, tmp_path / "a.svg"))
    assert {*found.targets, *found.sources, "probability", "no word"} <= set(texts)
    assert "Mean of layer 1 head 2; layer 2 head 0" in texts
    assert save(figure, tmp_path / "a.PDF").read_bytes()[:5] == b"%PDF-"


@pytest.mark.slow
def test_the_same_picture_has_the_same_bytes_and_leaves_nothing_aside(
    found: Alignment, tmp_path: Path
) -> None:
    first, second = (
        save(figures.alignment_picture(found), tmp_path / f"{name}.svg").read_bytes()
        for name in ("one", "two")
    )
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.svg", "two.svg"]


def test_a_failed_write_keeps_the_old_file(
    found: Alignment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = figures.bars_picture(found.received())
    path = save(figure, tmp_path / "a.svg")
    before = path.read_bytes()

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        save(figure, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.parametrize("size", mostly_slow([1, 37], 37))
def test_nothing_is_cut_off(size: int) -> None:
    names = tuple("Konfigurationseinstellungsmöglichkeit" if i % 3 == 0 else f"w{i}" for i in range(size))
    assert_all_inside(figures.map_picture(square(size, names), title="A title that is long " * 4))


@pytest.mark.slow
def test_strange_words_do_no_harm(tmp_path: Path) -> None:
    words = Groups.tokens(STRANGE)
    size = len(STRANGE)
    layers = random_layers(layers=1, shape=(1, 2, size, size))
    figure = figures.alignment_picture(alignment(layers.matrices, words, words))
    assert_all_inside(figure)
    save(figure, tmp_path / "a.png")
    texts = svg_texts(save(figure, tmp_path / "a.svg"))
    assert {"$x^2$", "東京", "🙂", "a�[2Jb", "<b>&amp;"} <= set(texts)


def assert_all_inside(figure: Any) -> None:
    """Everything drawn lies on the sheet, and a white margin runs around it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.canvas.draw()
        box = figure.get_tightbbox(figure.canvas.get_renderer())
    assert box.x0 > 0 and box.y0 > 0
    assert box.x1 < figure.get_figwidth() and box.y1 < figure.get_figheight()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    inner = pixels[5:-5, 5:-5]
    assert (inner != 255).any()
    assert (pixels != 255).sum() == (inner != 255).sum()


@pytest.mark.slow
def test_peaks_are_outlined_and_numbers_written(found: Alignment) -> None:
    axes = figures.alignment_picture(found).axes[0]
    outlined = {
        (int(patch.get_y() + 0.5), int(patch.get_x() + 0.5))  # type: ignore[attr-defined]
        for patch in axes.patches
        if patch.get_edgecolor()[:3] == to_rgb(PEAK)  # type: ignore[index]
    }
    assert outlined == {(link.target, link.source) for link in found.links()}
    numbers = {text.get_text() for text in axes.texts}
    assert f"{found.links()[0].weight:.2f}".removeprefix("0") in numbers
    assert not figures.map_picture(square(50)).axes[0].texts


@pytest.mark.slow
def test_the_grid_of_heads_is_in_one_scale(found: Alignment) -> None:
    reading = word_attention(random_layers().matrices, TARGET, SOURCE)
    figure = figures.heads_picture(reading, chosen=[(1, 2)])
    meshes = [axes.collections[0] for axes in figure.axes[: len(reading.heads)]]
    assert len(meshes) == 15
    assert {mesh.get_clim() for mesh in meshes} == {(0, float(reading.values.max()))}
    for mesh, values in zip(meshes, reading.values, strict=True):
        assert np.array_equal(np.asarray(mesh.get_array()), values)
    assert_all_inside(figure)


def test_bars_are_ranked(found: Alignment, tmp_path: Path) -> None:
    received = found.received()
    figure = figures.bars_picture(received, most=3)
    bars = [patch.get_width() for patch in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert bars == [pytest.approx(entry.value) for entry in received.ranked()[:3]]
    texts = svg_texts(save(figure, tmp_path / "a.svg"))
    assert any(re.fullmatch(rf"{re.escape(received.ranked()[0].label)}\s+1", text) for text in texts)
    assert any("4 lower ones not shown" in text for text in texts)


def test_the_ramp_darkens_in_equal_steps() -> None:
    # Lightness after OKLab (Ottosson 2020): the order must survive a print in grey.
    linear = np.array([to_rgb(colour) for colour in RAMP])
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lightness = np.cbrt(linear @ to_lms.T) @ [0.2104542553, 0.7936177850, -0.0040720468]
    steps = -np.diff(lightness)
    assert abs(steps - steps.mean()).max() < 0.01
    assert steps.mean() > 0.08


def test_pyplot_and_settings_are_not_touched(found: Alignment, tmp_path: Path) -> None:
    before = matplotlib.rcParams.copy()
    save(figures.bars_picture(found.received()), tmp_path / "a.svg")
    assert matplotlib.rcParams.copy() == before
    assert "matplotlib.pyplot" not in sys.modules


def test_what_cannot_be_drawn_is_refused(found: Alignment, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="average_heads"):
        figures.map_picture(word_attention(random_layers().matrices, TARGET, SOURCE))
    with pytest.raises(InputError, match="first axis 'head'"):
        figures.heads_picture(Reading(np.ones((1, 1, 1)), tuple("abc"), (("x",),) * 3, "tokens", "By hand."))
    with pytest.raises(InputError, match="at least one value"):
        figures.bars_picture(Reading(np.ones(0), ("a",), ((),), "tokens", "By hand."))
    figure = figures.bars_picture(found.received())
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        save(figure, tmp_path / "a.jpg")
    with pytest.raises(InputError, match="folder must exist"):
        save(figure, tmp_path / "nowhere" / "a.png")


def test_without_matplotlib_the_install_line_is_named(
    monkeypatch: pytest.MonkeyPatch, found: Alignment
) -> None:
    import importlib

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name, name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"limelight\[plot\]"):
        figures.alignment_picture(found)


def test_where_heads_have_an_axis_nothing_is_called_a_mean() -> None:
    heads = tuple((layer, head) for layer in range(2) for head in range(7))
    labels = tuple(tuple(f"{axis} {n}" for n in range(size)) for axis, size in (("layer", 2), ("head", 7)))
    reading = Reading(np.ones((2, 7), np.float32), ("layer", "head"), labels, "nats", "By hand.", heads)
    assert _heads_line(reading) == "14 heads of layers 0 to 1"
    assert _heads_line(reading.at("layer", 1).at("head", 2)) == "Layer 1 head 2"
    mean = Reading(np.ones(2, np.float32), ("word",), (("a", "b"),), "nats", "By hand.", heads)
    assert _heads_line(mean) == "Mean of 14 heads of layers 0 to 1"


# ── Letters that no font has ──


def test_letters_that_no_font_has_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas, "_glyphs", lambda: frozenset(range(0x250)))
    words = Reading(np.float64([0.5, 0.25]), ("word",), (("\u732b", "cat\u200d"),), "probability", "By hand.")
    said = canvas.without_a_glyph(figures.bars_picture(words))
    assert "U+732B" in said and "U+200D" not in said and "Install a font" in said
    written = [text.get_text() for axes in figures.bars_picture(words).axes for text in axes.texts]
    assert any("U+732B" in line for line in written)  # in the picture's own footnote, too
    monkeypatch.undo()
    plain = Reading(np.float64([0.5]), ("word",), (("cat",),), "probability", "By hand.")
    assert canvas.without_a_glyph(figures.bars_picture(plain)) == ""
