"""`limelight coverage`: of one family how it is captured, of all what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("transformers")


def test_one_family(limelight: Callable[..., Any]) -> None:
    told = limelight("coverage", "longformer")
    assert told.exit_code == 0
    assert "LongformerSelfAttention" in told.stdout
    assert "measured" in told.stdout
    assert json.loads(limelight("coverage", "longformer", "--json").stdout)["measured"]["outcome"] == "exact"


def test_all_families(limelight: Callable[..., Any]) -> None:
    assert "families with transformers" in limelight("coverage").stdout
    told = json.loads(limelight("coverage", "--json").stdout)
    assert told["bert"]["outcome"] == "exact"
    assert told["nystromformer"]["outcome"] == "refused"


def test_a_family_that_there_is_not(refused: Callable[..., str]) -> None:
    line = refused("coverage", "berd")
    assert "model type" in line
    assert "bert" in line
