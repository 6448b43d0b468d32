"""The line of every key is known, however the document is written."""

from __future__ import annotations

import tomllib
from typing import Any

from offload_core.config.keys import KeyPath
from offload_core.config.positions import lines_of

DOCUMENT = '''\
# [not.a.table]
top = "# not a comment"

[a]
x = 1  # y = 2
"quoted key" = 'a = 3'
b.c.d = """
[fake]
fake = "\\"""
"""
e = \'\'\'
it's """ fake = 1
\'\'\'
list = [
    "one", # two
    [2, { deep = true }],
]
inline = { p = 1, q = { r = "}" } }

[[array]]
name = "first"
[array.sub]
z = 1.5e3
[[array]]
name = 1979-05-27 07:32:00

[a.after]
last = inf
'''


def test_lines_of_all_kinds_of_keys() -> None:
    """Headers, dotted and quoted keys, strings of several lines, arrays, inline tables, arrays of tables."""
    tomllib.loads(DOCUMENT)
    expected = {
        ("top",): 2,
        ("a",): 4,
        ("a", "x"): 5,
        ("a", "quoted key"): 6,
        ("a", "b"): 7,
        ("a", "b", "c"): 7,
        ("a", "b", "c", "d"): 7,
        ("a", "e"): 11,
        ("a", "list"): 14,
        ("a", "list", 0): 15,
        ("a", "list", 1): 16,
        ("a", "list", 1, 0): 16,
        ("a", "list", 1, 1): 16,
        ("a", "list", 1, 1, "deep"): 16,
        ("a", "inline"): 18,
        ("a", "inline", "p"): 18,
        ("a", "inline", "q"): 18,
        ("a", "inline", "q", "r"): 18,
        ("array",): 20,
        ("array", 0): 20,
        ("array", 0, "name"): 21,
        ("array", 0, "sub"): 22,
        ("array", 0, "sub", "z"): 23,
        ("array", 1): 24,
        ("array", 1, "name"): 25,
        ("a", "after"): 27,
        ("a", "after", "last"): 28,
    }
    assert lines_of(DOCUMENT) == expected


def test_every_key_that_tomllib_sees_has_a_line() -> None:
    """Also with CRLF line ends and without a last line end."""

    def keys(value: object, path: KeyPath = ()) -> set[KeyPath]:
        pairs: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        found: set[KeyPath] = set()
        for name, each in pairs:
            found |= {(*path, name)} | keys(each, (*path, name))
        return found

    for text in (DOCUMENT, DOCUMENT.replace("\n", "\r\n"), DOCUMENT.rstrip(), "", "a=1", "[x]\n[x.y]\na.b=[]"):
        assert keys(tomllib.loads(text)) == set(lines_of(text))
