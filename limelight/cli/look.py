"""`limelight look`: an answer, and what the model attended to for each of its words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from limelight.cli.lines import lines_of, tell_unknown
from limelight.errors import InputError, require

SEPARATORS = {"/", os.sep}
TEXT_ENDINGS = (".txt", ".md", ".tsv", ".rst")
"""What a text of one word is taken for a path by."""
DEFAULT_MODEL = "translate-en-de"
SAMPLE = "To save the document under a new name, choose File - Save As."

HELP = """Let a model answer, and show what it attends to.

For each word of the answer the source words from high to low, what each source word receives, and which heads
were read.

Example: `limelight look "Click the button to open the file." --png look.png`

TEXT may also be the path of a text file: each of its lines is looked at. Without any text, a sample is."""


def register(app: typer.Typer) -> None:
    @app.command("look", help=HELP)
    def look(
        texts: Annotated[
            list[str] | None, typer.Argument(metavar="[TEXT|FILE]...", help="What to look at.")
        ] = None,
        model: Annotated[
            str, typer.Option(help="A model's folder or a shipped model's name.")
        ] = DEFAULT_MODEL,
        head: Annotated[
            list[str] | None,
            typer.Option(
                help="LAYER.HEAD to read, counted from 0, such as 2.1; may be repeated. Default: the model's."
            ),
        ] = None,
        beam: Annotated[int | None, typer.Option(help="Beam width of the search; 1 is greedy.")] = None,
        png: Annotated[Path | None, typer.Option(help="Also draw a picture.")] = None,
        svg: Annotated[Path | None, typer.Option(help="Also draw a picture that scales.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print every number as JSON instead.")] = False,
    ) -> None:
        from limelight.predicting.predictor import Predictor
        from limelight.readings.canvas import save
        from limelight.tasks.look import look as look_at
        from limelight.tasks.shown import picture, shown

        lines, heads = _lines(texts or [SAMPLE]), _heads(head)
        _check_picture(png, ".png")
        _check_picture(svg, ".svg")
        predictor = Predictor.load(model)
        looks = look_at(predictor, lines, heads, beam)
        tell_unknown(predictor, (each.prediction.source_ids for each in looks))
        if as_json:
            print(json.dumps([each.to_json() for each in looks], ensure_ascii=False))
        else:
            console = Console()
            for each in looks:
                console.print(shown(each))
        for path in (png, svg):
            for number, each in enumerate(looks, 1):
                if path is not None:
                    target = path if len(looks) == 1 else path.with_stem(f"{path.stem}-{number}")
                    save(picture(each), target)
                    Console(stderr=True, soft_wrap=True).print(
                        f"picture: {target}", style="dim", highlight=False
                    )


def _lines(texts: list[str]) -> list[str]:
    """Each text itself; each file's lines that are not blank."""
    from limelight.text.readers import read_text

    found: list[str] = []
    for text in texts:
        found.extend(lines_of(read_text(text)) if _is_file(text) else [text])
    if not any(text.strip() for text in found):
        raise InputError(
            'There is nothing to look at: the text is empty. Try: limelight look "Save the file."'
        )
    return [text for text in found if text.strip()]


def _is_file(text: str) -> bool:
    """Whether this text is the path of a file. What looks like one (or is a folder's) is refused if it is none.

    A bare word is a text even where a folder has that name.
    """
    path = Path(text)
    try:
        if path.is_file():
            return True
        folder = any(sign in text for sign in SEPARATORS) and path.is_dir()
    except (OSError, ValueError):  # a text that is too long to be a path, or holds what no path may
        return False
    if folder:
        raise InputError(f"{text} is a folder; give a text or the path of a text file.")
    spaced = any(sign.isspace() for sign in text)
    if not spaced and (any(sign in text for sign in SEPARATORS) or text.lower().endswith(TEXT_ENDINGS)):
        raise InputError(f"There is no such file: {text}. If it is a text, put a space after it: '{text} '.")
    return False


def _check_picture(path: Path | None, ending: str) -> None:
    """Refuse, before anything is computed, a picture that could not be drawn or written."""
    if path is None:
        return
    if path.suffix.lower() != ending:
        raise InputError(f"--{ending[1:]}: the picture's name must end in {ending}; got {path.name!r}.")
    if not path.parent.is_dir():
        raise InputError(f"The picture's folder must exist; there is no {path.parent}. Make it first.")
    require("matplotlib", extra="plot", purpose="A picture")


def _heads(words: list[str] | None) -> list[tuple[int, int]] | None:
    """`2.1` → layer 2, head 1."""
    if not words:
        return None
    try:
        return [(int(layer), int(number)) for layer, number in (word.split(".") for word in words)]
    except ValueError as error:
        raise InputError(
            f"--head takes LAYER.HEAD, both counted from 0, such as 2.1; got {' '.join(words)}."
        ) from error
