"""`limelight atlas`: each head's mean entropy, distance, sink weight, induction and more."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from limelight.cli.arguments import named_documents
from limelight.cli.console import print_json
from limelight.cli.messages import tell_written
from limelight.cli.output_files import check_pictures, save_picture
from limelight.files import folder_for

HELP = """Say for every layer and head of a model how it reads: widely or sharply, near or far, and what for.

Six numbers a head: entropy, distance, weight on the sink (the first token), on the token before, on earlier
occurrences of the same token, and on what followed them (induction). They are measured on a text, or, without one,
on random tokens said four times, as induction heads are found (Olsson et al. 2022).

Example: `limelight atlas --model path/to/model --png atlas.png`"""


def register(app: typer.Typer) -> None:
    @app.command("atlas", help=HELP)
    def atlas(
        model: Annotated[
            str,
            typer.Option(help="A Hugging Face model by its folder or hub name, or one of Limelight's own."),
        ],
        texts: Annotated[
            list[str] | None, typer.Argument(metavar="[TEXT|FILE]...", help="What the model reads.")
        ] = None,
        best: Annotated[int, typer.Option(min=1, help="How many heads to name for each measure.")] = 3,
        png: Annotated[Path | None, typer.Option(help="Also draw a picture.")] = None,
        svg: Annotated[Path | None, typer.Option(help="Also draw a picture that scales.")] = None,
        csv: Annotated[Path | None, typer.Option(help="Also write a table, one row a head.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print every number as JSON instead.")] = False,
        trust_remote_code: Annotated[
            bool, typer.Option("--trust-remote-code", help="Run code that comes with a Hugging Face model.")
        ] = False,
    ) -> None:
        from limelight.looking.head_atlas import atlas_of
        from limelight.looking.load import load_reader
        from limelight.readings.render.atlas import AtlasTable, atlas_picture

        check_pictures(png, svg)
        if csv is not None:
            folder_for(csv, "table")
        documents = named_documents(texts) if texts else None
        found = atlas_of(load_reader(model, trust_remote_code), documents)
        if as_json:
            readings = {name: reading.to_json() for name, reading in found.atlas.readings.items()}
            heads = [
                {name: None if math.isnan(value) else value for name, value in row.items()}
                for row in found.atlas.table()
            ]
            print_json({"model": model, "read": found.read, "heads": heads, **readings})
        else:
            console = Console()
            console.print(f"read     {found.read}", markup=False, highlight=False)
            console.print()
            console.print(AtlasTable(found.atlas, best))
        if csv is not None:
            found.write(csv)
            tell_written(csv, "table")
        for path in (png, svg):
            if path is not None:
                save_picture(atlas_picture(found.atlas), path)
