"""`limelight serve`: the server on an address of this machine, with a token where others can reach it."""

from __future__ import annotations

import errno
import ipaddress
import secrets
import socket
from collections.abc import Callable

from limelight.errors import InputError, require
from limelight.viewer.serve.access import AccessPolicy
from limelight.viewer.serve.server import application
from limelight.viewer.serve.subjects import Read
from limelight.viewer.subject import Subject

HOST, PORT = "127.0.0.1", 8765
CONNECTIONS = 512
EVERYWHERE = ("0.0.0.0", "::")


def serve(
    subject: Subject,
    read: Read | None = None,
    host: str = HOST,
    port: int = PORT,
    started: Callable[[str], None] = print,
) -> None:
    """Serve the page until Ctrl-C. `started` is told the address to open.

    Only this machine can reach a loopback address. Any other gets a token: whoever has the address comes in.
    Raises InputError where the address cannot be had.
    """
    uvicorn = require("uvicorn", extra="web", purpose="limelight serve")
    access = door_of(host)
    place = bound(host, port)
    port = place.getsockname()[1]
    app = application(subject, read, access)
    settings = uvicorn.Config(
        app, log_level="warning", access_log=False, limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=2
    )
    started(address(host, port, access.token))
    uvicorn.Server(settings).run(sockets=[place])


def door_of(host: str) -> AccessPolicy:
    """Loopback needs no token and is known by its own names only."""
    if is_loopback(host):
        return AccessPolicy((*dict.fromkeys((*AccessPolicy().hosts, _bracketed(host).lower())),))
    hosts = () if host in EVERYWHERE else (_bracketed(host).lower(), *AccessPolicy().hosts)
    return AccessPolicy(hosts, secrets.token_urlsafe(18))


def address(host: str, port: int, token: str) -> str:
    """What to open in a browser."""
    name = socket.gethostname() if host in EVERYWHERE else _bracketed(host)
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, port: int) -> None:
    """Raises InputError where the page could not be served: whoever reads long for it, asks beforehand."""
    bound(host, port).close()


def bound(host: str, port: int) -> socket.socket:
    """The socket that listens."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).partition(" (while ")[0]
        taken = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
        way = (
            "Give another --port, or 0 for any that is free"
            if taken
            else "Give a --host that is an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them"
        )
        raise InputError(f"{host} port {port} cannot be listened on: {reason}. {way}.") from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
