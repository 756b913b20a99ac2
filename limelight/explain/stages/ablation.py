"""The ablation stage: mask one token from everybody and measure how far the answer moves.

A large weight says where a head looks, not what the answer needs. Here a token is taken away in every layer
and head at once, and the next token's distribution is compared with what it was:

    KL(p ‖ p')  in nats            ½ Σ |p − p'|  total variation, between 0 and 1

Every removal is a forward of its own, so the work grows with the square of a text's length and more. Where it would
be more than WORK, tokens that stand side by side are taken away together, as few as that needs; the stage says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

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
from limelight.text.segments import NO_UNIT

CELLS = 2_000_000
"""Cells of attention that one batch of removals may have: it bounds the memory."""
WORK = 200_000_000_000
"""Multiplications in the blocks that all removals together may take, about: ten seconds of one processor core."""


def removal_stages(
    walk: PairedRun,
    choice: Selection,
    v: AttentionView,
    part: str,
    progress: Callable[[int, int], None] = lambda *_: None,
    work: int = WORK,
) -> list[Stage]:
    """One stage, or none where there is no token to take away. `v` is the attention to set beside it."""
    places = _removable(walk, choice, v)
    if not places:
        return []
    most = min(_together(walk, choice, len(places), work), len(places) - 1) or 1
    count = math.ceil(len(places) / most)
    borders = [number * len(places) // count for number in range(count + 1)]  # stretches as alike as can be
    stretches = [places[first:stop] for first, stop in pairwise(borders)]
    together = max(map(len, stretches))
    live_V, _ = scores_of(walk, choice)
    log_p_V = live_V.double().log_softmax(-1)
    moved_JV = distributions_without(walk, choice, stretches, progress)
    kl_J = divergence(log_p_V, moved_JV).clamp(min=0.0)
    variation_J = (log_p_V.exp() - moved_JV.exp()).abs().sum(-1) / 2
    attended_J, all_J = (torch.stack([each[stretch].sum() for stretch in stretches]) for each in _attended(v))
    farthest, attended = int(kl_J.argmax()), int(attended_J.argmax())
    rank = int((kl_J > kl_J[attended]).sum()) + 1
    scores = walk.truth.run(*walk.inputs, without=stretches[farthest]).scores[0]
    truth_V = scores if isinstance(walk.model, Classifier) else scores[choice.step]
    names = [_named(v.keys.labels, stretch) for stretch in stretches]
    if together == 1:
        taken, one, of = "Each token in turn is", "The one that receives", ""
        weight = "the weight"
    else:
        taken = (
            f"The text is long: its {len(places)} tokens are taken {together} at a time, or one less (a shorter text "
            "shows them one by one). Each of these stretches in turn is"
        )
        one, of = "The stretch that receives", " stretches"
        weight = "the sum of its weights"
    return [
        Stage(
            part,
            "Remove one token" if together == 1 else f"Remove {together} tokens",
            "KL(p ‖ p′) = Σ p · (ln p − ln p′)",
            "Limelight",
            shapes(removed_JV=moved_JV),
            f"{taken} closed to all others, in every layer and head. The distribution moves farthest "
            f"({number_text(kl_J[farthest])} nats) without {names[farthest]}. {one} most from this head, "
            f"{names[attended]}, has rank {rank} of {len(stretches)}{of} by removal.",
            (
                ranked(
                    f"How far the distribution moves without it, low to high; beside it {weight} in head {v.head}, "
                    f"and that of all heads of the layer, averaged",
                    [_numbered(v.keys.labels, stretch) for stretch in stretches],
                    {"nats": kl_J, "variation": variation_J, "head": attended_J, "all heads": all_J},
                    by="nats",
                    marked=[place for place, stretch in enumerate(stretches) if v.key_row in stretch],
                    unit="nats",
                ),
            ),
            compare(
                f"all probabilities without {names[farthest]}, with the plain truth's",
                (moved_JV[farthest].exp(), truth_V.softmax(-1)),
                tolerance=TOLERANCE,
            ),
        )
    ]


def _together(walk: PairedRun, choice: Selection, removals: int, work: int) -> int:
    """How many tokens have to be taken away at a time for the removals to stay within the work, about."""
    shape = walk.model.shape
    width, read, written = shape.width, 0, 0
    block = 4 * width**2 + 2 * width * shape.feed_forward  # of one token: Wq, Wk, Wv, Wo, feed-forward
    source = len(walk.encoder.ids) if walk.encoder is not None else 0
    if source:
        read = source * shape.encoder_layers * (block + 2 * width * source)  # Q·Kᵀ and A·V over so many keys
    if walk.decoder is not None:
        target = choice.step + 1
        across = 2 * width**2 + 2 * width * source if source else 0
        written = target * shape.decoder_layers * (block + 2 * width * target + across)
        written += source * shape.decoder_layers * 2 * width**2  # the source's keys and values
    return math.ceil(removals * (read + written) / work)


def _named(labels: Sequence[str], stretch: Sequence[int]) -> str:
    if len(stretch) == 1:
        return named(labels, stretch[0])
    return f"“{' '.join(labels[place] for place in stretch)}” (places {stretch[0]} to {stretch[-1]})"


def _numbered(labels: Sequence[str], stretch: Sequence[int]) -> str:
    numbers = f"{stretch[0]}" if len(stretch) == 1 else f"{stretch[0]}–{stretch[-1]}"
    return f"{numbers} {' '.join(labels[place] for place in stretch)}"


def _removable(walk: PairedRun, choice: Selection, v: AttentionView) -> list[int]:
    """Source tokens; of a language model those before the one whose row is read, which cannot be closed to
    itself. A source of one token cannot lose it."""
    if isinstance(walk.model, LanguageModel):
        return list(range(choice.step))
    count = len(v.keys.ids)
    return list(range(count)) if count > 1 else []


@torch.inference_mode()
def distributions_without(
    walk: PairedRun,
    choice: Selection,
    stretches: Sequence[Sequence[int]],
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Tensor:
    """Log-probabilities of the candidates, (removals, V), in float64, from the model's own fused forward: each
    without the tokens of one of these stretches, of which no two share a token."""
    written = () if walk.decoder is None else walk.decoder.ids[: choice.step + 1]
    read = written if walk.encoder is None else walk.encoder.ids
    output = masked_forward(walk.model, read, written[1:], rows=-1)
    number = {place: number for number, stretch in enumerate(stretches) for place in stretch}
    groups = Groups(
        tuple(map(str, stretches)), tuple(number.get(place, NO_UNIT) for place in range(len(read))), "token"
    )
    at_once = max(1, CELLS // max(len(read), len(written)) ** 2)
    removals = range(len(stretches))
    return torch.cat([*outputs_without(output, groups, removals, at_once=at_once, progress=progress)])


def _attended(v: AttentionView) -> tuple[Tensor, Tensor]:
    """What each place receives: in this head, and in all heads of the layer averaged. Of a classifier, whose
    answer is a mean over all queries, averaged over them too."""
    weights_HNM = v.run.steps.weights_BHNM[0]
    rows_HM = weights_HNM.mean(1) if isinstance(v.walk.model, Classifier) else weights_HNM[:, v.row]
    return rows_HM[v.head], rows_HM.mean(0)
