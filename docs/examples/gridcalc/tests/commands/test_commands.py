"""The command line, as a user meets it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

Gridcalc = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("formula", "printed"),
    [
        ("1+2", "3"),
        ("0.1+0.2", "0.3"),
        ('"a"&"b"', "ab"),
        ("1=1", "TRUE"),
        ("ROUND(PI(),4)", "3.1416"),
        ('UPPER("é")', "É"),
        ("SUM(1,2,3)*2", "12"),
        ('IF(2>1,"yes","no")', "yes"),
        ("A9", "0"),
    ],
)
def test_eval(gridcalc: Gridcalc, formula: str, printed: str) -> None:
    """The value is printed, and nothing else."""
    done = gridcalc("eval", formula)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed + "\n", "")


@pytest.mark.parametrize(("formula", "printed"), [("1/0", "#DIV/0!"), ("1+", "#SYNTAX!"), ("NOSUCH()", "#NAME?")])
def test_eval_of_a_problem(gridcalc: Gridcalc, formula: str, printed: str) -> None:
    """A problem is printed too, and the exit code tells."""
    done = gridcalc("eval", formula)
    assert (done.returncode, done.stdout) == (2, printed + "\n")


@pytest.mark.parametrize(
    ("assignments", "last"),
    [([], ",,,19\n"), (["B2=1"], ",,,24\n"), (["B2=1", "C2=0"], ",,,14\n"), (["D4==D2"], ",,,5\n")],
)
def test_calc(gridcalc: Gridcalc, assignments: list[str], last: str) -> None:
    """The values of a file, with cells set first."""
    done = gridcalc("calc", "base.csv", *(f"--set={assignment}" for assignment in assignments))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(last)


def test_calc_of_a_cycle(gridcalc: Gridcalc) -> None:
    """The cycle is named."""
    done = gridcalc("calc", "base.csv", "--set=B2==D4")
    assert done.returncode == 2
    assert done.stderr == "gridcalc: a cycle: B2 -> D4 -> D2 -> B2\n"


@pytest.mark.parametrize(
    ("old", "new", "printed"),
    [
        ("base.csv", "base.csv", ""),
        ("base.csv", "ours.csv", "~ B2: 0.5 -> 0.6\n"),
        ("base.csv", "theirs.csv", "~ A3: bolt -> screw\n~ C3: 20 -> 30\n"),
    ],
)
def test_diff(gridcalc: Gridcalc, old: str, new: str, printed: str) -> None:
    """One line a cell; the exit code is that of `diff`."""
    done = gridcalc("diff", old, new)
    assert (done.returncode, done.stdout) == (int(bool(printed)), printed)


def test_merge(gridcalc: Gridcalc) -> None:
    """Both edits, with their formulas."""
    done = gridcalc("merge", "base.csv", "ours.csv", "theirs.csv")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:3] == ["nut,0.6,10,=B2*C2", "screw,0.7,30,=B3*C3"]


def test_merge_with_a_conflict(gridcalc: Gridcalc, tmp_path: Path) -> None:
    """Ours stays, and the conflict is told."""
    text = (tmp_path / "base.csv").read_text(encoding="utf-8")
    (tmp_path / "theirs.csv").write_text(text.replace("0.5", "0.9"), encoding="utf-8")
    done = gridcalc("merge", "base.csv", "ours.csv", "theirs.csv")
    assert (done.returncode, done.stderr) == (1, "gridcalc: B2: '0.6' or '0.9'\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["calc", "missing.csv"], "No such file"),
        (["calc", "base.csv", "--set=B2"], "--set needs CELL=TEXT"),
        (["calc", "base.csv", "--set=2B=1"], "not a cell"),
        (["diff", "base.csv", "."], "Is a directory"),
        (["frobnicate"], "invalid choice"),
        ([], "required"),
    ],
)
def test_mistakes(gridcalc: Gridcalc, arguments: list[str], said: str) -> None:
    """A mistake is one line on stderr and exit code 2, never a traceback."""
    done = gridcalc(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_not_text(gridcalc: Gridcalc, tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused."""
    (tmp_path / "base.csv").write_bytes(b"\xff\xfe\x00")
    done = gridcalc("calc", "base.csv")
    assert done.returncode == 2
    assert "utf-8" in done.stderr


def test_adding_to_a_text(gridcalc: Gridcalc, tmp_path: Path) -> None:
    """What is no number cannot be added to."""
    assert gridcalc("add", "s.sqlite", "a", "A1", "2.5", "--times", "2").returncode == 0
    assert (tmp_path / "s.sqlite").exists()
    assert gridcalc("add", "s.sqlite", "a", "A1", "x").returncode == 2
