"""`offload logs`: of the attempts in a journal, those that are asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attrs import evolve

from offload_core.abc import Outcome
from offload_core.cli import main
from offload_core.events import AttemptFinished, Event
from offload_core.results.journal import JournalWriter
from tests.support.synthetic import ended, found, run_of, stamped

CONFIG = '[provider]\ntype = "local"\n[framework]\ntype = "pytest"\n[groups.all]\n[offload]\n'


def attempt(name: str, number: int, sandbox: str, outcome: Outcome = Outcome.FAILED) -> AttemptFinished:
    """An attempt that says where it ran; the one that passes is the last."""
    event = ended(name, outcome, number=number, again=outcome.bad, text=f"{name}, {number}, in {sandbox}")
    return AttemptFinished(evolve(event.attempt, sandbox=sandbox), again=event.again)


EVENTS: list[Event] = [
    found("a", retries=2),
    found("b", retries=2),
    found("c"),
    attempt("a", 1, "s1"),
    attempt("b", 1, "s2", Outcome.PASSED),
    attempt("a", 2, "s2"),
    attempt("a", 3, "s1", Outcome.PASSED),
]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current directory is that of a project with a last run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "offload.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "test-results").mkdir()
    writer = JournalWriter(tmp_path / "test-results/events.jsonl", [])
    for each in stamped(run_of(*EVENTS)):
        writer(each)
    writer.close()


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["a", "a, 1, in s1", "a, 2, in s2", "a, 3, in s1", "b", "b, 1, in s2", "c"]),
        (["--attempt", "2"], ["a", "a, 2, in s2"]),
        (["--attempt", "1"], ["a", "a, 1, in s1", "b", "b, 1, in s2"]),
        (["--sandbox", "s1"], ["a", "a, 1, in s1", "a, 3, in s1"]),
        (["--sandbox", "s2", "--attempt", "1"], ["b", "b, 1, in s2"]),
        (["--sandbox", "s2", "--test", "tests/test_a.py::a"], ["a", "a, 2, in s2"]),
        (["--sandbox", "s2", "--test-regex", "b$"], ["b", "b, 1, in s2"]),
        (["--sandbox", "s3"], []),
        (["--attempt", "9"], []),
        (["--sandbox", "s1", "--failures"], []),
    ],
)
def test_attempts_and_sandboxes(arguments: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`--attempt` and `--sandbox` narrow what is shown of a test, and leave out tests of which nothing is left."""
    assert main(["logs", *arguments]) == 0
    shown = capsys.readouterr()
    names = re.findall(r"^=== tests/test_a.py::(\w) |^([abc], \d, in s\d)$", shown.out, re.MULTILINE)
    assert [test or said for test, said in names] == expected
    assert ("No matching test results" in shown.err) == (not expected)


@pytest.mark.usefixtures("journal")
def test_attempts_count_from_1(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no number of an attempt is a usage error."""
    assert main(["logs", "--attempt", "0"]) == 4
    assert "--attempt" in capsys.readouterr().err


@pytest.mark.usefixtures("journal")
def test_what_tests_printed_is_no_command_of_github(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workflow commands are stopped by a token that nobody knows, until everything is printed."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert main(["logs"]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    token = first.removeprefix("::stop-commands::")
    assert len(token) == 32
    assert last == f"::{token}::"
