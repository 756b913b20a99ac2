"""`limelight embed`: Word2vec. Train word vectors on a corpus, and find a word's nearest words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from limelight.cli.console import print_json
from limelight.cli.messages import tell

HELP = """Train word vectors (Word2vec: skip-gram, negative sampling) or find a word's nearest words.

Train: `limelight embed train my-texts/ --out vectors.txt`

Look: `limelight embed nearest vectors.txt button --count 8`

Vectors are kept in the word2vec text format, which other tools read and write too."""


def register(app: typer.Typer) -> None:
    embed = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="markdown")
    app.add_typer(embed, name="embed")

    @embed.command("train", help="Train vectors: `limelight embed train my-texts/ --out vectors.txt`")
    def train(
        corpus: Annotated[list[Path], typer.Argument(help="Text files or folders of them.")],
        out: Annotated[Path, typer.Option(help="The file of vectors to write.")],
        width: Annotated[int, typer.Option(help="Numbers in each vector.")] = 100,
        window: Annotated[int, typer.Option(help="Neighbours up to this many words away.")] = 5,
        least: Annotated[int, typer.Option(help="Leave out words that occur fewer times.")] = 5,
        epochs: Annotated[int, typer.Option(help="Passes over the corpus.")] = 5,
        seed: Annotated[int, typer.Option(help="One seed gives one result.")] = 0,
    ) -> None:
        from limelight.files import replaceable
        from limelight.modules.word2vec import Word2vec
        from limelight.text.decoding import lines_of
        from limelight.text.readers import read_texts

        replaceable(out, "file of vectors", r"\d+ [1-9]\d*")  # as the word2vec text format begins
        lines = [line for text in read_texts(corpus).values() for line in lines_of(text) if line.strip()]
        settings = Word2vec(width=width, window=window, least=least, epochs=epochs, seed=seed)
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
            task = bar.add_task("Word2vec", total=epochs)
            vectors = settings.train(lines, lambda done, total: bar.update(task, completed=done))
        vectors.save(out)
        print(f"{out}: {len(vectors.words):,} words, {width} numbers each")

    @embed.command("nearest", help="Nearest words by cosine: `limelight embed nearest vectors.txt button`")
    def nearest(
        vectors: Annotated[Path, typer.Argument(help="A file in the word2vec text format.")],
        word: Annotated[str, typer.Argument(help="The word to look up.")],
        count: Annotated[int, typer.Option(help="How many.")] = 10,
        as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    ) -> None:
        from limelight.modules.word2vec import WordVectors, words_of
        from limelight.readings.reading import visible

        known = WordVectors.load(vectors)
        if word not in known and len(cut := words_of(word)) == 1 and cut[0] in known:
            word = cut[0]  # as training writes it
            tell(f"note: looked up as {visible(word)}")
        found = known.nearest(word, count)
        if as_json:
            print_json([{"word": other, "cosine": cosine} for other, cosine in found])
            return
        table = Table("rank", "word", "cosine", box=None, header_style="bold", pad_edge=False)
        for rank, (other, cosine) in enumerate(found, 1):
            table.add_row(str(rank), Text(visible(other)), f"{cosine:.3f}")
        Console().print(table)
