"""What efficiency gave, in sentences; tables.py has the tables and pictures that they follow from.

Rivals are measured in turns. One is called faster than another where it was so in every round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from experiments.common.plan import Part
from experiments.common.sentences import listed, times
from experiments.efficiency.metrics import Measured, Ratio, depth
from experiments.efficiency.tables import pictures, tables


def result(results: dict[str, dict[str, Any]]) -> Part:
    """Tables, pictures and sentences from the runs' dicts."""
    found = Measured.of(results)
    compared = tuple(_against_each(found)) if found.places("length") else ()
    sentences: list[str] = [*compared]
    if found.places("length"):
        sentences += [*_fastest(found), _deep(found), *_threads(found)]
    if found.places("processes"):
        sentences.append(_processes(found))
    if found.places("decoding"):
        sentences += [_writing(found), *_growth(found), _reading(found), _memory(found)]
    return Part(found.part, tuple(sentences), tables(found), pictures(found), _method(found), compared)


def _fastest(found: Measured) -> list[str]:
    """Who trains fastest on short texts and on long ones, and by how much."""
    sentences = []
    for length in (found.lengths("length")[0], found.lengths("length")[-1]):
        speed = {name: found.speeds(name, length, 1) for name in found.rivals}
        sentences.append(
            f"Training on texts of {length:,} tokens, one thread: {_ranked(found, speed, 'tokens a second')}."
        )
    return sentences


def _ranked(found: Measured, speed: Mapping[str, Sequence[float]], unit: str) -> str:
    """All rivals from the fastest, and how far the first is ahead of the second."""
    order = sorted(speed, key=lambda name: -median(speed[name]))
    values = f"{listed([f'{found.label(name)} {median(speed[name]):,.0f}' for name in order])} {unit}"
    if len(order) < 2:
        return values
    first, second = order[:2]
    ratio = Ratio.of(speed[first], speed[second])
    if ratio.side != 1:
        return f"{values}; the rounds name no winner between the first two"
    return f"{values}; {found.label(first)} is {times(ratio.median)} as fast as {found.label(second)}"


def _against_each(found: Measured) -> list[str]:
    """At which lengths attention trains faster than each recurrence, and at which slower."""
    sentences = []
    for other in (name for name in found.rivals if name != "attention" and "attention" in found.rivals):
        ratio = {
            length: Ratio.of(found.speeds("attention", length, 1), found.speeds(other, length, 1))
            for length in found.lengths("length")
        }
        won = [length for length, each in ratio.items() if each.side == 1]
        lost = [length for length, each in ratio.items() if each.side == -1]
        open_ = [length for length, each in ratio.items() if each.side == 0]
        told = [
            f"{word} {found.label(other)} at {_stretches(some, list(ratio))} tokens "
            f"({_extreme(most(ratio[length].median for length in some), word)})"
            for word, some, most in (("faster than", won, max), ("slower than", lost, min))
            if some
        ]
        undecided = f"; at {_stretches(open_, list(ratio))} tokens the rounds name no winner" if open_ else ""
        sentences.append(
            f"{found.label('attention')} trains {' and '.join(told)}{undecided}."
            if won or lost
            else f"Between {found.label('attention')} and {found.label(other)} the rounds name no winner in training."
        )
    return sentences


def _stretches(some: list[int], all_lengths: list[int]) -> str:
    """Lengths that follow one another in what was measured, as "from 32 to 128"."""
    stretches: list[list[int]] = []
    for length in some:
        before = all_lengths.index(length) - 1
        if stretches and before >= 0 and stretches[-1][-1] == all_lengths[before]:
            stretches[-1].append(length)
        else:
            stretches.append([length])
    return listed([f"{s[0]:,}" if len(s) == 1 else f"{s[0]:,} to {s[-1]:,}" for s in stretches])


def _extreme(ratio: float, word: str) -> str:
    return f"up to {times(ratio)} as fast" if word.startswith("faster") else f"down to {times(ratio)} as fast"


def _deep(found: Measured) -> str:
    length = found.lengths("length")[-1]
    each = [f"{found.label(name)} {depth(found.shape(name), length):,}" for name in found.rivals]
    return f"Steps that must wait for one another in a text of {length:,} tokens: {listed(each)}."


def _threads(found: Measured) -> list[str]:
    if 2 not in found.threads():
        return []
    middle = found.lengths("length")[len(found.lengths("length")) // 2]
    each = [
        f"{found.label(name)} {times(found.speed(name, middle, 2) / found.speed(name, middle, 1))}"
        for name in found.rivals
    ]
    return [f"Speed of training with two threads over that with one, at {middle:,} tokens: {listed(each)}."]


def _processes(found: Measured) -> str:
    each = [f"{found.label(name)} {times(found.gain(name))}" for name in found.rivals]
    return f"Speed of training in two processes that share their gradients over that in one: {listed(each)}."


def _writing(found: Measured) -> str:
    length = found.lengths("decoding")[-1]
    seconds = {name: found.decoding_rounds(name, length, "writing") for name in found.rivals}
    return f"Writing one token after {length:,}: {_cheapest(found, seconds, 1e3, 'ms')}."


def _reading(found: Measured) -> str:
    length = found.lengths("decoding")[-1]
    seconds = {name: found.decoding_rounds(name, length, "reading") for name in found.rivals}
    return f"Reading {length:,} tokens before the first is written: {_cheapest(found, seconds, 1.0, 's')}."


def _cheapest(found: Measured, seconds: Mapping[str, Sequence[float]], scale: float, unit: str) -> str:
    order = sorted(seconds, key=lambda name: median(seconds[name]))
    values = listed([f"{found.label(name)} {scale * median(seconds[name]):.2g} {unit}" for name in order])
    if len(order) < 2:
        return values
    first, second = order[:2]
    ratio = Ratio.of(seconds[second], seconds[first])
    if ratio.side != 1:
        return f"{values}; the rounds name no winner between the first two"
    return f"{values}; {found.label(second)} takes {times(ratio.median)} as long as {found.label(first)}"


def _growth(found: Measured) -> list[str]:
    """How writing with attention falls behind each recurrence as the text grows."""
    lengths = found.lengths("decoding")
    told = []
    for other in (name for name in found.rivals if name != "attention" and "attention" in found.rivals):
        short, long = (
            Ratio.of(*(found.decoding_rounds(name, length, "writing") for name in ("attention", other)))
            for length in (lengths[0], lengths[-1])
        )
        told.append(
            f"Writing one token with {found.label('attention')} takes {times(short.median)} as long as with "
            f"{found.label(other)} after {lengths[0]:,} tokens, {times(long.median)} as long after {lengths[-1]:,}."
        )
    return told


def _memory(found: Measured) -> str:
    length = found.lengths("decoding")[-1]
    each = [f"{found.label(name)} {found.kept(name, length) / 1024:,.1f} KiB" for name in found.rivals]
    return f"What must be kept between two tokens after {length:,}: {listed(each)}."


def _method(found: Measured) -> tuple[str, ...]:
    counts = [rival["parameters"] for rival in found.rivals.values()]
    return (
        f"Language models of {min(counts):,} to {max(counts):,} parameters, float32, on the device "
        f"{found.device}, as PyTorch has them.",
        f"A training step reads {found.tokens:,} tokens, whatever the length of the texts (one text at least): "
        "forward, loss, backward, fused AdamW.",
        "All rivals in turns (in two processes one rival after the other), "
        f"{found.rounds} times after one that is not counted; medians by the clock. Ratios are "
        "of one round each, and one is called faster than another where it was so in every round.",
    )
