"""What a command prints: streams of any encoding, closed ones, full disks, readers that go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from limelight.cli import console
from limelight.cli.console import print_json


def run(*words: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = f'"{sys.executable}" -m limelight "$@" {shell}'
    return subprocess.run(
        ["bash", "-c", command, "limelight", *words],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
    )


def test_the_package_runs_as_a_module() -> None:
    result = run("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("limelight ")


@pytest.mark.slow
def test_a_stream_that_holds_no_umlauts_says_what_it_lost() -> None:
    words = ("models", "translate-en-de")
    plain = run(*words, PYTHONIOENCODING="utf-8")
    lost = sum(not sign.isascii() for sign in plain.stdout)
    result = run(*words, PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert 0 < result.stdout.count("?") <= lost + plain.stdout.count("?")
    assert "cannot be written in its encoding (ascii)" in result.stderr
    assert plain.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "code", "says"), [(">&-", 0, ""), (">/dev/full", 2, "No space left"), ("| head -1", 0, "")]
)
def test_an_output_that_is_closed_full_or_gone(shell: str, code: int, says: str) -> None:
    result = run("models", "--json", shell=f"{shell}; exit ${{PIPESTATUS[0]}}")
    assert result.returncode == code
    assert says in result.stderr
    assert result.stderr.count("\n") == bool(says)


def test_json_is_json_on_every_stream(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    value: dict[str, Any] = {"é": [float("nan"), 1.5, {"x": float("-inf")}]}
    refuse: Callable[[str], Any] = pytest.fail
    print_json(value)
    shown = capsys.readouterr().out
    assert "é" in shown
    assert json.loads(shown, parse_constant=refuse) == {"é": [None, 1.5, {"x": None}]}

    class Ascii:
        encoding = "US-ASCII"
        written = ""

        def write(self, text: str) -> None:
            self.written += text

    stream = Ascii()
    monkeypatch.setattr(console.sys, "stdout", stream)
    print_json({"é": 1})
    assert stream.written == '{"\\u00e9": 1}\n'
