"""Write the two pages that are made from the code: reference.md, every public name; commands.md, every command.

    python docs/reference.py             write them
    python docs/reference.py --check     compare only

What they say stands in docstrings and in the help of the commands; tests/docs compares.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any, get_args, get_type_hints

DOCS = Path(__file__).resolve().parent
WIDE = 100
"""Columns from which on a signature has a line for each parameter."""

ROAD = {
    "text": "Text",
    "matrix": "The matrix, its masks, biases and reductions",
    "modules": "Modules and models",
    "capture": "Other people's models",
    "predicting": "Prediction",
    "readings": "Readings",
    "ablation": "Ablation",
    "looking": "Looking",
    "recipes": "Recipes",
    "explain": "Explanation",
    "viewer": "The page",
    "errors": "Errors",
}
"""The packages that public names come from, in the order of the road, and what their chapters are called."""


BEHIND: dict[str, tuple[str, ...]] = {
    "matrix": (),
    "modules.model_io": ("SavedModel",),
    "ablation.own_models": (),
    "capture": (),
    "ablation.other_models": (),
    "predicting.predictor": ("Prediction", "Trace"),
    "readings": (),
    "readings.documents": ("LookedAt",),
    "readings.atlas": ("Atlas", "repeated_tokens"),
    "ablation.leave_one_out": ("AblationResult",),
    "readings.tabular": (),
    "readings.render.figures": (),
    "readings.render.document_figures": (),
    "readings.render.atlas": ("atlas_picture",),
    "readings.render.canvas": (),
    "looking.look": ("Look",),
    "looking.documents": ("DocumentsLook",),
    "looking.head_atlas": ("AtlasRun",),
    "explain": (),
}
"""Modules of which names stand on the page that are no public ones in short: what public ones take and give, and what
the other pages use. Where none are named, all that the module offers."""


# ── reference.md ──


def reference() -> str:
    """Every public name in the order of the road: how it is called, and its docstring."""
    chapters = {home: {name: what for name, what in _names().items() if _home(name) == home} for home in ROAD}
    parts = [
        "# Reference: the public names\n\n"
        "Written from the code by `python docs/reference.py`. `import limelight as ll` reaches all names without a "
        "dot as `ll.NAME`, loaded when they are first used; one with a dot is imported from its module, as in "
        "`from limelight.readings import Groups`.\n"
    ]
    links = _anchors([name for names in chapters.values() for name in names])
    parts.append(
        "\n".join(
            f"- {ROAD[home]}: " + ", ".join(f"[`{name}`](#{links[name]})" for name in names)
            for home, names in chapters.items()
        )
        + "\n"
    )
    for home, names in chapters.items():
        parts.append(f"## {ROAD[home]}\n")
        parts += [f"### {name}\n\n{_entry(name, what)}" for name, what in names.items()]
    return "\n".join(parts)


def _anchors(names: list[str]) -> dict[str, str]:
    """What each heading is linked by: lower case, without dots, and numbered where that was there before."""
    plain = [name.replace(".", "").lower() for name in names]
    return {
        name: f"{each}-{before}" if (before := plain[:place].count(each)) else each
        for place, (name, each) in enumerate(zip(names, plain, strict=True))
    }


def _names() -> dict[str, Any]:
    """Every name that the page has: the short ones, then those that are imported from a module."""
    import limelight

    found = {name: getattr(limelight, name) for name in public_names()}
    short = list(found.values())
    for name, chosen in BEHIND.items():
        module = importlib.import_module(f"limelight.{name}")
        listed = (
            chosen
            or getattr(module, "__all__", ())
            or [each for each, what in vars(module).items() if _is_public_function(what, module.__name__)]
        )
        members = {f"{name}.{each}": getattr(module, each) for each in listed}
        found |= {each: what for each, what in members.items() if not any(what is known for known in short)}
    return found


def public_names() -> dict[str, str]:
    """The names that the package itself has, and the module of each, such as "modules.attention"."""
    stub = (DOCS.parent / "limelight" / "__init__.pyi").read_text(encoding="utf-8")
    return {
        alias.name: node.module
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom) and node.module is not None
        for alias in node.names
    }


def _home(name: str) -> str:
    """The package that a name comes from, such as "matrix"."""
    return (name if "." in name else public_names()[name]).partition(".")[0]


def _entry(name: str, what: Any) -> str:
    if isinstance(what, ModuleType):
        members = [each for each in vars(what).values() if _is_public_function(each, what.__name__)]
        inside = "\n".join(_described(f"{name}.{each.__name__}", each) for each in members)
        return f"{_words(inspect.getdoc(what))}\n{inside}"
    if isinstance(what, dict):
        return _code(f"{name}: a dict of {', '.join(map(repr, what))}")
    if not (inspect.isclass(what) or inspect.isfunction(what)) or isinstance(what, GenericAlias):
        return _code(f"{name.rpartition('.')[2]} = {what}")
    return _described(name.rpartition(".")[2], what)


def _described(name: str, what: Any) -> str:
    lines = [_code(name + signature(what)), _words(inspect.getdoc(what))]
    if inspect.isclass(what) and not issubclass(what, Exception):
        lines += [
            f"- `{_one_line(shown)}`: {said}" for shown, each in _methods(what) if (said := _first(each))
        ]
        lines += [f"- read, it gives a `{_fields(given)}`: {_first(given)}" for given in _readings(what)]
        lines.append("")
    return "\n".join(lines)


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class itself has, as they are called."""
    for name, each in vars(kind).items():
        if name.startswith("_"):
            continue
        if isinstance(each, classmethod | staticmethod):
            yield f"{kind.__name__}.{name}{signature(each.__func__)}", each.__func__
        elif inspect.isfunction(each):
            yield f".{name}{signature(each)}", each
        elif isinstance(each, property):
            yield f".{name}", each


