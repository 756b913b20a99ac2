"""`limelight look`: an answer, and what the model attended to for each of its words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from limelight.cli.lines import how_far, lines_of, tell_unknown, tell_written
from limelight.errors import InputError, require

if TYPE_CHECKING:
    from limelight.viewer.subject import Subject

MANY = 8
"""Lines from which on it is shown how far a look has come."""
SEPARATORS = {"/", os.sep}
TEXT_ENDINGS = (".txt", ".md", ".tsv", ".rst")
"""What a text of one word is taken for a path by."""
DEFAULT_MODEL = "translate-en-de"
SAMPLE = "To save the document under a new name, choose File - Save As."

HELP = """Let a model answer, and show what it attends to.

With one of Limelight's own models: for each word of the answer the source words from high to low, what each source
word receives, and which heads were read. Each TEXT, and each line of each FILE, is looked at by itself.

Example: `limelight look "Click the button to open the file." --png look.png`

With --question, or with any Hugging Face model (a folder, or a name of the hub), the files become one text with
marked borders, and the documents, sentences and words that the answer looked at are ranked from high to low.

Example: `limelight look docs/*.md --model path/to/model --question "How are answers searched for?"`

Without any text, a sample is looked at."""

DOCUMENTS = "Documents and a question"


def register(app: typer.Typer) -> None:
    @app.command("look", help=HELP)
    def look(
        texts: Annotated[
            list[str] | None, typer.Argument(metavar="[TEXT|FILE]...", help="What to look at.")
        ] = None,
        model: Annotated[
            str,
            typer.Option(
                help="A model's folder, a shipped model's name, or a Hugging Face model by its folder or hub name."
            ),
        ] = DEFAULT_MODEL,
        head: Annotated[
            list[str] | None,
            typer.Option(
                help="LAYER.HEAD to read, counted from 0, such as 2.1; may be repeated. Default: the model's."
            ),
        ] = None,
        layer: Annotated[
            list[int] | None, typer.Option(help="Read all heads of a layer, counted from 0; may be repeated.")
        ] = None,
        beam: Annotated[int | None, typer.Option(help="Beam width of the search; 1 is greedy.")] = None,
        png: Annotated[Path | None, typer.Option(help="Also draw a picture.")] = None,
        svg: Annotated[Path | None, typer.Option(help="Also draw a picture that scales.")] = None,
        html: Annotated[
            Path | None, typer.Option(help="Also write the page: one file that needs no network.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print every number as JSON instead.")] = False,
        question: Annotated[
            str | None,
            typer.Option(help="What to ask about the documents.", rich_help_panel=DOCUMENTS),
        ] = None,
        answer_tokens: Annotated[
            int | None,
            typer.Option(
                min=0,
                help="Longest answer, 32; 0 lets the question look (not in an encoder-decoder, which must write).",
                rich_help_panel=DOCUMENTS,
            ),
        ] = None,
        chat: Annotated[
            bool,
            typer.Option(
                "--chat",
                help="Use the model's chat template; one JSON file of messages is a conversation.",
                rich_help_panel=DOCUMENTS,
            ),
        ] = False,
        windows: Annotated[
            bool,
            typer.Option(
                "--windows",
                help="Read a text that is too long in pieces that overlap; else its end is left out.",
                rich_help_panel=DOCUMENTS,
            ),
        ] = False,
        remove: Annotated[
            str | None,
            typer.Option(
                metavar="LEVEL",
                help="Also take each document, sentence or word away and measure how far the output moves.",
                rich_help_panel=DOCUMENTS,
            ),
        ] = None,
        trust_remote_code: Annotated[
            bool,
            typer.Option(
                "--trust-remote-code",
                help="Run code that comes with a Hugging Face model.",
                rich_help_panel=DOCUMENTS,
            ),
        ] = False,
    ) -> None:
        from limelight.tasks.hugging_face import is_hugging_face

        heads = parse_heads(head)
        check_picture(png, ".png")
        check_picture(svg, ".svg")
        check_page(html)
        asked = {"--layer": layer, "--chat": chat, "--windows": windows, "--remove": remove}
        asked |= {"--answer-tokens": answer_tokens is not None, "--trust-remote-code": trust_remote_code}
        if question is not None or is_hugging_face(model):
            from limelight.cli.documents import look_at_documents

            if beam is not None:
                raise InputError(
                    "--beam is for Limelight's own models without a question; answers here are greedy."
                )
            look_at_documents(
                model,
                texts or [],
                question,
                heads=heads,
                layers=layer,
                **({} if answer_tokens is None else {"answer_tokens": answer_tokens}),
                chat=chat,
                windows=windows,
                remove=remove,
                trust_remote_code=trust_remote_code,
                png=png,
                svg=svg,
                html=html,
                as_json=as_json,
            )
            return
        if given := [name for name, value in asked.items() if value]:
            raise InputError(
                f"{given[0]} is for documents: give a --question, or a Hugging Face model as --model."
            )
        _look_at_lines(model, texts, heads, beam, png, svg, html, as_json)


def _look_at_lines(
    model: str,
    texts: list[str] | None,
    heads: list[tuple[int, int]] | None,
    beam: int | None,
    png: Path | None,
    svg: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Each text, and each line of each file, by itself."""
    from limelight.predicting.predictor import Predictor
    from limelight.readings.canvas import save
    from limelight.tasks.look import NoWordError
    from limelight.tasks.look import look as look_at
    from limelight.tasks.shown import picture, shown

    lines = _lines(texts or [SAMPLE])
    predictor = Predictor.load(model)
    passed_over: list[NoWordError] = []
    with how_far(least=MANY) as progress:
        looks = look_at(
            predictor, lines, heads, beam, passed_over.append if len(lines) > 1 else None, progress
        )
    if not looks:
        raise passed_over[-1]
    for error in passed_over:
        _tell(error)
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
                tell_written(target)
    if html is not None:
        from limelight.viewer.looks import of_look

        for number, each in enumerate(looks, 1):
            target = html if len(looks) == 1 else html.with_stem(f"{html.stem}-{number}")
            save_page(of_look(predictor, each, heads), target, heads)


