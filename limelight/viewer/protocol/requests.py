"""Which questions the page may ask, and how each is written: its canonical params and its key (see PROTOCOL.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limelight.errors import InputError

LEVELS = ("token", "word", "sentence", "document")
WEIGHS = ("weight", "sink-free", "value-norm")
NEEDED = ""
LONGEST_PARAM = 2000


@dataclass(frozen=True)
class Param:
    """One param of a question. `default` is `NEEDED` where it must be given; `values` are all there are.

    `number`: it is a whole number from 0. `free`: any text, and none at all.
    """

    default: str = NEEDED
    values: tuple[str, ...] = ()
    number: bool = False
    free: bool = False


ATTENTION, SLICE = Param("0", number=True), Param("mean")
LEVEL, NUMBER = Param("word", values=LEVELS), Param(number=True)
DIRECTION = Param("from", values=("from", "to"))
REDUCE = Param("mean", values=("mean", "max"))
WEIGH = Param("weight", values=WEIGHS)
DOCUMENTS = Param("document", values=LEVELS)
ANY = Param(free=True)

KINDS: dict[str, dict[str, Param]] = {
    "about": {},
    "row": {
        "attention": ATTENTION,
        "slice": SLICE,
        "level": LEVEL,
        "place": NUMBER,
        "direction": DIRECTION,
        "by": LEVEL,
        "weigh": WEIGH,
    },
    "rows": {
        "attention": ATTENTION,
        "slice": SLICE,
        "level": LEVEL,
        "direction": DIRECTION,
        "by": LEVEL,
        "weigh": WEIGH,
    },
    "received": {"attention": ATTENTION, "slice": SLICE, "level": LEVEL, "weigh": WEIGH},
    "heads": {"attention": ATTENTION, "measure": Param()},
    "thumbs": {"attention": ATTENTION},
    "tile": {
        "attention": ATTENTION,
        "slice": SLICE,
        "zoom": NUMBER,
        "row": NUMBER,
        "column": NUMBER,
        "reduce": REDUCE,
        "weigh": WEIGH,
    },
    "between": {
        "attention": ATTENTION,
        "slice": SLICE,
        "rows": DOCUMENTS,
        "columns": DOCUMENTS,
        "weigh": WEIGH,
    },
    "steps": {},
    "process": {"token": ANY, "answer_token": ANY, "layer": ANY, "head": ANY},
    "progress": {},
}


@dataclass(frozen=True)
class Question:
    """A kind and its canonical params.

    >>> Question.of("received", {"level": "sentence"}).key
    'received?attention=0&level=sentence&slice=mean&weigh=weight'
    """

    kind: str
    params: dict[str, str]

    @classmethod
    def of(cls, kind: str, given: Mapping[str, Any]) -> Question:
        """Check it and fill in what is not given. Raises InputError in one line."""
        if kind not in KINDS:
            raise InputError(f"A question must be one of {', '.join(KINDS)}; got {_short(kind)}.")
        known = KINDS[kind]
        strangers = set(given) - set(known)
        if strangers:
            raise InputError(
                f"{kind} knows no {_short(min(strangers))}; it knows {', '.join(known) or 'none'}."
            )
        found = {}
        for name, param in known.items():
            text = str(given.get(name, param.default)).strip()
            if text or not param.free:
                found[name] = _checked(kind, name, text, param)
        return cls(kind, found)

    @property
    def key(self) -> str:
        """What tells it from every other question."""
        params = "&".join(f"{name}={self.params[name]}" for name in sorted(self.params))
        return f"{self.kind}?{params}" if params else self.kind

    def number(self, name: str) -> int:
        return int(self.params[name])

    def __getitem__(self, name: str) -> str:
        return self.params[name]


def _checked(kind: str, name: str, text: str, param: Param) -> str:
    if len(text) > LONGEST_PARAM:
        raise InputError(f"{name} is at most {LONGEST_PARAM} characters; got {len(text)}.")
    if text == NEEDED and not param.free:
        raise InputError(f"{kind} needs {name}.")
    if param.values and text not in param.values:
        raise InputError(f"{name} must be one of {', '.join(param.values)}; got {_short(text)}.")
    if param.number:
        if not (text.isascii() and text.isdecimal() and len(text) <= 12):
            raise InputError(f"{name} is a whole number from 0; got {_short(text)}.")
        return str(int(text))
    return text


def _short(text: Any) -> str:
    return repr(str(text)[:60])