def _readings(reduction: type) -> Iterator[type]:
    """What a reduction's `finish` gives, where that is a class of ours with fields of its own."""
    if "finish" in vars(reduction):
        hint = get_type_hints(reduction.finish)["return"]  # type: ignore[attr-defined]
        for each in (hint, *get_args(hint)):
            if is_dataclass(each) or hasattr(each, "_fields"):
                yield each


def _fields(kind: type) -> str:
    return f"{kind.__name__}({', '.join(inspect.signature(kind).parameters)})"


def _first(what: Any) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(what) or "").partition("\n\n")[0].split())


def _is_public_function(each: Any, module: str) -> bool:
    return inspect.isfunction(each) and each.__module__ == module and not each.__name__.startswith("_")


def signature(what: Callable[..., Any]) -> str:
    """How it is called, with the annotations as they are written; `self` and `cls` are left out.

    >>> signature(Path.joinpath)
    '(*other)'
    """
    try:
        found = inspect.signature(what)
    except ValueError:  # a class whose parameters are those of C code
        return ""
    words, starred = [], False
    for parameter in found.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            words.append("*")
        starred = starred or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        words.append(_parameter(parameter))
    gives = "" if inspect.isclass(what) else _annotation(found.return_annotation, " -> ")
    line = f"({', '.join(words)}){gives}"
    if len(line) <= WIDE:
        return line
    return "(\n" + "".join(f"    {word},\n" for word in words) + f"){gives}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = "*" * (parameter.kind is parameter.VAR_POSITIONAL) + "**" * (
        parameter.kind is parameter.VAR_KEYWORD
    )
    noted = _annotation(parameter.annotation, ": ")
    if parameter.default is parameter.empty:
        return f"{stars}{parameter.name}{noted}"
    default = "…" if " at 0x" in repr(parameter.default) else repr(parameter.default)
    return f"{parameter.name}{noted} = {default}" if noted else f"{parameter.name}={default}"


def _annotation(noted: Any, before: str) -> str:
    if noted is inspect.Signature.empty:
        return ""
    return before + (noted if isinstance(noted, str) else inspect.formatannotation(noted))


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("( ", "(").replace(", )", ")")


def _words(doc: str | None) -> str:
    """The first paragraph as words, what follows as it stands: docstrings have columns and examples."""
    first, _, rest = (doc or "").partition("\n\n")
    return "\n".join([first, *(["", f"```text\n{rest}\n```"] if rest else []), ""])


def _code(text: str) -> str:
    return f"```py\n{text}\n```\n"


# ── commands.md ──


def commands() -> str:
    """Every command: its help, its arguments and options."""
    from limelight.cli import commands as every

    parts = [
        "# Reference: the commands\n\n"
        "Written from the code by `python docs/reference.py`; `limelight COMMAND --help` says the same.\n"
    ]
    found = [(" ".join(("limelight", *words)), command) for words, command in every()]
    parts.append("\n".join(f"- [`{name}`](#{name.replace(' ', '-')})" for name, _ in found) + "\n")
    parts += [f"## {name}\n\n{_command(command)}" for name, command in found]
    return "\n".join(parts)


def _command(command: Any) -> str:
    hints = get_type_hints(command.callback)
    rows = ["| | value | default | |", "|---|---|---|---|"]
    for each in command.params:
        if "--help" in each.opts:
            continue
        argument = each.param_type_name == "argument"
        name = (each.metavar or str(each.name).upper()) if argument else each.opts[0]
        cells = (
            f"`{name}`",
            "" if argument else each.metavar or _kind(hints[str(each.name)]),
            _default(each),
            each.help,
        )
        rows.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([inspect.cleandoc(command.help), "", *rows, ""])


def _kind(hint: Any) -> str:
    """What is written behind an option of this type; nothing behind a flag."""
    kinds = {str: "text", int: "whole number", float: "number", Path: "path", bool: ""}
    inner = [each for each in get_args(hint) if each is not type(None)]
    return kinds[hint] if hint in kinds else _kind(inner[0])


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    nothing = parameter.default is None or parameter.default is False or parameter.default == ""
    return "" if nothing else f"`{parameter.default}`"


# ── Both ──

PAGES: dict[str, Callable[[], str]] = {"reference.md": reference, "commands.md": commands}


def stale() -> list[str]:
    """The pages that are not what the code says."""
    return [
        name
        for name, make in PAGES.items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text(encoding="utf-8") != make()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python docs/reference.py", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    checking = parser.parse_args().check
    for name in stale():
        if checking:
            sys.exit(f"docs/{name} is not what the code says. Write it: python docs/reference.py")
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8", newline="\n")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
