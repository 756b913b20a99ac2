"""`limelight coverage`: whose attention can be captured, and how."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from limelight.cli.console import print_json

HELP = """Say of a family of Hugging Face models how its attention is captured, or why it is refused.

Example: `limelight coverage longformer`

FAMILY is the model type, as it stands in a model's config.json. Without one, all of them are listed, with what was
measured on small random models: exact (every weight is the model's own eager one), verified (weights times values
give the model's own output), in part, refused."""


def register(app: typer.Typer) -> None:
    @app.command("coverage", help=HELP)
    def coverage(
        family: Annotated[str | None, typer.Argument(help="A model type, such as bert or t5.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    ) -> None:
        from limelight.capture.sources.model_families.support_table import (
            about,
            known_families,
            measured,
            measured_with,
        )

        if family is not None:
            found = about(family)
            if as_json:
                print_json(asdict(found), indent=1)
                return
            table = Table(box=None, show_header=False, pad_edge=False)
            table.add_column(style="bold", no_wrap=True)
            table.add_column(overflow="fold")
            for word, lines in (("captured", found.captured), ("refused", found.refused)):
                for line in lines:
                    table.add_row(word, line)
            if found.measured is not None:
                cause = found.measured.cause
                said = f"{found.measured.outcome}: {cause}" if cause else found.measured.outcome
                table.add_row("measured", f"{said} (transformers {measured_with()})")
            Console(markup=False).print(table)
            return
        known = measured()
        rows = {name: known[name] for name in known_families() if name in known}
        if as_json:
            print_json({name: asdict(row) for name, row in rows.items()}, indent=1)
            return
        table = Table("family", "measured", "reason", box=None, header_style="bold", pad_edge=False)
        for name, row in rows.items():
            table.add_row(name, row.outcome, row.cause)
        console = Console(markup=False)
        console.print(table)
        counted = Counter(row.outcome for row in rows.values())
        totals = ", ".join(f"{count} {outcome}" for outcome, count in counted.most_common())
        console.print(f"{len(rows)} families with transformers {measured_with()}: {totals}.", highlight=False)
