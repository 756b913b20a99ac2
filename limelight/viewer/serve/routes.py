"""Site: the routes of the page served, around a library of subjects, one thread that computes, one cache.

Needs starlette: server.py asks for it and then imports this.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from limelight.errors import LimelightError, TooLargeError
from limelight.viewer import template
from limelight.viewer.lru_cache import Cache
from limelight.viewer.protocol.requests import Question
from limelight.viewer.protocol.responses import Answer
from limelight.viewer.serve.access import COOKIE, AccessPolicy
from limelight.viewer.serve.subjects import Subjects
from limelight.viewer.serve.uploads import FILES, MOST_BYTES, TEXT_BYTES, documents_of, too_large
from limelight.viewer.serve.worker import GoOn, JobCancelledError, JobTimeoutError, QueueFullError, Worker
from limelight.viewer.subject import NotReadyError, Subject

READS = 4
"""Texts that wait to be read by the model, which has a thread of its own: nobody else waits for it."""
AGAIN_AFTER = 1
"""Seconds after which one who was refused may ask again."""
MEDIA = {template.SCRIPT: "text/javascript", template.STYLE: "text/css"}

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(eq=False)
class Site:
    """What is answered at which address. `worker` computes answers, `reader` reads what was typed in."""

    library: Subjects
    access: AccessPolicy
    cache: Cache
    worker: Worker
    reader: Worker = field(default_factory=lambda: Worker(most=READS))

    def app(self) -> Starlette:
        """The routes, each behind the door."""
        return Starlette(
            routes=[
                Route("/", self._behind(self.page)),
                Route("/static/{name}", self._behind(self.static)),
                Route("/ask/{kind}", self._behind(self.ask)),
                Route("/read", self._behind(self.read), methods=["POST"]),
            ],
            exception_handlers={404: not_found, 500: server_error},
            lifespan=self._lifespan,
        )

    # ---- routes -----------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """The page itself; who comes with the token gets it as a cookie, and an address without it."""
        if self.access.token and "token" in request.query_params:
            response = RedirectResponse("./", 303)
            response.set_cookie(COOKIE, self.access.token, httponly=True, samesite="lax")
            return response
        if template.built(template.SCRIPT) is None:
            return HTMLResponse(template.unbuilt(), 503)
        document, policy = template.served(self.library.first.title)
        return HTMLResponse(document, headers={"Content-Security-Policy": policy})

    async def static(self, request: Request) -> Response:
        """The page's script and style."""
        name = request.path_params["name"]
        text = template.built(name) if name in MEDIA else None
        if text is None:
            return error_response(404, "There is no such file.")
        return Response(text, media_type=MEDIA[name])

    async def ask(self, request: Request) -> Response:
        """The answer to a question about one of the subjects."""
        params = dict(request.query_params)
        name = params.pop("subject", "0")
        async with _leaving(request) as gone:
            subject = self.library.get(name)
            question = Question.of(request.path_params["kind"], params)
            return await self._answered(subject, name, question, gone)

    async def read(self, request: Request) -> Response:
        """A subject of the texts that were typed in."""
        reads = self.library.read
        if reads is None:
            return error_response(404, "This server shows one text and takes no others.")
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return error_response(415, "A text comes as application/json.")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                raise too_large("these have more")
        documents, question = documents_of(body)
        async with _leaving(request) as gone:
            key = f"read {secrets.token_hex(8)}"
            made = await self.reader.do(key, lambda go_on: reads(documents, question), gone)
            return JSONResponse({"subject": self.library.add(made)})

    # ---- inside -----------------------------------------------------------------------------------

    def _behind(self, handler: Handler) -> Handler:
        """What is let in is handled, and what fails is told."""

        async def handled(request: Request) -> Response:
            if refusal := self.access.refusal(request):
                return error_response(*refusal)
            try:
                return await handler(request)
            except LimelightError as error:
                return exception_response(error)

        return handled

    async def _answered(
        self, subject: Subject, name: str, question: Question, gone: asyncio.Event
    ) -> Response:
        if question.kind == "progress":
            return binary_response(subject.answer(question).to_bytes(question.params))
        key = f"{name} {question.key}"
        found = self.cache.get(key)
        if found is None and question.kind == "about":
            found = self._told(subject, question)
            self.cache.put(key, found)
        if found is not None:
            return binary_response(found)

        def make(go_on: GoOn) -> bytes:
            data = subject.answer(question, go_on).to_bytes(question.params)
            self.cache.put(key, data)
            return data

        try:
            return binary_response(await self.worker.do(key, make, gone))
        except NotReadyError:
            waiting = Answer("waiting", {"of": question.kind, "done": subject.reading.share})
            return binary_response(waiting.to_bytes(question.params), 202, {"Retry-After": str(AGAIN_AFTER)})

    def _told(self, subject: Subject, question: Question) -> bytes:
        """`about`, with what this server takes."""
        answer = subject.answer(question)
        head = dict(answer.head)
        head["has"] = head["has"] | {"read": self.library.read is not None}
        head["limits"] = {"text_bytes": TEXT_BYTES, "files": FILES}
        return replace(answer, head=head).to_bytes(question.params)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        self.library.stopped.set()
        self.worker.stop()
        self.reader.stop()


@asynccontextmanager
async def _leaving(request: Request) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the one who asked has left."""
    gone = asyncio.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watcher = asyncio.ensure_future(watch())
    try:
        yield gone
    finally:
        watcher.cancel()


# ---- answers --------------------------------------------------------------------------------------------


def binary_response(data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An envelope."""
    return Response(data, status, headers, media_type="application/octet-stream")


def error_response(status: int, said: str, **headers: str) -> Response:
    """A reason, for the page to show."""
    return JSONResponse({"error": said}, status, headers)


def exception_response(error: LimelightError) -> Response:
    """What was asked for is not there, or not now."""
    if isinstance(error, QueueFullError):
        return error_response(503, str(error), **{"Retry-After": str(AGAIN_AFTER)})
    if isinstance(error, JobTimeoutError):
        return error_response(504, str(error))
    if isinstance(error, JobCancelledError):
        return error_response(499, str(error))
    return error_response(413 if isinstance(error, TooLargeError) else 400, str(error))


async def not_found(request: Request, error: Exception) -> Response:
    return error_response(404, "There is nothing at this address.")


async def server_error(request: Request, error: Exception) -> Response:
    return error_response(500, f"This failed inside Limelight: {type(error).__name__}.")
