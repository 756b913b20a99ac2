"""A Reading → pandas, CSV, JSON, Parquet, NumPy: one row a number, its axes, its unit and how it was made beside it.

Files are written aside and renamed: whoever reads the path sees the old file or the whole new one.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from limelight.errors import InputError, TextError, require
from limelight.files import written_aside
from limelight.readings.reading import Reading
from limelight.text.readers import read_text

ENDINGS = (".csv", ".json", ".npz", ".parquet")


def to_pandas(reading: Reading) -> Any:
    """A `pandas.DataFrame`, one row a number: the columns of `Reading.rows()`; `how` and `heads` in its `attrs`."""
    pandas = require("pandas", extra="data", purpose="A data frame")
    frame = pandas.DataFrame(list(reading.rows()), columns=_columns(reading))
    frame.attrs = {"how": reading.how, "heads": [list(head) for head in reading.heads]}
    return frame


def write(reading: Reading, path: str | Path) -> Path:
    """Write a reading by the path's ending; returns the path.

    .csv      one row a number, with a header; `how` is its last column
    .json     what `Reading.to_json` gives; `read` makes the same reading of it, to the last bit
    .npz      NumPy arrays: values, axes, the labels of each axis (`labels 0`, …), unit, how
    .parquet  the rows of the CSV; `how` and the heads in the metadata

    Raises InputError for another ending or a folder that does not exist.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        raise InputError(f"A reading is written as {', '.join(ENDINGS)}; got {path.name!r}.")
    with written_aside(path) as aside:
        if kind == ".csv":
            _csv(reading, aside)
        elif kind == ".json":
            aside.write_text(json.dumps(reading.to_json(), ensure_ascii=False) + "\n", encoding="utf-8")
        elif kind == ".npz":
            arrays: dict[str, Any] = {"values": reading.values, "heads": np.array(reading.heads, dtype=int)}
            arrays |= {"axes": np.array(reading.axes, dtype=str), "unit": reading.unit, "how": reading.how}
            for axis, names in enumerate(reading.labels):
                arrays[f"labels {axis}"] = np.array(names, dtype=str)
            np.savez(aside, **arrays)
        else:
            require("pyarrow", extra="data", purpose="A Parquet file")
            to_pandas(reading).to_parquet(aside)
    return path


def read(path: str | Path) -> Reading:
    """The reading in a JSON file that `write` has made. Raises TextError for a file that is none."""
    try:
        return Reading.from_json(json.loads(read_text(path)))
    except (ValueError, RecursionError) as error:
        raise TextError(
            f"{path} must hold a reading as JSON, as write(reading, 'file.json') makes it: {error}"
        ) from error


def _csv(reading: Reading, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [*_columns(reading), "how"])
        table.writeheader()
        for row in reading.rows():
            # The shortest text that reads back as the same number in its own precision; nothing for no value.
            value = row["value"]
            shown = "" if value != value else str(reading.values.dtype.type(value))
            table.writerow(row | {"value": shown, "how": reading.how})


def _columns(reading: Reading) -> list[str]:
    axes = [name for axis in reading.axes for name in (axis, f"{axis} number")]
    return [*axes, "value", "unit"]
