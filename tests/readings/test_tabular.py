"""A reading goes to other programs and comes back with all that it means."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from limelight.errors import InputError, TextError
from limelight.readings import Reading
from limelight.readings.tabular import read, to_pandas, write

READING = Reading(
    np.float32([[0.1, np.nan, 0.3], [1 / 3, 0.0, 1e-9]]),
    ("document", "word"),
    (("a, b", 'c"d'), ("the", "東京", "the")),
    "probability",
    "Drawn by hand, with a comma.",
    ((0, 1), (2, 0)),
)


def same(one: Reading, other: Reading) -> None:
    np.testing.assert_array_equal(one.values, other.values)
    assert one.values.dtype == other.values.dtype
    assert (one.axes, one.labels, one.unit, one.how, one.heads) == (
        *(other.axes, other.labels, other.unit, other.how, other.heads),
    )


def test_json_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    same(read(write(READING, tmp_path / "a.json")), READING)


def test_csv_has_a_row_a_number(tmp_path: Path) -> None:
    with write(READING, tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == READING.values.size
    assert [row["word"] for row in rows[:3]] == ["the", "東京", "the"]
    assert [row["word number"] for row in rows[:3]] == ["0", "1", "2"]
    assert rows[1]["value"] == ""
    assert np.float32(rows[3]["value"]) == READING.values[1, 0]
    assert {row["how"] for row in rows} == {READING.how}


def test_numpy_arrays(tmp_path: Path) -> None:
    with np.load(write(READING, tmp_path / "a.npz")) as arrays:
        np.testing.assert_array_equal(arrays["values"], READING.values)
        assert arrays["labels 1"].tolist() == list(READING.labels[1])
        assert (str(arrays["unit"]), str(arrays["how"])) == (READING.unit, READING.how)
        assert arrays["heads"].tolist() == [[0, 1], [2, 0]]


def test_pandas_and_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = to_pandas(READING)
    table = frame.pivot_table("value", "document number", "word number").to_numpy()
    np.testing.assert_allclose(table[1], READING.values[1])
    assert frame.attrs["how"] == READING.how
    assert list(frame.columns) == ["document", "document number", "word", "word number", "value", "unit"]
    pytest.importorskip("pyarrow")
    again = pandas.read_parquet(write(READING, tmp_path / "a.parquet"))
    assert again.equals(frame)
    assert again.attrs["how"] == READING.how


def test_an_empty_reading_has_a_header(tmp_path: Path) -> None:
    empty = Reading(np.zeros(0), ("word",), ((),), "nats", "Nothing.")
    assert write(empty, tmp_path / "a.csv").read_text() == "word,word number,value,unit,how\n"
    same(read(write(empty, tmp_path / "a.json")), empty)


@pytest.mark.parametrize("name", ["a.xls", "a", "nowhere/a.csv"])
def test_another_ending_or_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write(READING, tmp_path / name)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(READING, tmp_path / "a.json")
    before = path.read_bytes()

    def broken(self: Reading) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Reading, "to_json", broken)
    with pytest.raises(OSError, match="disk full"):
        write(READING, path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("content", ["document,word,value\n", "{}", "[" * 100_000])
def test_a_file_that_is_no_reading_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "reading.json").write_text(content)
    with pytest.raises(TextError, match="must hold a reading as JSON"):
        read(tmp_path / "reading.json")
