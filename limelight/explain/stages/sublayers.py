"""The stages around an attention: the norm before it, then Wo, the residual, and the feed-forward."""

from __future__ import annotations

import torch
from torch import Tensor

from limelight.explain.attention_view import AttentionView
from limelight.explain.explanation import TOLERANCE, Numbers, Stage, compare, number_text, table
from limelight.explain.reference_model import FeedForwardRun
from limelight.explain.tables import shapes, strip

NORM = "(x − mean) / √(variance + ε) · g + b  over the features"


def entering_stage(v: AttentionView, layer: int) -> Stage:
    """What the layers before this one have made of the token."""
    name = "encoder" if v.kind == "encoder" else "decoder"
    start_E, x_E = v.walk.run(name).positioned_BNE[0, v.row], v.run.x_BNE[0, v.row]
    if layer == 0:
        before = "No layer comes before"
    elif layer == 1:
        before = "Layer 0 came before, with the same stages"
    else:
        before = f"Layers 0 to {layer - 1} came before, each with the same stages"
    cosine = torch.nn.functional.cosine_similarity(start_E, x_E, dim=0)
    return Stage(
        v.part,
        f"What enters layer {layer}",
        f"x ← Block_{layer - 1}(… Block_0(x))" if layer > 1 else "x ← Block_0(x)" if layer else "x ← x",
        "§3.1",
        shapes(x_BNE=v.run.x_BNE),
        f"{before}. The vector of “{v.queries.labels[v.row]}” has the length {number_text(x_E.norm())}, "
        f"and a cosine of {number_text(cosine)} with what it was at the start.",
        (strip(f"“{v.queries.labels[v.row]}”", {"at the start": start_E, "now": x_E}),),
        compare(
            "the vectors of all tokens, with those that entered the model's own layer",
            (v.walk.live.into[_block_name(v)], v.run.x_BNE),
            tolerance=TOLERANCE,
        ),
    )


def norm_before(v: AttentionView) -> list[Stage]:
    """Pre-norm only: what the projections read."""
    if not v.block.pre:
        return []
    return [_norm(v, f"{_block_name(v)}.{_norm_name(v)}", "Norm", v.run.x_BNE, v.run.normed_BNE)]


def mixing_stages(v: AttentionView) -> list[Stage]:
    """Concatenation, Wo, residual, and under post-norm the norm."""
    stages = [_concatenate(v), _residual(v)]
    if not v.block.pre:
        stages.append(_norm(v, f"{_block_name(v)}.{_norm_name(v)}", "Norm", v.run.sum_BNE, v.run.left_BNE))
    return stages


