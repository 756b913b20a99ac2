"""A Reading holds what it was given, refuses what disagrees, and survives JSON to the last bit."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays

from limelight.errors import ArgumentTypeError, InputError, ShapeError
from limelight.readings import Reading, name_heads, visible


def reading(values: Any, axes: tuple[str, ...] = ("target", "source")) -> Reading:
    array = np.asarray(values, dtype=np.float32)
    labels = tuple(tuple(f"{axis}{i}" for i in range(n)) for axis, n in zip(axes, array.shape, strict=True))
    return Reading(array, axes, labels, "probability", "Made by hand.", ((0, 1), (2, 0)))


@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64]),
        arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
        elements=st.floats(allow_infinity=False, width=32),
    )
)
def test_json_gives_back_every_bit(values: np.ndarray) -> None:
    axes = ("a", "b", "c")[: values.ndim]
    labels = tuple(tuple("x" * n) for n in values.shape)
    before = Reading(values, axes, labels, "nats", "Drawn.", ((1, 2),))
    after = Reading.from_json(json.loads(json.dumps(before.to_json(), allow_nan=False)))
    assert after.values.dtype == values.dtype
    assert np.array_equal(after.values, values, equal_nan=True)
    assert {**vars(after), "values": 0} == {**vars(before), "values": 0}


def test_json_writes_no_digit_too_many() -> None:
    assert reading([[0.1]]).to_json()["values"] == [[0.1]]


def test_ranks_run_from_high_to_low_with_the_first_of_equals_first_and_no_value_last() -> None:
    ranked = reading([0.2, np.nan, 0.7, 0.2, -1.0], ("word",)).ranked()
    assert [entry.place for entry in ranked] == [2, 0, 3, 4, 1]
    assert [entry.rank for entry in ranked] == [1, 2, 3, 4, 5]
    assert ranked[0].label == "word2"
    assert ranked[0].value == np.float32(0.7)


def test_ranks_need_one_axis() -> None:
    with pytest.raises(ShapeError, match="along one axis"):
        reading([[1.0]]).ranked()


def test_a_part_is_named_and_loses_its_axis() -> None:
    whole = reading(np.arange(6).reshape(2, 3))
    part = whole.at("target", 1)
    assert part.values.tolist() == [3, 4, 5]
    assert part.axes == ("source",)
    assert part.labels == (whole.labels[1],)
    assert "target1" in part.how
    assert whole.at("source", -1).values.tolist() == [2, 5]
    with pytest.raises(InputError, match="counted from 0; got 2"):
        whole.at("target", 2)
    with pytest.raises(InputError, match="'target', 'source'"):
        whole.at("word", 0)


def test_a_part_of_the_heads_knows_its_head() -> None:
    whole = reading(np.ones((2, 3)), ("head", "word"))
    assert whole.at("head", 1).heads == ((2, 0),)
    assert whole.at("word", 1).heads == whole.heads


def test_values_cannot_be_changed_and_are_not_those_of_the_caller() -> None:
    mine = np.ones(2, dtype=np.float32)
    held = Reading(mine, ("word",), (("a", "b"),), "tokens", "By hand.")
    mine[0] = 5
    assert held.values[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        held.values[0] = 7


@pytest.mark.parametrize(
    ("values", "axes", "labels", "error"),
    [
        (np.ones((2, 3), np.float32), ("a",), (("x", "y"),), ShapeError),
        (np.ones((2, 3), np.float32), ("a", "b"), (("x", "y", "z"), ("x", "y")), ShapeError),
        (np.ones((1, 1), np.float32), ("a", "a"), (("x",), ("x",)), ShapeError),
        (np.array([np.inf], np.float32), ("a",), (("x",),), InputError),
        (np.array([1]), ("a",), (("x",),), ArgumentTypeError),
    ],
)
def test_what_disagrees_is_refused(values: Any, axes: Any, labels: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Reading(values, axes, labels, "tokens", "By hand.")


def test_rows_make_a_table() -> None:
    rows = list(reading([[0.5, 0.25]]).rows())
    assert rows[1] == {
        "target": "target0",
        "target number": 0,
        "source": "source1",
        "source number": 1,
        "value": 0.25,
        "unit": "probability",
    }
    stream = io.StringIO()
    writer = csv.DictWriter(stream, rows[0])
    writer.writerows(rows)
    assert len(stream.getvalue().splitlines()) == 2


def test_heads_are_named_by_layer() -> None:
    assert name_heads([(3, 0), (1, 2), (1, 0)]) == "layer 1 heads 0, 2; layer 3 head 0"
    assert name_heads([(3, 0), (3, 2)], most=2) == "layer 3 heads 0, 2"
    assert name_heads([(3, 0), (3, 2)], most=1) == "2 heads of layer 3"
    assert name_heads([(3, 0), (1, 2), (4, 1)], most=2) == "3 heads of layers 1, 3, 4"


@given(st.text())
def test_shown_text_is_one_line_without_commands(text: str) -> None:
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    assert not {"\x1b", "\x00", "\x9b", "\u202e"} & set(shown)
    assert len(visible(text, 5)) <= 5
    assert visible("Öffnen 東京 🙂") == "Öffnen 東京 🙂"


def test_a_part_is_of_the_heads_that_are_left() -> None:
    heads = tuple((layer, head) for layer in (1, 3) for head in range(3))
    labels = (("layer 1", "layer 3"), ("head 0", "head 1", "head 2"))
    whole = Reading(np.zeros((2, 3), np.float32), ("layer", "head"), labels, "nats", "Made by hand.", heads)
    assert whole.at("layer", 1).heads == ((3, 0), (3, 1), (3, 2))
    assert whole.at("head", -1).heads == ((1, 2), (3, 2))
    assert whole.at("layer", 0).at("head", 2).heads == ((1, 2),)


def test_what_is_no_reading_is_refused() -> None:
    for data in ({}, {"labels": 3}, []):
        with pytest.raises(InputError, match="no reading"):
            Reading.from_json(data)  # type: ignore[arg-type]
