"""`limelight predict`: answers to lines of text."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limelight.cli.given import lines_from
from limelight.cli.telling import how_far, tell_unknown

if TYPE_CHECKING:
    from limelight.predicting.predictor import Prediction, Predictor
    from limelight.predicting.sampling import Sampling

MANY = 50
"""Texts from which on it is shown how far the answers have come."""
HELP = """Answer each text: translate, pronounce, continue or classify it, whatever the model does.

Example: `limelight predict "Click the button." "Save the file." --model translate-en-de`

Of a FILE each line is a text, and so is each line of a pipe: `cat words.txt | limelight predict --model pronounce`.
Each line gets one line of output, a blank one a blank one."""


def register(app: typer.Typer) -> None:
    @app.command("predict", help=HELP)
    def predict(
        texts: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[TEXT|FILE]...", help="What to answer; without any, the lines of the pipe."
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
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    ) -> None:
        from limelight.predicting.predictor import Prediction, Predictor

        drawing = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
        sampling = _sampling(sample, drawing)
        lines = _lines(texts)
        predictor = Predictor.load(model)
        searching = {"beam": beam, "length_penalty": length_penalty}
        _fits(predictor, sample, searching | {"longest": longest})
        width = predictor.options(beam=beam)["beam"]
        one_way = (sampling is not None or width == 1) and not predictor.saved.classes
        if one_way and len(lines) == 1 and _to_terminal() and not as_json:
            tell_unknown(predictor.saved.source, lines)
            for piece in predictor.stream(lines[0], sampling, longest):
                print(piece, end="", flush=True)
            print()
            return
        asked = [line for line in lines if line.strip()]
        with how_far(least=MANY) as told:
            answers = predictor.predict(
                asked,
                beam=beam,
                length_penalty=length_penalty,
                longest=longest,
                sampling=sampling,
                progress=lambda done: told("answering", done, len(asked)),
            )
        tell_unknown(predictor.saved.source, asked)
        coming = iter(answers)
        for line in lines:
            answer = next(coming) if line.strip() else Prediction(line, "", math.nan, [], [])
            print(_shown(answer, len(lines) > 1, as_json))


def _fits(predictor: Predictor, sample: bool, given: dict[str, Any]) -> None:
    """Raises InputError for options that would change nothing."""
    from limelight.errors import InputError

    idle = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if predictor.saved.classes and (idle or sample):
        raise InputError(
            f"A classifier writes nothing: {', '.join([*idle, *['--sample'] * sample])} means nothing."
        )
    if sample and (searched := [name for name in idle if name != "--longest"]):
        raise InputError(f"An answer that is drawn is not searched for: {', '.join(searched)} means nothing.")


def _to_terminal() -> bool:
    return sys.stdout.isatty()


def _shown(answer: Prediction, of_several: bool, as_json: bool) -> str:
    """One line of output for one of input: of several answers each stands on one, its line ends made spaces."""
    if as_json:
        return json.dumps(answer.to_json(), ensure_ascii=False)
    return " ".join(answer.text.splitlines()) if of_several else answer.text


def _sampling(sample: bool, given: dict[str, Any]) -> Sampling | None:
    """How to draw, from the options that were given; they mean nothing in a search."""
    from limelight.errors import InputError
    from limelight.predicting.sampling import Sampling

    given = {name: value for name, value in given.items() if value is not None}
    if given and not sample:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"An answer is drawn with --sample only; got {names} without it. Add --sample.")
    return Sampling(**given) if sample else None


def _lines(texts: list[str] | None) -> list[str]:
    """The texts from the words of the command, files or a pipe; blank ones keep their place."""
    from limelight.errors import InputError
    from limelight.text.decoding import decoded, lines_of

    if not texts and (sys.stdin is None or sys.stdin.isatty()):
        raise InputError('Nothing to answer: give a text or a file, as in limelight predict "Save the file."')
    lines = (
        lines_from(texts)
        if texts
        else lines_of(decoded(sys.stdin.buffer.read(), "What comes through the pipe"))
    )
    if not any(line.strip() for line in lines):
        raise InputError("Nothing to answer: there is no line with text in the input.")
    return lines
