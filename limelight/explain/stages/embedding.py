"""The first stages: text → tokens → embedding rows → positions."""

from __future__ import annotations

import math

import torch

from limelight.explain.explanation import TOLERANCE, Check, Numbers, Stage, compare, number_text, table
from limelight.explain.paired_run import PairedRun, StackText
from limelight.explain.tables import shapes
from limelight.modules.positions import ALiBi, Learned, Rotary, Sinusoidal

NEAREST = 8


def input_stages(walk: PairedRun, name: str, part: str, row: int) -> list[Stage]:
    """The stages of one stack, for the token at place `row`."""
    side = walk.side(name)
    return [_tokens(side, part, row), _embedding(walk, name, part, row), _position(walk, name, part, row)]


def _tokens(side: StackText, part: str, row: int) -> Stage:
    covered = {place for span in side.spans if span is not None for place in range(*span)}
    missing = [
        place for place, letter in enumerate(side.text) if not letter.isspace() and place not in covered
    ]
    values = [
        (float(each), *(span or (math.nan, math.nan)))
        for each, span in zip(side.ids, side.spans, strict=True)
    ]
    special = int(side.special.sum())
    return Stage(
        part,
        "Tokens",
        "text → ids",
        "§5.1",
        (("ids_BN", (1, len(side.ids))),),
        f"The text of {len(side.text)} character{'s' * (len(side.text) != 1)} is cut into "
        f"{len(side.ids) - special} token{'s' * (len(side.ids) - special != 1)}; "
        f"{special} is added that marks its {'start' if side.first else 'end'}. “{side.labels[row]}” stands at "
        f"place {row} and has the id {side.ids[row]}.",
        (
            Numbers(
                "Every token, its id and its characters",
                "table",
                side.numbered,
                ("id", "from", "to"),
                table(values),
                marked=(row,),
            ),
        ),
        Check("visible characters of the text that lie in no token", float(len(missing)), 0.0),
    )


def _embedding(walk: PairedRun, name: str, part: str, row: int) -> Stage:
    side, run = walk.side(name), walk.run(name)
    table_VE = walk.truth.weight(f"{name}.embedding.table.weight")
    vector_E = run.row_BNE[0, row]
    norm_V = table_VE.norm(dim=-1)
    cosine_V = (table_VE @ vector_E) / (norm_V * vector_E.norm()).clamp(min=1e-12)
    near = cosine_V.topk(min(NEAREST, len(cosine_V))).indices.flip(0)
    tokenizer = walk.predictor.saved.source if name == "encoder" else walk.predictor.saved.target
    width = table_VE.shape[1]
    return Stage(
        part,
        "Embedding",
        "x = √E · Table[id]",
        "§3.4",
        shapes(table_VE=table_VE, x_BNE=run.embedded_BNE),
        f"Row {side.ids[row]} of the table, times √{width} = {math.sqrt(width):.4g}; its length is then "
        f"{number_text(run.embedded_BNE[0, row].norm())}. Nearest are the rows with the smallest angle to it.",
        (
            Numbers(
                "The vector of the token",
                "strip",
                (side.labels[row],),
                _features(width),
                table(run.embedded_BNE[0, row, None]),
            ),
            Numbers(
                "Its nearest tokens in the table",
                "bars",
                tuple(tokenizer.token(int(each)) for each in near),
                ("cosine",),
                table(cosine_V[near][:, None]),
                marked=tuple(place for place, each in enumerate(near.tolist()) if each == side.ids[row]),
            ),
        ),
        compare(
            "the embeddings of all tokens, with what the model's own table gave",
            (walk.live.out[f"{name}.embedding"], run.embedded_BNE),
            tolerance=TOLERANCE,
        ),
    )


def _position(walk: PairedRun, name: str, part: str, row: int) -> Stage:
    side, run = walk.side(name), walk.run(name)
    positions = walk.stack(name).positions
    added_NE = walk.truth.position_NE(name, positions, len(side.ids), run.embedded_BNE.shape[-1])
    vectors = {
        "embedding": run.embedded_BNE[0, row],
        "position": added_NE[row],
        "sum": run.positioned_BNE[0, row],
    }
    formula, source = "x ← x", "§3.5"
    match positions:
        case Sinusoidal():
            formula = (
                "x ← x + PE,  PE(pos, 2i) = sin(pos / 10000^(2i/E)),  PE(pos, 2i+1) = cos(pos / 10000^(2i/E))"
            )
            text = f"The waves of place {row} are added to it."
        case Learned():
            formula = "x ← x + P[pos]"
            text = f"Row {row} of a trained table is added to it."
        case Rotary():
            source, text = (
                "Su et al. 2021",
                "Nothing is added here: rotary positions turn Q and K inside every attention.",
            )
        case ALiBi():
            source, text = (
                "Press et al. 2021",
                "Nothing is added here: ALiBi takes a penalty on distance off the scores.",
            )
        case _:
            text = "This model is told nothing about the order of its tokens."
    if isinstance(positions, (Sinusoidal, Learned)):
        lengths = [number_text(vector.norm()) for vector in vectors.values()]
        text += f" Lengths: embedding {lengths[0]}, position {lengths[1]}, sum {lengths[2]}."
        shown = vectors
    else:
        shown = {"enters the first layer": vectors["sum"]}
    return Stage(
        part,
        "Position",
        formula,
        source,
        shapes(x_BNE=run.positioned_BNE),
        text,
        (
            Numbers(
                f"“{side.labels[row]}” at place {row}",
                "strip",
                tuple(shown),
                _features(len(vectors["sum"])),
                table(torch.stack(list(shown.values()))),
            ),
        ),
        compare(
            "what enters the first layer, with the model's own",
            (walk.live.into[f"{name}.blocks.0"], run.positioned_BNE),
            tolerance=TOLERANCE,
        ),
    )


def _features(width: int) -> tuple[str, ...]:
    return tuple(map(str, range(width)))
