"""What only a process of its own shows: pipes that close, Ctrl-C, streams that are not Unicode."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.examples import mostly_slow
from tests.recipes import small

ROOT = Path(__file__).parents[2]
PLAIN = "from limelight.cli import app; app()"

# The real group of commands, with three more that need no torch.
MORE = """
import sys, time
from limelight.cli import app
from rich.console import Console

@app.command()
def talk(lines: int):
    for number in range(lines):
        print("line", number)

@app.command()
def show(lines: int):
    for number in range(lines):
        Console().print(f"line {number}")

@app.command()
def wait():
    print("waiting", flush=True)
    time.sleep(60)

app()
"""


@contextmanager
def started(*words: str, script: str = MORE, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | environment,
    ) as process:
        yield process


def finished(*words: str, script: str = MORE, **environment: str) -> tuple[int, bytes, bytes]:
    """Exit code, stdout, stderr."""
    with started(*words, script=script, **environment) as process:
        out, said = process.communicate(timeout=120)
        return process.returncode, out, said


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        pytest.param("talk", "5", marks=pytest.mark.slow),
        ("talk", "5000"),
        pytest.param("show", "5000", marks=pytest.mark.slow),
    ],
)
def test_a_reader_that_goes_away_is_no_error(command: str, lines: str) -> None:
    with started(command, lines) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if lines == "5000":
            assert process.stdout.readline() == b"line 0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_ctrl_c_is_one_line_and_130() -> None:
    with started("wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"limelight: stopped.\n")


@pytest.fixture
def not_ignored(number: signal.Signals) -> Iterator[None]:
    """A test run that was started to outlive its terminal (nohup) ignores SIGHUP, and what it starts does, too."""
    before = signal.signal(number, signal.SIG_DFL)
    yield
    signal.signal(number, before)


@pytest.mark.usefixtures("not_ignored")
@pytest.mark.parametrize("number", mostly_slow([signal.SIGTERM, signal.SIGHUP], signal.SIGTERM))
def test_a_signal_to_end_is_one_line_and_its_code(number: signal.Signals) -> None:
    with started("wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (128 + number, b"limelight: stopped.\n")


def test_nothing_heavy_is_loaded_to_say_no() -> None:
    script = f"import sys\ntry:\n    {PLAIN}\nfinally: print({{'torch', 'numpy'}} & {{*sys.modules}})"
    code, out, said = finished("nope", script=script)
    assert (code, out) == (2, b"set()\n")
    assert b"No such command" in said


@pytest.mark.slow
def test_a_look_through_a_pipe_that_knows_only_ascii() -> None:
    model = str(small.trained("classify")[2] / "out")
    words = ("look", "größe [bold]good[/bold] 😀", "--model", model)
    code, out, said = finished(*words, script=PLAIN, LC_ALL="C", PYTHONIOENCODING="ascii")
    assert code == 0
    assert said.startswith(b"note: 3 words in the input that this model does not know: gr")
    assert said.isascii() and b"[bold]good[/bold]" in said
    shown = out.decode("ascii")
    assert "gr??e [bold]good[/bold] ?" in shown
    assert "rank 1 = highest" in shown
    assert "\x1b" not in shown
