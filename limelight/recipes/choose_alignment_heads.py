"""Which cross-attention heads of a trained model align words: chosen on held-out pairs, written into its folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from limelight.looking.look import word_groups
from limelight.modules.model_io import SavedModel
from limelight.modules.recurrent import RecurrentConfig
from limelight.predicting.prediction import Prediction
from limelight.predicting.predictor import Predictor
from limelight.readings.alignment_heads import AlignmentHeads, Example, choose_heads
from limelight.recipes.task import Rows

PAIRS_TO_ALIGN = 300
"""How many held-out pairs the heads for alignment are chosen on."""


def with_alignment(saved: SavedModel, valid: Rows) -> SavedModel:
    """The same model with the heads that align its words, chosen on held-out pairs; as it is where there are none."""
    heads = choose_alignment_heads(saved, valid[:PAIRS_TO_ALIGN]) if saved.model.role == "pairs" else None
    if heads is None:
        return saved
    return replace(saved, prediction=saved.prediction | {"alignment": heads.to_json()})


def choose_alignment_heads(saved: SavedModel, pairs: Rows) -> AlignmentHeads | None:
    """The cross-attention heads that find, in held-out pairs, the words that both sides share.

    None where no pair has several words on both sides, since there is nothing to choose by, and for a model
    without attention.
    """
    predictor = Predictor(saved)
    if isinstance(saved.model.shape, RecurrentConfig) and saved.model.shape.attention == "none":
        return None

    def examples() -> Iterator[Example]:
        for source, target in pairs:
            ids = saved.source.encode(source).ids, saved.target.encode(target).ids
            trace = predictor.trace(Prediction(source, target, 0.0, *ids))
            if trace.target is not None and len(trace.target) and len(trace.source):
                groups = word_groups(trace.target, after=1), word_groups(trace.source, after=1)
                if min(map(len, groups)) > 1:
                    yield Example(trace.layers("cross"), *groups)

    found = examples()
    first = next(found, None)
    return None if first is None else choose_heads(chain([first], found))
