"""TracedScores: what a tensor of scores is made of, as far as it was traced; Lost: why it no longer was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from weakref import ref

from torch import Tensor

from limelight.capture.sources.op_tracing.axis_origins import Axis, Label
from limelight.capture.sources.op_tracing.relative_lookups import Lookup

FAR = -1e4
"""A score that was lowered to this or below is hidden: the smallest step that models use."""

Stage = Literal["scores", "logarithms", "exponentials", "weights"]
"""How far a tensor of scores is on its way through softmax."""

Owners = tuple[tuple[int, int], ...]
"""The modules in which an operation ran, innermost first, each with its call: (id of the module, id of the frame)."""


@dataclass(eq=False)
class Softmax:
    """One softmax over scores: whether its weights have found their values, or their refusal."""

    done: bool = False


@dataclass(frozen=True)
class ScoreProduct:
    """Which two tensors were multiplied to scores, told by the labels of their axes.

    rows, columns   what the axes of the scores count: places (tokens, pixels) or features (channels, heads)
    activations     whether both were computed from the input; False where one is made of parameters alone
    owners          where it was computed
    """

    rows: Label = "unknown"
    columns: Label = "unknown"
    activations: bool = True
    owners: Owners = ()

    @property
    def among_features(self) -> bool:
        """Whether channels (or heads) attend to each other, and not tokens."""
        return self.rows == self.columns == "features"

    @property
    def of_tokens(self) -> bool:
        return "features" not in (self.rows, self.columns)


@dataclass(frozen=True)
class TracedScores:
    """cap·tanh(scale·QKᵀ ÷ cap) + the terms + the lookups, and `fill` where a mask hides, of the shape (…, N, M).

    q (…, N, D) and k (…, M, D), the terms (tensor, factor) and the hidden places (True = hidden, fill) all broadcast
    to that shape. The tensor itself may have its axes in another order: `at` says where N and M stand in it.
    """

    q: Tensor
    k: Tensor
    shape: tuple[int, ...]
    scale: float = 1.0
    cap: float | None = None
    terms: tuple[tuple[Tensor, float], ...] = ()
    hidden: tuple[tuple[Tensor, float], ...] = ()
    zeroed: tuple[Tensor, ...] = ()
    """Places where the weights, after softmax, were set to 0 (True = set)."""
    zeroed_by: str = ""
    """The first operation that did so."""
    lookups: tuple[Lookup, ...] = ()
    product: bool = True
    """Whether QKᵀ is in it; False for what was looked up and may be added to scores."""
    stage: Stage = "scores"
    dropout: float = 0.0
    at: tuple[int, int] = (-2, -1)
    """The axes of the tensor that are N and M, counted from its end."""
    lead: tuple[Axis, ...] | None = None
    """What the axes before N and M count, where that is known."""
    made: ScoreProduct = field(default_factory=ScoreProduct)
    softmax: Softmax | None = None
    changed: str = ""
    """The first operation that changed the weights after softmax; "" where they are what softmax gave."""
    sink: Tensor | None = None
    """Scores of no key that stand in the denominator only."""
    shifted: bool = False
    """Whether something the same for all keys was added, which softmax does not see and other functions do."""

    @property
    def weights(self) -> bool:
        return self.stage == "weights"

    @property
    def bare(self) -> bool:
        """Whether it is the product and its scale alone."""
        added = self.terms or self.lookups or self.hidden or self.shifted
        return self.product and not added and self.cap is None

    @property
    def made_from(self) -> list[Tensor]:
        """All tensors that it refers to, and that must stay as they are."""
        beside = [tensor for pairs in (self.terms, self.hidden) for tensor, _ in pairs]
        looked_up = [tensor for lookup in self.lookups for tensor in (lookup.x, lookup.vectors)]
        return [self.q, self.k, *beside, *self.zeroed, *looked_up]

    @property
    def laid_out(self) -> tuple[int, ...]:
        """The shape of the tensor itself."""
        lead = iter(self.shape[:-2])
        axes = len(self.shape)
        sizes = {axes + self.at[0]: self.shape[-2], axes + self.at[1]: self.shape[-1]}
        return tuple(sizes[i] if i in sizes else next(lead) for i in range(axes))

    def canonical(self, tensor: Tensor) -> Tensor:
        """What stands beside this tensor, with its axes in the order (…, N, M)."""
        if self.at == (-2, -1):
            return tensor
        wide = tensor[(None,) * (len(self.shape) - tensor.dim())]
        return wide.movedim(self.at, (-2, -1))

    def shape_of(self, result: Tensor) -> tuple[int, ...]:
        """The shape (…, N, M) of a result that lies as this tensor does."""
        axes = result.dim()
        ends = [axes + self.at[0], axes + self.at[1]]
        return (
            *(size for i, size in enumerate(result.shape) if i not in ends),
            *(result.shape[i] for i in ends),
        )

    def turned(self) -> TracedScores:
        """The same tensor, read with keys for queries and queries for keys."""

        def turn(tensor: Tensor) -> Tensor:
            return tensor[(None,) * (2 - tensor.dim())].mT

        return replace(
            self,
            q=self.k,
            k=self.q,
            shape=(*self.shape[:-2], self.shape[-1], self.shape[-2]),
            terms=tuple((turn(tensor), factor) for tensor, factor in self.terms),
            hidden=tuple((turn(places), fill) for places, fill in self.hidden),
            zeroed=tuple(map(turn, self.zeroed)),
            lookups=tuple(replace(lookup, turned=not lookup.turned) for lookup in self.lookups),
            at=(self.at[1], self.at[0]),
            made=replace(self.made, rows=self.made.columns, columns=self.made.rows),
        )


@dataclass(frozen=True)
class Lost:
    """Numbers made of scores in a way that is not followed.

    by        the first operation that lost them
    made      the product that they were
    weighted  whether softmax has come since, or before
    softmax   that which came before, if it did
    only_if_weighted  whether it is scores of attention only where a softmax comes, and something else otherwise
    """

    by: str
    made: ScoreProduct
    weighted: bool = False
    softmax: Softmax | None = None
    only_if_weighted: bool = False


@dataclass(frozen=True)
class PerQuery:
    """One number a query, made of all its scores: their "max", their "sum" after exp, or its logarithm, "lse".

    of  the scores that it was made of; `plus`, a number that was added to a sum
    """

    what: Literal["max", "sum", "lse"]
    of: TracedScores
    plus: float = 0.0


class ScoreMemo:
    """What is known of tensors, while they live: `TracedScores`, `Lost` or `PerQuery`."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Any, Any]] = {}

    def get(self, tensor: Any) -> Any:
        entry = self._entries.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def __contains__(self, tensor: Any) -> bool:
        return self.get(tensor) is not None

    def __setitem__(self, tensor: Tensor, value: Any) -> None:
        place, entries = id(tensor), self._entries
        entries[place] = (ref(tensor, lambda _: entries.pop(place, None)), value)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def forget(self, tensor: Tensor) -> None:
        self._entries.pop(id(tensor), None)

    def tensors(self) -> list[Tensor]:
        return [tensor for entry in list(self._entries.values()) if (tensor := entry[0]()) is not None]


Step = Callable[..., "TracedScores | None"]
"""What is known of the scores, the result of an operation on them, the dictionary of all known scores, and the
operation's own arguments → what is known of the result, or None where that is no longer of this form."""


def number(value: object) -> float | None:
    """A plain number, also as a tensor of one entry."""
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    return None


def filling(value: object) -> float | None:
    """The number that fills a place, also as a tensor that is full of it."""
    if isinstance(value, Tensor) and value.numel() > 1:
        first = value.flatten()[0]
        return float(first) if bool((value == first).all()) else None
    return number(value)
