"""The removal check: distances by hand, ranks against SciPy's where it is there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from limelight.ablation.leave_one_out import leave_one_out, spearman
from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.readings import Groups, Reading

TEXT = Groups(("one", "two", "three"), (-1, 0, 0, 1, 2, 2, 2, -1), "document")


def output(kept_JM: torch.Tensor) -> torch.Tensor:
    """Scores that are set apart by the tokens that are kept."""
    weights = torch.tensor([0.0, 1, 2, 4, 8, 16, 32, 0])
    return torch.stack([(kept_JM * weights).sum(-1) / 10, torch.zeros(len(kept_JM))], dim=-1)


def test_the_movement_is_the_divergence_of_the_distributions() -> None:
    found = leave_one_out(output, TEXT, at_once=2)
    p = np.array([6.3, 0.0])
    p = np.exp(p) / np.exp(p).sum()
    for value, taken in zip(found.effect.values, (3, 4, 56), strict=True):
        q = np.array([(63 - taken) / 10, 0.0])
        q = np.exp(q) / np.exp(q).sum()
        assert value == pytest.approx(float((p * np.log(p / q)).sum()), rel=1e-5)
    assert found.effect.labels == (("one", "two", "three"),)
    assert (found.effect.unit, found.effect.axes) == ("nats", ("document",))
    assert np.isnan(found.correlation) and found.attended is None
    assert found.to_json()["correlation"] is None


def test_vectors_move_by_their_length() -> None:
    found = leave_one_out(output, TEXT, kind="vector")
    assert found.effect.values == pytest.approx([3 / 63, 4 / 63, 56 / 63])
    assert found.effect.unit == "relative distance"


def test_it_stands_beside_the_attention() -> None:
    attended = Reading(np.float64([0.2, 0.1, 0.7]), ("document",), (TEXT.names,), "probability", "By hand.")
    found = leave_one_out(output, TEXT, attended)
    assert found.correlation == pytest.approx(0.5)  # one step from the order of the movements
    only = Reading(np.float64([0.2, 0.7]), ("document",), (("one", "three"),), "probability", "By hand.")
    assert leave_one_out(output, TEXT, only, among=[0, 2]).correlation == pytest.approx(1)
    with pytest.raises(ShapeError, match="each of the 3 documents"):
        leave_one_out(output, TEXT, only)


def test_an_output_of_another_length_is_refused() -> None:
    with pytest.raises(ShapeError, match="a row for each of the 3 removals"):
        leave_one_out(lambda kept_JM: torch.zeros(1, 2), TEXT)


# ── Ranks ──


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=20))
def test_the_rank_correlation_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    x, y = (np.array(each, dtype=float) for each in zip(*pairs, strict=True))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan(spearman(x, y))
    else:
        assert spearman(x, y) == pytest.approx(float(stats.spearmanr(x, y).statistic))


def test_ranks_need_pairs() -> None:
    assert np.isnan(spearman([], [])) and np.isnan(spearman([1], [2]))
    with pytest.raises(InputError, match="got 2 and 3"):
        spearman([1, 2], [1, 2, 3])


def test_a_token_that_can_never_come_moves_nothing() -> None:
    def closed(kept_JM: torch.Tensor) -> torch.Tensor:
        return torch.cat([output(kept_JM), torch.full((len(kept_JM), 1), -torch.inf)], dim=-1)

    assert leave_one_out(closed, TEXT).effect.values == pytest.approx(
        leave_one_out(output, TEXT).effect.values
    )


def test_a_forward_takes_at_least_one_removal() -> None:
    with pytest.raises(InputError, match="at_once must be at least 1"):
        leave_one_out(output, TEXT, at_once=0)


def test_what_is_no_output_and_no_groups_is_called_so() -> None:
    groups = Groups(("a", "b"), (0, 1))
    with pytest.raises(
        ArgumentTypeError, match="function of which tokens are kept.*got Linear.*masked_forward"
    ):
        leave_one_out(torch.nn.Linear(2, 2), groups)
    with pytest.raises(ArgumentTypeError, match="must be Groups; got tuple"):
        leave_one_out(lambda kept: kept.float(), groups.index)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one of distribution, vector; got 'logits'"):
        leave_one_out(lambda kept: kept.float(), groups, kind="logits")  # type: ignore[arg-type]
