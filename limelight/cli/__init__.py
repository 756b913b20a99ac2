"""The command line: each command parses its words, calls one public function and prints what it gives.

    look      predict and show what the model attends to; which documents an answer looked at
    atlas     what kind of reader every head of a model is
    coverage  whose attention can be captured, and how
    explain   every stage of the process, with live numbers
    serve     the page in a browser: text, heads, map, documents
    predict   answers to lines of text
    train     train or fine-tune a model by a recipe
    average   the mean of several fine-tunings of one model
    embed     Word2vec: train word vectors, find nearest words
    data      make the default data sets
    models    the models that are here

Exit codes: 0 done, 2 the input does not fit, 130 stopped by Ctrl-C, 143 by SIGTERM. Errors are one line on stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from typer.core import TyperGroup

from limelight.cli.console import whole_output
from limelight.errors import (
    NO_ROOM,
    FileError,
    LimelightError,
    file_error,
    out_of_memory,
    tells_of_a_file,
)
from limelight.training.interrupts import Terminated, handled, raise_interrupt

GOES_ON = {"train", None}
"""Commands that go on where they were stopped; None: an application that is one command, as the experiments are."""

USAGE_ERROR = cast(Any, typer.BadParameter.__base__)
"""What typer raises for a command line that cannot be parsed; newer versions have it in a module of their own."""


class Commands(TyperGroup):
    """The group of commands; what Limelight refuses becomes one line and an exit code, never a traceback."""

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def]
        with _reported(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx):  # type: ignore[no-untyped-def]
        with _reported(ctx), handled(raise_interrupt), whole_output():
            return super().invoke(ctx)


@contextmanager
def _reported(ctx: typer.Context) -> Iterator[None]:
    """Whatever ends the command becomes its line on stderr and its exit code."""
    try:
        yield
    except USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # no error: the help is what comes out
            raise
        path = (getattr(error, "ctx", None) or ctx).command_path
        message = f"{error.format_message().rstrip('.')}{_came(error)}"
        raise _refused(
            f"{message}{'' if message.endswith(('.', '?')) else '.'} See {path} --help."
        ) from error
    except FileError as error:
        raise _refused(_with_room(ctx, error)) from error
    except LimelightError as error:
        raise _refused(str(error)) from error
    except KeyboardInterrupt as error:
        again = " The same command goes on from here." if ctx.invoked_subcommand in GOES_ON else ""
        code = 128 + error.number if isinstance(error, Terminated) else 130
        raise _refused(f"stopped.{again}", code) from error
    except BrokenPipeError as error:
        # The reader of a pipe has gone (`| head`): say nothing, and keep Python from saying it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from error
    except OSError as error:  # a folder that cannot be written to, a disk that is full
        if not tells_of_a_file(error):  # a connection, what a library says in its own words
            raise _refused(str(error) or type(error).__name__) from error
        raise _refused(_with_room(ctx, file_error(error))) from error
    except UnicodeEncodeError as error:
        raise _refused(
            "A text must be valid Unicode; one holds what is no character, such as bytes that are not UTF-8 "
            f"or half of a UTF-16 pair: {error.object[max(error.start - 20, 0) : error.end + 20]!r}. Clean it first."
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise _refused(
            "The work must fit into memory; it does not. Give shorter or fewer texts at a time, a smaller model, or "
            f"a machine with more memory ({said})."
        ) from error
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich has noticed it, and done the same
            raise typer.Exit(0) from error
        raise


def _with_room(ctx: typer.Context, error: FileError) -> str:
    """What the system says of a file and what to do; where the disk is full, from where the command goes on."""
    if error.errno not in NO_ROOM:
        return str(error)
    again = "from its last checkpoint" if ctx.invoked_subcommand in ("train",) else "from the start"
    return f"{error.what_came} Make room for it, and give the same command again: it goes on {again}."


def _came(error: BaseException) -> str:
    """What was given in the place of a value that cannot be read, where the error's message does not say it."""
    wrong: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    came = repr(wrong[0]["input"]) if wrong else ""
    return "" if came in str(error) else f"; got {came}"


def _refused(message: str, code: int = 2) -> typer.Exit:
    """Say it in one line on stderr; the exit to raise."""
    line = "".join(sign if sign.isprintable() else "�" for sign in " ".join(message.split()))
    Console(stderr=True, soft_wrap=True).print(
        f"limelight: {line}", style="red", markup=False, highlight=False, emoji=False
    )
    return typer.Exit(code)


app = typer.Typer(
    name="limelight",
    cls=Commands,
    help="What does a Transformer attend to? Train one on your own text, let it answer, and look.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from limelight._version import __version__

        print(f"limelight {__version__}")
        raise typer.Exit


@app.callback()
def _limelight(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


from limelight.cli import (  # noqa: E402
    atlas,
    average,
    coverage,
    data,
    embed,
    explain,
    look,
    models,
    predict,
    serve,
    train,
)

for command in (look, atlas, coverage, explain, serve, predict, train, average, embed, data, models):
    command.register(app)


def commands(inside: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, by its words: (("look",), …), (("embed", "train"), …)."""
    for name, inner in (inside or cast(Any, typer.main.get_command(app))).commands.items():
        if hasattr(inner, "commands"):
            yield from commands(inner, (*words, name))
        else:
            yield (*words, name), inner
