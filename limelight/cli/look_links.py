"""`limelight look --pharaoh` and `--tsv`: the links of given translations, a line out for every line in."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from limelight.cli.arguments import lines_from
from limelight.cli.messages import how_far, tell_unknown
from limelight.errors import InputError

if TYPE_CHECKING:
    from limelight.looking.word_alignment import Aligned

TAB, BARS = "\t", re.compile(r"(?:^| )\|\|\|(?: |$)")
"""What stands between the two sides of a pair on one line; where a side is blank, the spaces beside bars may lack."""
TOLD = 5
"""Lines with unlinked tokens that are named."""


def print_links(
    model: str,
    texts: Sequence[str],
    answers: Sequence[str] | None,
    heads: list[tuple[int, int]] | None,
    table: bool,
) -> None:
    """Links as `0-0 1-2`, or as a table with a header, of pairs in two files, in one, or on stdin."""
    from limelight.looking.word_alignment import COLUMNS, align
    from limelight.predicting.predictor import Predictor

    pairs = _pairs(lines_from(texts), None if answers is None else lines_from(answers))
    predictor = Predictor.load(model)
    for side, tokenizer in enumerate((predictor.saved.source, predictor.saved.target)):
        texts = [predictor.trimmed(pair[side]) for pair in pairs]
        tell_unknown(tokenizer, texts, "the given answers" if side else "the input")
    writer = csv.writer(
        sys.stdout, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
    )
    if table:
        writer.writerow(COLUMNS)
    untold: list[str] = []
    with how_far(least=2) as progress:
        for line, found in enumerate(align(predictor, pairs, heads), 1):
            progress("pairs", line, len(pairs))
            if table:
                writer.writerows(found.rows(line))
            else:
                print(found.pharaoh())
            untold += _unlinked(line, found)
    for said in untold[:TOLD]:
        _tell(said)
    if len(untold) > TOLD:
        _tell(f"{len(untold) - TOLD} more lines have tokens without a link.")


def _pairs(lines: list[str], answers: list[str] | None) -> list[tuple[str, str]]:
    if answers is not None:
        if len(answers) != len(lines):
            raise InputError(
                f"--answer must be given for each text, line by line; there are {len(answers)} for {len(lines)} "
                "texts."
            )
        return list(zip(lines, answers, strict=True))
    return [_sides(line, number) for number, line in enumerate(lines, 1)]


def _sides(line: str, number: int) -> tuple[str, str]:
    """The two sides of a line; a blank one has none."""
    ways = [sides for sides in (line.split(TAB), BARS.split(line)) if len(sides) == 2]
    if len(ways) == 1:
        return ways[0][0], ways[0][1]
    if ways:
        raise InputError(
            f"The two sides of a pair stand between one mark: line {number} has a tab and |||; got {line[:60]!r}. "
            "Take one of them out, or give the targets with --answer FILE."
        )
    if not line.strip():
        return "", ""
    raise InputError(
        f"Links are of translations that are there: line {number} must be SOURCE, a tab, TARGET (or SOURCE ||| "
        f"TARGET); got {line[:60]!r}. Or give the targets with --answer FILE."
    )


def _unlinked(line: int, found: Aligned) -> list[str]:
    """What a reader must know of a pair: a side without a token, target tokens without a link."""
    if not found.unlinked and found.target.names:
        return []
    if not found.source.names and not found.target.names:
        return []
    if not found.source.names or not found.target.names:
        return [f"line {line}: one side is blank, so that there are no links."]
    named = ", ".join(f"{number} ({found.target.names[number]})" for number in found.unlinked[:TOLD])
    return [f"line {line}: no link for target token {named}."]


def _tell(said: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"note: {said}", style="yellow", highlight=False, markup=False)
