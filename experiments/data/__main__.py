"""`python -m experiments.data bible-en-es --out FOLDER`: make a corpus that only the experiments read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from experiments.data.bibles import bible_corpus
from limelight.cli import Commands
from limelight.errors import InputError
from limelight.files import own_folder
from limelight.text.corpora.fetch import Corpus

CORPORA: dict[str, Callable[[Path, Path | None], Corpus]] = {
    "bible-en-es": lambda folder, source: bible_corpus(folder, debs=source),
}
"""Name → builder(folder, packages that are already downloaded, or None)."""

app = typer.Typer(
    name="experiments.data",
    cls=Commands,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"allow_interspersed_args": True},
)


@app.callback(invoke_without_command=True)
def data(
    name: Annotated[
        str, typer.Argument(help="bible-en-es: two Bibles, split by chapter, and their gold links.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    source: Annotated[
        Path | None, typer.Option(help="A folder with the .deb packages, already downloaded.")
    ] = None,
) -> None:
    """Make a corpus of the experiments: train, valid and test as .tsv, and links-PART.jsonl, the gold alignment."""
    if name not in CORPORA:
        raise InputError(f"NAME must be one of {', '.join(sorted(CORPORA))}; got {name!r}.")
    print(CORPORA[name](own_folder(out, "A data set"), source))


if __name__ == "__main__":
    app(prog_name="python -m experiments.data")
