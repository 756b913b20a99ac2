"""The help of every command: an example that could be typed, and a word on every option."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest
import typer

from limelight.cli import app, commands

ROOT: Any = typer.main.get_command(app)


COMMANDS = dict(commands())


def examples(path: tuple[str, ...]) -> list[list[str]]:
    """The examples in a command's help, each as its words after `limelight`."""
    marked = COMMANDS[path].help.split("`")[1::2]
    lines = [part.split("|")[-1].strip() for part in marked]
    return [shlex.split(line)[1:] for line in lines if line.startswith("limelight ")]


def test_the_commands_are_those_that_the_package_names() -> None:
    import limelight.cli

    listed = [
        line.split()[0] for line in (limelight.cli.__doc__ or "").splitlines() if line.startswith("    ")
    ]
    assert sorted(listed) == sorted({path[0] for path in COMMANDS})


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_help_has_an_example(path: tuple[str, ...], limelight: Callable[..., Any]) -> None:
    for flag in ("--help", "-h"):
        result = limelight(*path, flag)
        assert result.exit_code == 0
        assert f"limelight {' '.join(path)} " in " ".join(result.stdout.split())
        assert "\x1b" not in result.stdout
    assert examples(path)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_example_can_be_parsed(path: tuple[str, ...]) -> None:
    for words in examples(path):
        place = len(path)
        assert tuple(words[:place]) == path
        context = COMMANDS[path].make_context(" ".join(path), words[place:])
        assert context.params


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_is(path: tuple[str, ...]) -> None:
    for parameter in COMMANDS[path].params:
        assert parameter.help, f"{parameter.name} has no help"
        assert parameter.help.endswith("."), parameter.help


def test_without_a_command_the_help_comes() -> None:
    assert ROOT.no_args_is_help


def test_a_command_that_is_not_there_is_one_line(refused: Callable[..., str]) -> None:
    line = refused("lok")
    assert "No such command 'lok'" in line
    assert "?." not in line


def test_the_version_is_told(limelight: Callable[..., Any]) -> None:
    import limelight as package

    result = limelight("--version")
    assert (result.exit_code, result.stdout) == (0, f"limelight {package.__version__}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("look", "--nope"), "No such option: --nope"),
        (("look", "a", "--beam", "wide"), "; got 'wide'. See "),
        (("serve", "a", "--port", "66000"), "; got '66000'. See "),
        (("train",), "Missing argument"),
        (("--nope",), "No such option: --nope"),
    ],
)
def test_a_line_that_cannot_be_parsed_is_one_line_with_the_way_out(
    words: tuple[str, ...], said: str, refused: Callable[..., str]
) -> None:
    line = refused(*words)
    assert said in line
    assert line.endswith(" --help.\n")
