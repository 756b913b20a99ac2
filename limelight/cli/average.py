"""`limelight average`: several trained models in, the mean of their weights out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from limelight.cli.messages import how_far

HELP = """Make the mean of the weights of models that were fine-tuned from one model, and judge it beside each.

Example: `limelight average runs/one runs/two --data corpora/pronounce --out runs/mean`"""


def register(app: typer.Typer) -> None:
    @app.command("average", help=HELP)
    def average(
        models: Annotated[
            list[str], typer.Argument(help="Two or more: shipped names, runs, models' folders.")
        ],
        data: Annotated[Path, typer.Option(help="The data folder whose valid part judges the mean.")],
        out: Annotated[Path, typer.Option(help="The folder of the new model.")],
    ) -> None:
        from limelight.recipes.model_soup import average as mean
        from limelight.training.loop import COUNTERS

        console = Console()
        with how_far() as progress:
            training = mean(models, data, out, progress).training
        for name, held_out in {**training["mean of"], str(out): training["held out"]}.items():
            told = ", ".join(
                f"{measure} {value:.4g}" for measure, value in held_out.items() if measure not in COUNTERS
            )
            console.print(f"{name}: {told}", highlight=False, markup=False, soft_wrap=True)
