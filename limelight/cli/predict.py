"""`limelight predict`: answers to lines of text."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limelight.cli.arguments import PIPE, Line, lines_from, named_lines
from limelight.cli.console import print_json
from limelight.cli.messages import how_far, tell_limits, tell_tabs, tell_unknown

if TYPE_CHECKING:
    from limelight.predicting.predictor import Prediction, Predictor
    from limelight.predicting.sampling import Sampling

MANY = 50
"""Texts from which on it is shown how far the answers have come."""
LINE_END = re.compile("\r\n|\r|\n")
HELP = """Answer each text: translate, pronounce, continue or classify it, whatever the model does.

Example: `limelight predict "Click the button." "Save the file." --model translate-en-de`

Of a FILE each line is a text, and so is each line of a pipe: `cat words.txt | limelight predict --model pronounce`.
Each line gets one line of output, a blank one a blank one. A language model's continuation keeps the space that it
begins with, so that `paste -d ""` joins it to its prompt."""


def register(app: typer.Typer) -> None:
    @app.command("predict", help=HELP)
    def predict(
        texts: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[TEXT|FILE]...", help="What to answer; without any, or for -, the lines of the pipe."
            ),
        ] = None,
        model: Annotated[
            str, typer.Option(help="A model's folder or a shipped model's name.")
        ] = "translate-en-de",
        beam: Annotated[int | None, typer.Option(help="Beam width; 1 is greedy.")] = None,
        length_penalty: Annotated[float | None, typer.Option(help="Above 0 favours longer answers.")] = None,
        longest: Annotated[int | None, typer.Option(help="The longest answer, in tokens.")] = None,
        sample: Annotated[
            bool, typer.Option("--sample", help="Draw the answer instead of searching for it.")
        ] = False,
        temperature: Annotated[
            float | None, typer.Option(help="With --sample: below 1 is more careful.")
        ] = None,
        top_k: Annotated[
            int | None, typer.Option(help="With --sample: only the k likeliest tokens; 0 is all.")
        ] = None,
        top_p: Annotated[
            float | None, typer.Option(help="With --sample: the likeliest tokens that reach p.")
        ] = None,
        seed: Annotated[int | None, typer.Option(help="With --sample: another seed, another answer.")] = None,
        prefix: Annotated[
            list[str] | None,
            typer.Option(
                metavar="TEXT|FILE",
                help="How the answer begins, in its own language: one for all texts, or one for each.",
            ),
        ] = None,
        as_json: Annotated[
            bool,
            typer.Option(
                "--json", help="One JSON object a line: the answer, its score, what was cut or not known."
            ),
        ] = False,
    ) -> None:
        from limelight.predicting.predictor import Prediction, Predictor

        drawing = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
        sampling = _sampling(sample, drawing)
        lines = _lines(texts)
        predictor = Predictor.load(model)
        searching = {"beam": beam, "length_penalty": length_penalty}
        _fits(predictor, sample, searching | {"longest": longest, "prefix": prefix})
        prefixes = _prefixes(prefix, lines)
        width = predictor.options(beam=beam)["beam"]
        one_way = (sampling is not None or width == 1) and not predictor.saved.classes
        if one_way and len(lines) == 1 and lines[0].in_command and _to_terminal() and not as_json:
            tell_unknown(predictor.saved.source, [predictor.trimmed(lines[0].text)])
            whole = _print_as_it_comes(predictor.stream(lines[0].text, sampling, longest, prefixes[0]))
            tell_limits(predictor, [whole], [lines[0].name])
            return
        asked = [place for place, line in enumerate(lines) if line.text.strip()]
        with how_far(least=MANY) as told:
            answers = predictor.predict(
                [lines[place].text for place in asked],
                beam=beam,
                length_penalty=length_penalty,
                longest=longest,
                sampling=sampling,
                prefix=None if prefix is None else [prefixes[place] for place in asked],
                progress=lambda done: told("answering", done, len(asked)),
                name=lambda number: lines[asked[number]].name,
            )
        tell_unknown(predictor.saved.source, [predictor.trimmed(lines[place].text) for place in asked])
        tell_tabs(predictor.trimmed(lines[place].text) for place in asked)
        tell_limits(predictor, answers, [lines[place].name for place in asked])
        coming = iter(answers)
        alone = len(lines) == 1 and lines[0].in_command
        for number, line in enumerate(lines, 1):
            answer = next(coming) if line.text.strip() else Prediction(line.text, "", math.nan, [], [])
            if as_json:
                print_json({"line": number} | answer.to_json())
            else:
                print(answer.text if alone else LINE_END.sub(" ", answer.text))


def _print_as_it_comes(pieces: Generator[str, None, Prediction]) -> Prediction:
    """Each piece of an answer on stdout, and at last the whole."""
    while True:
        try:
            print(next(pieces), end="", flush=True)
        except StopIteration as ended:
            print()
            return ended.value


def _prefixes(given: list[str] | None, lines: list[Line]) -> list[str]:
    """How the answer to each line begins: one for all of them, or one for each."""
    from limelight.errors import InputError

    prefixes = lines_from(given or [""])
    if len(prefixes) not in (1, len(lines)):
        raise InputError(
            f"--prefix is one for all texts or one for each, line by line; there are {len(prefixes)} for "
            f"{len(lines)} texts."
        )
    return prefixes * len(lines) if len(prefixes) == 1 else prefixes


def _fits(predictor: Predictor, sample: bool, given: dict[str, Any]) -> None:
    """Raises InputError for options that would change nothing."""
    from limelight.errors import InputError

    idle = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if predictor.saved.classes and (idle or sample):
        raise InputError(
            f"A classifier writes nothing: {', '.join([*idle, *['--sample'] * sample])} means nothing."
        )
    if sample and (searched := [name for name in idle if name not in ("--longest", "--prefix")]):
        raise InputError(f"An answer that is drawn is not searched for: {', '.join(searched)} means nothing.")


def _to_terminal() -> bool:
    return sys.stdout.isatty()


def _sampling(sample: bool, given: dict[str, Any]) -> Sampling | None:
    """How to draw, from the options that were given; they mean nothing in a search."""
    from limelight.errors import InputError
    from limelight.predicting.sampling import Sampling

    given = {name: value for name, value in given.items() if value is not None}
    if given and not sample:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"An answer is drawn with --sample only; got {names} without it. Add --sample.")
    return Sampling(**given) if sample else None


def _lines(texts: list[str] | None) -> list[Line]:
    """The texts from the words of the command, files or a pipe; blank ones keep their place."""
    from limelight.errors import InputError

    if not texts and (sys.stdin is None or sys.stdin.isatty()):
        raise InputError('Nothing to answer: give a text or a file, as in limelight predict "Save the file."')
    lines = named_lines(texts or [PIPE])
    if not any(line.text.strip() for line in lines):
        raise InputError("Nothing to answer: there is no line with text in the input.")
    return lines
