"""Every stage between a text and its answer, for one token and one head (see `limelight.explain`)."""

from __future__ import annotations

import torch

from limelight.explain.answers import answer_stages
from limelight.explain.choice import Choice, choose, kinds
from limelight.explain.explanation import Check, Explanation, Numbers, Stage, compare, plain, table
from limelight.explain.heads import View, head_stages, view
from limelight.explain.inputs import TOLERANCE, input_stages
from limelight.explain.layers import feed_forward_stages, mixing_stages, norm_before
from limelight.explain.removal import removal_stages
from limelight.explain.walk import Walk, walk
from limelight.modules.transformer import Classifier, LanguageModel
from limelight.predicting.predictor import Predictor


def explain(
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


def explain_walk(made: Walk, choice: Choice) -> Explanation:
    """All stages of a walk that was made, in the order of the process."""
    stages: list[Stage] = []
    views: dict[str, View] = {}
    for kind in kinds(made):
        stack = "encoder" if kind == "encoder" else "decoder"
        if kind != "cross":
            stages += input_stages(made, stack, _title(made, kind), choice.rows[kind])
        block = made.stack(stack).blocks[choice.layer]
        part = {"encoder": "Encoder", "decoder": "Decoder, self-attention", "cross": "Decoder, cross-attention"}[kind]
        v = views[kind] = view(made, choice, kind, f"{part}: layer {choice.layer}, head {choice.heads[kind]}")
        stages += [*norm_before(v, block), *head_stages(v), *mixing_stages(v, block)]
        if kind == kinds(made)[-1] or kind == "encoder":
            stages += feed_forward_stages(v, block, made.block(stack, choice.layer).feed)
    last = views[kinds(made)[-1]]
    stages += answer_stages(made, choice, "The answer")
    stages += removal_stages(made, choice, last, "Beyond the weights")
    stages += [_paths(last), _fused(made)]
    architecture = type(made.model).__name__
    shape = made.model.shape
    model = f"{made.predictor.saved.task} ({architecture}, width {shape.width}, {shape.heads} heads, positions {shape.positions}, {shape.norm}-norm)"
    return Explanation(made.prediction.source, made.prediction.text, model, choice.words, tuple(stages))


def _title(made: Walk, kind: str) -> str:
    if kind == "encoder":
        return "The text"
    return "The text and its continuation" if isinstance(made.model, LanguageModel) else "The answer so far"


def _paths(v: View) -> Stage:
    """Table 1 of the paper: attention joins two tokens in one step."""
    far = 0 if v.kind != "cross" and v.row > len(v.keys.ids) // 2 else len(v.keys.ids) - 1
    if v.kind == "decoder":
        far = 0
    steps = abs(v.row - far) if v.kind != "cross" else len(v.keys.ids) - 1 - far + v.row + 1
    row_M = v.of_row(v.run.steps.weights_BHNM)
    closed = int((v.seen_M & ~(row_M > 0)).sum())
    n = max(steps, 1)
    return Stage(
        "Beyond the weights",
        "Steps between two tokens",
        "attention 1,  recurrent net n",
        "§4, table 1",
        (("n", (len(v.keys.ids),)),),
        f"Between “{v.queries.labels[v.row]}” and “{v.keys.labels[far]}” ({far}) attention needs 1 step in any layer; "
        f"a recurrent net would carry it through {n}.",
        (Numbers("Steps", "table", ("attention", "recurrent net"), ("steps",), table([[1.0], [float(n)]])),),
        Check("open cells of this row without a weight above 0", float(closed), 0.0),
    )


def _fused(made: Walk) -> Stage:
    """The largest difference of every attention of the model, not of the chosen layer alone."""
    rows, values, pairs = [], [], []
    for kind in kinds(made):
        stack = "encoder" if kind == "encoder" else "decoder"
        inner = "cross_attention" if kind == "cross" else "self_attention"
        for layer in range(len(made.run(stack).blocks)):
            name = f"{stack}.blocks.{layer}.{inner}"
            run, call = made.attention(kind, layer), made.live.calls[name]
            assert run.steps.output_BHND is not None
            weights = (made.live.matrices[name].dense(), run.steps.weights_BHNM)
            outputs = (call.output_BHND, run.steps.output_BHND)
            rows.append(f"{kind}, layer {layer}")
            values.append([float((got.double() - truth).abs().max()) for got, truth in (weights, outputs)])
            pairs += [weights, outputs]
    check = compare("every weight and output of every attention, fused float32 with plain float64", *pairs, tolerance=TOLERANCE)
    largest = max(value for row in values for value in row)
    return Stage(
        "Beyond the weights",
        "The fused path against the plain truth",
        "max |fused − plain|",
        "Limelight",
        (("attentions", (len(rows),)),),
        f"PyTorch's fused kernel never forms the weights; all of them were computed again, plainly, in float64. The "
        f"largest difference anywhere is {largest:.2g}.",
        (Numbers("Largest difference", "table", tuple(rows), ("weights", "outputs"), table(values)),),
        check,
    )
