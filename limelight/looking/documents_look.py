"""What a look at documents returns: the attention of an answer, a question or a text, by document, sentence, word."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from limelight.ablation.leave_one_out import AblationResult
from limelight.readings.documents import LookedAt
from limelight.readings.reading import Reading


@dataclass(frozen=True)
class DocumentsLook:
    """What a model looked at in several documents.

    who       who looks: "answer", "question", or "text" (all tokens of the documents)
    views     one `LookedAt` for each of `VIEWS`
    table     documents × documents: what each looks at, in self-attention; None of windows, which have one each, and
              of a recurrent network
    removal   how far the output moves without a document (or sentence, word), if it was asked for
    notes     what was cut, and what else a reader should know
    """

    name: str
    documents: tuple[str, ...]
    question: str | None
    answer: str | None
    who: str
    views: dict[str, LookedAt]
    table: Reading | None
    removal: AblationResult | None = None
    notes: tuple[str, ...] = ()
    windows: tuple[DocumentsLook, ...] = field(default=(), repr=False)
    """Where the text was read in windows: each by itself, and the views above are their means."""
    part: str = "document"
    """What a document is to its reader: a "message" in a conversation."""

    def __repr__(self) -> str:
        return f"DocumentsLook({self.who} of {self.name or 'a model'} looks at {self.views['weight']!r})"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        return {
            "model": self.name,
            "documents": list(self.documents),
            "question": self.question,
            "answer": self.answer,
            "who": self.who,
            "views": {name: view.to_json() for name, view in self.views.items()},
            "table": self.table.to_json() if self.table else None,
            "removal": self.removal.to_json() if self.removal else None,
            "notes": list(self.notes),
            "windows": [window.to_json() for window in self.windows],
        }
