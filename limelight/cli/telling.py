"""What commands tell on stderr: what a model cannot read, how far a long work has come, what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from limelight.text.tokenizers import Tokenizer


def tell_unknown(tokenizer: Tokenizer, texts: Iterable[str], where: str = "the input") -> None:
    """One line on stderr where texts hold what the model has never seen, and whether it knows it in small letters."""
    from limelight.tasks.unknown import told_unknown

    if said := told_unknown(tokenizer, texts, where):
        Console(stderr=True, soft_wrap=True).print(
            f"note: {said}", style="dim", highlight=False, markup=False
        )


def tell_written(path: Path, what: str = "picture") -> None:
    """One line on stderr: where a picture, or something else, went."""
    Console(stderr=True, soft_wrap=True).print(f"{what}: {path}", style="dim", highlight=False, markup=False)


@contextmanager
def how_far(least: int = 1) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal for each kind of work that has `least` parts or more; it is gone when that is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, of: int) -> None:
            if of < least:
                return
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=of)
            bar.update(tasks[what], completed=done, total=of)

        yield progress
