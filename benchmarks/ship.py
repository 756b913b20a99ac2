"""Put a trained model into the package: weights in bf16, and a card whose every number was just measured.

python -m benchmarks ship RUN NAME        RUN a training run's folder, NAME a card in benchmarks/cards/
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.models import HELDOUT, PLAIN, measure
from limelight.models import FOLDER, find_model
from limelight.modules.model_io import SavedModel, load_model, save_model

CARDS = Path(__file__).parent / "cards"


def ship(run: str, name: str, beam: int = 5) -> Path:
    """Write `limelight/models/NAME`, measure it on the held-out data, and write its card."""
    saved = load_model(find_model(run))
    folder = save_model(saved, FOLDER / name, torch.bfloat16)
    rows = measure(name, beam)
    save_model(replace(saved, card=card(saved, name, rows, beam)), folder, torch.bfloat16)
    shutil.copyfile(HELDOUT / "NOTICE", folder / "NOTICE")
    return folder


def card(saved: SavedModel, name: str, rows: list[dict[str, object]], beam: int) -> str:
    """The card's text with its numbers filled in."""
    shape, training = saved.model.shape, saved.training
    told = (
        f"{shape.encoder_layers} + {shape.decoder_layers} layers, width {shape.width}, {shape.heads} heads, "
    )
    return (
        (CARDS / f"{name}.md")
        .read_text(encoding="utf-8")
        .format(
            parameters=f"{saved.parameters:,}",
            shape=f"{told}{shape.positions} positions",
            rows=f"{training['rows']:,}",
            updates=f"{training['updates']:,}",
            tokens=f"{training['tokens']:,}",
            minutes=f"{training['CPU minutes']:.0f}",
            beam=beam,
            results="\n".join(_result(row) for row in rows),
        )
    )


def _result(row: dict[str, object]) -> str:
    measures = ", ".join(f"{key} **{value:.2f}**" for key, value in row.items() if key not in PLAIN)
    return f"- {row['data']}, {row['examples']:,} examples: {measures}"
