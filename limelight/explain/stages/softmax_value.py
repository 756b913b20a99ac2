"""The stages of one attention from its scores on: softmax → weights · V → all heads side by side."""

from __future__ import annotations

import math

import torch

from limelight.explain.attention_view import AttentionView
from limelight.explain.explanation import TOLERANCE, Stage, compare, number_text
from limelight.explain.tables import cells, named, ranked, shapes, strip


def weight_stages(v: AttentionView) -> list[Stage]:
    return [_softmax(v), _weigh(v), _side_by_side(v)]


def _softmax(v: AttentionView) -> Stage:
    row_M, score_M = v.of_row(v.run.steps.weights_BHNM), v.of_row(v.run.steps.masked_BHNM)
    entropy = float(torch.special.entr(row_M).sum())
    open_keys = int(v.seen_M.sum())
    sinks = [
        f" “{v.keys.labels[place]}” takes {number_text(row_M[place])} of it."
        for place in v.keys.special.nonzero().flatten().tolist()
        if v.seen_M[place]
    ]
    total = row_M.sum()
    ordinary_M = row_M.masked_fill(v.keys.special, math.nan)  # shared among the tokens of the text alone
    return Stage(
        v.part,
        "Softmax",
        "A[i, j] = exp(S[i, j] − m) / Σ_k exp(S[i, k] − m),  m = max_k S[i, k]",
        "§3.2.1, eq. 1",
        shapes(a_BHNM=v.run.steps.weights_BHNM),
        f"The row adds up to {float(total):.9g}.{''.join(sinks)} Its entropy is {number_text(entropy)} nats, that of "
        f"{math.exp(entropy):.4g} equal shares. The most that {open_keys} open keys could have is "
        f"{number_text(math.log(open_keys))} nats.",
        (
            ranked(
                f"What “{v.queries.labels[v.row]}” attends to, low to high",
                v.keys.numbered,
                {
                    "weight": row_M,
                    "sink-free": ordinary_M / ordinary_M.nansum(),
                    "score": score_M.masked_fill(~v.seen_M, math.nan),
                },
                by="weight",
                marked=[v.key_row],
                unit="probability",
            ),
        ),
        compare(
            "every weight of all heads, with the fused kernel's; and the sum of this row, with 1",
            (v.call.weights_BHNM, v.run.steps.weights_BHNM),
            (total, torch.ones(())),
            tolerance=TOLERANCE,
        ),
    )


def _weigh(v: AttentionView) -> Stage:
    assert v.run.steps.output_BHND is not None
    row_M, v_MD = v.of_row(v.run.steps.weights_BHNM), v.run.v_BGMD[0, v.group]
    norm_M = v_MD.norm(dim=-1)
    output_D = v.run.steps.output_BHND[0, v.head, v.row]
    high, heavy = int(row_M.argmax()), int((row_M * norm_M).argmax())
    also = "too" if high == heavy else f"it is {named(v.keys.labels, heavy)}"
    return Stage(
        v.part,
        "Weights · V",
        "O = A·V,  O[i] = Σ_j A[i, j] · V[j]",
        "§3.2.1, eq. 1",
        shapes(a_BHNM=v.run.steps.weights_BHNM, v_BGMD=v.run.v_BGMD, o_BHND=v.run.steps.output_BHND),
        f"A value enters with its weight and its own length. By weight {named(v.keys.labels, high)} "
        f"comes first; by the length of α·v {also}.",
        (
            ranked(
                "What each value brings, low to high",
                v.keys.numbered,
                {"‖α·v‖": row_M * norm_M, "α": row_M, "‖v‖": norm_M},
                by="‖α·v‖",
                marked=[v.key_row],
            ),
            strip(f"Output of head {v.head}", {v.queries.labels[v.row]: output_D}),
        ),
        compare(
            "the outputs of all heads and queries, with the fused kernel's",
            (v.call.output_BHND, v.run.steps.output_BHND),
            tolerance=TOLERANCE,
        ),
    )


def _side_by_side(v: AttentionView) -> Stage:
    weights_HM = v.run.steps.weights_BHNM[0, :, v.row]
    entropies = torch.special.entr(weights_HM).sum(-1)
    flat, sharp = int(entropies.argmax()), int(entropies.argmin())
    return Stage(
        v.part,
        "All heads side by side",
        "head_h = softmax(Q_h·K_hᵀ / √D)·V_h",
        "§3.2.2",
        shapes(a_BHNM=v.run.steps.weights_BHNM),
        f"The same query in every head of the layer: head {sharp} is the sharpest (entropy "
        f"{number_text(entropies[sharp])} nats), head {flat} the flattest ({number_text(entropies[flat])}).",
        (
            cells(
                f"Weights of “{v.queries.labels[v.row]}”",
                weights_HM,
                [f"head {h}" for h in range(len(weights_HM))],
                v.keys.labels,
                unit="probability",
                row=v.head,
                column=v.key_row,
            ),
        ),
        compare(
            "every entry of all heads, with the AttentionMatrix of this layer",
            (v.matrix.dense(), v.run.steps.weights_BHNM),
            tolerance=TOLERANCE,
        ),
    )
