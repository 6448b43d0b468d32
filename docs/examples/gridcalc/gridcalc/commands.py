"""The command line: evaluate a formula, calculate a CSV file, compare and merge files, add to a stored sheet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import csvio
from .diff import diff, merge
from .errors import GridError
from .sheet import Sheet
from .store import Store
from .values import Problem, to_number, to_text


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 for success, 1 for a difference or a conflict, 2 for an error."""
    options = _parser().parse_args(argv)
    try:
        code: int = options.command(options)
    except (GridError, OSError, UnicodeDecodeError) as error:
        print(f"gridcalc: {error}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gridcalc")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    evaluate = commands.add_parser("eval", help="print the value of a formula")
    evaluate.add_argument("formula")
    evaluate.set_defaults(command=_eval)

    calculate = commands.add_parser("calc", help="print the values of a CSV file")
    calculate.add_argument("file", type=Path)
    calculate.add_argument("--set", action="append", default=[], metavar="CELL=TEXT", dest="cells")
    calculate.set_defaults(command=_calc)

    compare = commands.add_parser("diff", help="print what differs between two CSV files")
    compare.add_argument("old", type=Path)
    compare.add_argument("new", type=Path)
    compare.set_defaults(command=_diff)

    join = commands.add_parser("merge", help="print two edits of a CSV file as one")
    for name in ("base", "ours", "theirs"):
        join.add_argument(name, type=Path)
    join.set_defaults(command=_merge)

    add = commands.add_parser("add", help="add a number to a cell of a stored sheet, many times")
    add.add_argument("store", type=Path)
    add.add_argument("sheet")
    add.add_argument("cell")
    add.add_argument("number", type=float)
    add.add_argument("--times", type=int, default=1)
    add.set_defaults(command=_add)
    return parser


def _eval(options: argparse.Namespace) -> int:
    value = Sheet({"A1": "=" + options.formula})["A1"]
    print(to_text(value))
    return 2 if isinstance(value, Problem) else 0


def _calc(options: argparse.Namespace) -> int:
    sheet = _load(options.file)
    for assignment in options.cells:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise GridError(f"--set needs CELL=TEXT, not {assignment!r}")
        sheet[name] = text
    csvio.write(sheet, sys.stdout)
    cycle = sheet.cycles()
    if cycle:
        print(f"gridcalc: a cycle: {' -> '.join([*cycle, cycle[0]])}", file=sys.stderr)
    return 2 if cycle else 0


def _diff(options: argparse.Namespace) -> int:
    changes = diff(_load(options.old), _load(options.new))
    for change in changes:
        print(change)
    return 1 if changes else 0


def _merge(options: argparse.Namespace) -> int:
    merged, conflicts = merge(*(_load(path) for path in (options.base, options.ours, options.theirs)))
    csvio.write(merged, sys.stdout, formulas=True)
    for conflict in conflicts:
        print(f"gridcalc: {conflict.cell}: {conflict.ours!r} or {conflict.theirs!r}", file=sys.stderr)
    return 1 if conflicts else 0


def _add(options: argparse.Namespace) -> int:
    def change(sheet: Sheet) -> None:
        number = to_number(sheet[options.cell])
        if isinstance(number, Problem):
            raise GridError(f"{options.cell} is no number: {number}")
        sheet[options.cell] = repr(number + options.number)

    with Store(options.store) as store:
        for _ in range(options.times):
            store.edit(options.sheet, change, author="add")
    return 0


def _load(path: Path) -> Sheet:
    with path.open(encoding="utf-8", newline="") as source:
        return csvio.read(source)
