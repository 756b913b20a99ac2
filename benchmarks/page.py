"""The page's server and its offline file: first picture, tiles, rows, a hundred clients at once, memory, bytes.

    python -m benchmarks page [--tokens 100000] [--heads 8] [--clients 100] [--seconds 60] [--json FILE]
    python -m benchmarks page --only file [--file-tokens 8192] [--layers 12] [--file-heads 12]

One causal layer of random Q and K, width 64, under a text of as many words, served by a process of its own. Every
time is that of a client: from the question to the last byte of the answer. Questions of the stress are drawn anew
each time (a tile zoomed in anywhere, a word's row or column), so few of them are answered from the cache. "first
picture" counts from the end of the pass over the whole matrix to the last of: about, the whole map, what every word
receives.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks.tables import print_rows
from limelight.errors import InputError
from limelight.matrix import AttentionMatrix, masks
from limelight.text.segments import Segments
from limelight.viewer.builders.from_matrices import build_subject
from limelight.viewer.export.html_file import save
from limelight.viewer.protocol.responses import from_bytes
from limelight.viewer.serve.run import serve
from limelight.viewer.subject import Subject

WIDTH, DOCUMENTS, SENTENCE = 64, 5, 17
SAMPLES = 40
"""Questions of each kind, asked one after the other."""
PATIENCE = 3600
"""Seconds for the pass over the whole."""


def subject(tokens: int, heads: int, layers: int = 1) -> Subject:
    """Random attention between the words of a text of some documents."""
    generator = torch.Generator().manual_seed(0)
    words = [
        f"{'W' if place % SENTENCE == 0 else 'w'}ord{place % 997}{'.' if place % SENTENCE == SENTENCE - 1 else ''}"
        for place in range(tokens)
    ]
    spans, at = [], 0
    for word in words:
        spans.append((at, at + len(word)))
        at += len(word) + 1
    edges = [spans[tokens * part // DOCUMENTS][0] for part in range(DOCUMENTS)] + [at - 1]
    parts = list(pairwise(edges))
    segments = Segments.from_spans(" ".join(words), spans, parts)
    drawn = {layer: torch.randn(2, 1, heads, tokens, WIDTH, generator=generator) for layer in range(layers)}
    matrices = {layer: AttentionMatrix(*each, mask=masks.causal()) for layer, each in drawn.items()}
    return build_subject(matrices, segments, title=f"{tokens:,} tokens")


def run(
    tokens: int = 100_000,
    heads: int = 8,
    clients: int = 100,
    seconds: float = 60.0,
    threads: Annotated[int, typer.Option(help="Of the server.")] = 2,
    only: Annotated[str, typer.Option(help="served or file; both without it.")] = "",
    file_tokens: int = 8192,
    layers: int = 12,
    file_heads: int = 12,
) -> dict[str, Any]:
    """Measure the server and the file."""
    if only not in ("", "served", "file"):
        raise InputError(f"--only is served or file; got {only!r}.")
    found: dict[str, Any] = {}
    if only != "file":
        found["served"] = served(tokens, heads, clients, seconds, threads)
    if only != "served":
        found["file"] = file_of(file_tokens, file_heads, layers)
    found["failed"] = found.get("served", {}).get("errors", 0)
    return found


# ---- the file -----------------------------------------------------------------------------------------


def file_of(tokens: int, heads: int, layers: int) -> dict[str, Any]:
    """How large it is, and how long it takes to make."""
    about = subject(tokens, heads, layers)
    start = time.monotonic()
    about.read()
    read = time.monotonic() - start
    with TemporaryDirectory() as folder:
        start = time.monotonic()
        path = save(about, Path(folder, "page.html"))
        row = {
            "tokens": tokens,
            "layers": layers,
            "heads": heads,
            "bytes": path.stat().st_size,
            "pass s": read,
            "file s": time.monotonic() - start,
        }
    print_rows("Offline file", [row], {"bytes": ",", "pass s": ".1f", "file s": ".1f"})
    return row


# ---- the server ---------------------------------------------------------------------------------------


def served(tokens: int, heads: int, clients: int, seconds: float, threads: int) -> dict[str, Any]:
    """Start it, wait for the pass, ask one by one, then all at once."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs, tokens, heads, threads), daemon=True)
    server.start()
    try:
        port = int(ours.recv().rpartition(":")[2].strip("/"))
        client = Client(port)
        rows, facts = asyncio.run(_alone(client, tokens))
        latencies, codes = asyncio.run(_together(port, tokens, clients, seconds))
        peak = _peak(server.pid or 0)
    finally:
        server.terminate()
        server.join()
    rows.append(_row(f"{clients} clients at once, {seconds:.0f} s", latencies))
    print_rows(f"Served: {tokens:,} tokens, {heads} heads", rows, {"median ms": ".0f", "95 % ms": ".0f"})
    errors = sum(count for code, count in codes.items() if code not in (200, 202))
    facts |= {"answers": codes[200], "errors": errors, "codes": dict(codes), "peak MB": peak}
    console = Console()
    for name, value in facts.items():
        console.print(
            f"{name}: {value:.2f}" if isinstance(value, float) else f"{name}: {value}", highlight=False
        )
    return {"rows": rows, **facts}


