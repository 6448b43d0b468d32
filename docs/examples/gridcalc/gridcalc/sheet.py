"""A sheet: what was typed into its cells, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from .address import Cell, Range
from .errors import FormulaError
from .evaluate import Evaluator
from .graph import DependencyGraph
from .parser import parse
from .syntax import Node, moved, references, unparse
from .values import Problem, Value, parse_literal, to_text


class Sheet:
    """Recalculates what a change affects, and nothing else.

    >>> sheet = Sheet({"A1": "2", "A2": "3", "B1": "=A1*A2"})
    >>> sheet["B1"]
    6.0
    >>> sheet["A1"] = "10"
    >>> sheet["B1"]
    30.0
    """

    def __init__(self, cells: Mapping[str, str] | None = None) -> None:
        self._typed: dict[Cell, str] = {}
        self._trees: dict[Cell, Node] = {}
        self._values: dict[Cell, Value] = {}
        self._graph: DependencyGraph[Cell] = DependencyGraph()
        self.evaluations = 0
        self.update(cells or {})

    def __setitem__(self, name: str, typed: str) -> None:
        self.update({name: typed})

    def __getitem__(self, name: str) -> Value:
        return self.value(Cell.parse(name))

    def __delitem__(self, name: str) -> None:
        self.update({name: ""})

    def __len__(self) -> int:
        return len(self._typed)

    def __iter__(self) -> Iterator[Cell]:
        return iter(sorted(self._typed))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sheet) and self._typed == other._typed

    __hash__ = None  # type: ignore[assignment]

    @property
    def typed(self) -> dict[str, str]:
        """What was typed, by the cell's name, row by row."""
        return {str(cell): self._typed[cell] for cell in self}

    @property
    def extent(self) -> Range | None:
        """The smallest range from A1 that holds everything, or None."""
        if not self._typed:
            return None
        last = Cell(max(cell.row for cell in self._typed), max(cell.column for cell in self._typed))
        return Range(Cell(0, 0), last)

    def value(self, cell: Cell) -> Value:
        """What a cell is worth now."""
        return self._values.get(cell)

    def shown(self, name: str) -> str:
        """What a cell shows."""
        return to_text(self[name])

    def update(self, cells: Mapping[str, str]) -> None:
        """Type into many cells, then recalculate once. An empty text clears a cell."""
        changed = [self._type(Cell.parse(name), text) for name, text in cells.items()]
        self._recalculate(changed)

    def fill(self, source: str, target: str) -> None:
        """Copy a cell into a range; relative references move along.

        >>> sheet = Sheet({"A1": "1", "A2": "2", "B1": "=A1*10"})
        >>> sheet.fill("B1", "B1:B2"); sheet.typed["B2"]
        '=A2*10'
        """
        origin = Cell.parse(source)
        tree = self._trees.get(origin)
        filled: dict[str, str] = {}
        for cell in Range.parse(target):
            if tree is None:
                filled[str(cell)] = self._typed.get(origin, "")
            else:
                filled[str(cell)] = "=" + unparse(moved(tree, cell.row - origin.row, cell.column - origin.column))
        self.update(filled)

    def cycles(self) -> list[str]:
        """The names of cells in one cycle, if there is one."""
        stuck = [cell for cell, value in self._values.items() if value is Problem.CYCLE]
        return [str(cell) for cell in self._graph.cycle(stuck)]

    def _type(self, cell: Cell, text: str) -> Cell:
        self._trees.pop(cell, None)
        if not text:
            self._typed.pop(cell, None)
            self._graph.connect(cell, ())
            return cell
        self._typed[cell] = text
        needs: Iterable[Cell] = ()
        if text.startswith("="):
            try:
                tree = self._trees[cell] = parse(text[1:])
                needs = chain.from_iterable(references(tree))
            except FormulaError:
                pass  # the value tells
        self._graph.connect(cell, needs)
        return cell

    def _recalculate(self, changed: Iterable[Cell]) -> None:
        ordered, stuck = self._graph.order(changed)
        for cell in stuck:
            self._values[cell] = Problem.CYCLE
        evaluator = Evaluator(self.value)
        for cell in ordered:
            self._evaluate(cell, evaluator)

    def _evaluate(self, cell: Cell, evaluator: Evaluator) -> None:
        text = self._typed.get(cell)
        if text is None:
            self._values.pop(cell, None)
        elif cell in self._trees:
            self.evaluations += 1
            value = evaluator.value(self._trees[cell])
            self._values[cell] = 0.0 if value is None else value
        elif text.startswith("="):
            self._values[cell] = Problem.SYNTAX
        else:
            self._values[cell] = parse_literal(text)
