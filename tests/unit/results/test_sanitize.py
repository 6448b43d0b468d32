"""Text from sandboxes is made harmless, and secrets do not get through."""

from __future__ import annotations

import attrs
import pytest

from offload_core.abc import Outcome
from offload_core.events import Incident, IncidentKind, Stamped, Warned
from offload_core.kit import cut, xml_legal
from offload_core.results.sanitize import file_name, name_line, one_line, printable, redacting
from tests.support.synthetic import ended, found, started


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nmore", "plain\ttext\nmore"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]never ended\nnext line", "\nnext line"),
        ("\x1bPq#0;2\x1b\\sixel", "sixel"),
        ("\x1bcreset", "reset"),
        ("\x1b", "\\x1b"),
        ("a\rb", "a\nb"),
        ("a\r\nb", "a\nb"),
        ("\x00\x08\x7f", "\\x00\\x08\\x7f"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udc80", "\\udc80"),
        ("é漢🎉", "é漢🎉"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """Escape sequences go, other control characters are spelled out, all else stays."""
    assert printable(text) == shown


def test_one_line_and_names() -> None:
    """Messages are folded into a line; names keep every character or show it."""
    assert one_line("a\n  b\x1b[2J\tc") == "a b c"
    assert one_line("x" * 1000, 10) == "x" * 9 + "…"
    assert name_line("test[a\nb\tc \x1b[2J]") == "test[a\\nb\\tc \\x1b[2J]"
    assert len(name_line("x" * 5000)) < 1100


def test_cut_says_what_is_left_out() -> None:
    """Head and tail stay, and the mark tells how much there was."""
    assert cut("short", 100) == "short"
    text = cut("a" * 100 + "z" * 100, 20)
    assert text.startswith("a" * 10 + "\n")
    assert text.endswith("\n" + "z" * 10)
    assert "180 of 200 characters left out" in text


def test_file_names() -> None:
    """No name of a sandbox leaves its directory or hides."""
    assert file_name("../../etc/passwd") == "etc-passwd"
    assert file_name("..") == "unnamed"
    assert file_name("a b\n/é") == "a-b-"
    assert len(file_name("x" * 999)) == 100


def test_xml_legal() -> None:
    """What XML 1.0 cannot carry is spelled out."""
    assert xml_legal("a\x00\x1b\ufffe\udc80\t\n") == "a\\x00\\x1b\\ufffe\\udc80\t\n"


def test_redaction_reaches_every_string() -> None:
    """A secret is replaced wherever it stands in an event; what has none is handed on as it is."""
    seen: list[Stamped] = []
    consume = redacting(seen.append, lambda text: text.replace("hunter22", "***"))
    clean = ended("a")
    consume(Stamped(0.0, attrs.evolve(started(), argv=("offload", "--env", "PASSWORD=hunter22"))))
    consume(Stamped(0.0, found("test[hunter22]")))
    consume(Stamped(0.0, ended("a", Outcome.FAILED, text="hunter22", output=[("stdout", "so hunter22 it is")])))
    consume(Stamped(0.0, Warned("hunter22")))
    consume(Stamped(0.0, Incident(kind=IncidentKind.BREAKER, reason="hunter22", requeued=("k", "hunter22"))))
    consume(Stamped(0.0, clean))
    assert len(seen) == 6
    assert "hunter22" not in repr(seen)
    assert repr(seen).count("***") >= 8
    assert seen[-1].event is clean


def test_without_secrets_nothing_is_wrapped() -> None:
    """No redaction costs nothing."""
    seen: list[Stamped] = []
    assert redacting(seen.append, None) == seen.append


def test_a_secret_with_colors_inside_is_hidden() -> None:
    """Escape sequences are taken out where text is shown, which would put the secret together again."""
    seen: list[Stamped] = []
    consume = redacting(seen.append, lambda text: text.replace("hunter22", "***"))
    consume(Stamped(0.0, Warned("so hun\x1b[1mter22\x1b[0m it is")))
    consume(Stamped(0.0, Warned("\x1b[1mbold\x1b[0m")))
    assert [each.event for each in seen] == [Warned("so *** it is"), Warned("\x1b[1mbold\x1b[0m")]
