"""Which heads align? Those whose peak finds the words that stand on both sides.

No labelled alignment is needed: a target word that stands exactly once in the target and, letter by letter
the same, exactly once in the source (a name, a number, a piece of code) was copied from there. Such pairs are
free gold links, and each head is scored by how often its word-level peak lands on them.

Where two languages share no words (letters and sounds), heads are scored by consistency: how much the source
word that a target word attends to tells of which word it is. Over all examples together, with p(t, s) the share
of attention from target words t to source words s (a word here is a type, such as the letter `k`),

    score = I(T; S) / H(T)        I(T; S) = Σ p(t, s) ln (p(t, s) / (p(t) p(s)))

A head that always looks at the same place scores 0, however sharp it is, and one that looks at the neighbour of
the right letter scores lower than one that looks at the letter, as neighbours vary more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limelight.errors import InputError
from limelight.readings.reading import Head, name_heads
from limelight.readings.token_groups import Groups
from limelight.readings.words import Matrices, pooled

TINY = torch.finfo(torch.float32).tiny
"""Below what may be divided by: a head that gives nothing to any word scores 0."""


@dataclass(frozen=True)
class Example:
    """One pair of texts and the cross-attention between them (see `alignment` for rows and columns)."""

    matrices: Matrices
    target: Groups
    source: Groups
    batch: int = 0


@dataclass(frozen=True)
class AlignmentHeads:
    """The heads to align with, best first."""

    heads: tuple[Head, ...]
    score: float
    """From 0 to 1; `how` says of what."""
    links: int
    """How many identical words the choice was made on."""
    how: str
    scores: tuple[tuple[Head, float], ...] = ()
    """The score of every head by itself."""

    def to_json(self) -> dict[str, Any]:
        """Plain lists for `json.dumps`."""
        scores = [[list(head), score] for head, score in self.scores]
        return vars(self) | {"heads": [list(head) for head in self.heads], "scores": scores}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AlignmentHeads:
        """What `to_json` wrote."""
        heads = tuple((layer, head) for layer, head in data["heads"])
        scores = tuple(((layer, head), score) for (layer, head), score in data.get("scores", ()))
        return cls(heads, data["score"], data["links"], data["how"], scores)


def choose_heads(
    examples: Iterable[Example], most: int = 4, margin: float = 0.05, least_links: int = 20
) -> AlignmentHeads:
    """Choose the heads of the cross-attention that align, on held-out pairs.

    Taken are the best head and those within `margin` of its score, at most `most`, as long as their mean
    finds the links no worse than fewer of them do. With fewer than `least_links` identical words in all
    examples together the heads are scored by consistency, and `how` says so. A few hundred pairs are enough.
    Raises InputError when the examples do not hold several different target words.
    """
    heads: tuple[Head, ...] | None = None
    link_rows: list[tuple[Tensor, int]] = []
    consistency = _Consistency()
    for example in examples:
        table, found = pooled(example.matrices, example.target, example.source, None, example.batch)
        if heads is not None and found != heads:
            raise InputError("All examples must come from one model; they have different layers or heads.")
        heads = found
        words = table[..., :-1].double()
        consistency.add(words, example.target, example.source)
        for target, source in shared_words(example.target, example.source):
            link_rows.append((words[:, target], source))
    if not heads or len(consistency.targets) < 2:
        raise InputError("Choosing heads needs examples with several different target words.")
    if len(link_rows) >= least_links:
        return _by_links(heads, link_rows, most, margin)
    return _by_consistency(heads, consistency, len(link_rows), most, margin)


def shared_words(target: Groups, source: Groups) -> list[tuple[int, int]]:
    """(target, source) numbers of the words that stand exactly once on either side, letter for letter.

    Punctuation does not count: a full stop ends both sentences whatever happens between.

    >>> target = Groups.tokens(["Die", "Datei", "a.txt", "ist", "in", "in", "."])
    >>> shared_words(target, Groups.tokens(["The", "file", "a.txt", "is", "in", "."]))
    [(2, 2)]
    """
    on_both = [
        {name for name, count in Counter(side.names).items() if count == 1} for side in (target, source)
    ]
    names = on_both[0] & on_both[1]
    places = {name: number for number, name in enumerate(source.names)}
    return [
        (number, places[name])
        for number, name in enumerate(target.names)
        if name in names and any(sign.isalnum() for sign in name)
    ]


def _by_links(
    heads: Sequence[Head], link_rows: Sequence[tuple[Tensor, int]], most: int, margin: float
) -> AlignmentHeads:
    def found_by(numbers: Sequence[int]) -> float:
        means = [(row[list(numbers)].mean(0), source) for row, source in link_rows]
        return sum(bool(mean.max() > 0) and int(mean.argmax()) == source for mean, source in means) / len(
            means
        )

    scores = [found_by([number]) for number in range(len(heads))]
    best = _within(scores, most, margin)
    # Of equally good sets the largest: more heads, less noise.
    sets = [best[:size] for size in range(len(best), 0, -1)]
    chosen = max(sets, key=found_by)
    score = found_by(chosen)
    how = (
        f"Mean of {name_heads([heads[number] for number in chosen])}, chosen by {len(link_rows)} words that "
        f"stand once and identically in source and target: the peak lands on the same word for {score:.0%} "
        f"of them (best single head {max(scores):.0%})."
    )
    return _result(heads, chosen, score, len(link_rows), how, scores)


def _by_consistency(
    heads: Sequence[Head], consistency: _Consistency, links: int, most: int, margin: float
) -> AlignmentHeads:
    scores = consistency.scores()
    chosen = _within(scores, most, margin)
    score = sum(scores[number] for number in chosen) / len(chosen)
    how = (
        f"Mean of {name_heads([heads[number] for number in chosen])}, chosen by consistency: how much the source "
        f"word attended to tells of the target word (mutual information over entropy, mean {score:.2f} of at "
        f"most 1), since source and target share only {links} words that stand once in both."
    )
    return _result(heads, chosen, score, links, how, scores)


def _result(
    heads: Sequence[Head],
    chosen: Sequence[int],
    score: float,
    links: int,
    how: str,
    scores: Sequence[float],
) -> AlignmentHeads:
    every = tuple(zip(heads, scores, strict=True))
    return AlignmentHeads(tuple(heads[number] for number in chosen), score, links, how, every)


def _within(scores: Sequence[float], most: int, margin: float) -> list[int]:
    """The numbers of the best scores, best first; of equals the first."""
    order = sorted(range(len(scores)), key=lambda number: -scores[number])
    return [number for number in order if scores[number] >= scores[order[0]] - margin][: max(1, most)]


class _Consistency:
    """Sums up, for each head, the attention between every pair of target and source types."""

    def __init__(self) -> None:
        self.targets: dict[str, int] = {}
        self._sources: dict[str, int] = {}
        self._pairs: list[Tensor] = []
        self._shares: list[Tensor] = []

    def add(self, words_HPQ: Tensor, target: Groups, source: Groups) -> None:
        """Take in one example; every target word counts the same, however much it gives to no word."""
        shares_HPQ = words_HPQ / words_HPQ.sum(-1, keepdim=True).clamp(min=TINY)
        ids_P, ids_Q = (
            torch.tensor([known.setdefault(name, len(known)) for name in names], dtype=torch.int64)
            for known, names in ((self.targets, target.names), (self._sources, source.names))
        )
        self._pairs.append(torch.cartesian_prod(ids_P, ids_Q))
        self._shares.append(shares_HPQ.flatten(1).float())

    def scores(self) -> list[float]:
        """I(T; S) / H(T) of every head."""
        pairs, where = torch.cat(self._pairs).unique(dim=0, return_inverse=True)
        shares_HX = torch.cat(self._shares, dim=1).double()  # X: all pairs of words, one after the other
        joint = _summed(shares_HX / shares_HX.sum(-1, keepdim=True).clamp(min=TINY), where)
        targets, sources = _summed(joint, pairs[:, 0]), _summed(joint, pairs[:, 1])
        in_both, of_target, of_source = (torch.special.entr(p).sum(-1) for p in (joint, targets, sources))
        scores: list[float] = (
            ((of_target + of_source - in_both) / of_target.clamp(min=TINY)).clamp(0.0, 1.0).tolist()
        )
        return scores


def _summed(values_HX: Tensor, groups_X: Tensor) -> Tensor:
    size = int(groups_X.max()) + 1
    return torch.zeros(len(values_HX), size, dtype=values_HX.dtype).index_add_(1, groups_X, values_HX)
