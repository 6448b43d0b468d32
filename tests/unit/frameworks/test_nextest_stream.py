"""What nextest prints, as the framework reads it: nothing that comes from a sandbox may surprise it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from offload_core.abc import Outcome
from offload_core.frameworks.nextest import Nextest
from offload_core.frameworks.nextest.process import MAX_CHARS, expressions
from offload_core.frameworks.nextest.stream import event, outcome, status


def line(name: str, **fields: object) -> str:
    """An event as nextest writes it: the name as it is, the rest as JSON."""
    rest = "".join(f",{json.dumps(key)}:{json.dumps(value)}" for key, value in fields.items())
    return f'{{"type":"test","event":"failed","name":"{name}"{rest}}}'


@pytest.mark.parametrize("name", ["plain", 'with "quotes"', "back\\slash \\n", 'a","exec', "ends #2", "Ünï", "a}{b"])
def test_names_come_as_they_are(name: str) -> None:
    """The exact name is the first that could be meant, and what else the event holds is read."""
    found = event(line(f"p::b${name}", exec_time=0.25, stdout='said "this"\n'))
    assert found is not None
    assert (found.kind, found.names[0]) == ("failed", (f"p::b${name}", 1))
    assert (found.seconds, found.output) == (0.25, 'said "this"\n')


def test_a_name_that_was_run_again() -> None:
    """`#3` can belong to the name, or count nextest's own attempts."""
    found = event(line("p::b$x#3", exec_time=1))
    assert found is not None
    assert list(found.names)[:2] == [("p::b$x#3", 1), ("p::b$x", 3)]


def test_an_event_that_is_valid_json_and_otherwise_ordered() -> None:
    """A name that is escaped, between fields that nobody knows, is found."""
    found = event('{"type":"test","new":[1],"name":"p::b$a \\"b\\"","exec_time":2,"event":"ok"}')
    assert found is not None
    assert (found.kind, found.names[0], found.seconds) == ("ok", ('p::b$a "b"', 1), 2.0)


@pytest.mark.parametrize(
    "hostile",
    [
        '{"type":"test"',
        '{"type":"test","event":"ok","name":"x","exec_time":1e999}',
        '{"type":"test","event":"ok","name":"x","exec_time":nonsense}',
        '{"type":"test","event":"ok","name":"x#' + "9" * 5000 + '"}',
        '{"type":"test","a":' + "[" * 100_000,
        line("x", exec_time=1, stdout="long" * 1000)[:500],
    ],
)
def test_nonsense_is_survived(hostile: str) -> None:
    """Whatever it is, it is an event of finite duration that matches nothing, or a beginning."""
    found = event(hostile)
    assert found is not None
    assert 0 <= found.seconds < 1e9


@pytest.mark.parametrize(
    ("text", "words", "died_of"),
    [
        ("     SIGSEGV [   0.134s] (1/3) p::b x y", "SIGSEGV", "SIGSEGV"),
        ("ABORT SIG 34 [   0.134s] p::b x y", "ABORT SIG 34", "ABORT SIG 34"),
        ("  TRY 2 ABRT [   0.134s] (  2/300) p::b x y", "ABRT", "SIGABRT"),
        ("  TRY 2 FAIL [   0.134s] p::b x y", "FAIL", ""),
        ("   LEAK-FAIL [   0.134s] p::b x y", "LEAK-FAIL", ""),
    ],
)
def test_lines_for_people(text: str, words: str, died_of: str) -> None:
    """They tell what a process died of, of an exact test."""
    found = status(text)
    assert found is not None
    assert (found.id, found.words, found.died_of) == ("p::b x y", words, died_of)


def test_why_a_test_failed() -> None:
    """A panic's message, over several lines and with its place; else the last line that was printed."""
    said = "thread 'x' (7) panicked at src/a b.rs:1:2:\nleft\n  right\nnote: run with `RUST_BACKTRACE=1` for more\n"
    for output, message in (
        (said, "left\n  right (src/a b.rs:1:2)"),
        ("one\ntwo\n\n", "two"),
        ("", "it printed nothing"),
    ):
        found = event(line("p::b$x", exec_time=1, stdout=output))
        assert found is not None
        assert outcome(found, 1, None) == (Outcome.FAILED, message)


def test_expressions_are_of_bounded_length_and_hold_everything() -> None:
    """Thousands of names make several expressions, in which no character of a name means anything."""
    names = [f"a)|all() {number}" for number in range(10_000)]
    made = list(expressions({"p::b": names, "q": ["x"]}))
    assert len(made) > 2
    assert max(map(len, made)) < MAX_CHARS + 100
    assert sum(each.count("test(=") for each in made) == 10_001
    assert "all()" not in "".join(made)


def test_a_workspace_is_guessed_to_be_run_whole(tmp_path: Path) -> None:
    """Where the root is a package with members beside it, cargo would run its tests alone."""
    manifest = tmp_path / "Cargo.toml"
    assert Nextest.guess_options(tmp_path) == {}
    for text, guessed in (
        ('[package]\nname = "x"\n[workspace]\nmembers = ["y"]\n', {"args": "--workspace"}),
        ('[workspace]\nmembers = ["y"]\n', {}),
        ('[package]\nname = "x"\n[workspace]\n', {}),
        ("no manifest", {}),
    ):
        manifest.write_text(text)
        assert Nextest.guess_options(tmp_path) == guessed
