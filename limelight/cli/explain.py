"""`limelight explain`: every stage of the process for one word, with live numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

HELP = """What happens between a text and its answer: every stage, for one token and one head.

Example: `limelight explain "Click the button to open the file." --token button --html explain.html`

Each stage has its formula, the shapes, the numbers of this very text, and one check: the model's own fast forward
against the plain computation in float64."""


def register(app: typer.Typer) -> None:
    @app.command("explain", help=HELP)
    def explain(
        text: Annotated[str, typer.Argument(help="The text to follow through the model.")],
        model: Annotated[
            str, typer.Option(help="A model's folder or a shipped model's name.")
        ] = "translate-en-de",
        token: Annotated[
            str | None, typer.Option(help="The token to follow: its letters or its number, counted from 0.")
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
        from limelight.explain import explain as follow
        from limelight.explain.page import save_page
        from limelight.explain.terminal import shown
        from limelight.predicting.predictor import Predictor

        made = follow(
            Predictor.load(model), text, _place(token), layer, head, answer_token=_place(answer_token)
        )
        if as_json:
            print(json.dumps(made.to_json(), ensure_ascii=False))
        else:
            Console().print(shown(made))
        if html is not None:
            save_page(made, html)
            Console(stderr=True, soft_wrap=True).print(f"page: {html}", style="dim", highlight=False)


def _place(word: str | None) -> int | str | None:
    """A number is a place, anything else the letters of a token."""
    return int(word) if word is not None and word.lstrip("-").isdigit() else word
