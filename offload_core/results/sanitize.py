"""What comes out of a sandbox is not trusted: control characters, secrets and sizes are dealt with here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs

from ..events import Consumer, Stamped
from ..kit import cut, spelled

Redact = Callable[[str], str]
"""Returns its argument with every secret in it replaced."""

# CSI, then strings (OSC, DCS, SOS, PM, APC) up to their end or the end of the line, then two-character sequences.
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
# What a terminal may act on, what reorders the text around it, and what no encoding can carry.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` without escape sequences; other control characters are spelled out, line breaks and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n"))
    return _UNPRINTABLE.sub(spelled, text.replace("\r", "\n"))


def one_line(text: str, limit: int = 500) -> str:
    """`printable` on one line of at most `limit` characters."""
    line = " ".join(printable(text[: 4 * limit]).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def name_line(name: str, limit: int = 1000) -> str:
    """A test's id or another name on one line: as it is, but for control characters and line breaks spelled out."""
    if len(name) <= limit and name.isascii() and name.isprintable():
        return name
    line = _UNPRINTABLE.sub(spelled, cut(name, limit, mark="…").replace("\n", "\\n").replace("\t", "\\t"))
    return line.replace("\r", "\\r")


def file_name(name: str) -> str:
    """`name` as the name of a file on any system, at most 100 characters."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".-")[:100] or "unnamed"


def redacting(consumer: Consumer, redact: Redact | None) -> Consumer:
    """A consumer that gets every string of every event redacted; `consumer` itself where there are no secrets."""
    if redact is None:
        return consumer
    return lambda stamped: consumer(Stamped(stamped.at, _redacted(stamped.event, redact)))


def _redacted(value: Any, redact: Redact) -> Any:
    """A copy of a tree of attrs objects and tuples with `redact` applied to its strings; unchanged parts are shared."""
    if type(value) is str:
        hidden = redact(value)
        bare = _ESCAPE_SEQUENCE.sub("", value) if "\x1b" in value or "\x9b" in value else value
        # colors inside a secret would hide it here, and are taken out where it is shown
        return hidden if bare is value or (found := redact(bare)) == bare else found
    if isinstance(value, tuple):
        items = tuple(_redacted(item, redact) for item in value)
        return items if items != value else value
    if not attrs.has(type(value)):
        return value
    changes = {}
    for attribute in attrs.fields(type(value)):
        old = getattr(value, attribute.name)
        new = _redacted(old, redact)
        if new != old:
            changes[attribute.alias] = new
    return attrs.evolve(value, **changes) if changes else value
