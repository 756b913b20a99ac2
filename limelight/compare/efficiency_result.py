"""What efficiency gave, in sentences; efficiency_shown.py has the tables and pictures that they follow from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limelight.compare.efficiency_numbers import Measured, depth
from limelight.compare.efficiency_shown import pictures, tables
from limelight.compare.plan import Part
from limelight.compare.sentences import listed, times

EVEN = 0.05
"""Times that differ by less than this share are called equal."""


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
        sentences += [_writing(found), _growth(found), _reading(found), _memory(found)]
    return Part(found.part, tuple(sentences), tables(found), pictures(found), _method(found), compared)


def _fastest(found: Measured) -> list[str]:
    """Who trains fastest on short texts and on long ones, and by how much."""
    sentences = []
    for length in (found.lengths("length")[0], found.lengths("length")[-1]):
        speed = {name: found.speed(name, length, 1) for name in found.rivals}
        sentences.append(
            f"Training on texts of {length:,} tokens, one thread: {_ranked(found, speed, 'tokens a second')}."
        )
    return sentences


def _ranked(found: Measured, speed: Mapping[str, float], unit: str) -> str:
    """All rivals from the fastest, and how far the first is ahead of the second."""
    order = sorted(speed, key=lambda name: -speed[name])
    values = listed([f"{found.label(name)} {speed[name]:,.0f}" for name in order])
    if len(order) < 2:
        return f"{values} {unit}"
    ratio = speed[order[0]] / speed[order[1]]
    if ratio < 1 + EVEN:
        return f"{values} {unit}; the first two are even"
    return f"{values} {unit}; {found.label(order[0])} is {times(ratio)} as fast as {found.label(order[1])}"


def _against_each(found: Measured) -> list[str]:
    """At which lengths attention trains faster than each recurrence, and at which slower."""
    sentences = []
    for other in (name for name in found.rivals if name != "attention" and "attention" in found.rivals):
        ratio = {
            length: found.speed("attention", length, 1) / found.speed(other, length, 1)
            for length in found.lengths("length")
        }
        won = [length for length, value in ratio.items() if value > 1 + EVEN]
        lost = [length for length, value in ratio.items() if value < 1 / (1 + EVEN)]
        told = [
            f"{word} {found.label(other)} at {_stretches(some, list(ratio))} tokens "
            f"({_extreme(most(ratio[length] for length in some), word)})"
            for word, some, most in (("faster than", won, max), ("slower than", lost, min))
            if some
        ]
        sentences.append(
            f"{found.label('attention')} trains {' and '.join(told)}."
            if told
            else f"{found.label('attention')} and {found.label(other)} train equally fast at every length."
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
    return (
        f"at most {times(ratio)} as fast" if word.startswith("faster") else f"at least {times(ratio)} as fast"
    )


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
    seconds = {name: found.decoding(name, length, "writing") for name in found.rivals}
    return f"Writing one token after {length:,}: {_cheapest(found, seconds, 1e3, 'ms')}."


def _reading(found: Measured) -> str:
    length = found.lengths("decoding")[-1]
    seconds = {name: found.decoding(name, length, "reading") for name in found.rivals}
    return f"Reading {length:,} tokens before the first is written: {_cheapest(found, seconds, 1.0, 's')}."


def _cheapest(found: Measured, seconds: Mapping[str, float], scale: float, unit: str) -> str:
    order = sorted(seconds, key=lambda name: seconds[name])
    values = listed([f"{found.label(name)} {scale * seconds[name]:.2g} {unit}" for name in order])
    if len(order) < 2:
        return values
    ratio = seconds[order[1]] / seconds[order[0]]
    if ratio < 1 + EVEN:
        return f"{values}; the first two are even"
    return f"{values}; {found.label(order[1])} takes {times(ratio)} as long as {found.label(order[0])}"


def _growth(found: Measured) -> str:
    short, long = found.lengths("decoding")[0], found.lengths("decoding")[-1]
    each = [
        f"{found.label(name)} "
        f"{times(found.decoding(name, long, 'writing') / found.decoding(name, short, 'writing'))}"
        for name in found.rivals
    ]
    return f"Time for one token after {long:,} over that after {short:,}: {listed(each)}."


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
        f"All rivals in turns, {found.rounds} times after one that is not counted; medians by the clock.",
    )
