"""The coverage benchmark and command: they tell right from wrong, and what they tell is what the library does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from benchmarks import coverage, coverage_check
from benchmarks.coverage import OUTCOMES, Row, apart, buildable, totals
from benchmarks.coverage_check import check, compare
from benchmarks.coverage_generate import WAYS, check_generate, writing_families
from benchmarks.tiny_models import tiny
from limelight.capture import watch
from limelight.capture.sources.model_families import support_table as abouts
from limelight.errors import InputError

THROUGH_THE_INTERFACE = ["bert", "gpt2", "gemma2", "t5", "vit"]


@pytest.mark.parametrize("family", THROUGH_THE_INTERFACE)
def test_families_through_the_interface_are_exact(family: str) -> None:
    row = check(family)
    assert row.outcome == "exact", row.reason
    assert row.matrices == row.official > 0


@pytest.mark.slow
def test_no_family_is_wrong() -> None:
    rows = list(apart(check, buildable(), jobs=2))
    counted = totals(rows)
    assert [row.family for row in rows if row.outcome == "wrong"] == []
    assert counted["exact"] >= 235
    assert all(row.reason for row in rows if row.outcome != "exact")


@pytest.mark.slow
def test_what_a_family_writes_is_exact_in_every_way() -> None:
    row = check_generate("llama")
    assert row.ways == dict.fromkeys(WAYS, "exact")
    assert row.outcome == "exact" and row.error is not None and row.error < 1e-5


WRITING = [
    "bert",
    "codegen",
    "deepseek_v32",
    "gemma2",
    "gpt_neo",
    "gpt_oss",
    "jamba",
    "led",
    "t5",
    "t5gemma2",
]


@pytest.mark.slow
def test_no_family_that_writes_is_wrong() -> None:
    assert set(WRITING) <= set(writing_families())
    rows = list(apart(check_generate, WRITING, jobs=2))
    assert [(row.family, row.reason) for row in rows if row.outcome == "wrong"] == []
    assert sum(row.outcome == "exact" for row in rows) >= len(WRITING) - 2
    assert all(row.reason for row in rows if row.outcome != "exact")


@pytest.mark.slow
def test_steps_that_are_joined_wrongly_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    from limelight.capture.decoding.joined_steps import JoinedSteps

    monkeypatch.setattr(JoinedSteps, "place_of", lambda *_: None)  # nothing is joined, and nothing is told
    monkeypatch.setattr("limelight.capture.decoding.open_sequences.OpenSequences._why_apart", lambda *_: None)
    assert check_generate("gpt2").outcome == "wrong"


def test_a_map_that_is_slightly_off_is_not_equal() -> None:
    small = tiny("bert")
    ids = torch.randint(5, 60, (2, 13))
    with watch(small.model) as seen, torch.no_grad():
        small.model(input_ids=ids)
    maps = [call.matrix.dense() for call in seen]
    assert compare(maps[::-1], seen).equal
    assert not compare([maps[0], maps[1] + 2e-4], seen).equal
    assert not compare([*maps, maps[0].flip(1)], seen).equal
    assert not compare([], seen).equal


def test_attention_of_small_models_is_no_flat_average() -> None:
    small = tiny("bert")
    with watch(small.model) as seen, torch.no_grad():
        small.model(input_ids=torch.randint(5, 60, (2, 13)))
    assert all(call.matrix.dense().amax(-1).mean() > 2 / 13 for call in seen)


def test_outputs_that_change_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = coverage_check._watched

    def changed(*given: Any, **more: Any) -> Any:
        seen, output = watched(*given, **more)
        output.last_hidden_state[0, 0, 0] += 1e-7
        return seen, output

    monkeypatch.setattr(coverage_check, "_watched", changed)
    assert check("bert").outcome == "wrong"


@pytest.mark.slow
def test_a_family_that_crashes_or_hangs_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def checked(family: str) -> Row:
        if family == "hangs":
            while True:
                pass
        if family == "raises":
            raise KeyError(family)
        return Row(family, "exact")

    monkeypatch.setattr(coverage, "SECONDS", 1)
    rows = {row.family: row for row in apart(checked, ["good", "hangs", "raises", "better"], jobs=2)}
    assert rows["good"].outcome == rows["better"].outcome == "exact"
    assert rows["hangs"].reason == "out of time or memory"
    assert rows["raises"].outcome == "wrong"


def test_a_log_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    log.write_text(json.dumps({"family": "gpt2", "outcome": "exact", "matrices": 77}) + "\n")
    result = coverage.run(only=["gpt2"], jobs=1, log=log)
    assert result["totals"]["exact"] == 1
    assert result["families"][0]["matrices"] == 77
    with pytest.raises(InputError, match="no family nonsense"):
        coverage.run(only=["nonsense"])


# ---- what is told of a family without running it ------------------------------------------------------


def test_what_is_known_of_a_family() -> None:
    assert abouts.about("llama").captured == (abouts.INTERFACE,)
    assert any("GPTJAttention" in line for line in abouts.about("gptj").captured)
    assert any("product of three matrices" in line for line in abouts.about("nystromformer").refused)
    both = abouts.about("pegasus_x")
    assert both.captured
    assert both.refused
    assert abouts.about("resnet").refused == (abouts.NOTHING,)
    with pytest.raises(InputError, match="near are .*bert"):
        abouts.about("berd")


def test_what_was_measured_and_what_is_told_agree() -> None:
    measured = abouts.measured()
    assert {one.outcome for one in measured.values()} <= set(OUTCOMES) - {"not built", "wrong"}
    assert sum(one.outcome == "exact" for one in measured.values()) >= 235
    for family, one in measured.items():
        told = abouts.about(family)
        if one.outcome in ("exact", "verified", "in part"):
            assert told.captured, family
        if one.outcome in ("verified", "in part", "refused"):
            assert one.reason, family
