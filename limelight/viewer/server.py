"""The page served: an ASGI application of a subject, and of the texts that are typed in."""

from __future__ import annotations

from typing import Any

from limelight.errors import require
from limelight.viewer.cache import BYTES, Cache
from limelight.viewer.door import Door, WithHeaders
from limelight.viewer.library import Library, Read
from limelight.viewer.questions import Question
from limelight.viewer.subject import Subject
from limelight.viewer.work import Worker


def application(
    subject: Subject,
    read: Read | None = None,
    door: Door | None = None,
    cache_bytes: int = BYTES,
    worker: Worker | None = None,
) -> Any:
    """An ASGI application. `read` makes a subject of what is typed in; without it nothing can be.

    The walk over all its matrices begins at once, beside the answers. Raises MissingExtraError without starlette.
    """
    require("starlette", extra="web", purpose="A server")
    from limelight.viewer.site import Site

    subject.answer(Question.of("about", {}))  # finds words and sentences, before anybody waits for them
    library = Library(subject, read)
    library.walk(subject)
    return WithHeaders(Site(library, door or Door(), Cache(cache_bytes), worker or Worker()).app())
