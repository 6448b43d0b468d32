"""A formula's text as tokens."""

from __future__ import annotations

import pytest
from gridcalc import FormulaError
from gridcalc.lexer import Kind, tokenize


def kinds(text: str) -> list[tuple[str, str]]:
    """The tokens as pairs, without the end."""
    return [(token.kind.value, token.text) for token in tokenize(text)[:-1]]


@pytest.mark.parametrize("text", ["0", "1", "12", "1.", ".5", "1.5", "1e3", "1E-3", "2.5e+10", "007"])
def test_numbers(text: str) -> None:
    """A number is one token, with its exponent."""
    assert kinds(text) == [("number", text)]


@pytest.mark.parametrize("text", ['""', '"a"', '"a ""b"" c"', '"=A1+1"', '"ünïcode – 漢字 🙂"', '"two\nlines"'])
def test_texts(text: str) -> None:
    """A text is one token, whatever stands in it."""
    assert kinds(text) == [("text", text)]


@pytest.mark.parametrize("text", ["A1", "$A1", "A$1", "$A$1", "zz99", "ABC1234567"])
def test_cells(text: str) -> None:
    """Every way to write a cell."""
    assert kinds(text) == [("cell", text)]


@pytest.mark.parametrize("text", ["SUM", "LOG10", "A1B", "total.net", "_x", "ABCD1"])
def test_names(text: str) -> None:
    """A name is no cell, even where it begins like one."""
    assert [kind for kind, _ in kinds(text + "(")] == ["name", "operator"]


@pytest.mark.parametrize(
    "text", ["+", "-", "*", "/", "^", "&", "=", "<>", "<", "<=", ">", ">=", "(", ")", ",", ":", "%"]
)
def test_operators(text: str) -> None:
    """Operators of two characters are one token."""
    assert kinds(text) == [("operator", text)]


def test_space_means_nothing() -> None:
    """Tokens are the same with and without space between them."""
    assert kinds("SUM( A1 : B2 ,\n 3 )") == kinds("SUM(A1:B2,3)")


@pytest.mark.parametrize(
    ("text", "position"), [("1+#", 2), ("@", 0), ("A1 ! B2", 3), ('1&"open', 2), ("5 ; 6", 2), ("ä", 0)]
)
def test_what_starts_no_token(text: str, position: int) -> None:
    """The error tells where."""
    with pytest.raises(FormulaError) as caught:
        tokenize(text)
    assert caught.value.position == position


def test_ends_with_one_end() -> None:
    """There is always an end, and it stands behind the last character."""
    assert [token.kind for token in tokenize("")] == [Kind.END]
    assert tokenize("1 + 2")[-1].position == 5
