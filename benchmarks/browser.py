"""The offline page in a real browser: its size, the time to open, to repaint after a choice, and its nodes.

A file of many tokens, layers and heads is made, opened from disk in Chromium with the network off, and words are
chosen in it with the mouse. Times are the browser's own: from the start of the navigation, and from a click to the
frame after it was painted.
"""

from __future__ import annotations

import platform
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import limelight as ll
from limelight.errors import InputError, require
from limelight.viewer.builders.from_matrices import build_subject
from limelight.viewer.export.html_file import save

SIZE_LIMIT, OPEN_LIMIT, REPAINT_LIMIT, NODE_LIMIT = 5_000_000, 2.0, 0.050, 5_000
WIDTH = 32
WORDS = (
    "the",
    "page",
    "shows",
    "what",
    "a",
    "model",
    "attends",
    "to",
    "and",
    "every",
    "word",
    "takes",
    "its",
    "colour",
)
SENTENCE, DOCUMENT = 17, 521
"""Words in each, on average."""

WATCH = """() => {
    window.repaints = [];
    let clicked = 0;
    document.addEventListener('click', () => { clicked = performance.now(); }, {capture: true});
    new MutationObserver(() => {
        if (!clicked) return;
        const since = clicked;
        clicked = 0;
        requestAnimationFrame(() => setTimeout(() => window.repaints.push(performance.now() - since)));
    }).observe(document.querySelector('.panel'), {childList: true});
}"""
"""The panel is filled right after the colours were painted, in the same task; what a frame's callback puts off
until later runs when the frame was drawn."""

PAINTED = """() => {
    const canvas = document.querySelector('.pane .block canvas');
    return canvas && canvas.width > 300 ? performance.now() : null;
}"""
NODES = """() => {
    const walk = document.createTreeWalker(document, NodeFilter.SHOW_ALL);
    let nodes = 1;
    while (walk.nextNode()) nodes += 1;
    return nodes;
}"""


def run(
    tokens: Annotated[int, typer.Option(help="Tokens of the text.")] = 8192,
    layers: Annotated[int, typer.Option(help="Layers of the model.")] = 12,
    heads: Annotated[int, typer.Option(help="Heads of a layer.")] = 12,
    choices: Annotated[int, typer.Option(help="Words that are chosen.")] = 50,
    openings: Annotated[int, typer.Option(help="How often the file is opened.")] = 5,
    file: Annotated[
        Path | None, typer.Option(help="A file that was made before, instead of a new one.")
    ] = None,
) -> dict[str, Any]:
    """Make the file, open it, choose words in it."""
    with tempfile.TemporaryDirectory() as folder:
        made = time.perf_counter()
        path = file or save(subject(tokens, layers, heads), Path(folder, "page.html"))
        making = None if file else time.perf_counter() - made
        browser, opened, repaints, nodes = look(path.resolve().as_uri(), choices, openings)
        size = path.stat().st_size
    result = {
        "tokens": tokens,
        "layers": layers,
        "heads": heads,
        "bytes": size,
        "seconds to make": making,
        "seconds to open": statistics.median(opened),
        "seconds to repaint": statistics.median(repaints),
        "slowest repaint": max(repaints),
        "choices": len(repaints),
        "nodes": nodes,
        "browser": browser,
        "machine": platform.processor() or platform.machine(),
    }
    limits = (
        ("size", size, SIZE_LIMIT, "bytes"),
        ("open, median", result["seconds to open"], OPEN_LIMIT, "s"),
        ("repaint, median", result["seconds to repaint"], REPAINT_LIMIT, "s"),
        ("nodes of the document", nodes, NODE_LIMIT, ""),
    )
    print(f"{tokens:,} tokens × {layers} layers × {heads} heads, {browser}, network off")
    for name, found, limit, unit in limits:
        print(f"{name:24} {found:>12,.3f} {unit:6} (limit {limit:,})".replace(".000", "    "))
    result["failed"] = [name for name, found, limit, _ in limits if found > limit]
    return result


def subject(tokens: int, layers: int, heads: int) -> Any:
    """Random vectors whose neighbours are alike, so that weights have low and high."""
    draw = random.Random(0)
    words, ends = [], []
    for place in range(tokens):
        words.append(draw.choice(WORDS))
        if place % DOCUMENT == DOCUMENT - 1:
            ends.append(".\n\n")
        else:
            ends.append(". " if draw.random() < 1 / SENTENCE else " ")
    text, spans, documents, begun = "", [], [], 0
    for word, end in zip(words, ends, strict=True):
        spans.append((len(text), len(text) + len(word)))
        text += word + end
        if end.endswith("\n"):
            documents.append((begun, len(text)))
            begun = len(text)
    if begun < len(text):
        documents.append((begun, len(text)))
    segments = ll.Segments.from_spans(text, spans, documents)
    generator = torch.Generator().manual_seed(0)
    drifting = torch.randn(layers, 1, heads, tokens, WIDTH, generator=generator).cumsum(3)
    drifting = drifting - drifting.mean(3, keepdim=True)
    drifting /= drifting.norm(dim=-1, keepdim=True) / WIDTH**0.5
    matrices = {
        layer: ll.AttentionMatrix(each * 2, each, mask=ll.masks.causal())
        for layer, each in enumerate(drifting)
    }
    return build_subject(matrices, segments, title=f"{tokens} tokens")


def look(address: str, choices: int, openings: int) -> tuple[str, list[float], list[float], int]:
    """(browser, seconds to open each time, seconds to repaint each choice, nodes)."""
    playwright = require("playwright.sync_api", extra="browser", purpose="The benchmark in a browser")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise InputError("There is no Chromium here. On Debian: apt-get install chromium.")
    opened = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(openings):
            context = browser.new_context(viewport={"width": 1360, "height": 860}, offline=True)
            page = context.new_page()
            page.goto(address, wait_until="commit")
            opened.append(page.wait_for_function(PAINTED, timeout=60_000).json_value() / 1000)
            if len(opened) < openings:
                context.close()
        page.evaluate(WATCH)
        repaints = choose(page, choices)
        found = browser.version, opened, repaints, page.evaluate(NODES)
        browser.close()
    return f"Chromium {found[0]}", *found[1:]


def choose(page: Any, choices: int) -> list[float]:
    """Click on words here and there, scrolling between, until so many repaints were seen."""
    draw = random.Random(1)
    pane = page.locator(".pane").bounding_box()
    for attempt in range(10 * choices):
        done = page.evaluate("window.repaints.length")
        if done >= choices:
            break
        if attempt % 5 == 4:
            page.mouse.wheel(0, draw.randrange(-2000, 4000))
            page.wait_for_timeout(150)
        x = pane["x"] + pane["width"] * draw.uniform(0.2, 0.8)
        page.mouse.click(x, pane["y"] + pane["height"] * draw.uniform(0.05, 0.9))
        page.wait_for_timeout(120)
    return [milliseconds / 1000 for milliseconds in page.evaluate("window.repaints")]
