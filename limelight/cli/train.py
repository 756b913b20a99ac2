"""`limelight train`: a recipe and a data folder in, a model's folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from limelight.errors import InputError

HELP = """Train a model by a recipe, or go on with a run that was stopped.

Example: `limelight train translate --data corpora/translate-en-de --out runs/translate-en-de`

Fine-tune: `limelight train translate --data my-pairs --out runs/mine --from translate-en-de --rate 3e-4`

RECIPE is a shipped one (`pronounce`, `pronounce-again`, `translate`, `language`, `classify`) or a .toml file. The
same command again goes on where the run was stopped, also by Ctrl-C or a crash."""


def register(app: typer.Typer) -> None:
    @app.command("train", help=HELP)
    def train(
        recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a .toml file.")],
        data: Annotated[
            Path,
            typer.Option(
                help="The folder of train and valid: .tsv, of `classify` also .jsonl, of `language` .txt."
            ),
        ],
        out: Annotated[Path, typer.Option(help="Where the run and its model are kept.")],
        start: Annotated[
            str | None, typer.Option("--from", help="A trained model to begin from: fine-tuning.")
        ] = None,
        architecture: Annotated[
            str | None,
            typer.Option(
                help="Another network, as wide and deep: transformer, lstm, gru, bahdanau or luong."
            ),
        ] = None,
        steps: Annotated[int | None, typer.Option(help="Updates in all, instead of the recipe's.")] = None,
        rate: Annotated[
            float | None, typer.Option(help="The highest learning rate, instead of the recipe's.")
        ] = None,
        seed: Annotated[int | None, typer.Option(help="The seed, instead of the recipe's.")] = None,
        threads: Annotated[
            int | None, typer.Option(min=1, max=1024, help="CPU threads; one gives the same bits each time.")
        ] = None,
    ) -> None:
        import torch

        from limelight.recipes.recipe import changed, load_recipe, with_architecture
        from limelight.recipes.train import train_recipe
        from limelight.training.loop import COUNTERS

        if threads is not None:
            torch.set_num_threads(threads)
        chosen = changed(load_recipe(recipe), steps=steps, rate=rate, seed=seed)
        if architecture is not None and start is not None:
            raise InputError(
                "--architecture is for a new network; --from keeps that of the model it begins from."
            )
        if architecture is not None:
            chosen = with_architecture(chosen, architecture)
        trained, outcome = train_recipe(chosen, data, out, start)
        progress = outcome.progress
        best = next((record for record in progress.history if record["step"] == progress.best_step), {})
        measures = ", ".join(f"{name} {value:.4g}" for name, value in best.items() if name not in COUNTERS)
        patience = "; ended early: no better evaluation within the recipe's patience"
        early = patience if outcome.stopped_early else ""
        Console().print(
            f"{out / 'model'}: {trained.parameters:,} parameters, {progress.step:,} updates, "
            f"{progress.cpu_seconds / 60:.1f} CPU-minutes{early}; best at update {progress.best_step:,}: {measures}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
