"""From the scores of a tape to the words of AttentionMatrix: heads apart from batches, a mask, a bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from limelight.capture import rules
from limelight.capture.diagonals import by_distance
from limelight.capture.families.lookups import Looked, Lookup
from limelight.capture.families.scores import FAR, Scores
from limelight.capture.inputs import Inputs, Kind
from limelight.capture.known import Known
from limelight.matrix import masks
from limelight.matrix.biases import Bias
from limelight.matrix.masks import Mask

HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "heads", "num_attn_heads")


@dataclass(frozen=True)
class Whole:
    """Scores of four axes (B, H, N, M), with V (B, H or 1, M, D) and the output (B, H, N, D) likewise."""

    scores: Scores
    value: Tensor
    output: Tensor


def split_heads(scores: Scores, value: Tensor, output: Tensor, module: nn.Module) -> Whole:
    """Leading axes as batch and heads: a single one is batch · heads, of more than two the last is heads."""
    lead = scores.shape[:-2]
    heads = _heads(module)
    if len(lead) == 2:
        B, H = lead
    elif len(lead) == 1:
        H = heads if heads and lead[0] % heads == 0 else 1
        B = lead[0] // H
    else:
        B, H = torch.Size(lead[:-1]).numel(), lead[-1]
    N, M = scores.shape[-2:]

    def apart(tensor: Tensor, rows: int, width: int) -> Tensor:
        if len(lead) == 2:
            return tensor[(None,) * (4 - tensor.dim())]
        return tensor.expand(*lead, rows, width).reshape(B, H, rows, width)

    if len(lead) != 2:
        scores = replace(
            scores,
            shape=(B, H, N, M),
            q=apart(scores.q, N, scores.q.shape[-1]),
            k=apart(scores.k, M, scores.k.shape[-1]),
            terms=tuple((apart(tensor, N, M), factor) for tensor, factor in scores.terms),
            hidden=tuple((apart(places, N, M), fill) for places, fill in scores.hidden),
            zeroed=tuple(apart(places, N, M) for places in scores.zeroed),
            lookups=tuple(
                lookup.moved(lambda tensor: apart(tensor, *tensor.shape[-2:])) for lookup in scores.lookups
            ),
        )
    return Whole(scores, apart(value, M, value.shape[-1]), apart(output, N, output.shape[-1]))


def _heads(module: nn.Module) -> int | None:
    for holder in (module, getattr(module, "config", None)):
        for name in HEADS:
            number = getattr(holder, name, None)
            if isinstance(number, int):
                return number
    return None


Parts = tuple[Tensor, Tensor | None]
_PARTS: Known[Parts | None] = Known()
_RULES: Known[Mask | None] = Known()


def parts_of(tensor: Tensor, factor: float) -> Parts | None:
    """A term as (hidden places, what is left of it or None); None where it hides nothing."""

    def find() -> Parts | None:
        hidden = tensor.detach() * factor <= FAR
        if not bool(hidden.any()):
            return None
        rest = tensor.detach().masked_fill(hidden, 0)
        return hidden, rest if bool(rest.any()) else None

    return _PARTS.of(tensor, key=factor, find=find)


def rule_of(hidden: Sequence[Tensor], shape: tuple[int, ...], blind: bool) -> Mask | None:
    """The mask that hides all these places; None where that would leave a query nothing to look at, unless the model
    itself takes such queries to be `blind`."""

    def find() -> Mask | None:
        first, *others = hidden
        seen = ~first
        for places in others:
            seen = seen & ~places
        return _rule(seen[(None,) * (4 - seen.dim())], blind)

    return _RULES.of(*hidden, key=(shape[-2:], blind), find=find)


def _rule(seen_BHNM: Tensor, blind: bool) -> Mask | None:
    """The shortest rule that says the same as a bool tensor (B or 1, H or 1, N or 1, M or 1)."""
    if not bool(seen_BHNM.any(-1).all()):
        return masks.dense(seen_BHNM) if blind else None
    return rules.shortest(seen_BHNM) or masks.everything()


def inputs_of(scores: Scores, value: Tensor, output: Tensor, module: nn.Module, kind: Kind) -> Inputs | None:
    """These scores in the words of `AttentionMatrix`: what is far below every other score is masked, the rest is
    added. None where a place was filled with a number that hides nothing."""
    whole = split_heads(scores, value, output, module)
    scores = whole.scores
    split = _mask_and_terms(scores)
    if split is None:
        return None
    mask, terms = split
    key, value = _shared(scores.k, whole.value, scores.shape)
    return Inputs(
        query=scores.q.expand(*scores.shape[:-1], scores.q.shape[-1]),
        key=key,
        value=value,
        mask=mask,
        bias=_as_short_as_can_be(scores.lookups, _sum(terms)),
        scale=scores.scale,
        softcap=scores.cap,
        output=whole.output,
        dropout=scores.dropout,
        backend="eager",
        kind=kind,
    )


def _mask_and_terms(scores: Scores) -> tuple[Mask | None, list[tuple[Tensor, float]]] | None:
    hidden = [places for places, fill in scores.hidden if fill <= FAR]
    softly = [places for places, fill in scores.hidden if fill > FAR]
    rest = []
    for tensor, factor in scores.terms:
        parts = parts_of(tensor, factor)
        if parts is None:
            rest.append((tensor, factor))
        else:
            hidden.append(parts[0])
            if parts[1] is not None:
                rest.append((parts[1], factor))
    if not _covered([*softly, *scores.zeroed], hidden):
        return None
    if not hidden:
        return None, rest
    rule = rule_of(hidden, scores.shape, blind=bool(scores.zeroed))
    if rule is not None:
        return rule, rest
    # Some query may look at nothing, and then the model's own softmax spreads it by these very numbers.
    smallest = torch.finfo(scores.q.dtype).min
    nothing = torch.zeros((), dtype=scores.q.dtype, device=scores.q.device)
    fills = [nothing.where(~places, smallest) for places, fill in scores.hidden if fill <= FAR]
    return None, [*scores.terms, *((each, 1.0) for each in fills)]


def _covered(softly: list[Tensor], hidden: list[Tensor]) -> bool:
    """Whether every one of these places, which were filled with no large number, is hidden all the same."""
    for places in softly:
        for other in hidden:
            places = places & ~other
        if bool(places.any()):
            return False
    return True


def _shared(k: Tensor, value: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Keys and values for the whole batch, with as many heads as the one that has more."""
    B, _, _, M = shape
    G = max(k.shape[1], value.shape[1])
    return k.expand(B, G, M, k.shape[-1]), value.expand(B, G, M, value.shape[-1])


def _as_short_as_can_be(lookups: tuple[Lookup, ...], added: Tensor | None) -> Tensor | Bias | None:
    if lookups:
        return Looked(lookups, added)
    return None if added is None else by_distance(added)


def _sum(terms: list[tuple[Tensor, float]]) -> Tensor | None:
    total: Tensor | None = None
    for tensor, factor in terms:
        term = tensor.detach() if factor == 1 else tensor.detach() * factor
        total = term if total is None else total + term
    return total
