"""Sheets from and to CSV."""

from __future__ import annotations

from pathlib import Path

import pytest
from gridcalc import GridError, Sheet, csvio


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("", {}),
        ("1,2\n3,4\n", {"A1": "1", "B1": "2", "A2": "3", "B2": "4"}),
        ("1\n\n3", {"A1": "1", "A3": "3"}),
        (",,x\n", {"C1": "x"}),
        ('"=SUM(A2:A3)",\n1\n2\n', {"A1": "=SUM(A2:A3)", "A2": "1", "A3": "2"}),
        ('"a ""b""","c\nd"\n', {"A1": 'a "b"', "B1": "c\nd"}),
        ("a\r\nb\r\n", {"A1": "a", "A2": "b"}),
    ],
)
def test_reading(text: str, typed: dict[str, str]) -> None:
    """Quotes, line ends, empty fields and empty lines."""
    assert csvio.loads(text).typed == typed


@pytest.mark.parametrize("text", ['"open', 'a,"b"c\n'])
def test_what_is_no_csv(text: str) -> None:
    """The error names the line."""
    with pytest.raises(GridError, match="line 1"):
        csvio.loads(text)


@pytest.mark.parametrize("formulas", [False, True], ids=["values", "formulas"])
def test_writing(formulas: bool) -> None:
    """Values as they are shown, or what was typed."""
    sheet = Sheet({"A1": "1.50", "B1": "=A1*2", "C2": "a,b"})
    written = csvio.dumps(sheet, formulas=formulas)
    assert written == ('1.50,=A1*2,\n,,"a,b"\n' if formulas else '1.5,3,\n,,"a,b"\n')


def test_round_trip(ledger: Sheet, tmp_path: Path) -> None:
    """The whole ledger through a file: what was typed stays, and so do the values."""
    path = tmp_path / "ledger.csv"
    with path.open("w", encoding="utf-8", newline="") as target:
        csvio.write(ledger, target, formulas=True)
    with path.open(encoding="utf-8", newline="") as source:
        again = csvio.read(source)
    assert again == ledger
    assert csvio.dumps(again) == csvio.dumps(ledger)
