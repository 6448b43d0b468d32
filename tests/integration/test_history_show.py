"""`offload history show`: tables for people, JSON for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from offload_core.cli import main
from offload_core.history import Entry, History, Sample, write_history

CONFIG = '[offload]\n[provider]\ntype = "local"\n[framework]\ntype = "pytest"\n[groups.all]\n'
AT_MS = 1_712_000_000_000
STABLE, FLAKY, BROKEN, ODD = (
    "tests/test_a.py::stable",
    "tests/test_a.py::flaky",
    "tests/test_b.py::broken",
    "[red]\x1b[0m",
)


def samples(*secs: float) -> list[Sample]:
    """A sample an hour."""
    return [Sample("aKx7", AT_MS + 3_600_000 * number, each) for number, each in enumerate(secs)]


@pytest.fixture(autouse=True)
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a history of four tests, and one of another configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    (tmp_path / "offload.toml").write_text(f"{CONFIG}[history]\n", encoding="utf-8")
    made = History(tmp_path / "offload-history.jsonl")
    for test, entry in {
        STABLE: Entry(40, 0, "aKx7", ok=samples(9.0, 9.5)),
        FLAKY: Entry(10, 3, "aKx7", ok=samples(1.0), fail=samples(2.0)),
        BROKEN: Entry(5, 5, "aKx7", fail=samples(0.25)),
        ODD: Entry(4, 1, "aKx7"),
    }.items():
        made.put(("offload.toml", test), entry)
    made.put(("other.toml", "not this one"), Entry(1, 0, "aKx7", ok=samples(99.0)))
    write_history(made)
    return made.path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of stdout; nothing on stderr."""
    assert main(["history", "show", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_a_table_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a test, sorted by id, nothing cut, no colors where nobody looks, no markup or control codes of ids."""
    head, *lines, last = shown(capsys)
    assert head.split() == ["Test", "Expected", "Attempts", "Failed", "Rate", "Newest"]
    assert [line.split("  ")[0] for line in lines] == ["[red]\\x1b[0m", FLAKY, STABLE, BROKEN]
    assert lines[1].split()[1:] == ["1.300", "s", "10", "3", "30.0%", "2024-04-01", "19:33:20"]
    assert last == "4 tests"
    assert "\x1b" not in "".join(lines)
    assert "\x1b" in "".join(shown(capsys, "--color", "always"))


def test_slowest_and_flakiest(capsys: pytest.CaptureFixture[str]) -> None:
    """By what is expected; and of those that both pass and fail, by how often."""
    assert [line.split()[0] for line in shown(capsys, "--slowest")[1:4]] == [STABLE, FLAKY, BROKEN]
    assert [each["id"] for each in json.loads("\n".join(shown(capsys, "--flakiest", "--json")))] == [FLAKY, ODD]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that is known, in seconds."""
    found: list[dict[str, Any]] = json.loads("\n".join(shown(capsys, "--json")))
    assert [each["id"] for each in found] == [ODD, FLAKY, STABLE, BROKEN]
    assert found[0]["expected_secs"] is None
    assert found[1] == {
        "id": FLAKY,
        "expected_secs": pytest.approx(1.3),
        "attempts": 10,
        "failures": 3,
        "failure_rate": 0.3,
        "last_run": "aKx7",
        "passed": [{"run": "aKx7", "at": AT_MS / 1000, "secs": 1.0}],
        "failed": [{"run": "aKx7", "at": AT_MS / 1000, "secs": 2.0}],
    }


def test_one_test(capsys: pytest.CaptureFixture[str]) -> None:
    """Its figures and every sample, the newest first; also as JSON."""
    lines = shown(capsys, STABLE)
    assert lines[:2] == [STABLE, "expected to take 9.500 s; 40 attempts, 0 failed (0.0%), 2 kept"]
    assert [line.split() for line in lines[3:]] == [
        ["2024-04-01", "20:33:20", "passed", "9.500", "aKx7"],
        ["2024-04-01", "19:33:20", "passed", "9.000", "aKx7"],
    ]
    assert [each["id"] for each in json.loads("\n".join(shown(capsys, STABLE, "--json")))] == [STABLE]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tests/test_a.py::stabel"], f"the history knows no test 'tests/test_a.py::stabel'; did you mean '{STABLE}'"),
        (["--slowest", "--flakiest"], "exclude each other"),
        (["--slowest", STABLE], "exclude each other"),
    ],
)
def test_what_cannot_be_shown(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4, and why."""
    assert main(["history", "show", *arguments]) == 4
    assert words in capsys.readouterr().err


def test_no_history(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 without a file, as `logs` without results; 4 without the table."""
    history.unlink()
    assert main(["history", "show"]) == 1
    assert "No history found at" in capsys.readouterr().err
    Path("offload.toml").write_text(CONFIG, encoding="utf-8")
    assert main(["history", "show"]) == 4
    assert "has no [history] table" in capsys.readouterr().err


def test_damage_is_said_and_the_rest_is_shown(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that is none, and one that is damaged inside, each by name."""
    text = history.read_text("utf-8").replace('"n":40', '"n":"40"')
    history.write_text("garbage\n" + text, "utf-8")
    assert main(["history", "show", "--json"]) == 0
    captured = capsys.readouterr()
    assert [each["id"] for each in json.loads(captured.out)] == [ODD, FLAKY, BROKEN]
    assert "line 1: not an entry of a history" in captured.err
    assert f"the entry of '{STABLE}' is damaged" in captured.err
