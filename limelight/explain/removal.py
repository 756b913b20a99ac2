"""The removal check: close one token to everybody, and see how far the answer's distribution moves.

A large weight says where a head looks, not what the answer needs. Here a token is taken away in every layer
and head at once, and the next token's distribution is compared with what it was:

    KL(p ‖ p')  in nats            ½ Σ |p − p'|  total variation, between 0 and 1
"""

from __future__ import annotations

import torch
from torch import Tensor

from limelight.explain.answers import scores_of
from limelight.explain.choice import Choice
from limelight.explain.drawn import named, ranked
from limelight.explain.explanation import Stage, compare
from limelight.explain.heads import View
from limelight.explain.inputs import TOLERANCE
from limelight.explain.plain import causal
from limelight.explain.walk import Side, Walk
from limelight.matrix import masks
from limelight.modules.transformer import Classifier, LanguageModel, Transformer

CELLS = 2_000_000
"""Cells of attention that one batch of removals may have: it bounds the memory."""


def removal_stages(walk: Walk, choice: Choice, v: View, part: str) -> list[Stage]:
    """One stage, or none where there are fewer than two tokens to choose from. `v` is the attention to set beside."""
    side = v.keys
    places = list(range(choice.step)) if isinstance(walk.model, LanguageModel) else list(range(len(side.ids)))
    if len(places) < (1 if isinstance(walk.model, LanguageModel) else 2):
        return []
    live_V, plain_V = scores_of(walk, choice)
    log_p_V = live_V.double().log_softmax(-1)
    moved_JV = distributions_without(walk, choice, side, places)
    kl_J = (log_p_V.exp() * (log_p_V - moved_JV)).sum(-1).clamp(min=0.0)
    variation_J = (log_p_V.exp() - moved_JV.exp()).abs().sum(-1) / 2
    attended_J, all_J = _attended(v, places)
    farthest, attended = int(kl_J.argmax()), int(attended_J.argmax())
    rank = int((kl_J > kl_J[attended]).sum()) + 1
    without = walk.truth.run(*_inputs(walk), without=places[farthest])
    truth_V = (without.scores[0] if isinstance(walk.model, Classifier) else without.scores[0, choice.step]).log_softmax(-1)
    weight = "mean weight" if isinstance(walk.model, Classifier) else "weight"
    return [
        Stage(
            part,
            "Remove one token",
            "KL(p ‖ p′) = Σ p · (ln p − ln p′)",
            "Limelight",
            (("removed_JV", tuple(moved_JV.shape)),),
            f"Each token in turn is closed to all others, in every layer and head. The answer moves farthest "
            f"({float(kl_J[farthest]):.3g} nats) without {named(side.labels, places[farthest])}; the token that receives "
            f"most from this head, {named(side.labels, places[attended])}, stands {_ordinal(rank)} of {len(places)} by removal.",
            (
                ranked(
                    "How far the distribution moves without it, low to high",
                    [side.labels[place] for place in places],
                    {"nats": kl_J, "total variation": variation_J, f"{weight}, head {v.head}": attended_J,
                     f"{weight}, all heads": all_J},
                    by="nats", marked=[places.index(v.key_row)] if v.key_row in places else [], unit="nats",
                ),
            ),
            compare(
                f"the distribution without {named(side.labels, places[farthest])}, with the plain truth's",
                (moved_JV[farthest].exp(), truth_V.exp()),
                (live_V.softmax(-1), plain_V.softmax(-1)),
                tolerance=TOLERANCE,
            ),
        )
    ]  # fmt: skip


@torch.inference_mode()
def distributions_without(walk: Walk, choice: Choice, side: Side, places: list[int]) -> Tensor:
    """Log-probabilities of the candidates, (removals, V), in float64, from the model's own fused forward."""
    length = len(side.ids)
    at_once = max(1, CELLS // (length * length))
    found = [_some_without(walk, choice, places[first : first + at_once]) for first in range(0, len(places), at_once)]
    return torch.cat(found).double().log_softmax(-1)


def _some_without(walk: Walk, choice: Choice, places: list[int]) -> Tensor:
    model, (source, target) = walk.model, _inputs(walk)
    J = len(places)
    if isinstance(model, LanguageModel):
        assert target is not None
        read = target[:, : choice.step + 1]
        seen = torch.stack([causal(read.shape[1], place) for place in places])
        return model.decoder.embedding.scores(model.decoder(read.expand(J, -1), mask=masks.dense(seen[:, None])))[:, -1]
    assert source is not None
    seen_JM = torch.ones(J, source.shape[1], dtype=torch.bool)
    seen_JM[range(J), places] = False
    mask = masks.dense(seen_JM[:, None, None, :])
    last_JME = model.encoder(source.expand(J, -1), mask=mask)
    if isinstance(model, Transformer):
        assert target is not None
        return model.decode(target[:, : choice.step + 1].expand(J, -1), last_JME, mask)[:, -1]
    return model.output((last_JME * seen_JM[:, :, None]).sum(1) / seen_JM.sum(1, keepdim=True))


def _inputs(walk: Walk) -> tuple[Tensor | None, Tensor | None]:
    return tuple(None if side is None else side.tensor for side in (walk.encoder, walk.decoder))  # type: ignore[return-value]


def _attended(v: View, places: list[int]) -> tuple[Tensor, Tensor]:
    """What the places receive: in this head, and in all heads of the layer averaged. Of a classifier, whose
    answer is a mean over all queries, averaged over them too."""
    weights_HNM = v.run.steps.weights_BHNM[0]
    rows_HM = weights_HNM.mean(1) if isinstance(v.walk.model, Classifier) else weights_HNM[:, v.row]
    return rows_HM[v.head, places], rows_HM.mean(0)[places]


def _ordinal(rank: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(rank, f"{rank}th")
