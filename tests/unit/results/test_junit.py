"""The JUnit report says of every test what the run knows; junitparser is the judge of the format."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import attrs
import pytest
from junitparser import JUnitXml, TestCase

from offload_core.abc import Outcome
from offload_core.events import AttemptFinished, Event, Interrupted, ModuleCollected, TestNotRun
from offload_core.kit import read_junit
from offload_core.results.junit import MAX_TEXT, class_name, junit_xml
from tests.support.synthetic import accounted, ended, found, started


def tree(*events: Event) -> ElementTree.Element:
    """The report of these events, parsed."""
    return ElementTree.fromstring("".join(junit_xml(accounted(*events))))


def case(*events: Event) -> ElementTree.Element:
    """The only testcase of the report."""
    (found_case,) = tree(*events).iter("testcase")
    return found_case


def properties(element: ElementTree.Element) -> dict[str, str]:
    """The properties of a testcase."""
    return {each.get("name", ""): each.get("value", "") for each in element.iter("property")}


def test_the_report_as_another_tool_reads_it(tmp_path: Path) -> None:
    """junitparser finds one suite per group, each test once under its whole id, and the totals."""
    first = attrs.evolve(started(), groups=("unit", "e2e", "empty"))
    report = "".join(
        junit_xml(
            accounted(
                first,
                found("passes"),
                found("fails"),
                found("passes", "e2e"),
                found("errs", "e2e"),
                found("skips", "e2e"),
                ended("passes"),
                ended("fails", Outcome.FAILED, text="assert 1 == 2", output=[("Captured stdout call", "said")]),
                ended("passes", group="e2e"),
                ended("errs", Outcome.ERROR, group="e2e", text="no fixture"),
                ended("skips", Outcome.SKIPPED, group="e2e", text="not today"),
            )
        )
    )
    path = tmp_path / "junit.xml"
    path.write_text(report)
    read = JUnitXml.fromfile(str(path))
    suites = list(read)
    assert [(suite.name, suite.tests, suite.failures, suite.errors, suite.skipped) for suite in suites] == [
        ("unit", 2, 1, 0, 0),
        ("e2e", 3, 0, 1, 1),
        ("empty", 0, 0, 0, 0),
    ]
    root = ElementTree.fromstring(report)
    totals = {name: root.get(name) for name in ("name", "tests", "failures", "errors", "skipped")}
    assert totals == {"name": "offload", "tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    assert float(root.get("time", "")) == pytest.approx(1.0)
    cases: list[TestCase] = list(suites[0])
    assert [each.name for each in cases] == ["tests/test_a.py::passes", "tests/test_a.py::fails"]
    assert cases[0].is_passed
    assert cases[0].time == 0.5
    assert cases[0].classname == "tests.test_a"
    assert cases[1].result[0].message == "assert 1 == 2"
    assert ">   assert 1 == 2" in cases[1].result[0].text
    assert "said" in cases[1].system_out
    element = next(root.iter("testcase"))
    assert (element.get("file"), element.get("line")) == ("tests/test_a.py", "7")


def test_a_flaky_test_shows_every_failure() -> None:
    """A flaky test has passed, and each bad attempt stands in it, as Surefire writes them."""
    element = case(
        found("a", retries=2),
        ended("a", Outcome.FAILED, text="first", output=[("Captured stderr call", "oops")], again=True),
        ended("a", Outcome.LOST, number=2, again=True),
        ended("a", Outcome.TIMED_OUT, number=3, text="slow", again=True),
        ended("a", number=4),
    )
    assert element.find("failure") is None
    assert element.find("error") is None
    failure, error = element.find("flakyFailure"), element.find("flakyError")
    assert failure is not None
    assert error is not None
    assert (failure.get("message"), failure.get("type")) == ("first", "failed")
    assert "first" in (failure.findtext("stackTrace") or "")
    assert "oops" in (failure.findtext("system-err") or "")
    assert error.get("type") == "timed_out"
    assert properties(element) == {"offload.state": "flaky", "offload.attempts": "4"}


def test_a_test_that_fails_again_has_reruns() -> None:
    """The first bad attempt is the failure, the others are reruns."""
    element = case(
        found("a", retries=1),
        ended("a", Outcome.FAILED, text="first", again=True),
        ended("a", Outcome.ERROR, number=2, text="second"),
    )
    assert [child.tag for child in element if child.tag != "properties"] == ["failure", "rerunError"]
    root = tree(found("a"), ended("a", Outcome.FAILED, again=True), ended("a", Outcome.ERROR, number=2))
    assert (root.get("failures"), root.get("errors")) == ("1", "0")


@pytest.mark.parametrize("outcome", [Outcome.TIMED_OUT, Outcome.CRASHED])
def test_ends_that_are_no_assertion_are_errors(outcome: Outcome) -> None:
    """Timeouts and crashes are errors with their state as type."""
    element = case(found("a"), ended("a", outcome, text="gone"))
    error = element.find("error")
    assert error is not None
    assert error.get("type") == outcome.value
    assert properties(element)["offload.state"] == outcome.value


def test_expected_failures() -> None:
    """An expected failure is skipped as pytest writes it; an unexpected pass has passed, and says so."""
    skipped = case(found("a"), ended("a", Outcome.XFAILED, text="bug 7")).find("skipped")
    assert skipped is not None
    assert (skipped.get("type"), skipped.get("message")) == ("pytest.xfail", "bug 7")
    element = case(found("a"), ended("a", Outcome.XPASSED))
    assert [child.tag for child in element] == ["properties"]
    assert properties(element) == {"offload.state": "xpassed"}


@pytest.mark.parametrize(
    ("events", "reason"),
    [([TestNotRun(test="unit/a", reason="no sandbox")], "no sandbox"), ([Interrupted(2)], "interrupted")],
)
def test_what_was_not_run_is_no_failure(events: list[Event], reason: str) -> None:
    """A test without a verdict is in the report, skipped, with the reason."""
    element = case(found("a"), *events)
    skipped = element.find("skipped")
    assert skipped is not None
    assert (skipped.get("message") or "").startswith("not run: ")
    assert reason in (skipped.get("message") or "")
    assert properties(element) == {"offload.state": "not_run"}


def test_a_broken_module() -> None:
    """A module that does not collect is an error named after it."""
    broken = ModuleCollected(key="m", group="unit", path="tests/test_b.py", failed=True, message="E", details="Trace")
    element = case(started(), broken)
    assert (element.get("name"), element.get("classname")) == ("tests/test_b.py", "tests.test_b")
    assert element.findtext("error") == "Trace"


def test_hostile_text() -> None:
    """Markup, control characters, lone surrogates and line breaks come back, or are spelled out."""
    odd = "<&>\"' ]]> \x00 \x1b[31mred\x1b[0m \udc80 \ufffe é漢🎉\r\n\tend"
    event = found("a")
    test = attrs.evolve(event.test, id=odd)
    failed = ended("a", Outcome.FAILED, text=odd, output=[("Captured stdout call", odd)])
    with_property = AttemptFinished(attrs.evolve(failed.attempt, properties=((odd, odd),)))
    element = case(attrs.evolve(event, test=test), with_property)
    spelled = odd.replace("\x00", "\\x00").replace("\x1b", "\\x1b").replace("\udc80", "\\udc80")
    assert element.get("name") == spelled.replace("\ufffe", "\\ufffe")
    failure = element.find("failure")
    assert failure is not None
    assert "red \\udc80" in (failure.text or "")
    assert "\x1b" not in "".join(element.itertext())


def test_sizes_are_bounded_and_marked() -> None:
    """A failure of 20 MB leaves a report of well under 2 MB that says how long it was."""
    text = "x" * 20_000_000
    report = "".join(
        junit_xml(accounted(found("a"), ended("a", Outcome.FAILED, text=text, output=[("Captured stdout call", text)])))
    )
    assert len(report) < 3 * MAX_TEXT
    assert "characters left out" in report
    ElementTree.fromstring(report)


@pytest.mark.parametrize(
    ("test_id", "path", "name"),
    [
        ("tests/test_a.py::test_x", "tests/test_a.py", "tests.test_a"),
        ("tests/test_a.py::TestX::TestY::test_z[a::b]", "tests/test_a.py", "tests.test_a.TestX.TestY"),
        ("crate::module test_x", "crate", "crate"),
        ("tests/test_a.py", "tests/test_a.py", "tests.test_a"),
    ],
)
def test_class_names(test_id: str, path: str, name: str) -> None:
    """The class name is the module with the classes around the test."""
    assert class_name(test_id, path) == name


def test_reading_our_own() -> None:
    """What was written is read: names, durations, and what failed."""
    report = "".join(junit_xml(accounted(found("a"), found("b"), ended("a"), ended("b", Outcome.TIMED_OUT))))
    assert [(each.name, each.seconds, each.outcome.bad) for each in read_junit(report.encode())] == [
        ("tests/test_a.py::a", 0.5, False),
        ("tests/test_a.py::b", 0.5, True),
    ]
