"""`limelight look`: an answer, and what the model attended to for each of its words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from limelight.cli.arguments import lines_from, parse_heads
from limelight.cli.console import print_json
from limelight.cli.messages import how_far, tell_limits, tell_tabs, tell_unknown
from limelight.cli.output_files import (
    check_page,
    check_pictures,
    numbered,
    save_page,
    save_picture,
)
from limelight.errors import InputError

MANY = 8
"""Lines from which on it is shown how far a look has come."""
DEFAULT_MODEL = "translate-en-de"
SAMPLE = "To save the document under a new name, choose File - Save As."

HELP = """Let a model answer, and show what it attends to.

With one of Limelight's own models: for each word of the answer the source words from high to low, what each source
word receives, and which heads were read. Each TEXT, and each line of each FILE, is looked at by itself.

Example: `limelight look "Click the button to open the file." --png look.png`

Of a translation that is there already: `limelight look "Save the file." --answer "Speichern Sie die Datei."`

Its links in the format of aligners, of two files, or of lines SOURCE, tab, TARGET in one (`-` is stdin):
`limelight look source.txt --answer target.txt --pharaoh`

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
            list[int] | None,
            typer.Option(help="Of documents: all heads of a layer, counted from 0; may be repeated."),
        ] = None,
        answer: Annotated[
            list[str] | None,
            typer.Option(
                metavar="TEXT|FILE",
                help="A translation that is there already, in the place of the model's own; one for each text.",
            ),
        ] = None,
        beam: Annotated[int | None, typer.Option(help="Beam width of the search; 1 is greedy.")] = None,
        png: Annotated[Path | None, typer.Option(help="Also draw a picture.")] = None,
        svg: Annotated[Path | None, typer.Option(help="Also draw a picture that scales.")] = None,
        html: Annotated[
            Path | None, typer.Option(help="Also write the page: one file that needs no network.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print every number as JSON instead.")] = False,
        pharaoh: Annotated[
            bool,
            typer.Option(
                "--pharaoh",
                help="Print links of the tokens between spaces, 0-0 1-2, source first; a line for every line.",
            ),
        ] = False,
        tsv: Annotated[
            bool,
            typer.Option("--tsv", help="Print these links as a table: tokens, weight, characters."),
        ] = False,
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
        from limelight.looking.pretrained import is_hugging_face

        heads = parse_heads(head)
        check_pictures(png, svg)
        check_page(html)
        if pharaoh or tsv:
            from limelight.cli.look_links import print_links

            beside: dict[str, object] = {
                "--json": as_json,
                "--png": png,
                "--svg": svg,
                "--html": html,
                "--beam": beam,
            }
            beside |= {"--question": question, "--layer": layer, "--chat": chat, "--windows": windows}
            beside |= {"--remove": remove, "--pharaoh": tsv and pharaoh}
            if wrong := [name for name, value in beside.items() if value not in (None, False, [])]:
                raise InputError(
                    f"{'--tsv' if tsv else '--pharaoh'} prints links and nothing else: leave {wrong[0]} out."
                )
            if is_hugging_face(model):
                raise InputError("Links are of Limelight's own translation models; --model names another's.")
            print_links(model, texts or ["-"], answer, heads, tsv)
            return
        asked = {"--layer": layer, "--chat": chat, "--windows": windows, "--remove": remove}
        asked |= {"--answer-tokens": answer_tokens is not None, "--trust-remote-code": trust_remote_code}
        if question is not None or is_hugging_face(model):
            from limelight.cli.look_documents import look_at_documents

            for name, value in (("--beam", beam), ("--answer", answer)):
                if value is not None:
                    raise InputError(
                        f"{name} is for Limelight's own models without a question; answers here are the model's own, "
                        "and greedy."
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
        _look_at_lines(model, texts, answer, heads, beam, png, svg, html, as_json)


def _look_at_lines(
    model: str,
    texts: list[str] | None,
    answers: list[str] | None,
    heads: list[tuple[int, int]] | None,
    beam: int | None,
    png: Path | None,
    svg: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Each text, and each line of each file, by itself."""
    from limelight.looking.look import NoWordError, look as look_at
    from limelight.looking.render import picture, shown
    from limelight.predicting.predictor import Predictor

    lines = lines_from(texts or [SAMPLE])
    given = None if answers is None else lines_from(answers)
    if given is not None and len(given) != len(lines):
        raise InputError(
            f"--answer must be given for each text, line by line; there are {len(given)} for {len(lines)} texts."
        )
    asked = [number for number, line in enumerate(lines) if line.strip()]
    if asked and len(asked) < len(lines):
        blank = [number + 1 for number in range(len(lines)) if number not in set(asked)]
        named = ", ".join(map(str, blank[:MANY])) + (" …" if len(blank) > MANY else "")
        _tell(InputError(f"of {len(lines)} lines these are blank and have no look: {named}."))
    if not asked:
        raise InputError(
            'There is nothing to look at: the text is empty. Try: limelight look "Save the file."'
        )
    lines, given = [lines[number] for number in asked], given and [given[number] for number in asked]
    predictor = Predictor.load(model)
    passed_over: list[NoWordError] = []
    with how_far(least=MANY) as progress:
        looks = look_at(
            predictor, lines, heads, beam, passed_over.append if len(lines) > 1 else None, progress, given
        )
    if not looks:
        raise passed_over[-1]
    looks = [replace(each, line=asked[each.line - 1] + 1) for each in looks]
    for error in passed_over:
        _tell(error)
    tell_unknown(predictor.saved.source, [predictor.trimmed(each.prediction.source) for each in looks])
    tell_tabs(predictor.trimmed(each.prediction.source) for each in looks)
    if given is not None:
        tell_unknown(
            predictor.saved.target,
            [predictor.trimmed(each.prediction.text) for each in looks],
            "the given answer",
        )
    tell_limits(
        predictor, [each.prediction for each in looks], [repr(each.prediction.source[:20]) for each in looks]
    )
    if as_json:
        print_json([each.to_json() for each in looks])
    else:
        console = Console()
        for each in looks:
            console.print(shown(each))
    for path in (png, svg):
        for each in looks:
            if path is not None:
                save_picture(picture(each), numbered(path, each.line, len(looks)))
    if html is not None:
        from limelight.viewer.builders.from_look import subject_from_look

        for each in looks:
            save_page(subject_from_look(predictor, each, heads), numbered(html, each.line, len(looks)), heads)


def _tell(error: InputError) -> None:
    """One of many lines that cannot be looked at: the others can."""
    Console(stderr=True, soft_wrap=True).print(
        f"note: {error}", style="yellow", highlight=False, markup=False
    )
