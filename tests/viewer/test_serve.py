"""The server: what it answers, whom it lets in, what it refuses, and that work nobody waits for ends."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import limelight as ll
from limelight.errors import InputError
from limelight.text.readers import read_text
from limelight.viewer import template
from limelight.viewer.builders.from_matrices import build_subject
from limelight.viewer.lru_cache import Cache
from limelight.viewer.protocol.responses import from_bytes
from limelight.viewer.serve.access import AccessPolicy
from limelight.viewer.serve.run import address, bound, door_of
from limelight.viewer.serve.server import application
from limelight.viewer.serve.uploads import FILES, TEXT_BYTES, documents_of
from limelight.viewer.serve.worker import JobCancelledError, JobTimeoutError, QueueFullError, Worker
from limelight.viewer.subject import Subject
from tests.viewer import cases

testclient = pytest.importorskip("starlette.testclient", reason="the extra web is not installed")

PAGE = {
    "page.js": "document.title = '</script>';",
    "page.css": "p { color: red }",
    "widget.js": "export default {}",
}


@pytest.fixture(autouse=True)
def _built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A front end, whether it was built or not."""
    monkeypatch.setattr(template, "built", PAGE.get)


@pytest.fixture
def client() -> Iterator[Callable[..., Any]]:
    opened: list[Any] = []

    def open_(
        base: str = "http://localhost:8765",
        read: Any = None,
        about: Subject | None = None,
        **options: Any,
    ) -> Any:
        made = application(about or cases.subject(), read, **options)
        opened.append(testclient.TestClient(made, base_url=base))
        return opened[-1].__enter__()

    yield open_
    for each in opened:
        each.__exit__(None, None, None)


def read(documents: Mapping[str, str], question: str | None) -> Subject:
    context = ll.Context.of(ll.Tokenizer.train(list(documents.values()) * 2, "bpe", 270), documents, question)
    query = cases.torch.randn(1, 1, len(context.ids), 3)
    return build_subject(ll.AttentionMatrix(query, query), context)


# ── Answers ──


def test_answers_are_those_of_the_subject(client: Callable[..., Any]) -> None:
    cases.subject().read()
    page = client()
    for path in (
        "row?place=3&slice=2",
        "tile?zoom=0&row=0&column=0",
        "heads?measure=entropy",
        "thumbs",
        "between",
    ):
        for _ in range(2):  # computed, and kept
            response = page.get(f"/ask/{path}")
            assert response.status_code == 200
            assert response.headers["content-type"] == "application/octet-stream"
            kind, _, given = path.partition("?")
            params = dict(part.split("=") for part in given.split("&") if part)
            wanted = cases.ask(cases.subject(), kind, **params)
            head, arrays = from_bytes(response.content)
            assert head["kind"] == kind
            for name, values in wanted.arrays.items():
                assert (arrays[name] == values).all()
    about, _ = from_bytes(page.get("/ask/about").content)
    assert about["mode"] == "served"
    assert not about["has"]["read"]


@pytest.mark.slow
def test_the_process_follows_what_is_asked(client: Callable[..., Any]) -> None:
    page = client(about=cases.translation())
    for asked in ({"token": "on"}, {"token": "0"}, {"token": "on", "answer_token": "1", "layer": "-1"}):
        response = page.get("/ask/process", params=asked)
        assert response.status_code == 200
        head, _ = from_bytes(response.content)
        assert head["params"] == asked
        wanted = cases.ask(cases.translation(), "process", **asked).head["explanation"]["choice"]
        assert head["explanation"]["choice"] == list(wanted)
        assert wanted[1].endswith("as asked.")
    for name, given in (("token", "zebra"), ("layer", "1.5"), ("head", "--1"), ("head", "one")):
        response = page.get("/ask/process", params={name: given})
        assert response.status_code == 400
        assert given in response.json()["error"]


