"""The stages around an attention: the norm before it, then Wo, the residual, and the feed-forward."""

from __future__ import annotations

import torch
from torch import Tensor

from limelight.explain.drawn import strip
from limelight.explain.explanation import Numbers, Stage, compare, table
from limelight.explain.heads import View
from limelight.explain.inputs import TOLERANCE
from limelight.explain.plain import FeedForwardRun
from limelight.modules.transformer import Block

NORM = "(x − mean) / √(variance + ε) · g + b  over the features"


def norm_before(v: View, block: Block) -> list[Stage]:
    """Pre-norm only: what the projections read."""
    if not block.pre:
        return []
    return [_norm(v, f"{_block_name(v)}.{_norm_name(v)}", "Norm", v.run.x_BNE, v.run.normed_BNE)]


def mixing_stages(v: View, block: Block) -> list[Stage]:
    """Concatenation, Wo, residual, and under post-norm the norm."""
    stages = [_concatenate(v), _residual(v, block)]
    if not block.pre:
        stages.append(_norm(v, f"{_block_name(v)}.{_norm_name(v)}", "Norm", v.run.sum_BNE, v.run.left_BNE))
    return stages


def feed_forward_stages(v: View, block: Block, run: FeedForwardRun) -> list[Stage]:
    """`v` is the view of the last attention in the block."""
    name = _block_name(v)
    hidden_F = run.hidden_BNF[0, v.row]
    activation = type(block.feed_forward[1]).__name__
    active = int((hidden_F.abs() > 1e-3 * hidden_F.abs().max()).sum())
    entering_BNE = v.run.left_BNE
    formula = {"ReLU": "max(0, x·W1 + b1)·W2 + b2", "GELU": "GELU(x·W1 + b1)·W2 + b2", "SiLU": "SiLU(x·W1 + b1)·W2 + b2"}
    stages = [_norm(v, f"{name}.feed_norm", "Norm", entering_BNE, run.normed_BNE)] if block.pre else []
    stages.append(
        Stage(
            v.part,
            "Feed-forward",
            formula[activation],
            "§3.3, eq. 2",
            (("x_BNE", tuple(run.normed_BNE.shape)), ("hidden_BNF", tuple(run.hidden_BNF.shape))),
            f"Each position by itself: of {len(hidden_F)} hidden features {active} are at work on "
            f"“{v.queries.labels[v.row]}” (above a thousandth of the largest).",
            (strip(f"“{v.queries.labels[v.row]}”", {"hidden": hidden_F, "out": run.out_BNE[0, v.row]})
             if len(hidden_F) == run.out_BNE.shape[-1]
             else strip("Hidden features", {v.queries.labels[v.row]: hidden_F}),),
            compare(
                "its output for all tokens, with the model's own",
                (v.walk.live.out[f"{name}.feed_forward"], run.out_BNE),
                tolerance=TOLERANCE,
            ),
        )
    )  # fmt: skip
    after = "x + FeedForward(Norm(x))" if block.pre else "Norm(x + FeedForward(x))"
    stages.append(
        Stage(
            v.part,
            "Residual: the layer is done" if block.pre else "Residual and norm: the layer is done",
            f"x ← {after}",
            "§3.1" if not block.pre else "§3.1, Xiong et al. 2020",
            (("x_BNE", tuple(run.left_BNE.shape)),),
            _added(entering_BNE[0, v.row], run.out_BNE[0, v.row], run.sum_BNE[0, v.row]),
            (strip(f"“{v.queries.labels[v.row]}” leaves the layer", {"x": run.left_BNE[0, v.row]}),),
            compare(
                "what leaves the layer, with the model's own",
                (v.walk.live.out[name], run.left_BNE),
                tolerance=TOLERANCE,
            ),
        )
    )
    return stages


