"""The terminal views hold words, ranks and numbers without colour, in any width, in any encoding."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from limelight.errors import ShapeError
from limelight.readings import Alignment, Reading, alignment
from limelight.readings.render.glyphs import Pen, level_of
from limelight.readings.render.terminal import alignment_table, ranked_list, word_shades
from tests.readings.cases import SOURCE, TARGET, random_layers

WORDS = ["Open", "the", "file", "a"]
WEIGHTS = [0.1, 0.0, 0.6, 0.3]


def shown(view: RenderableType, width: int = 80, encoding: str = "utf-8", colour: bool = False) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    console = Console(
        file=stream, width=width, force_terminal=colour, color_system="truecolor" if colour else None
    )
    console.print(view)
    stream.flush()
    return raw.getvalue().decode(encoding)


def pen(encoding: str) -> Pen:
    return Pen(replace(Console().options, encoding=encoding))


@pytest.fixture
def found() -> Alignment:
    return alignment(random_layers().matrices, TARGET, SOURCE, [(1, 2), (2, 0)])


def test_every_word_has_its_rank_below_it() -> None:
    above, below, legend = shown(word_shades(WORDS, WEIGHTS, "words")).splitlines()
    assert above.split() == WORDS
    for word, mark in zip(WORDS, ["▂3", " 4", "█1", "▄2"], strict=True):
        place = above.index(f"{word} " if word == "a" else word) if word != "a" else above.rindex("a")
        assert below[place : place + 2] == mark
    assert "rank 1 = highest: 0.6 words" in legend


def test_without_colour_there_is_no_colour_and_with_it_there_is() -> None:
    assert "\x1b" not in shown(word_shades(WORDS, WEIGHTS))
    assert "\x1b[" in shown(word_shades(WORDS, WEIGHTS), colour=True)


@given(
    st.lists(st.tuples(st.text(max_size=30), st.floats(0, 1)), max_size=12),
    st.integers(12, 100),
    st.sampled_from(["utf-8", "ascii", "cp1252"]),
)
@example([("0000000000000", 0.0)], 12, "ascii")  # cut, and no letter for an ellipsis
def test_any_words_fit_any_width_and_stream(
    cells: list[tuple[str, float]], width: int, encoding: str
) -> None:
    words, weights = [word for word, _ in cells], [weight for _, weight in cells]
    text = shown(word_shades(words, weights), width, encoding)
    assert max(map(cell_len, text.splitlines()), default=0) <= width
    assert "\x1b" not in text
    assert text.count("\r") == 0


def test_markup_and_commands_in_words_are_only_text(found: Alignment) -> None:
    words = ["[bold red]x[/]", ":smile:", "\x1b[2J", "a\nb"]
    text = shown(word_shades(words, [1, 2, 3, 4]), colour=True)
    assert "[bold red]x[/]" in text
    assert ":smile:" in text
    assert "\x1b[2J" not in text
    assert "a↵b" in text


def test_the_table_has_every_target_word_its_top_word_and_what_goes_elsewhere(found: Alignment) -> None:
    lines = shown(alignment_table(found)).splitlines()
    assert lines[0].split()[:2] == ["target", "word"]
    assert lines[0].endswith("no word")
    for link, line, outside in zip(found.links(), lines[1:], found.elsewhere.values, strict=False):
        parts = line.split()
        assert parts[:2] == [link.target_name, link.source_name]
        assert f"{link.weight:.2f}" in parts
        assert parts[-1] == f"{outside:.2f}"
        second = found.ranked(link.target)[1]
        assert f"{second.label} {second.value:.2f}" in line
    footer = " ".join(lines[len(TARGET) + 1 :])
    assert "layer 1 head 2; layer 2 head 0" in footer
    assert "probability" in footer


def test_the_sink_free_table_shows_shares(found: Alignment) -> None:
    text = shown(alignment_table(found, sink_free=True))
    assert "no word" not in text
    assert "Sink-free" in text
    assert f"{found.ranked(0, sink_free=True)[0].value:.2f}" in text.splitlines()[1]


@pytest.mark.parametrize("width", [20, 33, 59, 60, 80, 200])
def test_tables_fit_the_width(found: Alignment, width: int) -> None:
    for view in (alignment_table(found), ranked_list(found.received())):
        lines = shown(view, width).splitlines()
        assert max(map(cell_len, lines)) <= width
        assert sum("Dokum" in line or "docum" in line for line in lines)


def test_tables_in_ascii(found: Alignment) -> None:
    text = shown(alignment_table(found), encoding="ascii")
    assert "?ffnen" in text
    assert "##" in text
    assert "##" in shown(ranked_list(found.received()), encoding="ascii")


def test_what_a_stream_cannot_write_has_letters_in_its_place() -> None:
    assert pen("utf-8").text("√x → é") == "√x → é"
    assert pen("ascii").text("√x → é") == "sqrt x -> ?"
    assert pen("cp1252").text("√x · é") == "sqrt x · é"
    assert [pen(each).text("a long word", 5) for each in ("utf-8", "ascii")] == ["a lo…", "a lo."]
    assert "?" not in shown(word_shades(["a" * 40], [1.0]), 20, "ascii")


def test_the_least_share_shows_and_none_does_not() -> None:
    assert [pen("utf-8").bar(share, 4) for share in (0.0, 1e-9, 0.5, 1.0)] == ["", "▏", "██", "████"]
    assert [pen("utf-8").block(level_of(share)) for share in (0.0, 1e-9, 0.5, 1.0, 1.0001)] == [*" ▁▄██"]


def test_a_list_is_ranked_and_says_what_it_leaves_out() -> None:
    reading = Reading(np.float32([0.2, np.nan, 0.7, 0.05]), ("word",), (tuple("abcd"),), "tokens", "By hand.")
    lines = shown(ranked_list(reading, most=2)).splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["1", "c"], ["2", "a"]]
    assert lines[1].split()[-1] == "0.70"
    assert lines[-1] == "2 lower ones not shown. By hand. Unit: tokens."
    rising = shown(ranked_list(reading, low_first=True)).splitlines()
    assert [line.split()[0] for line in rising[1:5]] == ["4", "3", "2", "1"]


def test_every_word_needs_a_weight() -> None:
    with pytest.raises(ShapeError, match="2 words, 1 weights"):
        word_shades(["a", "b"], [1.0])


def test_nothing_to_show() -> None:
    assert shown(word_shades([], [])) == ""
    assert len(shown(word_shades(["a", "b"], [0.0, 0.0])).splitlines()) == 3