def _tell(error: InputError) -> None:
    """One of many lines that cannot be looked at: the others can."""
    Console(stderr=True, soft_wrap=True).print(
        f"note: {error}", style="yellow", highlight=False, markup=False
    )


def _lines(texts: list[str]) -> list[str]:
    """Each text itself; each file's lines that are not blank."""
    from limelight.text.readers import read_text

    found: list[str] = []
    for text in texts:
        found.extend(lines_of(read_text(text)) if is_file(text) else [text])
    if not any(text.strip() for text in found):
        raise InputError(
            'There is nothing to look at: the text is empty. Try: limelight look "Save the file."'
        )
    return [text for text in found if text.strip()]


def is_file(text: str) -> bool:
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


def check_picture(path: Path | None, ending: str) -> None:
    """Refuse, before anything is computed, a picture that could not be drawn or written."""
    if path is None:
        return
    if path.suffix.lower() != ending:
        raise InputError(f"--{ending[1:]}: the picture's name must end in {ending}; got {path.name!r}.")
    if not path.parent.is_dir():
        raise InputError(f"The picture's folder must exist; there is no {path.parent}. Make it first.")
    require("matplotlib", extra="plot", purpose="A picture")


def check_page(path: Path | None) -> None:
    """Refuse, before anything is computed, a page of the viewer that could not be written."""
    check_page_place(path)
    if path is not None:
        from limelight.viewer.shell import SCRIPT, needed

        needed(SCRIPT)


def check_page_place(path: Path | None) -> None:
    """Refuse a place where no page can be written."""
    if path is None:
        return
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--html: the page's name must end in .html; got {path.name!r}.")
    if not path.parent.is_dir():
        raise InputError(f"The page's folder must exist; there is no {path.parent}. Make it first.")


def save_page(
    subject: Subject, path: Path, heads: list[tuple[int, int]] | None, layers: list[int] | None = None
) -> None:
    """The page as one file, with these heads and the means of these layers, and a line on stderr where it went."""
    from limelight.viewer.file import save

    each = [*map(str, layers or []), *(f"{layer}.{number}" for layer, number in heads or [])]
    save(subject, path, each, again="limelight look … --html FILE --head LAYER.HEAD")
    tell_written(path, "page")


def parse_heads(words: list[str] | None) -> list[tuple[int, int]] | None:
    """`2.1` → layer 2, head 1."""
    if not words:
        return None
    try:
        return [(int(layer), int(number)) for layer, number in (word.split(".") for word in words)]
    except ValueError as error:
        raise InputError(
            f"--head takes LAYER.HEAD, both counted from 0, such as 2.1; got {' '.join(words)}."
        ) from error
