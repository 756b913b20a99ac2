"""Print to a terminal or pipe of any encoding without losing characters silently."""

from __future__ import annotations

import codecs
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ERRORS = "limelight-replace"
"""The error handler of a stream that is not Unicode: it writes `?`, and counts."""
OUTPUT = "the output"


class _Replaced:
    """Characters that the output could not hold, since the command began."""

    count = 0


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    _Replaced.count += error.end - error.start
    return "?" * (error.end - error.start), error.end


codecs.register_error(ERRORS, _replace)


@contextmanager
def whole_output() -> Iterator[None]:
    """In the block every character can be printed; afterwards what the stream could not hold is told on stderr.

    The stream is flushed here, so that a reader that has gone, or a full disk, is noticed while somebody can say so.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=ERRORS)
    _Replaced.count = 0
    yield
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError as error:
            error.filename = error.filename or OUTPUT
            raise
    if _Replaced.count:
        from limelight.cli.messages import tell

        characters = "character" if _Replaced.count == 1 else "characters"
        tell(
            f"note: {_Replaced.count} {characters} of the output cannot be written in its encoding "
            f"({sys.stdout.encoding}); a ? stands for each. Set PYTHONIOENCODING=utf-8, or a locale of UTF-8."
        )


def print_json(value: Any, indent: int | None = None) -> None:
    """One JSON value on stdout. What JSON has no number for (NaN, infinity) is null; a stream that is not Unicode
    gets every character that is not ASCII as an escape."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    options: dict[str, Any] = {"ensure_ascii": not encoding.startswith("utf"), "allow_nan": False}
    try:
        text = json.dumps(value, indent=indent, **options)
    except ValueError:  # seldom: only then is all of it walked through
        from limelight.viewer.protocol.responses import finite

        text = json.dumps(finite(value), indent=indent, **options)
    print(text)
