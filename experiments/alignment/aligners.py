"""Statistical word alignment, as it was done before attention: links without any translation model.

    fast_align  a simple and quick reparameterisation of IBM model 2 (Dyer et al. 2013)
    eflomal     Bayesian, with fertility, by Gibbs sampling (Östling and Tiedemann 2016)

Both as the package sil-thot has them. A pair of models, one for each direction, is joined by "grow-diag-final-and".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from experiments.alignment.gold import Link
from limelight.errors import InputError, require

WAYS = ("to target", "to source", "joined")
"""Each target word is linked to a source word, each source word to a target word, or both are joined."""
ITERATIONS = 5
"""Of fast_align; eflomal decides for itself."""
MODELS = {"fast_align": "FastAlignModel", "eflomal": "EflomalAlignmentModel"}

Pair = tuple[Sequence[str], Sequence[str]]


def aligned(
    name: str,
    pairs: Sequence[Pair],
    wanted: Sequence[int],
    done: Callable[[float], None] = lambda share: None,
) -> dict[str, list[list[Link]]]:
    """Learn from all pairs of (source words, target words), and link those of the `wanted` numbers.

    Gives for each of `WAYS` the links of each wanted pair. `done` hears what share of the work is done.
    Raises InputError for an unknown model.
    """
    if name not in MODELS:
        raise InputError(f"An aligner is one of {', '.join(MODELS)}; got {name!r}.")
    thot: Any = require("thot.alignment", extra="compare", purpose="A statistical aligner")
    longest = 200  # words; the models count on short sentences
    fit = [(source[:longest], target[:longest]) for source, target in pairs]
    direct = _trained(thot, name, fit, lambda share: done(share / 2))
    inverse = _trained(thot, name, [(t, s) for s, t in fit], lambda share: done(0.5 + share / 2))
    joined = thot.SymmetrizedAlignmentModel(direct, inverse)
    joined.heuristic = thot.SymmetrizationHeuristic.GROW_DIAG_FINAL_AND
    sources, targets = (
        [list(fit[number][0]) for number in wanted],
        [list(fit[number][1]) for number in wanted],
    )
    found = {
        "to target": direct.get_best_alignments(sources, targets),
        "to source": inverse.get_best_alignments(targets, sources),
        "joined": joined.get_best_alignments(sources, targets),
    }
    return {way: [_links(matrix, way == "to source") for _, matrix in found[way]] for way in WAYS}


def _trained(thot: Any, name: str, pairs: Sequence[Pair], done: Callable[[float], None]) -> Any:
    model = getattr(thot, MODELS[name])()
    for source, target in pairs:
        model.add_sentence_pair(list(source), list(target))
    model.start_training()
    iterations = ITERATIONS if name == "fast_align" else model.scheduled_iterations
    for iteration in range(iterations):
        model.train()
        done((iteration + 1) / iterations)
    model.end_training()
    return model


def _links(matrix: Any, turned: bool) -> list[Link]:
    """A matrix of (source, target) as links of (target, source); `turned` is one of (target, source)."""
    rows, columns = matrix.to_numpy().nonzero()
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(row, column) if turned else (column, row) for row, column in pairs]
