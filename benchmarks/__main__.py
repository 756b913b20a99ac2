"""`python -m benchmarks NAME [OPTIONS] [--json FILE]`: every module here with a function `run` is a NAME.

A function may also bear its module's name. Its parameters are the options; nothing is imported but the one asked
for. Where its numbers say that something "failed", the exit code is 1.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console

from benchmarks.tables import print_rows, write_json
from limelight.errors import LimelightError

HERE = Path(__file__).parent


def found() -> dict[str, str]:
    """The names of all benchmarks and the first lines of their docstrings, read without importing them."""
    names = {}
    for path in sorted(HERE.glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if functions & {"run", path.stem}:
            names[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return names


def command(name: str, run: Callable[..., Any]) -> Callable[..., None]:
    """`run` as a command that knows `--json`, too."""
    hints = get_type_hints(run, include_extras=True)
    hints.pop("return", None)
    hints["json"] = Annotated[Path | None, typer.Option(help="Write the numbers to this file.")]
    parameters = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(run).parameters.values()
    ]

    def with_json(**given: Any) -> None:
        file = given.pop("json")
        try:
            result = run(**given)
        except LimelightError as error:
            Console(stderr=True).print(str(error), style="red", highlight=False, markup=False)
            raise typer.Exit(2) from error
        if file is not None:
            write_json(file, name, result)
        if isinstance(result, dict) and result.get("failed"):
            raise typer.Exit(1)

    json = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hints["json"])
    with_json.__signature__ = inspect.Signature([*parameters, json])  # type: ignore[attr-defined]
    with_json.__annotations__ = hints
    with_json.__doc__ = inspect.getdoc(run)
    return with_json


def main(arguments: list[str]) -> None:
    """List the benchmarks, or run the one that the first argument names."""
    names = found()
    name = arguments[0] if arguments else ""
    if name in ("", "-h", "--help"):
        print_rows("Benchmarks", [{"name": name, "measures": line} for name, line in names.items()])
        return
    if name not in names:
        Console(stderr=True).print(
            f"No benchmark is called {name!r}; there are {', '.join(names)}.", markup=False
        )
        sys.exit(2)
    module = importlib.import_module(f"benchmarks.{name}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name)(command(name, getattr(module, "run", None) or getattr(module, name)))
    app(arguments[1:], prog_name=f"python -m benchmarks {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
