"""`limelight explain`: which token a word of the command means."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limelight.cli.explain import _token
from limelight.explain.paired_run import StackText

SIDE = StackText(
    name="encoder",
    text="in 1899, 7 of 70 lamps",
    ids=tuple(range(9)),
    labels=("▁in", "▁18", "99", ",", "▁7", "▁of", "▁70", "▁lamps", "[END]"),
    spans=((0, 2), (2, 5), (5, 7), (7, 8), (8, 10), (10, 13), (13, 16), (16, 22), None),
    first=0,
)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("1899", "1899"),
        ("99", "99"),
        ("7", "7"),
        ("0", 0),
        ("1", 1),
        ("-1", -1),
        ("89", 89),
        ("lamps", "lamps"),
    ],
)
def test_a_number_is_a_place_unless_it_stands_in_the_text(word: str, meant: int | str) -> None:
    assert _token(word, SIDE) == meant


def test_a_number_of_the_text_is_followed(limelight: Callable[..., Any], model: Callable[[str], str]) -> None:
    def explained(text: str, token: str) -> object:
        result = limelight(
            "explain", text, "--token", token, "--answer-token", "0", "--model", model("translate"), "--json"
        )
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    assert explained("red cats 1", "1") == explained("red cats 1", "2")


def test_a_file_is_followed_as_its_text(
    limelight: Callable[..., Any], model: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "words.txt").write_text("red cats\n", encoding="utf-8")
    told = [
        limelight("explain", text, "--model", model("translate"), "--json").stdout
        for text in ("red cats", tmp_path / "words.txt")
    ]
    assert json.loads(told[0]) == json.loads(told[1])


def test_nothing_is_not_followed(refused: Callable[..., str], model: Callable[[str], str]) -> None:
    assert "the text is empty" in refused("explain", " ", "--model", model("translate"))
