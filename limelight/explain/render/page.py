"""An explanation as one HTML page that needs no network and runs no script.

The page forbids itself everything but its own style sheet (Content-Security-Policy with the sheet's hash), and
every text of the user's reaches it escaped, so that a hostile text is shown and does nothing.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from limelight.explain.captions import check_text, shape_text
from limelight.explain.explanation import Explanation, Stage
from limelight.explain.render.html import figure, quoted, safe, word
from limelight.files import PAGE_ENDINGS, folder_for, write_text
from limelight.readings.render.colours import RAMP
from limelight.shapes import LEGEND


def save_page(explanation: Explanation, path: str | Path) -> Path:
    """Write the page aside and rename it, so that no half page ever stands there; its name ends in .html."""
    folder_for(Path(path), "page", PAGE_ENDINGS)
    return write_text(Path(path), page(explanation))


def page(explanation: Explanation) -> str:
    """The whole page as text."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    numbers = {id(stage): number for number, stage in enumerate(explanation.stages, 1)}
    chapters = "".join(
        f'<section class="part" id="part-{place}"><h2>{quoted(part)}</h2>'
        f"{''.join(_stage(stage, numbers[id(stage)]) for stage in stages)}</section>"
        for place, (part, stages) in enumerate(explanation.parts, 1)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{safe(f"Limelight: {explanation.text[:60]}")}</title>
<style>{style}</style>
</head>
<body>
{_header(explanation)}
<div class="columns">
{_contents(explanation, numbers)}
<main>{chapters}</main>
</div>
<footer>Every number on this page was computed in float64 from the model's own weights, and each stage was
compared with what the model's own forward did. Attention says where a head looks; it is no account of why.</footer>
</body>
</html>
"""


def _header(explanation: Explanation) -> str:
    failed = [stage for stage in explanation.stages if not stage.check.ok]
    count = len(explanation.stages)
    verdict = (
        f'<p class="verdict bad">✗ {len(failed)} of {count} checks failed</p>'
        if failed
        else f'<p class="verdict good">✓ all {count} checks hold</p>'
    )
    choice = "".join(f"<li>{quoted(sentence)}</li>" for sentence in explanation.choice)
    legend = "".join(f"<div><dt>{letter}</dt><dd>{meaning}</dd></div>" for letter, meaning in LEGEND.items())
    return f"""<header>
<p class="name">limelight explain</p>
<h1>{word(explanation.text)}</h1>
<p class="answer"><span class="arrow">→</span> {word(explanation.answer)}</p>
<p class="model">{safe(explanation.model)}</p>
{verdict}
<ul class="choice">{choice}</ul>
<details><summary>Letters of the shapes</summary><dl class="letters">{legend}</dl></details>
</header>"""


def _contents(explanation: Explanation, numbers: dict[int, int]) -> str:
    parts = []
    for place, (part, stages) in enumerate(explanation.parts, 1):
        entries = "".join(
            f'<li><a href="#stage-{numbers[id(stage)]}"><span>{numbers[id(stage)]}</span> {safe(stage.name)}'
            f"{'' if stage.check.ok else ' ✗'}</a></li>"
            for stage in stages
        )
        parts.append(f'<li><a href="#part-{place}">{quoted(part)}</a><ol>{entries}</ol></li>')
    return f'<nav aria-label="Stages"><ol>{"".join(parts)}</ol></nav>'


def _stage(stage: Stage, number: int) -> str:
    shapes = "".join(f"<li>{safe(shape_text(*shape))}</li>" for shape in stage.shapes)
    sign, kind = ("✓", "good") if stage.check.ok else ("✗", "bad")
    return f"""<article id="stage-{number}">
<div class="words">
<h3><a href="#stage-{number}"><span class="number">{number}</span></a> {safe(stage.name)}</h3>
<p class="source">{safe(stage.source)}</p>
<p class="formula">{safe(stage.formula)}</p>
<ul class="shapes">{shapes}</ul>
<p>{quoted(stage.text)}</p>
<p class="check {kind}"><span>{sign}</span><span>{quoted(check_text(stage.check))}</span></p>
</div>
<div class="figures">{"".join(map(figure, stage.numbers))}</div>
</article>"""


def _style() -> str:
    """`page.css`, with the project's one ramp of colours: on dark paper from its other end."""
    sheet = files("limelight.explain.render").joinpath("page.css").read_text(encoding="utf-8")
    light = "".join(f"--r{place}:{colour};" for place, colour in enumerate(RAMP))
    dark = "".join(f"--r{place}:{colour};" for place, colour in enumerate(reversed(RAMP)))
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{sheet}"
