"""TracedScores → AttentionInputs: split heads from the batch, find the mask and the bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor, nn

from limelight.capture.head_axes import heads_in, number_of_heads
from limelight.capture.inputs import mask_inference
from limelight.capture.inputs.attention_inputs import AttentionInputs, Kind
from limelight.capture.inputs.relative_bias import as_diagonals
from limelight.capture.inputs.tensor_memo import TensorMemo
from limelight.capture.sources.op_tracing.relative_lookups import Looked, Lookup
from limelight.capture.sources.op_tracing.scores import FAR, TracedScores
from limelight.matrix import masks
from limelight.matrix.biases import Bias
from limelight.matrix.masks import Mask


@dataclass(frozen=True)
class Whole:
    """Scores of four axes (B, H, N, M), with V (B, H or 1, M, D) and the output (B, H, N, D) likewise."""

    scores: TracedScores
    value: Tensor | None
    output: Tensor | None


@dataclass(frozen=True)
class Arrangement:
    """How the axes before N and M are batch and heads.

    factors  the sizes that they are made of, the outermost first
    heads    which of these are heads; all others are the batch
    unclear  "", or what cannot be told of them
    """

    factors: tuple[int, ...]
    heads: tuple[int, ...]
    unclear: str = ""

    @property
    def order(self) -> tuple[int, ...]:
        return (*(i for i in range(len(self.factors)) if i not in self.heads), *self.heads)

    @property
    def sizes(self) -> tuple[int, int]:
        H = prod(self.factors[i] for i in self.heads)
        return prod(self.factors) // max(H, 1), H


def arrangement_of(scores: TracedScores, module: nn.Module) -> Arrangement:
    """Heads are a part of the features; else that axis which is as long as the module's own number of heads; else
    the last of several, and of a single one as many as the module has."""
    lead = scores.shape[:-2]
    factors = [factor for axis in scores.lead or () for factor in axis if factor[1] != 1]
    labels = {label for label, _ in factors}
    if "features" in labels and prod(size for _, size in factors) == prod(lead):
        of_features = tuple(i for i, (label, _) in enumerate(factors) if label == "features")
        return Arrangement(tuple(size for _, size in factors), of_features)
    number = number_of_heads(module)
    last = len(lead) - 1
    if len(lead) >= 2:
        fitting = [i for i, size in enumerate(lead) if size == number]
        if len(fitting) == 1 or last in fitting:
            return Arrangement(lead, (last if last in fitting else fitting[0],))
        if labels == {"places"}:
            return Arrangement(lead, ())
        line = f"which of the axes {tuple(lead)} before queries and keys are heads cannot be told; the last is taken"
        return Arrangement(lead, (last,), line if len(lead) > 2 and prod(lead) > 1 else "")
    if not lead or labels == {"places"}:
        return Arrangement(lead, ())
    heads = heads_in(module, lead[0], scores.q.shape[-1])
    if heads is not None:
        return Arrangement((lead[0] // heads, heads), (1,))
    line = f"texts and heads lie in one axis of {lead[0]} and cannot be told apart; it is told as texts of one head"
    return Arrangement(lead, (), line if lead[0] > 1 else "")


def split_heads(
    scores: TracedScores, value: Tensor | None, output: Tensor | None, module: nn.Module
) -> Whole:
    """The axes before N and M as batch and heads."""
    lead = scores.shape[:-2]
    N, M = scores.shape[-2:]
    plan = arrangement_of(scores, module)
    B, H = plan.sizes
    as_it_is = len(lead) == 2 and lead == (B, H) and plan.order == tuple(range(len(plan.factors)))

    def apart(tensor: Tensor) -> Tensor:
        if tensor.dim() < len(lead) + 2:
            tensor = tensor[(None,) * (len(lead) + 2 - tensor.dim())]
        if as_it_is:
            return tensor
        ends = tensor.shape[-2:]
        if all(size == 1 for size in tensor.shape[:-2]):
            return tensor.reshape(1, 1, *ends)
        folded = tensor.expand(*lead, *ends).reshape(*plan.factors, *ends)
        axes = len(plan.factors)
        return folded.permute(*plan.order, axes, axes + 1).reshape(B, H, *ends)

    def beside(
        tensor: Tensor,
    ) -> Tensor:  # what lies right already stays the same tensor: it is known by that
        return tensor if as_it_is else apart(tensor)

    scores = replace(
        scores,
        shape=(B, H, N, M),
        q=apart(scores.q),
        k=apart(scores.k),
        terms=tuple((beside(tensor), factor) for tensor, factor in scores.terms),
        hidden=tuple((beside(places), fill) for places, fill in scores.hidden),
        zeroed=tuple(map(beside, scores.zeroed)),
        lookups=tuple(lookup.moved(apart) for lookup in scores.lookups),
        sink=None if scores.sink is None else scores.sink[:1].expand(H),
    )
    return Whole(scores, None if value is None else apart(value), None if output is None else apart(output))


Parts = tuple[Tensor, Tensor | None]
_PARTS: TensorMemo[Parts | None] = TensorMemo()
_RULES: TensorMemo[Mask | None] = TensorMemo()


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
    return mask_inference.shortest(seen_BHNM) or masks.everything()


def inputs_of(
    scores: TracedScores, value: Tensor | None, output: Tensor | None, module: nn.Module, kind: Kind
) -> AttentionInputs | None:
    """These scores in the words of `AttentionMatrix`: what is far below every other score is masked, the rest is
    added. None where a place was filled with a number that hides nothing."""
    whole = split_heads(scores, value, output, module)
    scores = whole.scores
    split = _mask_and_terms(scores)
    if split is None:
        return None
    mask, terms = split
    key, value = _shared(scores.k, whole.value, scores.shape)
    output = whole.output
    return AttentionInputs(
        query=scores.q.expand(*scores.shape[:-1], scores.q.shape[-1]),
        key=key,
        value=value,
        mask=mask,
        bias=_as_short_as_can_be(scores.lookups, _sum(terms)),
        scale=scores.scale,
        softcap=scores.cap,
        sink=scores.sink,
        output=None if output is None else output.expand(*scores.shape[:-1], output.shape[-1]),
        dropout=scores.dropout,
        backend="eager",
        kind=kind,
    )


def _mask_and_terms(scores: TracedScores) -> tuple[Mask | None, list[tuple[Tensor, float]]] | None:
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


def _shared(k: Tensor, value: Tensor | None, shape: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
    """Keys and values for the whole batch, with as many heads as the one that has more."""
    B, _, _, M = shape
    G = k.shape[1] if value is None else max(k.shape[1], value.shape[1])
    wide = None if value is None else value.expand(B, G, M, value.shape[-1])
    return k.expand(B, G, M, k.shape[-1]), wide


def _as_short_as_can_be(lookups: tuple[Lookup, ...], added: Tensor | None) -> Tensor | Bias | None:
    if lookups:
        return Looked(lookups, added)
    return None if added is None else as_diagonals(added)


def _sum(terms: list[tuple[Tensor, float]]) -> Tensor | None:
    total: Tensor | None = None
    for tensor, factor in terms:
        term = tensor.detach() if factor == 1 else tensor.detach() * factor
        total = term if total is None else total + term
    return total
