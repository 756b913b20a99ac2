"""A real Chromium without network, and pages of small subjects to look at in it.

Skipped where the extra `browser` or Chromium is not installed (Debian: apt-get install chromium).
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from limelight.viewer import template
from limelight.viewer.export.html_file import save
from limelight.viewer.serve.run import bound
from limelight.viewer.serve.server import application
from limelight.viewer.serve.subjects import Read
from limelight.viewer.subject import Subject
from tests.viewer import cases

WINDOW = {"width": 1360, "height": 860}
ITS_OWN = ("file:", "blob:", "data:", "about:")
"""Addresses that an offline page may ask for."""


def chromium() -> str | None:
    """The browser of the system; CHROMIUM names another."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'limelight[browser]'")
    program = chromium()
    if program is None:
        pytest.skip("no Chromium here")
    if template.built(template.SCRIPT) is None:
        pytest.skip("the page was not built: python web/build.py")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address in a context of its own. Whatever the page complains of, or asks of others, fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(address: str, *, offline: bool = True, **options: Any) -> Any:
        context = browser.new_context(viewport=WINDOW, offline=offline, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        own = (*ITS_OWN, address.split("/", 3)[0] + "//" + address.split("/", 3)[2])
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on(
            "console",
            lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None,
        )
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith(own) else complaints.append(f"asked for {asked.url[:200]}")
            ),
        )
        page.goto(address)
        page.wait_for_selector("#limelight header")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def subject() -> Subject:
    return cases.subject()


@pytest.fixture(scope="session")
def file(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the small subject as an offline file."""
    return saved(subject, tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture(scope="session")
def answered(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an answer with steps and a process, as an offline file."""
    return saved(cases.translation(), tmp_path_factory.mktemp("answer") / "page.html")


def saved(subject: Subject, path: Path) -> str:
    return save(subject, path).as_uri()


@pytest.fixture
def served(subject: Subject) -> Iterator[str]:
    """The address of a server of the small subject."""
    with serving(subject) as address:
        yield address


@pytest.fixture
def answering() -> Iterator[str]:
    """The address of a server of an answer with steps and a process."""
    with serving(cases.translation()) as address:
        yield address


@contextmanager
def serving(subject: Subject, read: Read | None = None) -> Iterator[str]:
    """The address of a server of this subject, on a port of its own; `read` takes what is typed in."""
    uvicorn = pytest.importorskip("uvicorn", reason="pip install 'limelight[web]'")
    place = bound("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(application(subject, read), log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{place.getsockname()[1]}/"
    server.should_exit = True
    thread.join(20)
    place.close()
