"""The stages of one attention up to its mask: Q, K, V → heads → scores → scale → mask."""

from __future__ import annotations

import math

import torch

from limelight.explain.attention_view import TINY, AttentionView
from limelight.explain.explanation import TOLERANCE, Check, Numbers, Stage, compare, number_text, table
from limelight.explain.stages.positional import penalty_stage, rotary_stage
from limelight.explain.tables import cells, named, ranked, shapes, strip
from limelight.modules.positions import Rotary
from limelight.modules.transformer import Classifier


def score_stages(v: AttentionView) -> list[Stage]:
    """From the vectors that enter to the masked scores."""
    stages = [_projections(v), _split(v)]
    if isinstance(v.module.positions, Rotary):
        stages.append(rotary_stage(v))
    stages += [_scores(v), _scale(v)]
    if v.run.bias_HNM is not None:
        stages.append(penalty_stage(v))
    return [*stages, _mask(v)]


def _projections(v: AttentionView) -> Stage:
    D, own = v.module.head_width, v.kind != "cross"
    q_D = v.run.q_BNX[0, v.row].view(-1, D)[v.head]
    k_D, v_D = (x[0, v.key_row].view(-1, D)[v.group] for x in (v.run.k_BMX, v.run.v_BMX))
    key = v.keys.labels[v.key_row]
    text = (
        "All three are made of the same vectors."
        if own
        else "Queries come from the decoder, keys and values from the encoder."
    )
    return Stage(
        v.part,
        "Wq, Wk, Wv → Q, K, V",
        "Q = X·Wq,  K = X·Wk,  V = X·Wv" if own else "Q = X·Wq,  K = Memory·Wk,  V = Memory·Wv",
        "§3.2.2" if own else "§3.2.3",
        shapes(q_BNX=v.run.q_BNX, k_BMX=v.run.k_BMX, v_BMX=v.run.v_BMX),
        f"{text} Here is the slice of head {v.head}: lengths {number_text(q_D.norm())}, {number_text(k_D.norm())} "
        f"and {number_text(v_D.norm())}.",
        (
            strip(
                f"Head {v.head}",
                {f"q of “{v.queries.labels[v.row]}”": q_D, f"k of “{key}”": k_D, f"v of “{key}”": v_D},
            ),
        ),
        compare(
            "Q, K and V of all tokens and heads, with what the model's own Wq, Wk, Wv gave",
            *(
                (v.walk.live.out[f"{v.name}.{each}"], x)
                for each, x in (("Wq", v.run.q_BNX), ("Wk", v.run.k_BMX), ("Wv", v.run.v_BMX))
            ),
            tolerance=TOLERANCE,
        ),
    )


def _split(v: AttentionView) -> Stage:
    D, H, G = v.module.head_width, v.module.heads, v.module.groups
    pairs = [(v.call.v_BGMD, v.run.v_BGMD)]
    if not isinstance(v.module.positions, Rotary):
        pairs += [(v.call.q_BHND, v.run.split_q_BHND), (v.call.k_BGMD, v.run.split_k_BGMD)]
    grouped = "" if G == H else f" Each of the {G} key heads serves {H // G} query heads."
    norms_H = v.run.split_q_BHND[0, :, v.row].norm(dim=-1)
    return Stage(
        v.part,
        "Split heads",
        "head h takes the columns h·D … (h+1)·D",
        "§3.2.2",
        shapes(q_BHND=v.run.q_BHND, k_BGMD=v.run.k_BGMD, v_BGMD=v.run.v_BGMD),
        f"The width of {H * D} is cut into {H} heads of {D}; head {v.head} takes the columns {v.head * D} to "
        f"{(v.head + 1) * D - 1}.{grouped}",
        (
            Numbers(
                f"Length of q of “{v.queries.labels[v.row]}” in each head",
                "bars",
                tuple(f"head {h}" for h in range(H)),
                ("‖q‖",),
                table(norms_H[:, None]),
                marked=(v.head,),
            ),
        ),
        compare("the heads, with what the fused kernel was given", *pairs, tolerance=TOLERANCE),
    )


