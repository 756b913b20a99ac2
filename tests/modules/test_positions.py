"""Position encodings against their formulas, and the laws that make them position encodings."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st

from limelight.errors import InputError, ShapeError
from limelight.modules import positions as module
from limelight.modules.positions import (
    KINDS,
    ALiBi,
    Learned,
    Positions,
    Rotary,
    Sinusoidal,
    alibi_slopes,
    positions,
    sinusoids,
)
from tests.modules import truth
from tests.tolerance import check

B, H, N, D, E = 2, 3, 17, 10, 23


def test_sinusoids_are_the_paper_s() -> None:
    check("output", sinusoids(N, E), truth.waves(N, E))
    check("output", sinusoids(N, E + 1), truth.waves(N, E + 1))
    x = torch.randn(B, N, E)
    check("output", Sinusoidal(E).add(x), x.double() + truth.waves(N, E))


def test_rotary_turns_pairs_by_their_angles() -> None:
    q = torch.randn(B, H, N, D)
    check("output", Rotary(D).rotate(q), truth.rotated(q))
    check("output", Rotary(D, base=100.0).rotate(q), truth.rotated(q, base=100.0))


@given(st.integers(0, 900), st.integers(0, 900), st.integers(0, 900))
def test_rotary_scores_depend_on_the_distance_alone(i: int, j: int, shift: int) -> None:
    torch.manual_seed(i)
    q, k = torch.randn(2, 1, 1, 1, D, dtype=torch.float64)
    rotary = Rotary(D)
    here = rotary.rotate(q, i) * rotary.rotate(k, j)
    there = rotary.rotate(q, i + shift) * rotary.rotate(k, j + shift)
    assert here.sum().item() == pytest.approx(there.sum().item(), abs=1e-9)
    assert rotary.rotate(q, i).norm().item() == pytest.approx(q.norm().item(), rel=1e-12)


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8])
def test_alibi_is_the_authors_slopes_times_the_distance(heads: int) -> None:
    check("output", ALiBi().bias(heads, 7, 11, torch.device("cpu")), truth.alibi(heads, 7, 11))
    assert len(alibi_slopes(heads)) == heads


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_acts_in_one_place_and_none_in_none(kind: str) -> None:
    encoding = positions(kind, E + 1, D, 64)
    x, q = torch.randn(B, N, E + 1), torch.randn(B, H, N, D)
    bias = encoding.bias(H, N, N, torch.device("cpu"))
    acts = {
        "add": not torch.equal(encoding.add(x), x),
        "rotate": not torch.equal(encoding.rotate(q), q),
        "bias": bias is not None,
    }
    place = {"sinusoidal": "add", "learned": "add", "rotary": "rotate", "alibi": "bias", "none": None}[kind]
    assert acts == {name: name == place for name in acts}
    assert sum(p.numel() for p in encoding.parameters()) == (64 * (E + 1) if kind == "learned" else 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [1, 5, 530])
def test_a_later_part_is_encoded_as_within_the_whole(kind: str, start: int) -> None:
    encoding: Positions = positions(kind, E + 1, D, 600)
    x, q = torch.randn(1, start + 3, E + 1), torch.randn(1, H, start + 3, D)
    assert torch.equal(encoding.add(x[:, start:], start), encoding.add(x)[:, start:])
    assert torch.equal(encoding.rotate(q[:, :, start:], start), encoding.rotate(q)[:, :, start:])
    whole, rest = (encoding.bias(H, rows, start + 3, torch.device("cpu")) for rows in (start + 3, 3))
    assert whole is rest is None or torch.equal(whole[:, start:], rest)


def test_tables_made_while_predicting_serve_training() -> None:
    module._turn_table.cache_clear()
    module._wave_table.cache_clear()
    q = torch.randn(B, H, N, D, requires_grad=True)
    x = torch.randn(B, N, E, requires_grad=True)
    with torch.inference_mode():
        Rotary(D).rotate(q)
        Sinusoidal(E).add(x)
    (Rotary(D).rotate(q).sum() + Sinusoidal(E).add(x).square().sum()).backward()
    assert q.grad is not None


def test_learned_positions_are_trained_and_end() -> None:
    learned = Learned(E, 11)
    learned.add(torch.zeros(B, 7, E), start=2).sum().backward()
    used = learned.table.weight.grad[:, 0].tolist()
    assert used == [0, 0] + [B] * 7 + [0, 0]
    with pytest.raises(ShapeError, match="reach 11 tokens; got a text of 12"):
        learned.add(torch.zeros(1, 1, E), start=11)


def test_nonsense_is_refused() -> None:
    with pytest.raises(InputError, match="must be even; got 7"):
        Rotary(7)
    with pytest.raises(InputError, match="one of rotary, sinusoidal, learned, alibi, none; got 'relative'"):
        positions("relative", E, D, 64)
