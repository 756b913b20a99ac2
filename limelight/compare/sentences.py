"""Sentences that follow from numbers: who is ahead, by how much, and whether all seeds agree.

No sentence of the report names a winner by itself; it asks here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from limelight.compare.plan import Spread


@dataclass(frozen=True)
class Verdict:
    """Who is better of two, by how much as it is written, and whether every run of the one is better than every run
    of the other."""

    ahead: str
    behind: str
    margin: float
    apart: bool
    seeds: int


def verdict(
    measure: Mapping[str, Spread], first: str, second: str, form: str = ".1f", higher: bool = True
) -> Verdict:
    """Compare two of the rivals of `measure`; `higher` says whether more is better.

    Margins are those of the means as `form` writes them, so that a reader can take one from the other; what is
    written alike is not apart.
    """
    one, other = measure[first], measure[second]
    sign = 1 if higher else -1
    if sign * (one.mean - other.mean) < 0:
        first, second, one, other = second, first, other, one
    margin = abs(written(one.mean, form) - written(other.mean, form))
    best_worst = (one.lowest, other.highest) if higher else (-one.highest, -other.lowest)
    seeds = min(len(one.values), len(other.values))
    return Verdict(first, second, margin, margin > 0 and best_worst[0] > best_worst[1], seeds)


def written(value: float, form: str) -> float:
    """A value as `form` writes it; of a share, its points.

    >>> written(0.9649, ".1%"), written(20.04, ".1f")
    (96.5, 20.0)
    """
    return float(format(value, form).rstrip("%").replace(",", ""))


def against(
    what: str,
    measure: Mapping[str, Spread],
    first: str,
    second: str,
    form: str = ".1f",
    unit: str = "points",
    higher: bool = True,
) -> str:
    """One sentence on two rivals. `form` formats values and margin; a form in percent gives points.

    >>> against("Right answers", {"A": Spread((0.9, 0.8)), "B": Spread((0.5, 0.4))}, "A", "B", ".0%")
    'Right answers: A 85% (80%–90%), B 45% (40%–50%); A is ahead by 40 points, in every seed.'
    >>> against("Errors", {"A": Spread((9.0, 5.0)), "B": Spread((8.0, 7.0))}, "A", "B", ".1f", "", False)
    'Errors: A 7.0 (5.0–9.0), B 7.5 (7.0–8.0); A has the better mean, by 0.5, but the seeds overlap: no winner.'
    """
    found = verdict(measure, first, second, form, higher)
    values = f"{what}: {first} {measure[first].text(form)}, {second} {measure[second].text(form)}"
    if not found.margin:
        return f"{values}; there is no difference."
    by = f"by {format(found.margin, form.replace('%', 'f'))} {unit}".rstrip()
    if found.seeds < 2:
        return f"{values}; {found.ahead} is ahead {by} (one seed)."
    if found.apart:
        return f"{values}; {found.ahead} is ahead {by}, in every seed."
    return f"{values}; {found.ahead} has the better mean, {by}, but the seeds overlap: no winner."


def best(measure: Mapping[str, Spread], higher: bool = True) -> str:
    """Whose mean is the best; the first of equals."""
    return max(measure, key=lambda name: measure[name].mean if higher else -measure[name].mean)


def leaders(measure: Mapping[str, Spread], form: str = ".1f", higher: bool = True) -> list[str]:
    """The best mean, and all that it is not apart from."""
    first = best(measure, higher)
    others = [name for name in measure if name != first]
    return [first, *(name for name in others if not verdict(measure, first, name, form, higher).apart)]


def leading(measure: Mapping[str, Spread], form: str, higher: bool = True) -> str:
    """Who is ahead of all others, or between whom there is no winner.

    >>> leading({"A": Spread((9.0, 8.0)), "B": Spread((5.0, 6.0))}, ".1f")
    'A, 8.5 (8.0–9.0)'
    >>> leading({"A": Spread((9.0, 5.0)), "B": Spread((7.0, 6.0)), "C": Spread((1.0, 2.0))}, ".1f")
    'no winner between A, 7.0 (5.0–9.0) and B, 6.5 (6.0–7.0)'
    """
    told = [f"{name}, {measure[name].text(form)}" for name in leaders(measure, form, higher)]
    return told[0] if len(told) == 1 else f"no winner between {' and '.join(told)}"


def ranked(what: str, measure: Mapping[str, Spread], form: str, higher: bool = True) -> str:
    """One sentence on all rivals, best mean first, and which neighbours of that order are not apart.

    >>> some = {"A": Spread((5.0, 6.0)), "B": Spread((9.0, 8.0)), "C": Spread((5.5, 4.0))}
    >>> ranked("BLEU", some, ".1f")
    'BLEU: B 8.5 (8.0–9.0), A 5.5 (5.0–6.0), C 4.8 (4.0–5.5); no winner between A and C.'
    >>> ranked("BLEU", {name: some[name] for name in "AB"}, ".1f")
    'BLEU: B 8.5 (8.0–9.0), A 5.5 (5.0–6.0); in this order in every seed.'
    """
    order = sorted(measure, key=lambda name: measure[name].mean, reverse=higher)
    values = f"{what}: {', '.join(f'{name} {measure[name].text(form)}' for name in order)}"
    verdicts = [verdict(measure, one, other, form, higher) for one, other in pairwise(order)]
    if not verdicts:
        return f"{values}."
    if min(each.seeds for each in verdicts) < 2:
        return f"{values} (one seed)."
    alike = [f"{each.ahead} and {each.behind}" for each in verdicts if not each.apart]
    if alike:
        return f"{values}; no winner between {', nor between '.join(alike)}."
    return f"{values}; in this order in every seed."


def times(factor: float) -> str:
    """A ratio as people say it.

    >>> times(0.25), times(3.14159), times(41.6)
    ('0.25 times', '3.1 times', '42 times')
    """
    return (
        f"{factor:.2f} times"
        if factor < 1
        else f"{factor:.1f} times"
        if factor < 10
        else f"{factor:,.0f} times"
    )


def listed(words: list[str]) -> str:
    """Words as a sentence has them.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def significant(value: float, digits: int) -> str:
    """A number to so many digits, without an exponent unless it is very small.

    >>> significant(16384.2, 3), significant(2.3125, 3), significant(0.00213, 1), significant(9e-7, 1)
    ('16,400', '2.31', '0.002', '9e-07')
    """
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10**digits else f"{rounded:.{digits}g}"
