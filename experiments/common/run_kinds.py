"""Of what kind a run is, told by what stands in its result: no result names its kind, and a part may have several.

    aligner         alignment: a statistical aligner, judged in all of its ways
    translator      alignment: a translator, judged head by head
    language model  generalisation: general training
    read on         generalisation: a language model after it has read on in a task's texts
    classifier      generalisation: right answers to a task, with a network or by the words alone
    trial           a search's: one choice and its score (search.py)

The runs of scope, accuracy and efficiency are of one kind each, and are not asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from limelight.errors import CheckpointError

BY = {
    "aligner": "aligner",
    "heads": "translator",
    "perplexity": "language model",
    "before": "read on",
    "accuracy": "classifier",
    "score": "trial",
}
"""Which key only one kind has."""


def kind(run: Mapping[str, Any]) -> str:
    """The kind of a result. Raises CheckpointError for one that is of none.

    >>> kind({"label": "LSTM", "perplexity": 79.8}), kind({"label": "LSTM", "before": 525.3, "after": 60.8})
    ('language model', 'read on')
    """
    found = next((name for key, name in BY.items() if key in run), None)
    if found is None:
        raise CheckpointError(
            f"A result must have one of {', '.join(BY)}; got {', '.join(run) or 'nothing'}. Run it again, in another "
            "folder."
        )
    return found


def of_kind(wanted: str, runs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of one kind, in their order."""
    assert wanted in BY.values(), wanted
    return [run for run in runs if kind(run) == wanted]
