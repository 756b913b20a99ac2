"""The native loop: every mask and fold it knows against the float64 truth, and the ways in which it is absent."""

from __future__ import annotations

from typing import Any

import pytest

from limelight.matrix.doors import scores_of
from limelight.matrix.folds import Fold
from limelight.matrix.native import loop
from limelight.matrix.native.library import library
from limelight.matrix.native.takes import TAKES
from limelight.matrix.tiles import Plan
from tests.oracle import FOLDS, MASKS, B, Case, H, random_case

pytestmark = pytest.mark.skipif(isinstance(library(), str), reason=f"the native loop: {library()}")

CUTS = {
    "few rows": Plan(rows=11, columns=None, panel_batches=1, panel_heads=2, grain=32),
    "all at once": Plan(rows=240, columns=None, panel_batches=B, panel_heads=H),
}
KNOWN = {name: FOLDS[name] for name in FOLDS if type(FOLDS[name][0](random_case())) in TAKES}


def expect_known(case: Case, cut: Plan) -> None:
    """Read every known fold, as many in one walk as go together, and compare each with its truth."""
    assert len(KNOWN) >= 7
    waiting = dict(KNOWN)
    while waiting:
        folds: dict[str, Fold[Any]] = {}
        for name, (build, _) in waiting.items():
            if loop.refuses(case.matrix()._scores, [*folds.values(), build(case)]) is None:
                folds[name] = build(case)
        scores = scores_of(**case.inputs())
        states, stats = loop.read(scores, scores.frame(scores.N), list(folds.values()), None, cut)
        FOLDS["RowStats"][1](stats, case)
        for (name, fold), state in zip(folds.items(), states, strict=True):
            try:
                waiting.pop(name)[1](fold.finish(state, stats), case)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("mask", MASKS)
def test_every_known_fold_reads_the_truth(mask: str, cut: str) -> None:
    expect_known(random_case(MASKS[mask][0]), CUTS[cut])
