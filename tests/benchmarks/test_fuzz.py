"""The fuzz finds nothing in the heart as it is, finds a planted mistake, and repeats a case from its number alone."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.__main__ import main
from benchmarks.fuzz import SPACING, Findings, over, try_case
from benchmarks.random_cases import MASKS, NUMBERS, Places, draw_case, draw_mask
from limelight.matrix import Entropy, Tile
from limelight.matrix.tile import SoftmaxStats

pytestmark = pytest.mark.slow


def fuzz(*options: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["fuzz", "--workers", "1", *options])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_some_cases_hold_and_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz("--cases", "30", "--seed", "3", "--json", str(tmp_path / "out.json")) == 0
    result = json.loads((tmp_path / "out.json").read_text())["result"]
    assert result["cases"] == 30
    assert result["beyond"] == result["NaN"] == result["errors"] == result["failed"] == 0
    assert len(result["worst"]) > 15
    assert all(each["share"] <= 1 and each["case"] // SPACING == 3 for each in result["worst"])
    told = capsys.readouterr().out
    assert "30 cases" in told
    assert "0 beyond the table, 0 NaN, 0 errors" in told


@pytest.mark.parametrize(
    ("replace", "kind"),
    [
        (lambda total: total * 1.001, "beyond"),
        (lambda total: total * torch.nan, "NaN"),
        (lambda total: total[..., :-1, None], "error"),
    ],
)
def test_a_planted_mistake_is_found_and_repeated_by_its_number(
    replace: object, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish = Entropy.finish

    def mistaken(self: Entropy, state: Tensor, stats: SoftmaxStats) -> Tensor:
        return replace(finish(self, state, stats))  # type: ignore[operator]

    monkeypatch.setattr(Entropy, "finish", mistaken)
    if kind == "error":
        monkeypatch.setattr(Entropy, "update", _fails)
    assert fuzz("--cases", "30") == 1
    told = capsys.readouterr().out
    number = told.partition("--only ")[2].split()[0]
    assert f"{kind}: " in told
    assert fuzz("--only", number) == 1
    assert f"fuzz --only {number}\n" in capsys.readouterr().out
    monkeypatch.undo()
    assert fuzz("--only", number) == 0


def _fails(self: Entropy, state: Tensor, tile: Tile) -> None:
    raise RuntimeError("no room")


def test_a_case_depends_on_its_number_alone() -> None:
    one, other = try_case(17), try_case(17)
    assert one.worst == other.worst
    assert one.worst != try_case(18).worst


def test_findings_do_not_depend_on_how_they_are_shared_out() -> None:
    one, other = Findings(), Findings()
    for number in range(30):
        one.add(try_case(number))
    for found in over(range(29, -1, -1), workers=1):
        other.add(found)
    assert one.worst == other.worst
    assert one.cases == other.cases == 30


def test_every_mask_means_what_it_says() -> None:
    dice = random.Random(5)
    for number in range(40):
        torch.manual_seed(number)
        at = Places(2, 3, dice.choice((1, 13, 19)), dice.choice((1, 11, 23)))
        words, mask, seen = draw_mask(dice, at)
        table = mask.fit(at.B, at.H, at.N, at.M).dense(at.N, at.M)
        assert torch.equal(table.expand(seen.shape), seen), words


def test_what_is_drawn_is_odd_enough() -> None:
    """Every kind of number and mask, sizes of 0 and 1, rows that see nothing, logits of ten thousand."""
    told, sizes, largest, blind = [], set(), 0.0, 0
    for number in range(300):
        torch.manual_seed(number)
        case = draw_case(random.Random(number))
        told.append(case.told)
        sizes |= set(case.query.shape) | set(case.key.shape)
        truth = case.truth()
        if truth.scaled_BHNM.numel():
            largest = max(largest, float(truth.scaled_BHNM.abs().max()))
            blind += int((truth.masked_BHNM == -torch.inf).all(-1).any())
    everything = " ".join(told)
    assert all(kind in everything for kind in NUMBERS)
    assert all(each.__name__.strip("_") in everything for each in MASKS)
    assert all(
        word in everything for word in ("softcap", "sink", "finfo.min", "-inf rows", "strided", " & ", "~")
    )
    assert {0, 1} < sizes
    assert largest > 1e4
    assert blind > 20
