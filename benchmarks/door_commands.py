"""A random command line, run in this process, and what must hold of whatever comes out of it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from benchmarks.door_inputs import (
    NUMBERS,
    SMALL_NUMBERS,
    STRINGS,
    Sandbox,
    bad_path,
    file,
    folder,
    mangled,
    model,
    recipe,
    rows,
    text,
    without_nul,
)
from limelight.cli import app, commands

CODES = (0, 1, 2)
WEIGHTS = {
    ("predict",): 12,
    ("look",): 8,
    ("explain",): 5,
    ("embed", "nearest"): 6,
    ("embed", "train"): 4,
    ("models",): 4,
    ("train",): 4,
    ("atlas",): 4,
    ("average",): 2,
    ("compare",): 2,
    ("coverage",): 1,
    ("data",): 2,
    ("serve",): 2,
}
SURELY = {
    ("serve",): ("--port", "70000"),
    ("data",): ("--source", "absent"),
    ("compare",): ("--data", "absent", "--finished"),
}
"""Words that keep a command from what a case has no time for: a server, a download, hours of training."""
ARGUMENTS: dict[str, Callable[[random.Random, Sandbox], object]] = {
    "texts": lambda dice, box: dice.choice((text(dice), text(dice), file(dice, box), bad_path(dice, box))),
    "text": lambda dice, box: dice.choice((text(dice), text(dice), file(dice, box), bad_path(dice, box))),
    "model": model,
    "start": model,
    "runs": model,
    "name": lambda dice, box: dice.choice((model(dice, box), text(dice), "pronounce")),
    "corpus": lambda dice, box: dice.choice((file(dice, box, "txt"), folder(dice, box), bad_path(dice, box))),
    "vectors": lambda dice, box: dice.choice(
        (file(dice, box, "vectors"), file(dice, box), bad_path(dice, box))
    ),
    "word": lambda dice, box: dice.choice(("light", "Light", "the", text(dice))),
    "data": lambda dice, box: dice.choice((folder(dice, box), folder(dice, box), bad_path(dice, box))),
    "source": lambda dice, box: dice.choice((bad_path(dice, box), file(dice, box))),
    "what": lambda dice, box: dice.choice(("scope", "report", "search", text(dice))),
    "family": lambda dice, box: dice.choice(("bert", text(dice))),
    "recipe": lambda dice, box: _recipe_file(dice, box),
    "answer": lambda dice, box: dice.choice((text(dice), file(dice, box))),
    "prefix": lambda dice, box: dice.choice(("the", text(dice), file(dice, box))),
    "question": lambda dice, box: text(dice),
    "token": lambda dice, box: dice.choice(("0", "1", "light", *STRINGS)),
    "answer_token": lambda dice, box: dice.choice(("0", "1", *STRINGS)),
    "head": lambda dice, box: dice.choice(("0.0", "0.1", "1.0", *STRINGS)),
    "remove": lambda dice, box: dice.choice(("word", "sentence", *STRINGS)),
    "architecture": lambda dice, box: dice.choice(("lstm", "luong", "transformer", *STRINGS)),
    "out": lambda dice, box: dice.choice((box.here / "out", box.here / "out.txt", bad_path(dice, box))),
    "png": lambda dice, box: dice.choice((box.here / "out.png", bad_path(dice, box))),
    "svg": lambda dice, box: dice.choice((box.here / "out.svg", bad_path(dice, box))),
    "html": lambda dice, box: dice.choice((box.here / "out.html", bad_path(dice, box))),
    "page": lambda dice, box: dice.choice((box.here / "out.md", bad_path(dice, box))),
    "csv": lambda dice, box: dice.choice((box.here / "out.csv", bad_path(dice, box))),
    "host": lambda dice, box: dice.choice(("127.0.0.1", *STRINGS)),
}
SHORT = {
    "steps": ("1", "2", "0", "-1", "x", "nan"),
    "epochs": ("1", "2", "0", "-1", "x"),
    "threads": ("1", "0", "x"),
}
"""Numbers that make work, kept small."""


def _recipe_file(dice: random.Random, box: Sandbox) -> object:
    if dice.random() < 0.2:
        return dice.choice((text(dice), file(dice, box), bad_path(dice, box)))
    path = box.here / f"recipe-{dice.randrange(1000)}.toml"
    path.write_text(recipe(dice), encoding="utf-8")
    return path


@cache
def known_commands() -> dict[tuple[str, ...], Any]:
    return dict(commands())


@dataclass(frozen=True)
class Command:
    """The words of a command line, what comes through the pipe, and its arguments that are no options."""

    words: list[str]
    piped: bytes | None
    arguments: list[str]

    def __str__(self) -> str:
        pipe = "" if self.piped is None else f"printf … | (piped: {self.piped[:60]!r}) "
        return f"{pipe}limelight {' '.join(map(repr, self.words))}"


def draw(dice: random.Random, box: Sandbox) -> Command:
    known = known_commands()
    names = sorted(known)
    [words] = dice.choices(names, [WEIGHTS.get(name, 1) for name in names])
    line, arguments = [*words], []
    piped = None
    for parameter in known[words].params:
        is_option = parameter.opts[0].startswith("-")
        if parameter.name == "help" or (is_option and not parameter.required and dice.random() < 0.75):
            if parameter.name != "model" or dice.random() < 0.1:
                continue
        flag = getattr(parameter, "is_flag", False)
        count = 1 if parameter.nargs == 1 and not parameter.multiple else dice.choice((0, 1, 1, 2, 3))
        for _ in range(count):
            value = () if flag else (_value(dice, box, parameter.name, is_option),)
            line += [parameter.opts[0], *value] if is_option else value
            arguments += () if is_option else value
    if words == ("predict",) and dice.random() < 0.3:
        piped = mangled(dice, rows(dice, dice.choice(("txt", "txt", "tsv"))))
    return Command([*line, *SURELY.get(words, ())], piped, arguments)


def _value(dice: random.Random, box: Sandbox, name: str, is_option: bool) -> str:
    if name in SHORT:
        return dice.choice(SHORT[name])
    make = ARGUMENTS.get(name)
    if make is not None and dice.random() < 0.95:
        return without_nul(str(make(dice, box)))
    if make is None and dice.random() < 0.9:
        return dice.choice(SMALL_NUMBERS if dice.random() < 0.5 else NUMBERS)
    return without_nul(text(dice))


def try_command(command: Command) -> str | None:
    """Run it; what it did wrong, or None."""
    result = CliRunner().invoke(app, command.words, input=command.piped)
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        raise error  # told with its place
    if result.exit_code not in CODES:
        return f"exit code {result.exit_code}"
    if "Traceback" in result.stderr:
        return "a traceback on stderr"
    said = [each for each in result.stderr.split("\n") if each.startswith("limelight: ")]
    if result.exit_code and len(said) != 1:
        return f"exit code {result.exit_code} with {len(said)} lines of refusal: {result.stderr[-300:]!r}"
    return None if result.exit_code else _broken_output(command, result.stdout)


def _broken_output(command: Command, output: str) -> str | None:
    """What is wrong with what a command printed that has done its work."""
    words, lines = command.words, output.removesuffix("\n").split("\n")
    if {"-h", "--help"} & set(words):
        return None
    if words[0] == "predict" and (wanted := _lines_in(command)) not in (None, len(lines)):
        return f"{wanted} lines in, {len(lines)} out"
    try:
        if "--json" in words:
            for each in lines if words[0] == "predict" else [output]:
                json.loads(each, parse_constant=_no_number)
    except ValueError as error:
        return f"no JSON: {error}"
    return None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _lines_in(command: Command) -> int | None:
    """How many lines `predict` was given, as `wc -l` counts them; None where that is not plain to see."""
    texts = command.arguments
    if any(each.startswith("-") for each in texts):  # read as an option
        return None
    if not texts:
        return None if command.piped is None else _count(command.piped)
    if len(texts) == 1 and not _is_file(texts[0]):  # of a text in the command the answer may have several
        return None
    return sum(_count(Path(each).read_bytes()) if _is_file(each) else 1 for each in texts)


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):
        return False


def _count(data: bytes) -> int:
    end = b"\n" if b"\n" in data else b"\r"
    return data.count(end) + (not data.endswith(end))
