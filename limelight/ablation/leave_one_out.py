"""Leave-one-out ablation: mask one word, sentence or document at a time, measure the output change.

A large weight says where a model looks, not what its answer needs. Each part in turn (a word, a sentence, a document)
is taken out of the keys of every layer and head, and the output is compared with what it was:

    KL(p ‖ p')  in nats             where the model gives a distribution, such as that of the next token
    ‖x - x'‖ / ‖x‖                   where it gives vectors, such as an encoder's

Beside it stands what the parts received, with Spearman's rank correlation of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limelight.checked import checked
from limelight.errors import ArgumentTypeError, InputError, ShapeError, one_of
from limelight.readings.reading import Reading
from limelight.readings.token_groups import Groups

Output = Callable[[Tensor], Tensor]
"""Which tokens are kept, bool (J, M) → the output that they give, (J, …): one row a removal."""
Kind = Literal["distribution", "vector"]

_UNITS = {"distribution": "nats", "vector": "relative distance"}
_HOW = {
    "distribution": "KL(p ‖ p′) of the output's distribution, p with all tokens and p′ without those of the {level}, "
    "summed over the rows that are read.",
    "vector": "‖x − x′‖ / ‖x‖ of the output, x with all tokens and x′ without those of the {level}.",
}


@dataclass(frozen=True)
class AblationResult:
    """How far the output moves without each part, and what the part received.

    effect      one axis, that of the parts; unit nats or relative distance
    attended    the same axis: what each part received, if it was given
    correlation Spearman's ρ of the two: 1 same order, 0 no order in common, -1 opposite; NaN without `attended`
                or where all values of one are equal
    """

    effect: Reading
    attended: Reading | None
    correlation: float

    def __repr__(self) -> str:
        first = ", ".join(f"{entry.label} {entry.value:.2g}" for entry in self.effect.ranked()[:3])
        return f"AblationResult({self.effect!r}: {first}{', …' if len(self.effect.values) > 3 else ''})"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "effect": self.effect.to_json(),
            "attended": self.attended.to_json() if self.attended else None,
            "correlation": None if np.isnan(self.correlation) else self.correlation,
        }


@checked
def leave_one_out(
    output: Output,
    groups: Groups,
    attended: Reading | None = None,
    kind: Kind = "distribution",
    at_once: int = 8,
    among: Sequence[int] | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> AblationResult:
    """Take each group of tokens away in turn and measure how far the output moves.

    output    runs the model with some tokens closed to everybody: `ablation.own_models.masked_forward` of our models,
              `ablation.other_models.masked_forward` of others. For "distribution" it gives scores whose last axis is
              the vocabulary (logits or log-probabilities).
    groups    which tokens belong together; tokens of no group always stay
    attended  what each group received, to set beside it: one axis, as long as the groups taken away
    among     the numbers of the groups to take away, all unless given
    at_once   removals in one forward
    progress  told how many removals are done, and how many there are
    """
    if not callable(output) or isinstance(output, torch.nn.Module):
        raise ArgumentTypeError(
            f"output must be a function of which tokens are kept, bool (J, M) → (J, …); got {type(output).__name__}. "
            "masked_forward in limelight.ablation.own_models and in limelight.ablation.other_models makes one."
        )
    if not isinstance(groups, Groups):
        raise ArgumentTypeError(
            f"groups must be Groups; got {type(groups).__name__}. Groups.of(segments) makes them."
        )
    if kind not in _UNITS:
        raise InputError(one_of("kind", _UNITS, kind))
    if at_once < 1:
        raise InputError(f"at_once must be at least 1 removal in a forward; got {at_once}.")
    numbers = range(len(groups)) if among is None else among
    if attended is not None and attended.values.shape != (len(numbers),):
        raise ShapeError(
            f"attended must hold one number for each of the {len(numbers)} {groups.level}s taken away; "
            f"got shape {attended.values.shape}."
        )
    with torch.inference_mode():
        full = _output(output, torch.ones(1, len(groups.index), dtype=torch.bool), kind)
        each = outputs_without(output, groups, numbers, kind, at_once, progress)
        moved = [_movement(full, without, kind) for without in each]
    values = torch.cat(moved).double().cpu().numpy() if moved else np.zeros(0)
    names = tuple(groups.names[number] for number in numbers)
    reading = Reading(values, (groups.level,), (names,), _UNITS[kind], _HOW[kind].format(level=groups.level))
    rho = float("nan") if attended is None else spearman(attended.values, values)
    return AblationResult(reading, attended, rho)


def outputs_without(
    output: Output,
    groups: Groups,
    numbers: Sequence[int],
    kind: Kind = "distribution",
    at_once: int = 8,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Iterator[Tensor]:
    """The output without each of these groups in turn, (J, …) in float64, J at most `at_once`: of distributions the
    log-probabilities. No gradient is wanted of them; the caller says so."""
    index_M = torch.tensor(groups.index)
    for start in range(0, len(numbers), at_once):
        progress(start, len(numbers))
        some_J = torch.tensor(numbers[start : start + at_once])
        yield _output(output, index_M[None] != some_J[:, None], kind)


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) in nats over the last axis, of log-probabilities; where p is 0 nothing is added.

    >>> divergence(torch.tensor([0.5, 0.5]).log(), torch.tensor([[0.5, 0.5], [0.8, 0.2]]).log())
    tensor([0.0000, 0.2231])
    """
    return (log_p.exp() * (log_p - log_q)).where(log_p > -torch.inf, 0.0).sum(-1)


def spearman(x: NDArray[Any] | Sequence[float], y: NDArray[Any] | Sequence[float]) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, equal values sharing the mean of their ranks.

    NaN for fewer than two values, or where all values of one side are equal.

    >>> spearman([1, 2, 3, 4], [10, 20, 40, 30])
    0.8
    """
    if len(x) != len(y):
        raise InputError(
            f"A rank correlation needs as many values on either side; got {len(x)} and {len(y)}."
        )
    ranks = [_ranks(np.asarray(each, dtype=np.float64)) for each in (x, y)]
    centred = [each - each.mean() if len(each) else each for each in ranks]
    spread = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum()) / spread if spread else float("nan")


def _ranks(values: NDArray[Any]) -> NDArray[Any]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[Any] = ((last - counts + 1 + last) / 2)[inverse]
    return ranks


def _output(output: Output, kept_JM: Tensor, kind: Kind) -> Tensor:
    found = output(kept_JM).double()
    if found.shape[0] != len(kept_JM):
        raise ShapeError(f"output must give a row for each of the {len(kept_JM)} removals; got {len(found)}.")
    return found.log_softmax(-1) if kind == "distribution" else found


def _movement(full: Tensor, without: Tensor, kind: Kind) -> Tensor:
    """One number a removal."""
    if kind == "vector":
        moved: Tensor = (without - full).flatten(1).norm(dim=-1) / full.norm()
        return moved
    kl = divergence(full, without)
    return (kl.flatten(1).sum(-1) if kl.dim() > 1 else kl).clamp(min=0.0)