def _scores(v: AttentionView) -> Stage:
    row_M = v.of_row(v.run.steps.scores_BHNM)
    k_BHMD = v.call.k_BGMD.repeat_interleave(v.module.heads // v.module.groups, dim=1)
    low, high = int(row_M.argmin()), int(row_M.argmax())
    return Stage(
        v.part,
        "Scores: matrix multiplication",
        "S = Q·Kᵀ,  S[i, j] = Σ_d Q[i, d] · K[j, d]",
        "§3.2.1",
        shapes(q_BHND=v.run.q_BHND, k_BGMD=v.run.k_BGMD, s_BHNM=v.run.steps.scores_BHNM),
        f"The query of {named(v.queries.labels, v.row)} meets {len(row_M)} keys: lowest {number_text(row_M[low])} "
        f"with {named(v.keys.labels, low)}, highest {number_text(row_M[high])} with {named(v.keys.labels, high)}.",
        (
            ranked(
                "The row of scores, low to high",
                v.keys.numbered,
                {"score": row_M},
                by="score",
                marked=[v.key_row],
            ),
        ),
        compare(
            "the scores of all heads and pairs, with the product of the fused kernel's Q and K",
            (v.call.q_BHND @ k_BHMD.transpose(-1, -2), v.run.steps.scores_BHNM),
            tolerance=TOLERANCE,
        ),
    )


def _scale(v: AttentionView) -> Stage:
    before, after = v.run.steps.scores_BHNM[0, v.head], v.run.steps.scaled_BHNM[0, v.head]
    D = v.module.head_width
    rows = {"this row": (before[v.row], after[v.row]), "the whole head": (before, after)}
    variances = torch.stack([torch.stack([x.var(correction=0) for x in pair]) for pair in rows.values()])
    steep = [number_text(x[v.row].softmax(-1).max()) for x in (before, after)]
    bias_M = torch.zeros(len(v.seen_M)) if v.run.bias_HNM is None else v.run.bias_HNM[v.head, v.row]
    return Stage(
        v.part,
        "Scale",
        "S ← S / √D",
        "§3.2.1",
        shapes(s_BHNM=v.run.steps.scaled_BHNM),
        f"Divided by √{D} = {math.sqrt(D):.4g}, the variance of this row falls from {number_text(variances[0, 0])} "
        f"to {number_text(variances[0, 1])}. A softmax over all keys would give the highest of them {steep[0]} "
        f"before, and {steep[1]} after.",
        (Numbers("Variance of the scores", "table", tuple(rows), ("before", "after"), table(variances)),),
        compare(
            "the differences within this row of scores, with those in ln of the fused kernel's weights",
            (v.differences() - v.centred(bias_M), v.centred(v.of_row(v.run.steps.scaled_BHNM))),
            tolerance=TOLERANCE,
        ),
    )


def _mask(v: AttentionView) -> Stage:
    seen_NM, N, M = v.run.seen_NM, *v.run.seen_NM.shape
    hidden = int((~v.seen_M).sum())
    model = v.walk.model
    if v.kind == "decoder" or (isinstance(model, Classifier) and model.shape.causal):
        reason = (
            f"A token may look at itself and what stands before it: of {M} keys {hidden} come later, closed."
        )
    else:
        text = "text" if v.kind == "encoder" else "source"
        reason = f"Every token may look at the whole {text}: {hidden} of {M} keys are closed."
    reason += " There is no padding, since the text stands alone in its batch."
    kernel = v.call.weights_BHNM[0]
    certain = ~seen_NM | (v.run.steps.weights_BHNM[0] > TINY)
    wrong = ((kernel > 0) != seen_NM) & certain
    return Stage(
        v.part,
        "Mask",
        "S[i, j] ← −∞  where query i may not look at key j",
        "§3.2.3",
        (("seen_NM", (N, M)),),
        f"{reason} In all, {int((~seen_NM).sum())} of {N * M} cells are closed.",
        (_cells_of_mask(v),),
        Check("cells of all heads that the fused kernel closed otherwise", float(wrong.sum()), 0.0),
    )


def _cells_of_mask(v: AttentionView) -> Numbers:
    """The whole mask, or one row of it where nothing is closed."""
    seen_NM = v.run.seen_NM
    if bool(seen_NM.all()):
        return cells(
            "Open cells of this row",
            v.seen_M[None],
            v.queries.labels[v.row : v.row + 1],
            v.keys.labels,
            row=0,
            column=v.key_row,
        )
    return cells("Open cells", seen_NM, v.queries.labels, v.keys.labels, row=v.row, column=v.key_row)
