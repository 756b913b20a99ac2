"""What efficiency gave, in tables and pictures."""

from __future__ import annotations

from statistics import median

from experiments.common.plan import Cell, Line, Panel, Picture, Table
from experiments.common.sentences import significant
from experiments.efficiency.metrics import Measured, depth


def tables(found: Measured) -> tuple[Table, ...]:
    """Training by length, by batch and by processes; decoding; only what was measured."""
    made = []
    if found.places("length"):
        made += [_by_length(found), _depths(found)]
    if found.places("batch"):
        made.append(_by_batch(found))
    if found.places("processes"):
        made.append(_by_processes(found))
    if found.places("decoding"):
        made.append(_decoding(found))
    return tuple(made)


def pictures(found: Measured) -> tuple[Picture, ...]:
    """Training, and decoding."""
    made = []
    if found.places("length"):
        made.append(_training(found))
    if found.places("decoding"):
        made.append(_costs(found))
    return tuple(made)


def _by_length(found: Measured) -> Table:
    lengths = found.lengths("length")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (threads, found.label(name), *(found.speed(name, length, threads) for length in lengths))
        for threads in found.threads()
        for name in found.rivals
    )
    columns = ("threads", "", *(f"{length:,}" for length in lengths))
    return Table("Training, tokens a second by length", columns, rows, ("d", "", *([",.0f"] * len(lengths))))


def _depths(found: Measured) -> Table:
    lengths = found.lengths("length")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (found.label(name), *(depth(found.shape(name), length) for length in lengths))
        for name in found.rivals
    )
    columns = ("", *(f"{length:,}" for length in lengths))
    return Table("Steps that wait for one another, by length", columns, rows, ("", *([",d"] * len(lengths))))


def _by_batch(found: Measured) -> Table:
    sizes = sorted({place["batch"] for place in found.places("batch")})
    [length] = found.lengths("batch")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (found.label(name), *(median(found.batch_speeds(name, batch)) for batch in sizes))
        for name in found.rivals
    )
    title = f"Training, tokens a second by texts in a batch, {length:,} tokens each, one thread"
    return Table(title, ("", *map(str, sizes)), rows, ("", *([",.0f"] * len(sizes))))


def _by_processes(found: Measured) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in found.rivals:
        one, more = sorted(found.places("processes", rival=name), key=lambda place: place["processes"])
        tokens = one["batch"] * one["length"]
        speeds = [place["processes"] * tokens / median(place["seconds"]) for place in (one, more)]
        rows.append((found.label(name), *speeds, found.gain(name)))
    columns = ("", "one process", "two processes", "times as fast")
    note = "Each process has one thread and a whole batch of its own; gradients are shared by gloo."
    return Table(
        "Training in two processes, tokens a second", columns, tuple(rows), ("", ",.0f", ",.0f", ".2f"), note
    )


def _decoding(found: Measured) -> Table:
    lengths = found.lengths("decoding")
    rows: list[tuple[Cell, ...]] = []
    for words, what, scale in (
        ("writing a token, ms", "writing", 1e3),
        ("reading the context, ms", "reading", 1e3),
    ):
        rows += [
            (
                words,
                found.label(name),
                *(significant(scale * found.decoding(name, length, what), 3) for length in lengths),
            )
            for name in found.rivals
        ]
    rows += [
        (
            "kept, KiB",
            found.label(name),
            *(significant(found.kept(name, length) / 1024, 3) for length in lengths),
        )
        for name in found.rivals
    ]
    columns = ("", "", *(f"{length:,}" for length in lengths))
    title = "Decoding one text on one thread, by the length of the context"
    return Table(title, columns, tuple(rows), ("", "", *(["s"] * len(lengths))))


def _training(found: Measured) -> Picture:
    lengths = found.lengths("length")
    panels = [
        Panel(
            f"by length, {threads} {'thread' if threads == 1 else 'threads'}",
            "tokens of a text",
            "tokens a second",
            tuple(
                _line(found, name, lengths, [found.speeds(name, length, threads) for length in lengths])
                for name in found.rivals
            ),
            x_log=True,
            y_log=True,
        )
        for threads in found.threads()
    ]
    if found.places("batch"):
        sizes = sorted({place["batch"] for place in found.places("batch")})
        lines = tuple(
            _line(found, name, sizes, [found.batch_speeds(name, batch) for batch in sizes])
            for name in found.rivals
        )
        [length] = found.lengths("batch")
        title = f"by batch, {length:,} tokens each, 1 thread"
        panels.append(Panel(title, "texts in a batch", "tokens a second", lines, x_log=True, y_log=True))
    caption = f"Medians of {found.rounds} rounds, bands all rounds."
    return Picture(f"{found.part}-training", "How fast is training?", tuple(panels), caption)


def _line(found: Measured, name: str, x: list[int], values: list[list[float]]) -> Line:
    return Line(
        found.label(name),
        name,
        tuple(x),
        tuple(median(each) for each in values),
        tuple(min(each) for each in values),
        tuple(max(each) for each in values),
    )


def _costs(found: Measured) -> Picture:
    lengths = found.lengths("decoding")

    def panel(title: str, y: str, values: dict[str, list[float]]) -> Panel:
        lines = tuple(Line(found.label(n), n, tuple(lengths), tuple(v)) for n, v in values.items())
        return Panel(title, "tokens of context", y, lines, x_log=True, y_log=True)

    def over(what: str) -> dict[str, list[float]]:
        return {n: [1e3 * found.decoding(n, length, what) for length in lengths] for n in found.rivals}

    memory = {n: [found.kept(n, length) / 1024 for length in lengths] for n in found.rivals}
    panels = (
        panel("writing one token", "ms", over("writing")),
        panel("reading the context", "ms", over("reading")),
        panel("kept between two tokens", "KiB", memory),
    )
    return Picture(
        f"{found.part}-decoding", "What does a context cost?", panels, "One text, one thread; medians."
    )
