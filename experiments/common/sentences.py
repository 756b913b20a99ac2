"""Sentences that follow from numbers: who is ahead, by how much, and whether all seeds agree.

No sentence of the report names a winner by itself; it asks here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from experiments.common.plan import Spread


@dataclass(frozen=True)
class Verdict:
    """Who is better of two, by how much as it is written, and whether every run of the one is better than every run
    of the other, by more than chance where that is known."""

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
    lead = one.lowest - other.highest if higher else other.lowest - one.highest
    seeds = min(len(one.values), len(other.values))
    apart = margin > 0 and lead > math.hypot(one.chance, other.chance)
    return Verdict(first, second, margin, apart, seeds)


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
    >>> against("BLEU", {"A": Spread((9.0,), 1.0), "B": Spread((8.0,), 1.0)}, "A", "B", ".0f")
    'BLEU: A 9 ±1, B 8 ±1; A has the better value, by 1 points, but that may be chance: no winner (one seed).'
    """
    found = verdict(measure, first, second, form, higher)
    values = f"{what}: {first} {measure[first].text(form)}, {second} {measure[second].text(form)}"
    if not found.margin:
        return f"{values}; there is no difference."
    by = f"by {format(found.margin, form.replace('%', 'f'))} {unit}".rstrip()
    if found.seeds < 2 and found.apart:
        return f"{values}; {found.ahead} is ahead {by} (one seed)."
    if found.seeds < 2:
        return f"{values}; {found.ahead} has the better value, {by}, but that may be chance: no winner (one seed)."
    if found.apart:
        return f"{values}; {found.ahead} is ahead {by}, in every seed."
    return f"{values}; {found.ahead} has the better mean, {by}, but the seeds overlap: no winner."


def margin(
    measure: Mapping[str, Spread],
    first: str,
    second: str,
    form: str = ".1f",
    by_seed: Spread | None = None,
    unit: str = "",
) -> str:
    """The first's lead over the second with its sign and the verdict, for a field of a table. `by_seed` are the
    leads of the single seeds, of which the lowest and the highest stand in brackets.

    >>> some = {"A": Spread((0.9, 0.8)), "B": Spread((0.5, 0.45)), "C": Spread((0.9, 0.82))}
    >>> margin(some, "A", "B", ".1%", Spread((0.4, 0.35)))
    '+37.5 (+35.0 to +40.0), ahead in every seed'
    >>> margin(some, "A", "C", ".1%", unit=" points")
    '-1.0 points, no winner'
    """
    found = verdict(measure, first, second, form)
    by = _signed(found.margin if found.ahead == first else -found.margin, form.replace("%", "f")) + unit
    if by_seed and len(by_seed.values) > 1:
        by = f"{by} ({_signed(by_seed.lowest, form)} to {_signed(by_seed.highest, form)})"
    if not found.margin:
        return f"{by}, no difference"
    if found.seeds < 2:
        return f"{by}, one seed"
    if found.apart:
        return f"{by}, {'ahead' if found.ahead == first else 'behind'} in every seed"
    return f"{by}, no winner"


def _signed(value: float, form: str) -> str:
    """With a sign unless it is written as nothing; of a share, its points."""
    text = format(value, f"+{form}").rstrip("%")
    return text if float(text.replace(",", "")) else text[1:]


NAMED = 3
"""So many comparisons are named in a sentence on all of them."""


def tallied(what: str, pairs: Mapping[str, tuple[Spread, Spread]], form: str = ".1f") -> str:
    """One sentence on several comparisons of the same two: how often the first is ahead, and the least and the most.

    >>> pairs = {"some": (Spread((9.0, 8.0)), Spread((5.0, 4.0))), "many": (Spread((9.0, 5.0)), Spread((8.0, 7.0)))}
    >>> tallied("A against B", pairs).partition("; from ")[0]
    'A against B: ahead in every seed in 1 of 2 comparisons (some), behind in none, no winner in 1'
    >>> tallied("A against B", pairs).partition("; from ")[2]
    '-0.5 points (many) to +4.0 points (some).'
    """
    found = {
        name: verdict({"first": one, "second": other}, "first", "second", form)
        for name, (one, other) in pairs.items()
    }
    by = {name: each.margin if each.ahead == "first" else -each.margin for name, each in found.items()}
    ahead, behind = (
        [name for name, each in found.items() if each.apart and each.ahead == side]
        for side in ("first", "second")
    )
    every = "in every seed" if min(each.seeds for each in found.values()) > 1 else "(one seed)"
    least, most = min(by, key=lambda name: by[name]), max(by, key=lambda name: by[name])
    low, high = (_signed(by[name], form.replace("%", "f")) for name in (least, most))
    return (
        f"{what}: ahead {every} in {len(ahead) or 'none'} of {len(found)} comparisons{_few(ahead)}, behind in "
        f"{len(behind) or 'none'}{_few(behind)}, no winner in {len(found) - len(ahead) - len(behind) or 'none'}; "
        f"from {low} points ({least}) to {high} points ({most})."
    )


def _few(names: list[str]) -> str:
    """Which they are, where they are few."""
    return f" ({'; '.join(names)})" if 0 < len(names) <= NAMED else ""


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
    alone = " (one seed)" if min(each.seeds for each in verdicts) < 2 else ""
    alike = [f"{each.ahead} and {each.behind}" for each in verdicts if not each.apart]
    if alike:
        return f"{values}; no winner between {', nor between '.join(alike)}{alone}."
    if alone:
        return f"{values}{alone}."
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
