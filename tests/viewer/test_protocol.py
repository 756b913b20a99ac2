"""Envelopes: what goes in comes out, and no text breaks them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from limelight.errors import InputError
from limelight.viewer.protocol.responses import DTYPES, Answer, Scale, from_bytes

HOSTILE = "</script><!-- \u2028 \u202e \x00 \ud800 <img onerror> 🙂"


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_come_back_to_the_bit(dtype: str, planes: bool) -> None:
    first = np.arange(3 * 5 * 7).reshape(3, 5, 7).astype(dtype)
    answer = Answer(
        "x", {}, {"first": first, "odd": first[0, 0, :3]}, planes=frozenset({"first"} if planes else ())
    )
    head, found = from_bytes(answer.to_bytes())
    assert [entry.get("planes", False) for entry in head["arrays"]] == [planes, False]
    np.testing.assert_array_equal(found["first"], first)
    np.testing.assert_array_equal(found["odd"], first[0, 0, :3])
    assert found["first"].dtype == dtype


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), ()])
def test_empty_arrays_are_arrays(shape: tuple[int, ...]) -> None:
    values = np.ones(shape, np.float32)
    _, found = from_bytes(Answer("x", {}, {"a": values, "b": values}).to_bytes())
    assert found["b"].shape == shape


def test_everything_starts_at_a_multiple_of_four() -> None:
    small = {name: np.arange(n, dtype=np.uint8) for name, n in (("a", 1), ("b", 3), ("c", 5))}
    data = Answer("x", {"said": "é"}, small).to_bytes({"place": "1"})
    size = int.from_bytes(data[:4], "little")
    assert size % 4 == 0
    head = json.loads(data[4 : 4 + size].decode("ascii"))
    assert [entry["offset"] for entry in head["arrays"]] == [0, 4, 8]
    assert head["params"] == {"place": "1"}


def test_the_head_is_ascii_whatever_the_text_says() -> None:
    data = Answer("x", {"text": HOSTILE}).to_bytes()
    assert data.isascii() or data[:4]
    assert data[4:].decode("ascii")
    assert from_bytes(data)[0]["text"] == HOSTILE


def test_no_number_that_json_does_not_know() -> None:
    said = {"total": float("nan"), "rows": [(1.5, float("inf")), {"low": -np.inf}], "text": "NaN"}
    head, _ = from_bytes(Answer("x", said).to_bytes())
    assert (head["total"], head["rows"], head["text"]) == (None, [[1.5, None], {"low": None}], "NaN")
    with pytest.raises(InputError, match="float64"):
        Answer("x", {}, {"a": np.zeros(3)}).to_bytes()


@given(arrays(np.float32, array_shapes(max_dims=2), elements=st.floats(0, 1, width=32)))
def test_colours_keep_order_zero_and_a_hundredth(values: np.ndarray) -> None:
    scale = Scale.of(values)
    codes = scale.encode(values)
    assert ((codes == 0) == (values == 0)).all()
    order = np.argsort(values, axis=None)
    assert (np.diff(codes.reshape(-1)[order].astype(int)) >= 0).all()
    above = values >= scale.low
    step = (scale.high / scale.low) ** (1 / 254)
    decoded = scale.decode(codes)
    assert (np.abs(np.log(decoded[above] / values[above])) <= np.log(step) * 0.51 + 1e-6).all()
