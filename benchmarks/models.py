"""How good the shipped models are on held-out data: words and pages that no training row came from.

    python -m benchmarks models [--json FILE] [--model NAME …] [--beam 5]

pronounce         word and phoneme error rate; a word with several pronunciations is right with any of them
translate-en-de   BLEU and chrF (sacrebleu, its defaults), on all held-out pages, and on the pairs whose source
                  shares no eight words in a row with any training source
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from benchmarks.tables import print_rows
from limelight.models import shipped_models
from limelight.predicting.predictor import Predictor
from limelight.recipes.metrics import bleu, chrf, pronunciation_errors, references_of
from limelight.text.readers import read_pairs

HELDOUT = Path(__file__).parent / "heldout"
PLAIN = ("model", "data", "examples", "CPU seconds")
"""What a row holds besides the measures of its task."""
Rows = list[tuple[str, str]]
Answer = Callable[[list[str]], list[str]]


def measure(name: str, beam: int = 5) -> list[dict[str, object]]:
    """One row a data set: model, data, how many, and the measures of the model's task."""
    predictor = Predictor.load(name)

    def answer(sources: list[str]) -> list[str]:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"{name}, beam {beam}", total=len(sources))
            found = predictor.predict(sources, beam=beam, progress=lambda count: bar.advance(task, count))
        return [prediction.text for prediction in found]

    judge = {"pronounce": _pronunciation, "translate": _translation}[predictor.saved.task]
    rows = []
    for file in sorted(HELDOUT.glob(f"{Path(name).name}.test*.tsv")):
        start = time.process_time()
        measures = judge(read_pairs(file), answer)
        rows.append(
            {"model": name, "data": file.stem, **measures, "CPU seconds": time.process_time() - start}
        )
    return rows


def _pronunciation(rows: Rows, answer: Answer) -> dict[str, float]:
    references = references_of(rows)
    wer, per = pronunciation_errors(answer(list(references)), list(references.values()))
    return {"examples": len(references), "word error rate %": 100 * wer, "phoneme error rate %": 100 * per}


def _translation(rows: Rows, answer: Answer) -> dict[str, float]:
    answers, references = answer([source for source, _ in rows]), [target for _, target in rows]
    return {"examples": len(rows), "BLEU": bleu(answers, references), "chrF": chrf(answers, references)}


def run(
    model: Annotated[
        list[str] | None, typer.Option(help="A model's name; may be repeated. All by default.")
    ] = None,
    beam: Annotated[int, typer.Option(help="Beam width; 1 is greedy.")] = 5,
) -> list[dict[str, object]]:
    """Measure the shipped models on held-out words and pages, and print the table."""
    rows = [row for name in model or shipped_models() for row in measure(name, beam)]
    print_rows(f"Held out, beam {beam}", [_told(row) for row in rows])
    return rows


def _told(row: dict[str, object]) -> dict[str, object]:
    """The measures of a row side by side: not every task has the same."""
    measures = ", ".join(f"{key} {value:.2f}" for key, value in row.items() if key not in PLAIN)
    return {
        "model": row["model"],
        "data": row["data"],
        "examples": row["examples"],
        "measures": measures,
        "CPU seconds": round(float(str(row["CPU seconds"]))),
    }
