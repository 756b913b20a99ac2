"""Several processes for one training are refused in words, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

import limelight as ll
from limelight.errors import InputError
from limelight.training.single_process import demand_one_process


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "got WORLD_SIZE=2, one of 2"),
        ({"OMPI_COMM_WORLD_SIZE": "16"}, "OMPI_COMM_WORLD_SIZE=16"),
        (
            {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"},
            "it has started one and says nothing",
        ),
    ],
    ids=["torchrun", "mpirun", "accelerate on a CPU"],
)
def test_several_processes_are_refused_with_the_way_out(environment: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=f"must be of one process.*{said}.*Start it by itself"):
        demand_one_process(environment)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"},
        {"ACCELERATE_MIXED_PRECISION": "no"},
        {"WORLD_SIZE": ""},
    ],
)
def test_one_process_passes(environment: dict[str, str]) -> None:
    demand_one_process(environment)


def test_a_refused_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="must be of one process; got WORLD_SIZE=2"):
        ll.train_recipe(ll.load_recipe("pronounce"), tmp_path / "data", tmp_path / "out")
    assert not list(tmp_path.iterdir())