def _serve(pipe: Connection, tokens: int, heads: int, threads: int) -> None:
    torch.set_num_threads(threads)
    serve(subject(tokens, heads), port=0, started=pipe.send)


class Client:
    """One connection that is used again, as a browser does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> tuple[int, bytes]:
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        writer.write(f"GET /ask/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(fields[b"content-length"]))
        return int(head.split(b" ", 2)[1]), body

    async def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


async def _alone(client: Client, tokens: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """One client: first picture, then tiles by zoom, rows and columns."""
    asked = 0.0
    for _ in range(PATIENCE):
        progress, _ = from_bytes((await client.get("progress"))[1])
        asked = progress["seconds"]
        if progress["state"] != "reading":
            break
        await asyncio.sleep(1)
    start = time.monotonic()
    about, _ = from_bytes((await client.get("about"))[1])
    for path in ("tile?zoom=0&row=0&column=0", "received?level=word"):
        status, _ = await client.get(path)
        assert status == 200, path
    facts = {"pass s": asked, "first picture s": time.monotonic() - start}
    deepest = about["attentions"][0]["deepest"]
    chance = random.Random(1)
    kinds: dict[str, Callable[[], str]] = {}
    for chosen in ("0.0", "mean"):
        for zoom in range(deepest, max(deepest - 4, -1), -1):
            of = "one head" if "." in chosen else "mean of all heads"
            name = f"tile, {2 ** (deepest - zoom)} tokens a cell, {of}"
            kinds[name] = lambda chosen=chosen, zoom=zoom: tile(chance, tokens, deepest, zoom, chosen)  # type: ignore[misc]
    kinds["row of a word"] = lambda: f"row?place={chance.randrange(tokens)}"
    kinds["column of a word"] = lambda: f"row?place={chance.randrange(tokens)}&direction=to"
    rows = []
    for name, question in kinds.items():
        times = []
        for _ in range(SAMPLES):
            start = time.monotonic()
            status, _ = await client.get(question())
            assert status == 200, name
            times.append(time.monotonic() - start)
        rows.append(_row(name, times))
    await client.close()
    return rows, facts


async def _together(port: int, tokens: int, clients: int, seconds: float) -> tuple[list[float], Counter[int]]:
    """All at once, each asking as soon as it was answered."""
    about, _ = from_bytes((await Client(port).get("about"))[1])
    deepest = about["attentions"][0]["deepest"]
    end = time.monotonic() + seconds
    latencies: list[float] = []
    codes: Counter[int] = Counter()

    async def one(seed: int) -> None:
        chance, client = random.Random(seed), Client(port)
        while time.monotonic() < end:
            path = chance.choice(
                (
                    lambda: tile(chance, tokens, deepest, deepest, "0.0"),
                    lambda: tile(chance, tokens, deepest, deepest - 1, "0.0"),
                    lambda: f"row?place={chance.randrange(tokens)}&slice=0.0",
                    lambda: f"row?place={chance.randrange(tokens)}&slice=0.0&direction=to",
                )
            )()
            start = time.monotonic()
            status, _ = await client.get(path)
            latencies.append(time.monotonic() - start)
            codes[status] += 1
        await client.close()

    await asyncio.gather(*(one(seed) for seed in range(clients)))
    return latencies, codes


def tile(chance: random.Random, tokens: int, deepest: int, zoom: int, chosen: str) -> str:
    """A tile below the diagonal, where there is something to see."""
    side = 256 << (deepest - zoom)
    row = chance.randrange(-(-tokens // side))
    return f"tile?zoom={zoom}&row={row}&column={chance.randrange(row + 1)}&slice={chosen}"


def _row(name: str, times: Sequence[float]) -> dict[str, Any]:
    """Median and the time that one in twenty is above, in milliseconds."""
    late = quantiles(times, n=20)[-1] if len(times) > 1 else max(times, default=0.0)
    return {
        "what": name,
        "asked": len(times),
        "median ms": 1000 * median(times or [0.0]),
        "95 % ms": 1000 * late,
    }


def _peak(pid: int) -> int | None:
    """The most memory that the process has held, in megabytes, where the system tells it."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        return None
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024
