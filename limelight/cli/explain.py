"""`limelight explain`: every stage of the process for one word, with live numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from limelight.cli.arguments import text_of
from limelight.cli.console import print_json
from limelight.cli.messages import how_far, tell_limits, tell_unknown, tell_written
from limelight.errors import InputError
from limelight.files import PAGE_ENDINGS, folder_for

if TYPE_CHECKING:
    from limelight.explain.paired_run import StackText

MANY = 32
"""Removals that are worth a bar."""

HELP = """What happens between a text and its answer: every stage, for one token and one head.

Example: `limelight explain "Click the button to open the file." --token button --html explain.html`

Each stage has its formula, the shapes, the numbers of this very text, and one check: the model's own fast forward
against the plain computation in float64."""


def register(app: typer.Typer) -> None:
    @app.command("explain", help=HELP)
    def explain(
        text: Annotated[
            str,
            typer.Argument(metavar="TEXT|FILE", help="The text to follow through the model, or its file."),
        ],
        model: Annotated[
            str, typer.Option(help="A model's folder or a shipped model's name.")
        ] = "translate-en-de",
        token: Annotated[
            str | None, typer.Option(help="The token to follow: its letters, or its place counted from 0.")
        ] = None,
        answer_token: Annotated[
            str | None, typer.Option(help="The token of the answer that is being written, likewise.")
        ] = None,
        layer: Annotated[int, typer.Option(help="The layer, counted from 0; -1 is the last.")] = -1,
        head: Annotated[int | None, typer.Option(help="The head, counted from 0.")] = None,
        html: Annotated[
            Path | None, typer.Option(help="Also write one HTML page that needs no network.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print every number as JSON instead.")] = False,
    ) -> None:
        from limelight.explain.api import explain_walk
        from limelight.explain.paired_run import walk
        from limelight.explain.render.page import save_page
        from limelight.explain.render.terminal import shown
        from limelight.explain.selection import choose
        from limelight.predicting.predictor import Predictor

        if html is not None:
            folder_for(html, "page", PAGE_ENDINGS)
        text = text_of(text)
        if not text.strip():
            raise InputError(
                "There is nothing to follow through the model: the text is empty. Try: limelight explain "
                '"Save the file."'
            )
        way = walk(Predictor.load(model), text)
        wanted, written = _token(token, way.encoder or way.decoder), _token(answer_token, way.decoder)
        with how_far(least=MANY) as progress:
            made = explain_walk(way, choose(way, wanted, written, layer, head), progress)
        tell_unknown(way.predictor.saved.source, [text])
        tell_limits(way.predictor, [way.prediction], ["the text"])
        if as_json:
            print_json(made.to_json())
        else:
            Console().print(shown(made))
        if html is not None:
            save_page(made, html)
            tell_written(html, "page")


def _token(word: str | None, side: StackText | None) -> int | str | None:
    """The letters of a token or its place: a number is letters where the text holds it, else a place."""
    if word is None or not word.removeprefix("-").isdecimal():
        return word
    labels = () if side is None else (label.removeprefix("▁") for label in side.labels)
    in_text = side is not None and re.search(rf"(?<!\w){word}(?!\w)", side.text)
    return word if word in labels or in_text else int(word)