def test_every_answer_forbids_what_it_can(client: Callable[..., Any]) -> None:
    page = client()
    for path in ("/", "/ask/about", "/static/page.js", "/nothing", "/ask/nothing"):
        headers = page.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
    policy = page.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
    assert "unsafe" not in policy
    assert page.get("/static/page.js").text == PAGE["page.js"]
    for name in ("widget.js", "..%2Fshell.py", "page.html"):
        assert page.get(f"/static/{name}").status_code == 404


def test_errors_are_sentences(client: Callable[..., Any]) -> None:
    page = client()
    for path, status in (
        ("/ask/row", 400),
        ("/ask/row?place=9999", 400),
        ("/ask/x", 400),
        ("/x", 404),
        ("/ask/row?subject=gone&place=1", 400),
    ):
        response = page.get(path)
        assert response.status_code == status
        assert response.json()["error"].endswith(".")


def test_without_a_front_end_the_page_says_how_to_build_it(
    client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "built", lambda name: None)
    response = client().get("/")
    assert response.status_code == 503
    assert template.BUILD in response.text


def test_what_is_large_is_asked_for_again(
    client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limelight.viewer.subject.FREE_WORK", 10)
    about, walked = build_subject(cases.matrices(), cases.context()), threading.Event()
    walk = about.read
    monkeypatch.setattr(about, "read", lambda go_on=None: walked.wait(5) and walk())
    with testclient.TestClient(application(about), base_url="http://localhost") as page:
        response = page.get("/ask/thumbs")
        assert (response.status_code, response.headers["retry-after"]) == (202, "1")
        assert from_bytes(response.content)[0]["kind"] == "waiting"
        assert from_bytes(page.get("/ask/progress").content)[0]["state"] == "reading"
        walked.set()
        for _ in range(100):
            if from_bytes(page.get("/ask/progress").content)[0]["state"] == "ready":
                break
            time.sleep(0.02)
        assert page.get("/ask/thumbs").status_code == 200


# ── Whom it lets in ──


def test_other_names_of_this_machine_are_refused(client: Callable[..., Any]) -> None:
    page = client()
    for host, status in (
        ("localhost:8765", 200),
        ("127.0.0.1", 200),
        ("[::1]:1", 200),
        ("evil.example", 421),
        ("localhost.evil:80", 421),
        ("", 421),
    ):
        for path in ("/", "/ask/about", "/static/page.css"):
            assert page.get(path, headers={"host": host}).status_code == status, host


def test_other_pages_may_not_ask(client: Callable[..., Any]) -> None:
    page = client(read=read)
    assert page.get("/ask/about", headers={"origin": "http://evil.example"}).status_code == 403
    assert page.get("/ask/about", headers={"origin": "null"}).status_code == 403
    assert page.get("/ask/about", headers={"origin": "http://localhost:8765"}).status_code == 200
    for site in ("cross-site", "same-site"):  # a picture in another page has no Origin
        assert page.get("/ask/about", headers={"sec-fetch-site": site}).status_code == 403
        assert page.get("/", headers={"sec-fetch-site": site}).status_code == 200  # a link may lead here
    assert page.get("/ask/about", headers={"sec-fetch-site": "same-origin"}).status_code == 200
    form = page.post("/read", content=b"{}", headers={"content-type": "text/plain"})
    assert form.status_code == 415


def test_an_open_address_needs_its_token(client: Callable[..., Any]) -> None:
    page = client("http://box:9", access=AccessPolicy((), "s3cret"))
    for path in ("/", "/ask/about", "/static/page.js", "/?token=wrong", "/ask/about?token=s3cre"):
        assert page.get(path).status_code == 403
    entered = page.get("/?token=s3cret", follow_redirects=False)
    assert (entered.status_code, entered.headers["location"]) == (303, "./")
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert page.get("/ask/about").status_code == 200
    assert page.get("/").status_code == 200


def test_the_token_of_a_question_is_no_key(client: Callable[..., Any]) -> None:
    page = client("http://box:9", about=cases.translation(), access=AccessPolicy((), "s3cret"))
    assert page.get("/ask/process?token=s3cret").status_code == 403
    assert page.get("/ask/process?token=on").status_code == 403
    page.get("/?token=s3cret")
    followed, _ = from_bytes(page.get("/ask/process?token=on").content)
    assert "“▁on”" in followed["explanation"]["choice"][1]
    assert page.get("/ask/process?token=s3cret").json()["error"].count("s3cret")


def test_only_loopback_needs_no_token() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9"):
        assert door_of(host).token == ""
    for host in ("0.0.0.0", "::", "192.168.0.7", "box.local"):
        assert len(door_of(host).token) >= 20
        assert f"token={door_of(host).token}"[:6] in address(host, 1, "t")
    assert door_of("box.local").host("BOX.local:99")
    assert door_of("127.0.0.2").host("127.0.0.2:8765")  # the address that is printed is let in
    assert not door_of("box.local").host("evil.example")
    assert address("::1", 8, "") == "http://[::1]:8/"


def test_a_port_that_is_taken_is_said() -> None:
    with bound("127.0.0.1", 0) as taken:
        with pytest.raises(InputError, match="cannot be listened on"):
            bound("127.0.0.1", taken.getsockname()[1])


# ── Texts that are typed in ──


def test_a_text_is_typed_in_and_looked_at(client: Callable[..., Any]) -> None:
    page = client(read=read)
    assert from_bytes(page.get("/ask/about").content)[0]["has"]["read"]
    hostile = "</script><img src=x onerror=alert(1)> \u202e \u0007 one two."
    given = {
        "documents": [{"name": "a", "text": hostile}, {"name": "a", "text": "three"}],
        "question": "Who?",
    }
    name = page.post("/read", json=given).json()["subject"]
    head, _ = from_bytes(page.get("/ask/about", params={"subject": name}).content)
    assert head["sides"][0]["documents"] == ["a", "a (2)", "question"]
    assert hostile in head["sides"][0]["text"]
    assert page.get("/ask/row", params={"subject": name, "place": 0}).status_code == 200


def test_texts_of_one_name_are_all_kept() -> None:
    given = [
        {"name": name, "text": text} for name, text in (("a (2)", "1"), ("a", "2"), ("a", "3"), ("a", "4"))
    ]
    documents, _ = documents_of(json.dumps({"documents": given}).encode())
    assert sorted(documents.values()) == ["1", "2", "3", "4"]


def test_lines_end_as_those_of_files_do(tmp_path: Path) -> None:
    text = "one\r\ntwo\rthree\n\r\nfour"
    (tmp_path / "a.txt").write_bytes(text.encode())
    documents, _ = documents_of(json.dumps({"documents": [{"name": "a", "text": text}]}).encode())
    assert documents["a"] == read_text(tmp_path / "a.txt") == "one\ntwo three\n\nfour"


def test_only_the_last_texts_are_kept(client: Callable[..., Any]) -> None:
    page = client(read=read)
    names = [
        page.post("/read", json={"documents": [{"name": "", "text": f"text {n}"}]}).json()["subject"]
        for n in range(6)
    ]
    kept = [page.get("/ask/about", params={"subject": name}).status_code == 200 for name in names]
    assert kept == [False, False, True, True, True, True]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "comes as"),
        (b"[" * 100_000, "comes as"),
        (b'{"documents": []}', "Give one to"),
        (b'{"documents": [{"name": "a", "text": 3}]}', "are strings"),
        (b'{"documents": [{"name": "a", "text": "b"}], "question": 3}', "are strings"),
        (b'{"documents": {"name": "a"}}', "comes as"),
        (b'{"documents": [{"name": "a", "text": "o\\u0000n\\u0000e"}]}', "no NUL"),
        (b'{"documents": [{"name": "a", "text": "b"}], "question": "\\u0000"}', "no NUL"),
    ],
)
def test_what_is_no_text_is_refused(body: bytes, said: str, client: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=said):
        documents_of(body)
    response = client(read=read).post("/read", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400


def test_too_much_is_refused_before_it_is_read(client: Callable[..., Any]) -> None:
    page = client(read=read)
    long = {"documents": [{"name": "a", "text": "a" * (TEXT_BYTES + 1)}]}
    assert page.post("/read", json=long).status_code == 413
    assert (
        page.post(
            "/read", content=b" " * (2 * TEXT_BYTES + 1), headers={"content-type": "application/json"}
        ).status_code
        == 413
    )
    many = {"documents": [{"name": str(n), "text": "a"} for n in range(FILES + 1)]}
    assert page.post("/read", json=many).status_code == 400
    assert page.get("/ask/row", params={"place": 1, "slice": "0.0," * 3000}).status_code == 400


# ── The worker ──


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(most=3, seconds=0.5)
    yield made
    made.stop()


def test_equal_questions_are_one_job(worker: Worker) -> None:
    made: list[int] = []
    free = threading.Event()

    def slow(go_on: Callable[[], None]) -> int:
        free.wait(5)
        made.append(1)
        return 7

    async def run() -> list[Any]:
        jobs = [asyncio.ensure_future(worker.do("same", slow, asyncio.Event())) for _ in range(50)]
        await asyncio.sleep(0.01)
        free.set()
        return await asyncio.gather(*jobs)

    assert asyncio.run(run()) == [7] * 50
    assert len(made) == 1


def test_a_full_queue_refuses_at_once_and_the_rest_is_done(worker: Worker) -> None:
    free = threading.Event()

    async def run() -> list[Any]:
        jobs = [
            asyncio.ensure_future(worker.do(str(n), lambda go_on: free.wait(5), asyncio.Event()))
            for n in range(9)
        ]
        await asyncio.sleep(0.05)
        free.set()
        return await asyncio.gather(*jobs, return_exceptions=True)

    found = asyncio.run(run())
    assert {type(each) for each in found} == {bool, QueueFullError}
    assert 3 <= found.count(True) <= 4  # one may have been begun before the others came


def test_a_job_that_nobody_waits_for_ends(worker: Worker) -> None:
    ended = threading.Event()

    def endless(go_on: Callable[[], None]) -> None:
        try:
            while True:
                time.sleep(0.001)
                go_on()
        except JobCancelledError:
            ended.set()
            raise

    async def run() -> Any:
        gone = asyncio.Event()
        asked = asyncio.ensure_future(worker.do("long", endless, gone))
        await asyncio.sleep(0.03)
        gone.set()
        with pytest.raises(JobCancelledError):
            await asked
        return await worker.do("next", lambda go_on: 5, asyncio.Event())

    assert asyncio.run(run()) == 5
    assert ended.wait(1)


def test_who_leaves_takes_nothing_from_others(worker: Worker) -> None:
    free = threading.Event()

    async def run() -> Any:
        gone = asyncio.Event()
        leaves = asyncio.ensure_future(worker.do("same", lambda go_on: free.wait(5), gone))
        stays = asyncio.ensure_future(worker.do("same", lambda go_on: free.wait(5), asyncio.Event()))
        await asyncio.sleep(0.01)
        gone.set()
        with pytest.raises(JobCancelledError):
            await leaves
        free.set()
        return await asyncio.wait_for(stays, 5)

    assert asyncio.run(run())


def test_a_job_may_take_so_long_and_no_longer(worker: Worker) -> None:
    def endless(go_on: Callable[[], None]) -> None:
        while True:
            time.sleep(0.001)
            go_on()

    with pytest.raises(JobTimeoutError):
        asyncio.run(worker.do("long", endless, asyncio.Event()))


# ── The cache ──


def test_the_cache_stays_within_its_bytes() -> None:
    cache = Cache(limit=100)
    for number in range(500):
        cache.put(str(number % 37), bytes(number % 23))
        assert cache.bytes <= 100
        assert cache.bytes == sum(len(each) for each in cache._kept.values())
    cache.put("large", bytes(101))
    assert cache.get("large") is None
    cache.put("a", bytes(60))
    cache.put("b", bytes(30))
    assert cache.get("a") is not None
    cache.put("c", bytes(40))  # "b" was asked for longest ago
    assert cache.get("b") is None
    assert cache.get("a") is not None
