"""Every stage between a text and its answer, for one token and one head (see `limelight.explain`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from limelight.checked import checked
from limelight.explain.attention_view import view
from limelight.explain.explanation import Explanation, Stage
from limelight.explain.paired_run import PairedRun, walk
from limelight.explain.selection import Selection, choose, kinds
from limelight.explain.stages.ablation import removal_stages
from limelight.explain.stages.embedding import input_stages
from limelight.explain.stages.output import answer_stages
from limelight.explain.stages.path_length_and_fused import fused_stage, paths_stage
from limelight.explain.stages.query_key import score_stages
from limelight.explain.stages.softmax_value import weight_stages
from limelight.explain.stages.sublayers import (
    entering_stage,
    feed_forward_stages,
    mixing_stages,
    norm_before,
)
from limelight.modules.transformer import LanguageModel
from limelight.predicting.predictor import Predictor

PARTS = {
    "encoder": "Encoder, self-attention",
    "decoder": "Decoder, self-attention",
    "cross": "Decoder, cross-attention",
}
"""The chapters of the attentions."""


@checked
def explain_text(
    predictor: Predictor,
    text: str,
    token: int | str | None = None,
    layer: int = -1,
    head: int | None = None,
    *,
    answer_token: int | str | None = None,
) -> Explanation:
    """Follow one token of the text through the model, with every number computed in float64 and checked.

    token         its number in the text (from 0; negative from the end) or its letters; of an encoder-decoder
                  a token of the source, of a language model one of the prompt or its continuation
    layer         from 0, negative from the end
    head          from 0; without it each attention shows the head that gives most to one token of the text
    answer_token  for encoder-decoders, which token of the answer is being written; without it the one that
                  attends most to `token`

    Raises InputError for what does not exist, TooLargeError for a text whose matrices would not fit.
    """
    made = walk(predictor, text)
    return explain_walk(made, choose(made, token, answer_token, layer, head))


def explain_walk(
    made: PairedRun, choice: Selection, progress: Callable[[str, int, int], None] = lambda *_: None
) -> Explanation:
    """All stages of a paired run, in the order of the process.

    progress  is told how far the one that takes long has come, the removal of tokens
    """
    stages: list[Stage] = []
    for kind in kinds(made):
        stack = "encoder" if kind == "encoder" else "decoder"
        v = view(made, choice, kind, f"{PARTS[kind]}: layer {choice.layer}, head {choice.heads[kind]}")
        if kind != "cross":
            stages += input_stages(made, stack, _title(made, kind), choice.rows[kind])
            stages.append(entering_stage(v, choice.layer))
        stages += [*norm_before(v), *score_stages(v), *weight_stages(v), *mixing_stages(v)]
        if kind == kinds(made)[-1] or kind == "encoder":
            stages += feed_forward_stages(v, made.block(stack, choice.layer).feed)
    beyond = "Beyond the weights"
    stages += answer_stages(made, choice, "The answer")
    stages += removal_stages(made, choice, v, beyond, partial(progress, "removals"))
    stages += [paths_stage(v, beyond), fused_stage(made, beyond)]
    prediction = made.prediction
    return Explanation(prediction.source, prediction.text, _model(made), choice.words, tuple(stages))


def _title(made: PairedRun, kind: str) -> str:
    if kind == "encoder":
        return "The text"
    return "The text and its continuation" if isinstance(made.model, LanguageModel) else "The answer so far"


def _model(made: PairedRun) -> str:
    shape = made.model.shape
    return (
        f"{made.predictor.saved.task}: {type(made.model).__name__}, width {shape.width}, {shape.heads} heads, "
        f"positions {shape.positions}, {shape.norm}-norm"
    )
