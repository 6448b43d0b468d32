"""Text that came out of a sandbox, for files that do not take everything or not that much of it."""

from __future__ import annotations

import re

_XML_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def spelled(match: re.Match[str]) -> str:
    """A character that cannot be shown, as an escape: for `re.sub`."""
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def xml_legal(text: str) -> str:
    """`text` with the characters that XML 1.0 cannot carry spelled out."""
    return _XML_ILLEGAL.sub(spelled, text)


def cut(text: str, limit: int, *, mark: str = "\n[… {left_out} of {length} characters left out …]\n") -> str:
    """`text`, or where it is longer than `limit`, its head and tail with a mark between them."""
    if len(text) <= limit:
        return text
    head = limit // 2
    tail = limit - head
    return text[:head] + mark.format(left_out=len(text) - limit, length=len(text)) + text[len(text) - tail :]
