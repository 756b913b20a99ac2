"""The learning rate against its formulas."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from limelight.errors import InputError
from limelight.training.schedule import SCHEDULES, learning_rate

STEPS, WARMUP, PEAK = 1009, 101, 0.7
SOME_STEPS = (1, 17, 100, 101, 102, 503, 757, 1008, 1009)


@pytest.mark.parametrize("step", SOME_STEPS)
def test_paper_is_equation_3(step: int) -> None:
    # lrate = d_model^-0.5 · min(step^-0.5, step · warmup^-1.5), whose peak is at `warmup`.
    shape = min(step**-0.5, step * WARMUP**-1.5) / WARMUP**-0.5
    assert learning_rate("paper", PEAK, step, STEPS, WARMUP) == pytest.approx(PEAK * shape, rel=1e-12)


@pytest.mark.parametrize("step", SOME_STEPS)
def test_the_others_are_what_their_names_say(step: int) -> None:
    rise = min(1.0, step / WARMUP)
    falling = 0.25 * STEPS
    left = STEPS - step + 1
    trapezoid = min(rise, left / falling, 1.0)
    cosine = rise if step < WARMUP else 0.5 + 0.5 * math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP))
    for kind, shape in (("trapezoid", trapezoid), ("cosine", cosine), ("constant", rise)):
        assert learning_rate(kind, PEAK, step, STEPS, WARMUP) == pytest.approx(
            PEAK * shape, rel=1e-12, abs=1e-12
        )


@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.integers(1, 300),
    st.integers(0, 300),
    st.integers(1, 300),
    st.floats(0, 1),
)
def test_never_above_the_peak_nor_below_zero(
    kind: str, steps: int, warmup: int, step: int, decay: float
) -> None:
    step = min(step, steps)
    assert 0 <= learning_rate(kind, PEAK, step, steps, warmup, decay) <= PEAK


@pytest.mark.parametrize("kind", sorted(SCHEDULES))
def test_no_warmup_starts_at_the_peak(kind: str) -> None:
    assert learning_rate(kind, PEAK, 1, STEPS, 0) == pytest.approx(PEAK, rel=1e-4)


def test_an_unknown_schedule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"paper, trapezoid, cosine, constant; got 'linear'"):
        learning_rate("linear", 1.0, 1, 2, 0)