def _concatenate(v: View) -> Stage:
    joined_X, mixed_E = v.run.joined_BNX[0, v.row], v.run.mixed_BNE[0, v.row]
    wo_XE = v.walk.truth.weight(f"{v.name}.Wo.weight").T
    D, H = v.module.head_width, v.module.heads
    parts_HE = torch.einsum("hd,hde->he", joined_X.view(H, D), wo_XE.view(H, D, -1))
    norms_H = parts_HE.norm(dim=-1)
    return Stage(
        v.part,
        "Concatenate and Wo",
        "MultiHead = Concat(head_1, …, head_H)·Wo",
        "§3.2.2",
        (("joined_BNX", tuple(v.run.joined_BNX.shape)), ("mixed_BNE", tuple(v.run.mixed_BNE.shape))),
        f"The {H} outputs of width {D} stand side by side again, and Wo mixes them. Most comes from head "
        f"{int(norms_H.argmax())}; head {v.head} brings {float(norms_H[v.head]):.4g} of the mix's length {float(mixed_E.norm()):.4g}.",
        (
            Numbers(
                "Length of what each head brings through Wo", "bars", tuple(f"head {h}" for h in range(H)),
                ("‖o·Wo‖",), table(norms_H[:, None]), marked=(v.head,),
            ),
            strip(f"After Wo, “{v.queries.labels[v.row]}”", {"mixed": mixed_E}),
        ),
        compare(
            "the mix of all tokens, with what the model's own Wo gave; and the sum of the heads' parts, with the mix",
            (v.walk.live.out[f"{v.name}.Wo"], v.run.mixed_BNE),
            (parts_HE.sum(0) + _output_bias(v), mixed_E),
            tolerance=TOLERANCE,
        ),
    )  # fmt: skip


def _output_bias(v: View) -> Tensor:
    name = f"{v.name}.Wo.bias"
    return v.walk.truth.weight(name) if name in v.walk.truth.weights else torch.zeros(())


def _residual(v: View, block: Block) -> Stage:
    name = _block_name(v)
    if not block.pre:
        reader = _norm_name(v)
    elif v.kind == "cross" or not block.cross:
        reader = "feed_norm"
    else:
        reader = "cross_norm"
    return Stage(
        v.part,
        "Residual",
        "x ← x + MultiHead",
        "§3.1",
        (("x_BNE", tuple(v.run.sum_BNE.shape)),),
        _added(v.run.x_BNE[0, v.row], v.run.mixed_BNE[0, v.row], v.run.sum_BNE[0, v.row]),
        (
            strip(
                f"“{v.queries.labels[v.row]}”",
                {"x": v.run.x_BNE[0, v.row], "added": v.run.mixed_BNE[0, v.row], "sum": v.run.sum_BNE[0, v.row]},
            ),
        ),
        compare(
            "the sum for all tokens, with what the model's next norm read",
            (v.walk.live.into[f"{name}.{reader}"], v.run.sum_BNE),
            tolerance=TOLERANCE,
        ),
    )


def _added(x_E: Tensor, added_E: Tensor, sum_E: Tensor) -> str:
    cosine = float(torch.nn.functional.cosine_similarity(x_E, sum_E, dim=0))
    return (
        f"A vector of length {float(added_E.norm()):.4g} is added to one of {float(x_E.norm()):.4g}; the sum has "
        f"{float(sum_E.norm()):.4g}, and its cosine with what it was is {cosine:.4g}."
    )


def _norm(v: View, module: str, name: str, before_BNE: Tensor, after_BNE: Tensor) -> Stage:
    before_E, after_E = before_BNE[0, v.row], after_BNE[0, v.row]
    return Stage(
        v.part,
        name,
        NORM,
        "§3.1, Ba et al. 2016",
        (("x_BNE", tuple(after_BNE.shape)),),
        f"Mean and variance of the features were {float(before_E.mean()):.3g} and {float(before_E.var(correction=0)):.4g}; "
        f"they are {float(after_E.mean()):.3g} and {float(after_E.var(correction=0)):.4g} after the learned gain and shift.",
        (strip(f"“{v.queries.labels[v.row]}”", {"before": before_E, "after": after_E}),),
        compare(
            "the norm of all tokens, with the model's own", (v.walk.live.out[module], after_BNE), tolerance=TOLERANCE
        ),
    )


def _block_name(v: View) -> str:
    return v.name.rpartition(".")[0]


def _norm_name(v: View) -> str:
    return "cross_norm" if v.kind == "cross" else "self_norm"
