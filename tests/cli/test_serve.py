"""`limelight serve` and `look --html`: what is asked becomes a page, and what cannot be is one line."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limelight.viewer import template
from limelight.viewer.protocol.responses import from_bytes
from limelight.viewer.serve import run
from limelight.viewer.subject import Subject

pytest.importorskip("uvicorn", reason="the extra web is not installed")

PAGE = {"page.js": "go();", "page.css": "", "widget.js": ""}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command has asked the server for, which is not started."""
    found: dict[str, Any] = {}

    def serve(subject: Subject, read: Any, host: str, port: int, started: Callable[[str], None]) -> None:
        found.update(subject=subject, read=read, host=host, port=port)
        started(f"http://{host}:{port}/")

    monkeypatch.setattr(run, "serve", serve)
    return found


def test_a_line_is_answered_and_served(
    limelight: Callable[..., Any], model: Callable[[str], str], asked: dict[str, Any]
) -> None:
    result = limelight("serve", "red cats sing", "--model", model("translate"), "--port", 0, "--head", "0.1")
    assert result.exit_code == 0, result.output
    assert result.stdout == "http://127.0.0.1:0/\n"
    assert asked["subject"].title == "red cats sing"
    assert asked["subject"].attentions[0].start == "0.1"
    assert asked["read"]({"text 1": "blue dogs"}, None).title == "blue dogs"


def test_files_are_documents(
    limelight: Callable[..., Any], model: Callable[[str], str], asked: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("red cats sing\nnow here\n")
    words = (
        "serve",
        tmp_path / "a.txt",
        tmp_path / "b.txt",
        "--model",
        model("translate"),
        "--host",
        "0.0.0.0",
    )
    assert limelight(*words, "--answer-tokens", 2).exit_code == 0
    assert asked["host"] == "0.0.0.0"
    assert asked["subject"].sides[1].groups("document").names == ("a.txt", "b.txt")


def test_what_cannot_be_served_is_one_line(refused: Callable[..., str], model: Callable[[str], str]) -> None:
    assert "no such file" in refused("serve", "nothing.txt", "--model", model("translate"))
    assert "--head takes LAYER.HEAD" in refused("serve", "red", "--head", "x")
    assert "port" in refused("serve", "red", "--port", 99999)


def test_an_address_that_cannot_be_had_is_refused_before_a_model_is_read(refused: Callable[..., str]) -> None:
    with run.bound("127.0.0.1", 0) as taken:
        line = refused("serve", "red", "--model", "./nowhere", "--port", taken.getsockname()[1])
    assert "Give another --port" in line
    elsewhere = refused("serve", "red", "--model", "./nowhere", "--host", "203.0.113.7")
    assert "Give a --host that is an address of this machine" in elsewhere


@pytest.mark.slow
def test_look_writes_the_page(
    limelight: Callable[..., Any],
    model: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(template, "built", PAGE.get)
    one = tmp_path / "one.html"
    result = limelight("look", "red cats sing", "--model", model("translate"), "--html", one)
    assert result.exit_code == 0, result.output
    assert f"page: {one}" in result.stderr.replace("\n", "")
    assert 'id="limelight-pack"' in one.read_text()
    result = limelight("look", "red cats", "blue dogs", "--model", model("translate"), "--html", one)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one-1.html", "one-2.html", "one.html"]
    asked = (
        "look",
        "red cats",
        "--model",
        model("language"),
        "--question",
        "the light",
        "--html",
        tmp_path / "q.html",
    )
    assert limelight(*asked).exit_code == 0
    assert (tmp_path / "q.html").is_file()


def test_a_page_that_cannot_be_written_is_refused_first(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "built", PAGE.get)
    assert "must end in .html" in refused("look", "a b", "--html", tmp_path / "page.png")
    assert "folder must exist" in refused("look", "a b", "--html", tmp_path / "none" / "page.html")
    (tmp_path / "folder.html").mkdir()
    for command in ("look", "explain"):
        assert "is a folder" in refused(command, "a b", "--html", tmp_path / "folder.html")
    monkeypatch.setattr(template, "built", lambda name: None)
    assert template.BUILD in refused("look", "a b", "--html", tmp_path / "page.html")


@pytest.mark.slow
def test_the_server_itself_answers_and_ends(model: Callable[[str], str]) -> None:
    script = "import sys; from limelight.cli import app; sys.argv[0] = 'limelight'; app()"
    words = ["serve", "red cats sing", "--model", model("translate"), "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
            with urllib.request.urlopen(f"{address}ask/about") as answer:
                head, _ = from_bytes(answer.read())
            assert head["title"] == "red cats sing"
        finally:
            server.terminate()
            server.wait(30)
