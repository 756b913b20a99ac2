"""A run's folder holds whatever befalls it (see folders.py)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from limelight.training import checkpoints
from tests.recipes.folders import Folders


def try_sequences(count: int, number: int) -> None:
    """So many sequences of at most six things that befall a folder, drawn from one number."""
    machine = seed(number)(type(Folders.__name__, (Folders,), {}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=count,
            stateful_step_count=6,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # a failing sequence is short as it is, and shrinking takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_a_few_sequences() -> None:
    try_sequences(3, number=1)


@pytest.mark.slow
def test_more_sequences() -> None:
    try_sequences(20, number=2)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["random numbers begin anew", "every checkpoint is taken away"])
def test_the_sequences_find_what_does_not_hold(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "random numbers begin anew":
        monkeypatch.setattr(checkpoints, "_restore_random_states", lambda states: None)
    else:
        remove = checkpoints._remove
        monkeypatch.setattr(
            checkpoints, "_remove", lambda path: [remove(each) for each in path.parent.glob("check*")]
        )
    with pytest.raises(AssertionError):
        try_sequences(100, number=3)
