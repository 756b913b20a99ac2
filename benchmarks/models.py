"""How good the shipped models are on held-out data: words and pages that no training row came from.

    python -m benchmarks models [--json FILE] [--model FOLDER …] [--beam 5]

pronounce         word and phoneme error rate; a word with several pronunciations is right with any of them
translate-en-de   BLEU and chrF (sacrebleu, its defaults), on all held-out pages, and on the pairs whose source
                  shares no eight words in a row with any training source
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from limelight.models import shipped_models
from limelight.predicting.predictor import Predictor
from limelight.tasks.measures import bleu, chrf, pronunciation_errors, references_of
from limelight.text.readers import read_pairs

HELDOUT = Path(__file__).parent / "heldout"
Rows = list[tuple[str, str]]
Answer = Callable[[list[str]], list[str]]


def measure(name: str, beam: int = 5, console: Console | None = None) -> list[dict[str, object]]:
    """One row a data set: model, data, how many, and the measures of the model's task."""
    predictor = Predictor.load(name)

    def answer(sources: list[str]) -> list[str]:
        with Progress(console=console or Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"{name}, beam {beam}", total=len(sources))
            found = predictor.predict(sources, beam=beam, progress=lambda count: bar.advance(task, count))
        return [prediction.text for prediction in found]

    judge = {"pronounce": _pronunciation, "translate": _translation}[predictor.saved.task]
    rows = []
    for file in sorted(HELDOUT.glob(f"{Path(name).name}.test*.tsv")):
        start = time.process_time()
        measures = judge(read_pairs(file), answer)
        rows.append({"model": name, "data": file.stem, **measures, "CPU seconds": time.process_time() - start})
    return rows


def _pronunciation(rows: Rows, answer: Answer) -> dict[str, float]:
    references = references_of(rows)
    wer, per = pronunciation_errors(answer(list(references)), list(references.values()))
    return {"examples": len(references), "word error rate %": 100 * wer, "phoneme error rate %": 100 * per}


def _translation(rows: Rows, answer: Answer) -> dict[str, float]:
    answers, references = answer([source for source, _ in rows]), [target for _, target in rows]
    return {"examples": len(rows), "BLEU": bleu(answers, references), "chrF": chrf(answers, references)}


def run(models: list[str] | None = None, beam: int = 5) -> list[dict[str, object]]:
    """Measure each model and print the table."""
    rows = [row for name in models or shipped_models() for row in measure(name, beam)]
    table = Table("model", "data", "examples", "measures", "CPU s", title=f"Held out, beam {beam}", box=None)
    for row in rows:
        plain = ("model", "data", "examples", "CPU seconds")
        measures = ", ".join(f"{key} {value:.2f}" for key, value in row.items() if key not in plain)
        table.add_row(str(row["model"]), str(row["data"]), f"{row['examples']:,}", measures, f"{row['CPU seconds']:.0f}")
    Console().print(table)
    return rows
