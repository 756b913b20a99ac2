"""The pictures of page.md: each view of the page in light and dark, taken in Chromium.

    python docs/page_pictures.py             all of them, into docs/pictures/page-VIEW-light.png and -dark.png
    python docs/page_pictures.py map steps   these views only

Needs the extra `browser` and Chromium (Debian: apt-get install chromium).
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from limelight.errors import InputError, require
from limelight.viewer.export.html_file import save
from web.fixtures import subjects

PICTURES = Path(__file__).parent / "pictures"
WINDOW = {"width": 1200, "height": 720}
COLOURS = 96
DARK = 0.55
"""How large the dark pictures are beside the light ones."""
VIEWS: Mapping[str, tuple[str, str, str]] = {
    "text": (
        "documents",
        "place=2&pin=word:12:from:1.0,2.3,1.3&pin=word:5:from:1.0,2.3,1.3",
        ".pin .ranks",
    ),
    "heads": ("documents", "view=heads&attention=1", ".heads .head canvas"),
    "map": ("documents", "view=map&attention=1&map=26.00_34.00_14.00", ".legend .ticks span"),
    "documents": ("documents", "view=documents&attention=1", ".between td[data-value]"),
    "steps": ("translation", "view=steps&step=2", ".lines path"),
    "process": ("translation", "view=process&stage=12", "[data-stage='12'] figure"),
}
"""View → which subject, the link to it, and what is there when it was drawn."""


def take(views: list[str]) -> None:
    playwright = require("playwright.sync_api", extra="browser", purpose="Taking pictures of the page")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise InputError("There is no Chromium here. On Debian: apt-get install chromium.")
    wanted = {VIEWS[view][0] for view in views}
    with tempfile.TemporaryDirectory() as folder, playwright.sync_playwright() as started:
        pages = {
            name: save(subject, Path(folder, f"{name}.html"))
            for name, subject in subjects()
            if name in wanted
        }
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for view in views:
            subject, link, drawn = VIEWS[view]
            for scheme in ("light", "dark"):
                shoot(
                    browser, f"{pages[subject].as_uri()}#{link}", drawn, scheme, f"page-{view}-{scheme}.png"
                )
        browser.close()


def shoot(browser: Any, address: str, drawn: str, scheme: str, name: str) -> None:
    page = browser.new_page(viewport=WINDOW, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector(drawn)
    if "view=map" in address:
        page.mouse.move(560, 470)
    page.wait_for_timeout(1000)
    shrunk(page.screenshot(), 1.0 if scheme == "light" else DARK).save(PICTURES / name, optimize=True)
    page.close()
    print(PICTURES / name)


def shrunk(png: bytes, share: float) -> Image.Image:
    """Few colours and, of what is shown small, few pixels: pictures stand in the repository for good."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.LANCZOS)
    return image.quantize(COLOURS, dither=Image.Dither.NONE)


if __name__ == "__main__":
    take(sys.argv[1:] or list(VIEWS))
