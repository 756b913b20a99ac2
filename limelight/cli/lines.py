"""What commands that take texts share: the lines of a file or pipe, and a word on what the model cannot read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from limelight.predicting.predictor import Predictor


def lines_of(text: str) -> list[str]:
    """Every line as it stands, without its end; blank ones too. Only `\\n` ends a line."""
    return text.removesuffix("\n").split("\n")


def tell_unknown(predictor: Predictor, sources: Iterable[Sequence[int]]) -> None:
    """One line on stderr where the token ids of the texts hold some that the model has never seen."""
    from limelight.text.tokenizers import UNKNOWN

    count = sum(list(ids).count(UNKNOWN) for ids in sources)
    if count:
        unit = "character" if predictor.saved.source.kind == "characters" else "word"
        said = f"note: {count} {unit}{'s' if count > 1 else ''} in the input that this model does not know."
        Console(stderr=True, soft_wrap=True).print(said, style="dim", highlight=False)


def tell_picture(path: Path, what: str = "picture") -> None:
    """One line on stderr: where a picture, or something else, went."""
    Console(stderr=True, soft_wrap=True).print(f"{what}: {path}", style="dim", highlight=False)
