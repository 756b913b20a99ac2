"""`limelight serve`: the page in a browser, with tiles and rows computed as they are asked for."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from limelight.cli.arguments import named_documents, parse_heads
from limelight.cli.look import DEFAULT_MODEL, SAMPLE
from limelight.errors import require

HELP = """Look at attention as at a map, in the browser.

Each FILE is a document of its own, and so is each TEXT; a single line without a question is answered, and its
attention shown. Further texts can be typed in, and files dropped, on the page itself. Ctrl-C ends it.

Example: `limelight serve "Save the document under a new name."`

Example: `limelight serve docs/*.md --model path/to/model --question "How are answers searched for?"`

Only this machine can reach the page, unless --host opens it to others: then its address holds a token."""


def register(app: typer.Typer) -> None:
    @app.command("serve", help=HELP)
    def serve(
        texts: Annotated[
            list[str] | None, typer.Argument(metavar="[TEXT|FILE]...", help="What to look at.")
        ] = None,
        model: Annotated[
            str,
            typer.Option(
                help="A model's folder, a shipped model's name, or a Hugging Face model by its folder or hub name."
            ),
        ] = DEFAULT_MODEL,
        question: Annotated[str | None, typer.Option(help="What to ask about the documents.")] = None,
        head: Annotated[
            list[str] | None,
            typer.Option(help="LAYER.HEAD to begin with, counted from 0, such as 2.1; may be repeated."),
        ] = None,
        answer_tokens: Annotated[
            int,
            typer.Option(
                min=0,
                help="Longest answer; 0 lets the question look (not in an encoder-decoder, which must write).",
            ),
        ] = 32,
        chat: Annotated[bool, typer.Option("--chat", help="Use the model's chat template.")] = False,
        trust_remote_code: Annotated[
            bool, typer.Option("--trust-remote-code", help="Run code that comes with a Hugging Face model.")
        ] = False,
        host: Annotated[
            str, typer.Option(help="The address to listen on; 0.0.0.0 opens it to others.")
        ] = "127.0.0.1",
        port: Annotated[
            int, typer.Option(min=0, max=65535, help="The port; 0 takes any that is free.")
        ] = 8765,
    ) -> None:
        for module in ("starlette", "uvicorn"):
            require(module, extra="web", purpose="limelight serve")
        from limelight.looking.load import load_reader
        from limelight.viewer.builders.from_look import reading_with
        from limelight.viewer.serve.run import check_address, serve as run

        check_address(host, port)
        heads = parse_heads(head)
        documents = named_documents(texts or [SAMPLE])
        options = {"answer_tokens": answer_tokens, "heads": heads, "chat": chat}
        read = reading_with(load_reader(model, trust_remote_code), **options)
        run(read(documents, question), read, host, port, _tell)


def _tell(address: str) -> None:
    """The address on stdout, alone on its line; the rest on stderr."""
    Console(stderr=True, soft_wrap=True).print("Open this address in a browser; Ctrl-C ends it.", style="dim")
    print(address, flush=True)
