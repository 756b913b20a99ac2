"""The page served: an ASGI application of a subject, and of the texts that are typed in."""

from __future__ import annotations

from typing import Any

from limelight.errors import require
from limelight.viewer.lru_cache import BYTES, Cache
from limelight.viewer.protocol.requests import Question
from limelight.viewer.serve.access import AccessPolicy, WithHeaders
from limelight.viewer.serve.subjects import Read, Subjects
from limelight.viewer.serve.worker import Worker
from limelight.viewer.subject import Subject


def application(
    subject: Subject,
    read: Read | None = None,
    access: AccessPolicy | None = None,
    cache_bytes: int = BYTES,
    worker: Worker | None = None,
) -> Any:
    """An ASGI application. `read` makes a subject of what is typed in; without it nothing can be.

    The first pass over all its matrices begins at once, beside the answers. Raises MissingExtraError where starlette
    is missing.
    """
    require("starlette", extra="web", purpose="A server")
    from limelight.viewer.serve.routes import Site

    subject.answer(Question.of("about", {}))  # finds words and sentences, before anybody waits for them
    library = Subjects(subject, read)
    library.start_first_pass(subject)
    return WithHeaders(Site(library, access or AccessPolicy(), Cache(cache_bytes), worker or Worker()).app())
