"""The benchmark of odd input: its oracle sees what is wrong, its guard holds, and a short run finds nothing."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import door_commands, door_functions, door_inputs, doors
from benchmarks.door_commands import Command
from limelight.checked import checked
from limelight.errors import ArgumentTypeError, LimelightError


@pytest.mark.slow
def test_a_short_run_finds_nothing() -> None:
    result = doors.run(cases=150, seed=3)
    assert result["failed"] == 0, result["failures"]
    assert result["cases"] == 150
    assert len(result["doors"]) > 40


def test_what_a_command_does_wrong_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "in.txt"
    file.write_bytes(b"one\rtwo\nthree")
    command = Command(["predict", str(file)], None, [str(file)])
    broken = door_commands._broken_output
    assert broken(command, "ONE TWO\nTHREE\n") is None
    assert broken(command, "ONE\nTWO\nTHREE\n") == "2 lines in, 3 out"
    assert broken(Command(["predict"], b"a\n\nb\n", []), "A\nB\n") == "3 lines in, 2 out"
    assert (
        broken(Command(["models", "--json"], None, []), '{"x": NaN}\n') == "no JSON: NaN is no number of JSON"
    )

    def invoke(code: int, stderr: str) -> str | None:
        class Result:
            exception, exit_code, stdout = None, code, ""

        Result.stderr = stderr  # type: ignore[attr-defined]
        monkeypatch.setattr(door_commands.CliRunner, "invoke", lambda *_, **__: Result)
        return door_commands.try_command(command)

    assert invoke(2, "limelight: no.\n") is None
    assert invoke(2, "nothing\n") is not None
    assert invoke(3, "limelight: no.\n") == "exit code 3"
    assert invoke(0, "Traceback (most recent call last)\n") == "a traceback on stderr"


REFUSED = {"HuggingFaceReader", "look_conversation", "lazy_attentions"}
"""Doors for models of transformers, which the small models here are not: they are refused as they are."""


@pytest.mark.slow
def test_every_door_answers_a_call_that_fits(tmp_path: Path) -> None:
    """Some of a door's arguments are drawn, and may be broken files: of several calls one must be answered."""
    door_inputs.build_shared(tmp_path)
    answered: set[str] = set()
    for number in range(8):
        box = door_inputs.fresh(tmp_path, number)
        doors_here = door_functions.calls(random.Random(number), box)
        for name, make in doors_here.items():
            if name in answered | REFUSED or name.startswith(("train", "show")):
                continue
            _, function, arguments = make()
            with contextlib.suppress(LimelightError):
                function(**arguments)
                answered.add(name)
    left = {name for name in doors_here if not name.startswith(("train", "show"))} - answered
    assert left == REFUSED


def test_a_function_that_raises_something_else_fails() -> None:
    def wrong(**_: Any) -> None:
        raise AttributeError("inside")

    def refuses(**_: Any) -> None:
        raise LimelightError("no")

    assert door_functions.try_function(("refuses", refuses, {"x": 1})) is None
    with pytest.raises(AttributeError):
        door_functions.try_function(("wrong", wrong, {"x": 1}))


def test_one_number_draws_one_case(tmp_path: Path) -> None:
    door_inputs.build_shared(tmp_path)
    drawn = []
    for turn in range(2):
        here = tmp_path / f"case-{turn}"
        here.mkdir()
        commands = [
            door_commands.draw(random.Random(n), door_inputs.Sandbox(here, tmp_path)) for n in range(13)
        ]
        drawn.append([str(each).replace(f"case-{turn}", "case") for each in commands])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 10


GUARDED = """
import sys
from pathlib import Path
from benchmarks.door_guard import write_only_below

allowed, outside = map(Path, sys.argv[1:])
write_only_below(allowed)
(allowed / "inside.txt").write_text("x")
for change in (
    lambda: outside.write_text("y"),
    lambda: (allowed / "link").write_text("y"),
    outside.unlink,
    lambda: outside.rename(allowed / "taken"),
    lambda: (allowed / "inside.txt").rename(outside),
    lambda: outside.with_name("folder").mkdir(),
):
    try:
        change()
    except PermissionError:
        print("refused")
"""


def test_nothing_outside_its_folder_is_changed(tmp_path: Path) -> None:
    allowed, outside = tmp_path / "in", tmp_path / "out.txt"
    allowed.mkdir()
    outside.write_text("x")
    (allowed / "link").symlink_to(outside)
    words = [sys.executable, "-c", GUARDED, str(allowed), str(outside)]  # the hook stays with the process
    result = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60)
    assert result.stdout.split() == ["refused"] * 6, result.stderr
    assert outside.read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.txt"]


# ── Arguments of the wrong type, whatever they led to ──


def test_only_what_fails_is_held_against_its_annotations() -> None:
    @checked
    def first(values: list[int], name: str = "", most: int | None = None) -> int:
        return values[0] + len(name) + (most or 0)

    assert first((1, 2), "ab") == 3  # a tuple does as well
    with pytest.raises(
        ArgumentTypeError, match=r"first\(\): values must be several values: each a whole number; got None"
    ):
        first(None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match=r"most must be a whole number or None; got 'x'"):
        first([1], most="x")  # type: ignore[arg-type]
    with pytest.raises(IndexError):  # what fits fails as it did
        first([])
    with pytest.raises(TypeError, match="unexpected keyword"):
        first([1], other=2)  # type: ignore[call-arg]
