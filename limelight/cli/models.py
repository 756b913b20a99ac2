"""`limelight models`: which models are here, and what their cards say."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from limelight.cli.console import print_json

HELP = """List the models that come with Limelight, or show one model's card.

Example: `limelight models`, `limelight models translate-en-de`"""

WIDEST = 1000


def register(app: typer.Typer) -> None:
    @app.command("models", help=HELP)
    def models(
        name: Annotated[
            str | None, typer.Argument(help="A shipped model or a model's folder: show its card.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    ) -> None:
        from limelight.models import find_model, shipped_models
        from limelight.modules.model_io import load_model

        names = [name] if name else shipped_models()
        found = {each: load_model(each) for each in names}
        if as_json:
            rows = [
                {"name": each, "task": saved.task, "parameters": saved.parameters, "training": saved.training}
                for each, saved in found.items()
            ]
            print_json(rows, indent=1)
            return
        if name:
            saved = found[name]
            card = (
                saved.card
                or f"A model for the task {saved.task}, {saved.parameters:,} parameters, without a card."
            )
            Console().print(Markdown(card))
            return
        table = Table("model", "task", "parameters", box=None, header_style="bold", pad_edge=False)
        table.add_column("folder", overflow="fold")
        for each, saved in found.items():
            table.add_row(each, saved.task, f"{saved.parameters:,}", str(find_model(each)))
        Console(width=WIDEST).print(table)  # one line a model, however long its folder
