"""The stages of positions inside attention: rotary turns Q and K, ALiBi takes distance off the scores."""

from __future__ import annotations

import torch
from torch import Tensor

from limelight.explain.attention_view import AttentionView
from limelight.explain.explanation import TOLERANCE, Numbers, Stage, compare, number_text, table
from limelight.explain.formulas import angles, turned
from limelight.explain.tables import ranked, shapes, strip
from limelight.modules.positions import Rotary

SHIFTS = (0, 1, 2, 4, 8, 16, 32, 64)


def rotary_stage(v: AttentionView) -> Stage:
    positions = v.module.positions
    assert isinstance(positions, Rotary)
    q_111D = v.run.split_q_BHND[0, v.head, v.row].view(1, 1, 1, -1)
    k_111D = v.run.split_k_BGMD[0, v.group, v.key_row].view(1, 1, 1, -1)

    def score(query_place: int, key_place: int) -> Tensor:
        """Of this query and this key, stood at other places."""
        return (turned(positions, q_111D, query_place) * turned(positions, k_111D, key_place)).sum()

    along = torch.stack([score(v.row + shift, v.key_row + shift) for shift in SHIFTS])
    apart = torch.stack([score(v.key_row + shift, v.key_row) for shift in SHIFTS])
    angle_K = angles(positions, v.row + 1)[v.row]
    labels = (v.queries.labels[v.row], v.keys.labels[v.key_row])
    return Stage(
        v.part,
        "Rotary positions",
        "(q_i, q_i+D/2) ← turned by pos / base^(2i/D),  k likewise",
        "Su et al. 2021",
        shapes(q_BHND=v.run.q_BHND, k_BGMD=v.run.k_BGMD),
        f"At place {v.row} the first pair of features is turned by {number_text(angle_K[0])} radians, the last by "
        f"{number_text(angle_K[-1])}. Moved along together, query and key keep their score; apart, they do not.",
        (
            strip(
                f"The turn of each pair at place {v.row}", {"cosine": angle_K.cos(), "sine": angle_K.sin()}
            ),
            Numbers(
                f"Score of q of “{labels[0]}” and k of “{labels[1]}”",
                "table",
                tuple(f"{shift} places" for shift in SHIFTS),
                ("both moved along", "query this far away"),
                table(torch.stack((along, apart), dim=1)),
            ),
        ),
        compare(
            "turned Q and K, with the fused kernel's; and the score moved along, with the score where they stand",
            (v.call.q_BHND, v.run.q_BHND),
            (v.call.k_BGMD, v.run.k_BGMD),
            (along, v.of_row(v.run.steps.scores_BHNM)[v.key_row].expand_as(along)),
            tolerance=TOLERANCE,
        ),
    )


def penalty_stage(v: AttentionView) -> Stage:
    assert v.run.bias_HNM is not None
    bias_M = v.run.bias_HNM[v.head, v.row]
    slope = -float(v.run.bias_HNM[v.head, 0, 1]) if len(bias_M) > 1 else 0.0
    after_M = v.of_row(v.run.steps.biased_BHNM)
    return Stage(
        v.part,
        "ALiBi: a penalty on distance",
        "S[i, j] ← S[i, j] − slope · |i − j|",
        "Press et al. 2021",
        shapes(bias_HNM=v.run.bias_HNM),
        f"Head {v.head} has the slope {number_text(slope)}; the farthest key loses {number_text(-bias_M.min())}.",
        (
            ranked(
                "The row of scores after it, low to high",
                v.keys.numbered,
                {"score": after_M, "penalty": bias_M},
                by="score",
                marked=[v.key_row],
            ),
        ),
        compare(
            "the differences within this row of scores, with those in ln of the fused kernel's weights",
            (v.differences(), v.centred(after_M)),
            tolerance=TOLERANCE,
        ),
    )
