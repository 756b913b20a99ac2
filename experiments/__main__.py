"""`python -m experiments WHAT`: attention against recurrence, by measurement."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from limelight.cli import Commands
from limelight.errors import InputError
from limelight.files import folder_for, own_folder

if TYPE_CHECKING:
    from experiments.common.plan import Options

HELP = """Measure attention against recurrence: a table, pictures, JSON and a page.

Example: `python -m experiments scope`

WHAT is scope, accuracy, alignment, generalisation, efficiency or all; `search` looks for the settings of every rival
(of the parts after it, or all), and `report` writes the page again from the numbers that are there. With
`--device cuda` efficiency is measured on a GPU too. The same command again goes on where it was stopped."""


app = typer.Typer(
    name="experiments",
    cls=Commands,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "allow_interspersed_args": True},
)


@app.callback(invoke_without_command=True, help=HELP)
def measure(
    what: Annotated[str, typer.Argument(help="What to measure.")] = "all",
    parts: Annotated[list[str] | None, typer.Argument(help="Of `search`: which parts.")] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Processor minutes of each training, of generalisation's language models; each part has its own."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How often each training is repeated: 3 times.")
    ] = None,
    converge: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Of accuracy: processor minutes at most of the long run, 120, of which translation has four "
            "fifths; 0 for none.",
        ),
    ] = None,
    data: Annotated[
        Path,
        typer.Option(help="The folder with the corpora (`limelight data`, `python -m experiments.data`)."),
    ] = Path("corpora"),
    out: Annotated[Path, typer.Option(help="Where runs and results are kept.")] = Path("comparison"),
    page: Annotated[
        Path | None,
        typer.Option(help="The page, instead of OUT/advantages.md; numbers and pictures lie beside it."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Trainings at a time; without it, one a core.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Of `search`: all runs from now on take what it finds.")
    ] = False,
    finished: Annotated[
        bool, typer.Option("--finished", help="Tell of the runs that are finished, and train no more.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="Where efficiency is measured: cpu, or cuda too.")
    ] = None,
) -> None:
    from experiments.common import store
    from experiments.common.plan import PARTS, Options
    from experiments.common.report import publish, show
    from experiments.common.runner import cores, made_on, run_all, unfinished

    if budget is not None and not budget > 0:
        raise InputError(f"budget must be a number of minutes above 0; got {budget}.")
    given = {"budget": budget, "seeds": seeds, "converge": converge, "device": device, "page": page}
    given |= {"keep": keep or None, "finished": finished or None}
    _fits(what, {name for name, value in given.items() if value is not None})
    options = Options(data=str(data), seconds=None if budget is None else 60 * budget)
    options = replace(
        options,
        seeds=options.seeds if seeds is None else seeds,
        longest=options.longest if converge is None else 60 * converge,
    )
    page, device = page or own_folder(out, "A comparison") / "advantages.md", device or "cpu"
    if page.suffix.lower() != ".md" or page.parent != out:  # OUT is made where it is not there
        folder_for(page, "page", (".md",))
    console = Console()
    if what == "search":
        _search(list(parts or ()), options, out, jobs or cores(), keep)
        return
    if parts:
        raise InputError(f"One thing at a time: {what} takes no further words; got {' '.join(parts)}.")
    if what not in (*PARTS, "all", "report"):
        raise InputError(f"WHAT must be one of {', '.join(PARTS)}, all, search or report; got {what!r}.")
    if device not in (devices := sorted({place.device for place in PARTS.values()})):
        raise InputError(f"device must be one of {', '.join(devices)}; got {device!r}.")
    if what == "efficiency" and device != "cpu":
        what = next(name for name, place in PARTS.items() if place.device == device)
    asked = {"all": [name for name in PARTS if PARTS[name].device in ("cpu", device)], "report": []}
    for name in asked.get(what, [what]):
        place = PARTS[name]
        runs = import_module(place.module).plan(replace(options, device=place.device))
        missing = unfinished(runs, out / "runs")
        if finished:
            runs = [run for run in runs if run not in missing]
            if not runs:
                raise InputError(f"No run of {name} is finished in {out}; without --finished they are made.")
        elif missing:
            place.check_corpora(data)
        results = run_all(runs, out / "runs", 1 if place.alone else jobs or cores())
        command = shlex.join(["python", "-m", "experiments", *sys.argv[1:]])
        planned = len(runs) + len(missing) if finished and missing else 0
        machines = made_on(results, out / "runs")
        told = store.keep(page.with_suffix(""), name, command, results, machines, planned).told()
        show(told, console)
    written = publish(page)
    console.print()
    for file in written:
        console.print(str(file), markup=False, highlight=False, soft_wrap=True)


def _fits(what: str, given: set[str]) -> None:
    """Raises InputError for an option that would change nothing."""
    from experiments.common.plan import PARTS

    everything = {"page", "finished", *(name for place in PARTS.values() for name in place.takes)}
    takes = {"search": {"budget", "keep"}, "report": {"page"}, "all": everything}
    if what in PARTS:
        takes[what] = {"page", "finished", *PARTS[what].takes}
    if idle := sorted(given - takes.get(what, given)):
        known = " ".join(f"--{name}" for name in sorted(takes[what]))
        raise InputError(f"{what} has no use for {' '.join(f'--{name}' for name in idle)}; it takes {known}.")


def _search(parts: list[str], options: Options, out: Path, jobs: int, keep: bool) -> None:
    """Search for the settings of some parts; say what was tried, and keep it where the runs look, or beside them."""
    from experiments.common import search
    from experiments.common.report import shown

    console = Console()
    for part in parts or search.SEARCHED:
        searched = search.search(part, options, out / "search", jobs)
        console.print(shown(search.tried(searched)))
        file = search.keep(searched, search.HERE if keep else out / "search")
        console.print(str(file), markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app(prog_name="python -m experiments")
