"""Two last stages: path lengths between tokens, and the fused forward against the reference."""

from __future__ import annotations

from limelight.explain.attention_view import AttentionView
from limelight.explain.explanation import TOLERANCE, Check, Numbers, Stage, compare, table
from limelight.explain.paired_run import PairedRun
from limelight.explain.selection import kinds


def paths_stage(v: AttentionView, part: str) -> Stage:
    """Table 1 of the paper: attention joins two tokens in one step, a recurrent net in as many as lie between."""
    places = v.seen_M.nonzero().flatten().tolist()
    far = max(places, key=lambda place: _recurrent_steps(v, place))
    row_M = v.of_row(v.run.steps.weights_BHNM)
    closed = int((v.seen_M & ~(row_M > 0)).sum())
    apart = _recurrent_steps(v, far)
    return Stage(
        part,
        "Steps between two tokens",
        "attention 1,  recurrent net n",
        "§4, table 1",
        (("row_M", tuple(row_M.shape)),),
        f"From “{v.keys.labels[far]}” (place {far}) to “{v.queries.labels[v.row]}” (place {v.row}) it is one step in "
        f"any layer of attention; a recurrent net would carry it through {apart}.",
        (
            Numbers(
                "Steps", "table", ("attention", "recurrent net"), ("steps",), table([[1.0], [float(apart)]])
            ),
        ),
        Check("open keys of this row whose weight is not above 0", float(closed), 0.0),
    )


def _recurrent_steps(v: AttentionView, key: int) -> int:
    """How often a recurrent net would rewrite its state between the two: through the rest of the source, and
    for cross-attention on through the answer. A token beside itself counts as one step, its own."""
    if v.kind == "cross":
        return len(v.keys.ids) - 1 - key + v.row + 1
    return max(abs(v.row - key), 1)


def fused_stage(walk: PairedRun, part: str) -> Stage:
    """The largest difference of every attention of the model, not of the chosen layer alone."""
    rows, values, pairs = [], [], []
    for kind in kinds(walk):
        stack = "encoder" if kind == "encoder" else "decoder"
        inner = "cross_attention" if kind == "cross" else "self_attention"
        for layer in range(len(walk.run(stack).blocks)):
            name = f"{stack}.blocks.{layer}.{inner}"
            run, call = walk.attention(kind, layer), walk.live.calls[name]
            assert run.steps.output_BHND is not None
            weights = (walk.live.matrices[name].dense(), run.steps.weights_BHNM)
            outputs = (call.output_BHND, run.steps.output_BHND)
            rows.append(f"{kind}, layer {layer}")
            values.append([float((got.double() - truth).abs().max()) for got, truth in (weights, outputs)])
            pairs += [weights, outputs]
    largest = max(value for row in values for value in row)
    return Stage(
        part,
        "The fused path against the plain truth",
        "max |fused − plain|",
        "Limelight",
        (("attentions", (len(rows),)),),
        f"PyTorch's fused kernel never forms the weights; here all were computed again, plainly, in float64. The "
        f"largest difference anywhere is {largest:.2g}.",
        (Numbers("Largest difference", "table", tuple(rows), ("weights", "outputs"), table(values)),),
        compare(
            "all weights and outputs of all attentions, fused in float32, with the plain float64",
            *pairs,
            tolerance=TOLERANCE,
        ),
    )
