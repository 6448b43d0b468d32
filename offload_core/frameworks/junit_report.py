"""Reads the JUnit XML that other tools write. It comes from a sandbox, so it is not trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

from attrs import frozen
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ..abc import Outcome, Section
from ..results.sanitize import xml_legal

_NOT_RUN = ("notrun", "disabled", "suppressed", "skipped")
"""How GoogleTest, among others, marks what it did not run."""

_OUTCOMES = (("error", Outcome.ERROR), ("failure", Outcome.FAILED), ("skipped", Outcome.SKIPPED))


class NoReport(ValueError):
    """This is no JUnit XML; says why."""


@frozen(kw_only=True)
class Case:
    """One `<testcase>`. `seconds` is 0 where the report does not tell."""

    classname: str
    name: str
    outcome: Outcome
    seconds: float
    message: str = ""
    details: str = ""
    output: tuple[Section, ...] = ()


def cases(data: bytes) -> list[Case]:
    """Every test case of a report, in order, of nested suites too. An empty `<failure/>` is a failure.

    Raises:
        NoReport: it cannot be parsed, or is something else.
    """
    try:
        root = _parsed(data)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise NoReport(f"not a JUnit report: {error}") from error
    if _local(root) not in ("testsuites", "testsuite"):
        raise NoReport(f"not a JUnit report: its root is <{_local(root)}>")
    return [_case(element) for element in root.iter() if _local(element) == "testcase"]


def _parsed(data: bytes) -> Element:
    """The root; also of what would be XML but for characters that it cannot carry, such as those of colors."""
    try:
        root: Element = fromstring(data, forbid_dtd=True)
    except ParseError:
        root = fromstring(xml_legal(data.decode(errors="backslashreplace")), forbid_dtd=True)
    return root


def _case(element: Element) -> Case:
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
    return Case(
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
    tag: str = element.tag
    return tag.rpartition("}")[2]


def _seconds(text: str) -> float:
    try:
        seconds = float(text.replace(",", ""))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
