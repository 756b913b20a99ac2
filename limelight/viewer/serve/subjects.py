"""Subjects: those of a server by name, the one it started with and those users typed in."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from limelight.errors import InputError, LimelightError
from limelight.viewer.serve.worker import JobCancelledError
from limelight.viewer.subject import Subject

SUBJECTS = 4
"""Texts that were typed in and are kept; the one asked for longest ago goes first."""

Read = Callable[[Mapping[str, str], str | None], Subject]
"""Documents (name → text) and a question → a subject."""


@dataclass(eq=False)
class Subjects:
    """The subjects by their names. `read` makes one of what is typed in; without it nothing can be."""

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
        """Its name from now on; the oldest may have to go."""
        name = secrets.token_urlsafe(9)
        self.typed[name] = subject
        while len(self.typed) > SUBJECTS:
            self.typed.popitem(last=False)
        self.start_first_pass(subject)
        return name

    def start_first_pass(self, subject: Subject) -> None:
        """Read all its matrices, beside everything else."""

        def go_on() -> None:
            if self.stopped.is_set() or (subject is not self.first and subject not in self.typed.values()):
                raise JobCancelledError("Nobody looks at this any more.")

        def work() -> None:
            try:
                subject.read(go_on)
            except LimelightError:
                return  # `progress` tells

        threading.Thread(target=work, name="limelight-first-pass", daemon=True).start()
