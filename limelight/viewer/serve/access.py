"""AccessPolicy: which requests the server answers (host, token, origin), and its security headers."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

COOKIE = "limelight-token"


@dataclass(frozen=True)
class AccessPolicy:
    """Who may come in.

    hosts  what the Host header may say, without port; () for anything
    token  what must be known; "" for nothing
    """

    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    token: str = ""

    def host(self, header: str) -> bool:
        """Whether this server goes by that name."""
        name = header if header.endswith("]") else header.rpartition(":")[0] or header
        return not self.hosts or name.lower() in self.hosts

    def knows(self, given: str | None) -> bool:
        """Whether this is the token."""
        return not self.token or hmac.compare_digest((given or "").encode(), self.token.encode())

    def refusal(self, request: Any) -> tuple[int, str] | None:
        """Status and reason where a request (starlette's) is not answered; None where it is."""
        if not self.host(request.headers.get("host", "")):
            return 421, "This server is not known by that name."
        at_the_door = request.url.path == "/"  # elsewhere `token` is a param of a question
        given = request.cookies.get(COOKIE), request.query_params.get("token") if at_the_door else None
        if not any(self.knows(each) for each in given):
            return 403, "This address needs its token: open the one that the server has printed."
        # Pictures of other sites send no Origin, but could start long work.
        if request.headers.get("sec-fetch-site", "none") in ("cross-site", "same-site"):
            if not at_the_door:
                return 403, "Only the page itself may ask."
        origin = request.headers.get("origin")
        if origin and origin.partition("://")[2] != request.headers.get("host"):
            return 403, "Only the page itself may ask."
        return None


class WithHeaders:
    """An ASGI application whose every answer tells the browser to keep it to itself."""

    ALWAYS = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"x-frame-options", b"DENY"),
        (b"cache-control", b"no-store"),
    )

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self.ALWAYS]
            await send(message)

        await self.app(scope, receive, with_headers)
