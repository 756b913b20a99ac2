"""The HTML around the page: one document with a strict Content-Security-Policy.

The front end is built from `web/` into `static/`: one script, one style sheet. Offline both stand in the document,
named by their hashes in its Content-Security-Policy; served they come from the same origin.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib.resources import files

from limelight.errors import InputError
from limelight.readings.reading import visible

SCRIPT, STYLE, WIDGET = "page.js", "page.css", "widget.js"
BUILD = "make page"
"""What makes them."""
LONGEST_TITLE = 80
NOTHING_ELSE = (
    "img-src blob: data:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)


def built(name: str) -> str | None:
    """A file of the front end; None where it was not built."""
    place = files("limelight.viewer") / "static" / name
    return place.read_text(encoding="utf-8") if place.is_file() else None


def needed(name: str) -> str:
    """A file of the front end. Raises InputError with the way to build it."""
    found = built(name)
    if found is None:
        raise InputError(
            f"The page's {name} is not here: this copy of Limelight was not built with its front end. "
            f"In a checkout, build it: {BUILD}."
        )
    return found


def offline(title: str, pack: bytes) -> str:
    """One document that holds everything: the front end, and the answers (an envelope of the kind "pack")."""
    script, style = _script(needed(SCRIPT)), _style(needed(STYLE))
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; {NOTHING_ELSE}"
    )
    return _document(
        title,
        policy,
        f"<style>{style}</style>",
        f'<script type="text/plain" id="limelight-pack">{base64.b64encode(pack).decode()}</script>\n'
        f"<script>{script}</script>",
    )


def served(title: str) -> tuple[str, str]:
    """The document that a server sends, and its policy, which goes into a header."""
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; {NOTHING_ELSE}; "
        "frame-ancestors 'none'"
    )
    links = f'<link rel="stylesheet" href="static/{STYLE}">'
    return _document(title, "", links, f'<script src="static/{SCRIPT}"></script>'), policy


def unbuilt() -> str:
    """What is shown in the place of a front end that was not built."""
    said = f"<h1>Limelight</h1><p>The page was not built. In a checkout, build it:</p><pre>{html.escape(BUILD)}</pre>"
    return _document("Limelight", "default-src 'none'", "", said)


def _document(title: str, policy: str, style: str, body: str) -> str:
    told = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n' if policy else ""
    name = html.escape(visible(title, LONGEST_TITLE))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{told}<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{name} · Limelight</title>
<link rel="icon" href="data:,">
{style}
</head>
<body>
<div id="limelight"></div>
<noscript>This page draws attention with a script of its own; it loads nothing from anywhere else.</noscript>
{body}
</body>
</html>
"""


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _script(text: str) -> str:
    """The same script with nothing in it that would end its element, or begin a comment of HTML.

    Both can stand in strings, templates and regular expressions only, where `\\x3c` is `<`.
    """
    return re.sub(r"<(?=/script|!--)", r"\\x3c", text, flags=re.IGNORECASE)


def _style(text: str) -> str:
    if "</style" in text.lower():
        raise InputError(f"{STYLE} must not hold </style; build it again.")
    return text
