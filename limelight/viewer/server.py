"""The page served: starlette's routes around a library of subjects, one thread that computes, one cache."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from limelight.errors import InputError, LimelightError, TooLargeError, require
from limelight.viewer import shell
from limelight.viewer.cache import BYTES, Cache
from limelight.viewer.envelope import Answer
from limelight.viewer.questions import Question
from limelight.viewer.subject import NotYetError, Subject
from limelight.viewer.work import DroppedError, FullError, GoOn, LateError, Worker

TEXT_BYTES = 1_000_000
READS = 4
"""Texts that wait to be read by the model, which has a thread of its own: nobody else waits for it."""
FILES = 50
SUBJECTS = 4
"""Texts that were typed in and are kept; the one asked for longest ago goes first."""
AGAIN_AFTER = 1
"""Seconds after which one who was refused may ask again."""
AT_ONCE = ("about", "progress")
"""Answered without the queue."""

Read = Callable[[Mapping[str, str], str | None], Subject]
"""Documents (name → text) and a question → a subject."""


@dataclass(eq=False)
class Library:
    """The subjects by their numbers; those that were typed in come and go."""

    first: Subject
    read: Read | None = None
    typed: OrderedDict[str, Subject] = field(default_factory=OrderedDict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def get(self, name: str) -> Subject:
        """Raises InputError for one that is gone."""
        if name in ("", "0"):
            return self.first
        if name not in self.typed:
            raise InputError("This text is not kept any more. Type it in again.")
        self.typed.move_to_end(name)
        return self.typed[name]

    def add(self, subject: Subject) -> str:
        name = secrets.token_urlsafe(9)
        self.typed[name] = subject
        while len(self.typed) > SUBJECTS:
            self.typed.popitem(last=False)
        self.walk(subject)
        return name

    def walk(self, subject: Subject) -> None:
        """Read all its matrices, beside everything else."""

        def go_on() -> None:
            if self.stopped.is_set() or (subject is not self.first and subject not in self.typed.values()):
                raise DroppedError("Nobody looks at this any more.")

        def work() -> None:
            try:
                subject.read(go_on)
            except LimelightError:
                return  # `progress` tells

        threading.Thread(target=work, name="limelight-walk", daemon=True).start()


@dataclass(frozen=True)
class Door:
    """Who may come in.

    hosts  what the Host header may say, without port; () for anything
    token  what must be known; "" for nothing
    """

    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    token: str = ""

    def host(self, header: str) -> bool:
        name = header if header.endswith("]") else header.rpartition(":")[0] or header
        return not self.hosts or name.lower() in self.hosts

    def knows(self, given: str | None) -> bool:
        return not self.token or hmac.compare_digest((given or "").encode(), self.token.encode())


def application(
    subject: Subject,
    read: Read | None = None,
    door: Door | None = None,
    cache_bytes: int = BYTES,
    worker: Worker | None = None,
) -> Any:
    """An ASGI application. `read` makes a subject of what is typed in; without it nothing can be."""
    require("starlette", extra="web", purpose="A server")
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
    from starlette.routing import Route

    library, cache = Library(subject, read), Cache(cache_bytes)
    door, worker, reader = door or Door(), worker or Worker(), Worker(most=READS)
    cookie = "limelight-token"
    subject.answer(Question.of("about", {}))  # finds words and sentences, before anybody waits for them
    library.walk(subject)

    def refused(status: int, said: str, **headers: str) -> Response:
        return JSONResponse({"error": said}, status, headers)

    def kept_out(request: Request) -> Response | None:
        """Why this request is not answered; None where it is."""
        if not door.host(request.headers.get("host", "")):
            return refused(421, "This server is not known by that name.")
        if not door.knows(request.cookies.get(cookie)) and not door.knows(request.query_params.get("token")):
            return refused(403, "This address needs its token: open the one that the server has printed.")
        origin = request.headers.get("origin")
        if origin and origin.partition("://")[2] != request.headers.get("host"):
            return refused(403, "Only the page itself may ask.")
        return None

    async def page(request: Request) -> Response:
        if out := kept_out(request):
            return out
        if door.token and "token" in request.query_params:
            response: Response = RedirectResponse("./", 303)
            response.set_cookie(cookie, door.token, httponly=True, samesite="strict")
            return response
        if shell.built(shell.SCRIPT) is None:
            return HTMLResponse(shell.unbuilt(), 503)
        document, policy = shell.served(subject.title)
        return HTMLResponse(document, headers={"Content-Security-Policy": policy})

    async def static(request: Request) -> Response:
        if out := kept_out(request):
            return out
        kinds = {shell.SCRIPT: "text/javascript", shell.STYLE: "text/css"}
        name = request.path_params["name"]
        text = shell.built(name) if name in kinds else None
        return (
            refused(404, "There is no such file.") if text is None else Response(text, media_type=kinds[name])
        )

    async def ask(request: Request) -> Response:
        if out := kept_out(request):
            return out
        params = dict(request.query_params)
        params.pop("token", None)
        name = params.pop("subject", "0")
        gone = asyncio.Event()
        watcher = asyncio.ensure_future(_watch(request, gone))
        try:
            asked = library.get(name)
            question = Question.of(request.path_params["kind"], params)
            return await answered(asked, name, question, gone)
        except LimelightError as error:
            return failed(error)
        finally:
            watcher.cancel()

    async def answered(asked: Subject, name: str, question: Question, gone: asyncio.Event) -> Response:
        key = f"{name} {question.key}"

        def make(go_on: GoOn) -> bytes:
            data = asked.answer(question, go_on).to_bytes(question.params)
            cache.put(key, data)
            return data

        if question.kind == "progress":
            return octets(asked.answer(question).to_bytes(question.params))
        found = cache.get(key)
        if found is None and question.kind == "about":
            found = told(asked, question)
            cache.put(key, found)
        if found is not None:
            return octets(found)
        try:
            return octets(await worker.do(key, make, gone))
        except NotYetError:
            waiting = Answer("waiting", {"of": question.kind, "done": asked.reading.share})
            return octets(waiting.to_bytes(question.params), 202, {"Retry-After": str(AGAIN_AFTER)})

    def told(asked: Subject, question: Question) -> bytes:
        """`about`, with what this server takes."""
        answer = asked.answer(question)
        head = dict(answer.head)
        head["has"] = head["has"] | {"read": read is not None}
        head["limits"] = {"text_bytes": TEXT_BYTES, "files": FILES}
        return replace(answer, head=head).to_bytes(question.params)

    async def typed(request: Request) -> Response:
        if out := kept_out(request):
            return out
        if library.read is None:
            return refused(404, "This server shows one text and takes no others.")
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return refused(415, "A text comes as application/json.")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > 2 * TEXT_BYTES:  # JSON may write a character in more bytes than it has
                return refused(413, f"At most {TEXT_BYTES:,} bytes of text are read.")
        try:
            documents, question = documents_of(body)
        except LimelightError as error:
            return failed(error)
        reads = library.read
        gone = asyncio.Event()
        watcher = asyncio.ensure_future(_watch(request, gone))
        try:
            made = await reader.do(
                f"read {secrets.token_hex(8)}", lambda go_on: reads(documents, question), gone
            )
            return JSONResponse({"subject": library.add(made)})
        except LimelightError as error:
            return failed(error)
        finally:
            watcher.cancel()

    def failed(error: LimelightError) -> Response:
        if isinstance(error, FullError):
            return refused(503, str(error), **{"Retry-After": str(AGAIN_AFTER)})
        if isinstance(error, LateError):
            return refused(504, str(error))
        if isinstance(error, DroppedError):
            return refused(499, str(error))
        return refused(413 if isinstance(error, TooLargeError) else 400, str(error))

    def octets(data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        return Response(data, status, headers, media_type="application/octet-stream")

    async def lost(request: Request, error: Exception) -> Response:
        return refused(404, "There is nothing at this address.")

    async def broken(request: Request, error: Exception) -> Response:
        return refused(500, f"This failed inside Limelight: {type(error).__name__}.")

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/static/{name}", static),
            Route("/ask/{kind}", ask),
            Route("/read", typed, methods=["POST"]),
        ],
        exception_handlers={404: lost, 500: broken},
        lifespan=_lifespan(library, (worker, reader)),
    )
    app.state.cache, app.state.library = cache, library
    return _WithHeaders(app)


class _WithHeaders:
    """What every answer says of itself."""

    ALWAYS = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"x-frame-options", b"DENY"),
        (b"cache-control", b"no-store"),
    )

    def __init__(self, app: Any) -> None:
        self.app, self.state = app, app.state

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self.ALWAYS]
            await send(message)

        await self.app(scope, receive, with_headers)


def documents_of(body: bytes) -> tuple[dict[str, str], str | None]:
    """What was typed in or dropped: {"documents": [{"name", "text"}], "question"}. Raises InputError."""
    try:
        given = json.loads(body)
        listed = [(str(each["name"]), each["text"]) for each in given["documents"]]
        question = given.get("question")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError('A text comes as {"documents": [{"name", "text"}], "question": null}.') from error
    if not listed or len(listed) > FILES:
        raise InputError(f"Give one to {FILES} texts; got {len(listed)}.")
    if not all(isinstance(text, str) for _, text in listed) or not isinstance(question, str | None):
        raise InputError("A text and a question are strings.")
    size = sum(len(text.encode("utf-8", "surrogatepass")) for _, text in listed)
    if size > TEXT_BYTES:
        raise TooLargeError(f"At most {TEXT_BYTES:,} bytes of text are read; these have {size:,}.")
    documents: dict[str, str] = {}
    for number, (name, text) in enumerate(listed, 1):
        free = name.strip()[:200] or f"text {number}"
        documents[free if free not in documents else f"{free} ({number})"] = text
    return documents, question or None


async def _watch(request: Any, gone: asyncio.Event) -> None:
    """Set `gone` when the one who asked has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    gone.set()


def _lifespan(library: Library, workers: tuple[Worker, ...]) -> Any:
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        yield
        library.stopped.set()
        for worker in workers:
            worker.stop()

    return lifespan
