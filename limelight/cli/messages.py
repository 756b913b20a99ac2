"""Notes and progress on stderr: unknown characters, limits, files written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from limelight.predicting.predictor import Prediction, Predictor
    from limelight.text.tokenizers import Tokenizer


NAMED = 8
"""Answers, or lines, that are named."""


def tell_unknown(tokenizer: Tokenizer, texts: Iterable[str], where: str = "the input") -> None:
    """One line on stderr where texts hold what the model has never seen, and whether it knows it in small letters."""
    from limelight.recipes.unknown_tokens import told_unknown

    if said := told_unknown(tokenizer, texts, where):
        tell(f"note: {said}")


def tell_tabs(texts: Iterable[str]) -> None:
    """One line on stderr where texts hold a tab: lines of pairs are answered whole, target and all."""
    count = sum("\t" in text for text in texts)
    if count:
        hold = "a text holds a tab" if count == 1 else f"{count} texts hold a tab"
        tell(
            f"note: {hold}, which is read as a part of it. Of lines SOURCE, tab, TARGET give the first part alone "
            "(cut -f 1); `limelight look FILE --pharaoh` aligns such lines as they are."
        )


def tell_limits(predictor: Predictor, answers: Sequence[Prediction], names: Sequence[str]) -> None:
    """A line on stderr where answers were cut at their longest length, one where they were cut at the end of learned
    positions, and one where a text is beyond the window that a language model was trained on."""
    from limelight.predicting.limits import last_position

    for which, what in (
        (
            [
                name
                for answer, name in zip(answers, names, strict=True)
                if answer.cut and predictor.full(answer)
            ],
            f"{{of}} cut at the end of the {last_position(predictor.model)} positions that the model has learned: "
            "{named}; split the text",
        ),
        (
            [
                name
                for answer, name in zip(answers, names, strict=True)
                if answer.cut and not predictor.full(answer)
            ],
            "{of} cut at the longest length allowed: {named}; a larger --longest allows more, or split the text",
        ),
        (
            [name for answer, name in zip(answers, names, strict=True) if answer.beyond_window],
            f"{{of}} longer, with the text, than the {predictor.saved.window} tokens that the model was trained to "
            "read at once, so it attends to the latest of them only: {named}",
        ),
    ):
        if which:
            named = ", ".join(which[:NAMED]) + (" …" if len(which) > NAMED else "")
            of = "the answer is" if len(answers) == 1 else f"{len(which)} of {len(answers)} answers are"
            tell(f"note: {what.format(of=of, named=named)}")


def tell(line: str) -> None:
    """One line on stderr, beside what a command prints."""
    Console(stderr=True, soft_wrap=True).print(line, style="dim", highlight=False, markup=False)


def tell_written(path: Path, what: str = "picture") -> None:
    """One line on stderr: where a picture, or something else, went."""
    tell(f"{what}: {path}")


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
