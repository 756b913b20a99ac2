"""The reasons why traced attention was not captured, as sentences."""

from __future__ import annotations

from limelight.capture.sources.op_tracing.scores import Lost, TracedScores
from limelight.capture.sources.op_tracing.torch_ops import SOFTMAXES

CHANNELS = "its weights are those of channels that attend to each other, there is none from token to token"
LINEAR = "linear attention multiplies keys and values first, there is no weight from query to key"
ADDITIVE = "its scores are no product of queries and keys"
TURNED = "its weights are summed over the queries instead of the keys"
ALONE = "its weights, softmax of a product, have met no values"
MIXED_HEADS = "mixes its heads after softmax (talking heads): its weights are those before"
MIXED = "mixes the weights of two softmaxes: they are told one by one, as they were before"
IN_PIECES = (
    "computes its attention in pieces: each is told by itself, its queries, heads and texts counted from where it "
    "begins"
)
NESTED = "a product of nested tensors"
LATE = "the exponentials of its scores meet the values before they are divided by their sum"
OVERWRITTEN = "a write into what they were computed from"
IN_TRANSFORMS = "it ran inside a transform of torch.func (vmap, grad), whose tensors do not outlive it"


def reason_of(lost: Lost) -> str:
    if lost.made.among_features:
        return CHANNELS if lost.weighted or lost.by in SOFTMAXES else LINEAR
    return through(lost.by) if lost.by != LINEAR else LINEAR


def unweighed(scores: TracedScores) -> str:
    if scores.made.among_features:
        return LINEAR
    return LATE if scores.stage == "exponentials" else "no softmax"


def after_softmax(name: str) -> str:
    return name if name.endswith("after softmax") else f"{name} after softmax"


def through(by: str) -> str:
    if by == LATE:
        return by
    if by == "no softmax":
        return "its scores meet the values without a softmax"
    if by.startswith(OVERWRITTEN):
        return (
            "its queries, keys, mask or bias were written into after the scores were computed of them and before the "
            "weights met the values"
        )
    return f"its scores go through {by}, which is no change of attention scores that can be followed"
