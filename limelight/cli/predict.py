"""`limelight predict`: answers to lines of text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

HELP = """Answer each text: translate, pronounce, continue or classify it, whatever the model does.

Example: `limelight predict "Click the button." "Save the file." --model translate-en-de`

Lines come from a file with `--file`, or a pipe: `cat words.txt | limelight predict --model pronounce`."""


def register(app: typer.Typer) -> None:
    @app.command("predict", help=HELP)
    def predict(
        texts: Annotated[
            list[str] | None, typer.Argument(help="The texts; without any, lines from the pipe.")
        ] = None,
        model: Annotated[
            str, typer.Option(help="A model's folder or a shipped model's name.")
        ] = "translate-en-de",
        file: Annotated[Path | None, typer.Option(help="A file with one text a line.")] = None,
        beam: Annotated[int | None, typer.Option(help="Beam width; 1 is greedy.")] = None,
        length_penalty: Annotated[float | None, typer.Option(help="Above 0 favours longer answers.")] = None,
        longest: Annotated[int | None, typer.Option(help="The longest answer, in tokens.")] = None,
        sample: Annotated[
            bool, typer.Option("--sample", help="Draw the answer instead of searching for it.")
        ] = False,
        temperature: Annotated[float, typer.Option(help="With --sample: below 1 is more careful.")] = 1.0,
        top_k: Annotated[int, typer.Option(help="With --sample: only the k likeliest tokens; 0 is all.")] = 0,
        top_p: Annotated[float, typer.Option(help="With --sample: the likeliest tokens that reach p.")] = 1.0,
        seed: Annotated[int, typer.Option(help="With --sample: another seed, another answer.")] = 0,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    ) -> None:
        from limelight.predicting.predictor import Predictor
        from limelight.predicting.sampling import Sampling

        predictor = Predictor.load(model)
        lines = _lines(texts, file)
        sampling = Sampling(temperature, top_k, top_p, seed) if sample else None
        if sampling is not None and len(lines) == 1 and sys.stdout.isatty() and not as_json:
            most = longest or predictor.saved.prediction.get("longest", 1)
            for piece in predictor.stream(lines[0], sampling, most):
                print(piece, end="", flush=True)
            print()
            return
        with _progress(len(lines)) as done:
            predictions = predictor.predict(
                lines,
                beam=beam,
                length_penalty=length_penalty,
                longest=longest,
                sampling=sampling,
                progress=done,
            )
        for prediction in predictions:
            print(json.dumps(prediction.to_json(), ensure_ascii=False) if as_json else prediction.text)


def _lines(texts: list[str] | None, file: Path | None) -> list[str]:
    """The texts from the words of the command, a file or a pipe."""
    from limelight.errors import InputError, TextError
    from limelight.text.readers import read_text

    if texts and file:
        raise InputError("Give texts or --file, not both.")
    if texts:
        return texts
    if file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise InputError(
            'Nothing to answer: give a text, as in limelight predict "Save the file.", or --file.'
        )
    try:
        found = read_text(file) if file else sys.stdin.read()
    except UnicodeDecodeError as error:
        raise TextError(
            f"What comes through the pipe must be {error.encoding} text; byte {error.start} is not "
            f"({error.reason}). Convert it first, with iconv."
        ) from error
    lines = [line.strip() for line in found.split("\n") if line.strip()]
    if not lines:
        raise InputError("Nothing to answer: there is no line with text in the input.")
    return lines


class _progress:
    """A bar on stderr while many lines are answered; nothing for few, or in a pipe."""

    def __init__(self, total: int) -> None:
        from rich.progress import Progress

        console = Console(stderr=True)
        self.bar = Progress(console=console, disable=total < 50 or not console.is_terminal, transient=True)
        self.task = self.bar.add_task("answering", total=total)

    def __enter__(self):  # type: ignore[no-untyped-def]
        self.bar.start()
        return lambda count: self.bar.advance(self.task, count)

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()