def feed_forward_stages(v: AttentionView, run: FeedForwardRun) -> list[Stage]:
    """`v` is the view of the last attention in its block."""
    name = _block_name(v)
    hidden_F = run.hidden_BNF[0, v.row]
    activation = type(v.block.feed_forward[1]).__name__
    active = int((hidden_F.abs() > 1e-3 * hidden_F.abs().max()).sum())
    entering_BNE = v.run.left_BNE
    formula = {
        "ReLU": "max(0, x·W1 + b1)·W2 + b2",
        "GELU": "GELU(x·W1 + b1)·W2 + b2",
        "SiLU": "SiLU(x·W1 + b1)·W2 + b2",
    }
    stages = [_norm(v, f"{name}.feed_norm", "Norm", entering_BNE, run.normed_BNE)] if v.block.pre else []
    stages.append(
        Stage(
            v.part,
            "Feed-forward",
            formula[activation],
            "§3.3, eq. 2",
            shapes(x_BNE=run.normed_BNE, hidden_BNF=run.hidden_BNF),
            f"Each position by itself: of {len(hidden_F)} hidden features {active} are at work on "
            f"“{v.queries.labels[v.row]}” (above a thousandth of the largest).",
            (
                strip(f"“{v.queries.labels[v.row]}”", {"hidden": hidden_F, "out": run.out_BNE[0, v.row]})
                if len(hidden_F) == run.out_BNE.shape[-1]
                else strip("Hidden features", {v.queries.labels[v.row]: hidden_F}),
            ),
            compare(
                "its output for all tokens, with the model's own",
                (v.walk.live.out[f"{name}.feed_forward"], run.out_BNE),
                tolerance=TOLERANCE,
            ),
        )
    )
    after = "x + FeedForward(Norm(x))" if v.block.pre else "Norm(x + FeedForward(x))"
    stages.append(
        Stage(
            v.part,
            "Residual: the layer is done" if v.block.pre else "Residual and norm: the layer is done",
            f"x ← {after}",
            "§3.1" if not v.block.pre else "§3.1, Xiong et al. 2020",
            shapes(x_BNE=run.left_BNE),
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


def _concatenate(v: AttentionView) -> Stage:
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
        shapes(joined_BNX=v.run.joined_BNX, mixed_BNE=v.run.mixed_BNE),
        f"The {H} outputs of width {D} stand side by side again, and Wo mixes them. Most comes from head "
        f"{int(norms_H.argmax())}; head {v.head} brings a length of {number_text(norms_H[v.head])}, "
        f"and the mix has {number_text(mixed_E.norm())}.",
        (
            Numbers(
                "Length of what each head brings through Wo",
                "bars",
                tuple(f"head {h}" for h in range(H)),
                ("‖o·Wo‖",),
                table(norms_H[:, None]),
                marked=(v.head,),
            ),
            strip(f"After Wo, “{v.queries.labels[v.row]}”", {"mixed": mixed_E}),
        ),
        compare(
            "the mix of all tokens, with what the model's own Wo gave; and the sum of the heads' parts, with the mix",
            (v.walk.live.out[f"{v.name}.Wo"], v.run.mixed_BNE),
            (parts_HE.sum(0) + _output_bias(v), mixed_E),
            tolerance=TOLERANCE,
        ),
    )


def _output_bias(v: AttentionView) -> Tensor:
    name = f"{v.name}.Wo.bias"
    return v.walk.truth.weight(name) if name in v.walk.truth.weights else torch.zeros(())


def _residual(v: AttentionView) -> Stage:
    name = _block_name(v)
    if not v.block.pre:
        reader = _norm_name(v)
    elif v.kind == "cross" or not v.block.cross:
        reader = "feed_norm"
    else:
        reader = "cross_norm"
    return Stage(
        v.part,
        "Residual",
        "x ← x + MultiHead",
        "§3.1",
        shapes(x_BNE=v.run.sum_BNE),
        _added(v.run.x_BNE[0, v.row], v.run.mixed_BNE[0, v.row], v.run.sum_BNE[0, v.row]),
        (
            strip(
                f"“{v.queries.labels[v.row]}”",
                {
                    "x": v.run.x_BNE[0, v.row],
                    "added": v.run.mixed_BNE[0, v.row],
                    "sum": v.run.sum_BNE[0, v.row],
                },
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
        f"A vector of length {number_text(added_E.norm())} is added to one of {number_text(x_E.norm())}; the sum has "
        f"{number_text(sum_E.norm())}, and its cosine with what it was is {cosine:.4g}."
    )


def _norm(v: AttentionView, module: str, name: str, before_BNE: Tensor, after_BNE: Tensor) -> Stage:
    before_E, after_E = before_BNE[0, v.row], after_BNE[0, v.row]
    means = [number_text(round(float(x_E.mean()), 9)) for x_E in (before_E, after_E)]
    variances = [number_text(x_E.var(correction=0)) for x_E in (before_E, after_E)]
    return Stage(
        v.part,
        name,
        NORM,
        "§3.1, Ba et al. 2016",
        shapes(x_BNE=after_BNE),
        f"Mean and variance of the features were {means[0]} and {variances[0]}; after the learned gain and shift "
        f"they are {means[1]} and {variances[1]}.",
        (strip(f"“{v.queries.labels[v.row]}”", {"before": before_E, "after": after_E}),),
        compare(
            "the norm of all tokens, with the model's own",
            (v.walk.live.out[module], after_BNE),
            tolerance=TOLERANCE,
        ),
    )


def _block_name(v: AttentionView) -> str:
    return v.name.rpartition(".")[0]


def _norm_name(v: AttentionView) -> str:
    return "cross_norm" if v.kind == "cross" else "self_norm"
