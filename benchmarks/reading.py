"""What it costs to read a matrix, in forwards: each reduction, the standard ones together, and the other ways.

    python -m benchmarks reading [--tokens 1024,4096] [--threads 2] [--minutes 1.5] [--bars] [--json FILE]
    python -m benchmarks reading --device cuda --tokens 16384,65536,131072,524288,1048576 --width 128

The unit is one scaled_dot_product_attention forward of the same shape, measured right before each call (A B A B),
median of the ratios; "±" is half the distance between their quartiles. With one thread the clock is that of the
processor, which another program does not disturb; with more it is the clock on the wall. A reading begins with Q and
K: row statistics are found anew in every call. Settings are measured from short to long until the minutes are over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median, quantiles
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks import memory
from benchmarks.contestants import Contestant, Inputs, Setting, contestants, forward
from benchmarks.tables import print_rows
from limelight.errors import InputError

ROUNDS = 7
"""Pairs of calls at most."""
SHORTEST = 0.05
"""Seconds that a sample lasts: shorter calls are repeated until it does."""
MIB = 2**20
Row = dict[str, Any]


# ---- one setting --------------------------------------------------------------------------------------


def clock_of(device: str, threads: int) -> Callable[[], float]:
    if device != "cpu":
        return _gpu_clock
    return time.process_time if threads == 1 else time.perf_counter


def _gpu_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def sample(run: Callable[[], Any], clock: Callable[[], float], times: int) -> float:
    """Seconds a call."""
    start = clock()
    for _ in range(times):
        run()
    return (clock() - start) / times


def measure(
    setting: Setting, chosen: Sequence[Contestant], threads: int, deadline: float, rounds: int = ROUNDS
) -> list[Row]:
    """One row a contestant: ratio to a forward, its spread, seconds a call, pairs of calls."""
    clock = clock_of(setting.device, threads)
    inputs = Inputs.of(setting)
    unit = forward(inputs)
    unit()
    unit_times = max(1, round(SHORTEST / max(sample(unit, clock, 1), 1e-6)))
    rows = []
    for contestant in chosen:
        if time.monotonic() > deadline:
            break
        run = contestant.prepare(inputs)
        first = sample(run, clock, 1)  # loads code, takes memory; not counted
        times = max(1, round(SHORTEST / max(first, 1e-6)))
        pairs: list[tuple[float, float]] = []
        while len(pairs) < rounds and (not pairs or time.monotonic() < deadline):
            pairs.append((sample(unit, clock, unit_times), sample(run, clock, times)))
        ratios = [ours / one for one, ours in pairs]
        rows.append(
            {
                **asdict(setting),
                "what": contestant.name,
                "ratio": median(ratios),
                "spread": spread(ratios),
                "seconds": median(ours for _, ours in pairs),
                "forward seconds": median(one for one, _ in pairs),
                "pairs": len(pairs),
            }
        )
    return rows


def spread(ratios: list[float]) -> float | None:
    """Half the distance between the quartiles; None for fewer than three."""
    if len(ratios) < 3:
        return None
    low, _, high = quantiles(ratios, n=4)
    return (high - low) / 2


# ---- many settings ------------------------------------------------------------------------------------


def settings_of(
    tokens: Sequence[int], heads: int, width: int, dtypes: Sequence[str], device: str
) -> list[Setting]:
    """From short to long; the long ones with fewer heads."""
    most = 2**27 if device == "cpu" else 2**33
    found = [
        Setting(n, heads or max(1, min(8, most // n**2)), width, dtype, causal, device)
        for n in sorted(tokens)
        for dtype in dtypes
        for causal in ((True,) if device != "cpu" else (False, True))
    ]
    return sorted(found, key=lambda setting: setting.tokens)


def measure_all(
    wanted: Sequence[Setting], only: Sequence[str], threads: int, minutes: float, with_memory: bool
) -> list[Row]:
    """Every setting has a share of the time that is left, by what it costs; those that would not end are left out."""
    console, rows = Console(stderr=True), list[Row]()
    begun, costly = time.monotonic(), 0.0  # seconds that a forward takes, for each entry
    for place, setting in enumerate(wanted):
        left = begun + 60 * minutes - time.monotonic()
        share = left * setting.entries**0.5 / sum(each.entries**0.5 for each in wanted[place:])
        chosen = [each for each in contestants(setting) if not only or each.name in only]
        if share < 4 * costly * setting.entries or not chosen:
            console.print(f"{setting} {setting.dtype}: no time left", highlight=False)
            continue
        console.print(f"{setting} {setting.dtype}: {share:.0f} s", highlight=False)
        deadline = time.monotonic() + share * (0.6 if with_memory else 1.0)
        found = measure(setting, chosen, threads, deadline)
        if with_memory:
            names = ["SDPA forward", *(row["what"] for row in found)]
            extra = memory.extra(setting, names, threads)
            found.insert(0, {**asdict(setting), "what": "SDPA forward", "ratio": 1.0, "spread": 0.0})
            for row in found:
                row["extra bytes"] = extra.get(row["what"])
        rows += found
        costly = max((row.get("forward seconds", 0.0) for row in found), default=0.0) / setting.entries
    return rows


BARS: dict[str, tuple[Setting, str, int]] = {
    "16k tokens, one head, six reductions: at most 32 MiB": (
        Setting(16_384, 1, 64, "float32", True),
        "six together",
        32 * MIB,
    ),
    "128k tokens, four heads, Received: at most 1 GiB": (
        Setting(131_072, 4, 64, "float32", True),
        "Received",
        1024 * MIB,
    ),
}


def measure_bars(threads: int) -> list[Row]:
    """The most memory that two long readings may take beside their inputs."""
    rows = []
    for bar, (setting, name, limit) in BARS.items():
        start = time.monotonic()
        extra = memory.extra(setting, [name], threads)[name]
        seconds = time.monotonic() - start
        rows.append({"bar": bar, "extra MiB": extra / MIB, "holds": 0 <= extra <= limit, "seconds": seconds})
    return rows


# ---- the table ----------------------------------------------------------------------------------------


def show(rows: Sequence[Row], console: Console) -> None:
    """One table a dtype: what is read downwards, the settings across, the ratio and the extra memory in each cell."""
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        here = [row for row in rows if row["dtype"] == dtype]
        names = dict.fromkeys(str(Setting(**{key: row[key] for key in _KEYS})) for row in here)
        cells = {(row["what"], str(Setting(**{key: row[key] for key in _KEYS}))): row for row in here}
        lines = [
            {"read": what, **{name: _cell(cells.get((what, name))) for name in names}}
            for what in dict.fromkeys(row["what"] for row in here)
        ]
        print_rows(f"{dtype}: forwards ± spread, extra MiB (tokens × heads)", lines, console=console)


_KEYS = ("tokens", "heads", "width", "dtype", "causal", "device")


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    spread = "" if not row["spread"] else f" ±{row['spread']:.2f}"
    extra = row.get("extra bytes")
    return f"{row['ratio']:.2f}{spread}" + ("" if extra is None else f", {extra / MIB:,.0f}")


def run(
    tokens: Annotated[str, typer.Option(help="How many, with commas between.")] = "1024,4096,16384,65536",
    dtype: Annotated[str, typer.Option(help="With commas between.")] = "",
    heads: Annotated[int, typer.Option(help="Of every setting; 0 is 8, and fewer at great length.")] = 0,
    width: Annotated[int, typer.Option(help="Of a head.")] = 64,
    threads: Annotated[int, typer.Option(min=1, help="Of the processor.")] = os.cpu_count() or 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    minutes: Annotated[float, typer.Option(help="When time is over, what is left is left out.")] = 30.0,
    only: Annotated[list[str] | None, typer.Option(help="Such as Received, or 'six together'.")] = None,
    memory: Annotated[bool, typer.Option(help="Measure memory too, in processes of their own.")] = True,
    bars: Annotated[
        bool, typer.Option(help="And the memory of the two long readings that have a limit.")
    ] = False,
) -> dict[str, Any]:
    """Measure what readings cost, in forwards of the same shape, and print the tables."""
    try:
        sizes = [int(each) for each in tokens.split(",") if each]
    except ValueError:
        raise InputError(f"--tokens takes whole numbers with commas between; got {tokens!r}.") from None
    dtypes = [each for each in dtype.split(",") if each] or (
        ["float32", "bfloat16"] if device == "cpu" else ["bfloat16"]
    )
    torch.set_num_threads(threads)
    clock = "GPU, on the wall" if device != "cpu" else "processor time" if threads == 1 else "on the wall"
    with torch.no_grad():
        wanted = settings_of(sizes, heads, width, dtypes, device)
        rows = measure_all(wanted, only or (), threads, minutes, memory)
    console = Console()
    show(rows, console)
    result: dict[str, Any] = {"threads": threads, "clock": clock, "device": _device(device), "rows": rows}
    if bars:
        result["bars"] = measure_bars(threads)
        result["failed"] = sum(not row["holds"] for row in result["bars"])
        print_rows(
            "Memory beside the inputs", result["bars"], {"extra MiB": ",.1f", "seconds": ".0f"}, console
        )
    told = "one thread" if threads == 1 else f"{threads} threads"
    console.print(f"{told}; clock: {clock}; heads of width {width}", highlight=False)
    return result


def _device(device: str) -> str:
    return torch.cuda.get_device_name() if device != "cpu" else "cpu"
