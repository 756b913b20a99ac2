"""The page in a notebook: the same front end as a widget, which asks over the kernel's own channel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from limelight.errors import LimelightError, require
from limelight.viewer import template
from limelight.viewer.lru_cache import Cache
from limelight.viewer.protocol.requests import Question
from limelight.viewer.protocol.responses import Answer
from limelight.viewer.subject import Subject

HEIGHT = 640
"""CSS pixels."""
BYTES = 2**27
"""Of the answers that a widget keeps."""


def widget(subject: Subject, height: int = HEIGHT) -> Any:
    """An anywidget of the subject; the last line of a cell shows it.

    Raises MissingExtraError without anywidget, InputError where the front end was not built.
    """
    anywidget = require("anywidget", extra="notebook", purpose="A page in a notebook")
    traitlets = require("traitlets", extra="notebook", purpose="A page in a notebook")

    class Page(anywidget.AnyWidget):  # type: ignore[name-defined]
        """Limelight's page. It holds its subject for as long as the notebook holds it."""

        _esm = template.needed(template.WIDGET)
        _css = template.needed(template.STYLE)
        height = traitlets.Int(HEIGHT).tag(sync=True)

        def __init__(self, **traits: Any) -> None:
            super().__init__(**traits)
            self.answers = Answers(subject)
            self.on_msg(self._asked)

        def _asked(self, _: Any, content: Any, buffers: Any) -> None:
            if isinstance(content, dict) and content.get("type") == "ask":
                reply, data = self.answers.reply(content)
                self.send(reply, buffers=data)

    return Page(height=height)


class Answers:
    """What a widget sends back."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.cache = subject, Cache(BYTES)

    def reply(self, asked: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """The message and its buffers; what is wrong becomes a message too."""
        number = asked.get("id")
        try:
            question = Question.of(str(asked.get("kind")), asked.get("params") or {})
            return {"type": "answer", "id": number}, [self._answer(question)]
        except LimelightError as error:
            return {"type": "error", "id": number, "error": str(error)}, []
        except Exception as error:  # a cell has no log: say it in the page
            return {"type": "error", "id": number, "error": f"{type(error).__name__}: {error}"}, []

    def _answer(self, question: Question) -> bytes:
        found = self.cache.get(question.key)
        if found is None:
            self.subject.read() if question.kind not in ("about", "progress") else None
            made = self.subject.answer(question)
            if question.kind == "about":
                made = _about(made)
            found = made.to_bytes(question.params)
            if question.kind != "progress":
                self.cache.put(question.key, found)
        return found


def _about(made: Answer) -> Answer:
    return replace(made, head=dict(made.head) | {"mode": "notebook"})
