"""Reads JUnit XML, whoever wrote it. It comes from a sandbox or from an earlier run, so it is not trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import frozen

from ..abc import Outcome, Section
from ._text import xml_legal

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_NOT_RUN = ("notrun", "disabled", "suppressed", "skipped")
"""How GoogleTest, among others, marks what it did not run."""

_OUTCOMES = (("error", Outcome.ERROR), ("failure", Outcome.FAILED), ("skipped", Outcome.SKIPPED))


class NotJUnit(ValueError):
    """This is no JUnit XML; says why."""


@frozen(kw_only=True)
class JUnitCase:
    """One `<testcase>`.

    Attributes:
        seconds: how long it took; None where the report does not tell, or tells what no duration can be.
        output: what it wrote, as captured.
    """

    classname: str
    name: str
    outcome: Outcome
    seconds: float | None
    message: str = ""
    details: str = ""
    output: tuple[Section, ...] = ()


def read_junit(data: bytes) -> list[JUnitCase]:
    """Every test case of a report, in order, of nested suites too. An empty `<failure/>` is a failure.

    Raises:
        NotJUnit: it cannot be parsed, has a DTD, or is something else.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        try:
            root: Element = fromstring(data, forbid_dtd=True)
        except ParseError:  # it may be XML but for characters that it cannot carry, such as those of colors
            root = fromstring(xml_legal(data.decode(errors="backslashreplace")), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise NotJUnit(f"not a JUnit report: {error}") from error
    if _local(root) not in ("testsuites", "testsuite"):
        raise NotJUnit(f"not a JUnit report: its root is <{_local(root)}>")
    return [_case(element) for element in root.iter() if _local(element) == "testcase"]


def _case(element: Element) -> JUnitCase:
    children = {_local(child): child for child in reversed(element)}
    outcome, told = Outcome.PASSED, None
    for tag, means in _OUTCOMES:
        if tag in children:
            outcome, told = means, children[tag]
            break
    else:
        if element.get("status") in _NOT_RUN or element.get("result") in _NOT_RUN:
            outcome = Outcome.SKIPPED
    details = (told.text or "").strip("\n") if told is not None else ""
    message = (told.get("message") or told.get("type") or "") if told is not None else ""
    return JUnitCase(
        classname=element.get("classname", ""),
        name=element.get("name", ""),
        outcome=outcome,
        seconds=_seconds(element.get("time", "")),
        message=message or details.strip().partition("\n")[0],
        details=details,
        output=tuple(_sections(children)),
    )


def _sections(children: dict[str, Element]) -> Iterator[Section]:
    for tag, title in (("system-out", "Captured stdout"), ("system-err", "Captured stderr")):
        if tag in children and (text := children[tag].text):
            yield Section(title, text)


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text.replace(",", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
