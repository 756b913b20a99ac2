"""The removal check: close one token to everybody, and see how far the answer's distribution moves.

A large weight says where a head looks, not what the answer needs. Here a token is taken away in every layer
and head at once, and the next token's distribution is compared with what it was:

    KL(p ‖ p')  in nats            ½ Σ |p − p'|  total variation, between 0 and 1
"""

from __future__ import annotations

import torch
from torch import Tensor

from limelight.ablation.leave_one_out import divergence, outputs_without
from limelight.ablation.own_models import masked_forward
from limelight.explain.attention_view import AttentionView
from limelight.explain.explanation import TOLERANCE, Stage, compare, number_text
from limelight.explain.paired_run import PairedRun
from limelight.explain.selection import Selection
from limelight.explain.stages.output import scores_of
from limelight.explain.tables import named, ranked, shapes
from limelight.modules.transformer import Classifier, LanguageModel
from limelight.readings.token_groups import Groups

CELLS = 2_000_000
"""Cells of attention that one batch of removals may have: it bounds the memory."""


def removal_stages(walk: PairedRun, choice: Selection, v: AttentionView, part: str) -> list[Stage]:
    """One stage, or none where there is no token to take away. `v` is the attention to set beside it."""
    places = _removable(walk, choice, v)
    if not places:
        return []
    names = v.keys.labels
    live_V, _ = scores_of(walk, choice)
    log_p_V = live_V.double().log_softmax(-1)
    moved_JV = distributions_without(walk, choice, places)
    kl_J = divergence(log_p_V, moved_JV).clamp(min=0.0)
    variation_J = (log_p_V.exp() - moved_JV.exp()).abs().sum(-1) / 2
    attended_J, all_J = _attended(v, places)
    farthest, attended = int(kl_J.argmax()), int(attended_J.argmax())
    rank = int((kl_J > kl_J[attended]).sum()) + 1
    scores = walk.truth.run(*walk.inputs, without=places[farthest]).scores[0]
    truth_V = scores if isinstance(walk.model, Classifier) else scores[choice.step]
    return [
        Stage(
            part,
            "Remove one token",
            "KL(p ‖ p′) = Σ p · (ln p − ln p′)",
            "Limelight",
            shapes(removed_JV=moved_JV),
            f"Each token in turn is closed to all others, in every layer and head. The distribution moves farthest "
            f"({number_text(kl_J[farthest])} nats) without {named(names, places[farthest])}. The one that receives "
            f"most from this head, {named(names, places[attended])}, has rank {rank} of {len(places)} by removal.",
            (
                ranked(
                    f"How far the distribution moves without it, low to high; beside it the weight in head {v.head}, "
                    f"and that of all heads of the layer, averaged",
                    [v.keys.numbered[place] for place in places],
                    {"nats": kl_J, "variation": variation_J, "head": attended_J, "all heads": all_J},
                    by="nats",
                    marked=[places.index(v.key_row)] if v.key_row in places else [],
                    unit="nats",
                ),
            ),
            compare(
                f"all probabilities without {named(names, places[farthest])}, with the plain truth's",
                (moved_JV[farthest].exp(), truth_V.softmax(-1)),
                tolerance=TOLERANCE,
            ),
        )
    ]


def _removable(walk: PairedRun, choice: Selection, v: AttentionView) -> list[int]:
    """Source tokens; of a language model those before the one whose row is read, which cannot be closed to
    itself. A source of one token cannot lose it."""
    if isinstance(walk.model, LanguageModel):
        return list(range(choice.step))
    count = len(v.keys.ids)
    return list(range(count)) if count > 1 else []


@torch.inference_mode()
def distributions_without(walk: PairedRun, choice: Selection, places: list[int]) -> Tensor:
    """Log-probabilities of the candidates, (removals, V), in float64, from the model's own fused forward."""
    written = () if walk.decoder is None else walk.decoder.ids[: choice.step + 1]
    read = written if walk.encoder is None else walk.encoder.ids
    output = masked_forward(walk.model, read, written[1:], rows=-1)
    tokens = Groups.tokens(list(map(str, read)))
    at_once = max(1, CELLS // max(len(read), len(written)) ** 2)
    return torch.cat(list(outputs_without(output, tokens, places, at_once=at_once)))


def _attended(v: AttentionView, places: list[int]) -> tuple[Tensor, Tensor]:
    """What the places receive: in this head, and in all heads of the layer averaged. Of a classifier, whose
    answer is a mean over all queries, averaged over them too."""
    weights_HNM = v.run.steps.weights_BHNM[0]
    rows_HM = weights_HNM.mean(1) if isinstance(v.walk.model, Classifier) else weights_HNM[:, v.row]
    return rows_HM[v.head, places], rows_HM.mean(0)[places]
