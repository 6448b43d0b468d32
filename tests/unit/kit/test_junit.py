"""The one reader of JUnit XML."""

from __future__ import annotations

import pytest

from offload_core.kit import NotJUnit, read_junit


def test_reading_another_tools() -> None:
    """The Rust tool's reports: no class names, empty failures, odd times, one name more than once."""
    found = read_junit(
        b'<?xml version="1.0"?><testsuites name="offload" tests="4" failures="1" errors="1" time="3.5">'
        b'<testsuite name="pytest"><testcase name="a" time="1.5"/><testcase name="a" time="2.0"><failure/></testcase>'
        b'<testcase name="b"><error message="x"/></testcase><testcase name="c" time="1,000.5"/>'
        b'<testcase name="d" time="soon"/></testsuite></testsuites>'
    )
    assert [(each.name, each.seconds, each.outcome.bad) for each in found] == [
        ("a", 1.5, False),
        ("a", 2.0, True),
        ("b", None, True),
        ("c", 1000.5, False),
        ("d", None, False),
    ]


@pytest.mark.parametrize("time", ["inf", "-inf", "nan", "-1", "1e999", "", "soon"])
def test_what_no_duration_can_be(time: str) -> None:
    """A duration that is not finite, or negative, is none: whoever plans by it would never end."""
    (case,) = read_junit(f'<testsuite><testcase name="a" time="{time}"/></testsuite>'.encode())
    assert case.seconds is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not xml",
        "<testsuites><testsuite>",
        "<html/>",
        '<!DOCTYPE x [<!ENTITY a "aaaa">]><testsuites><testcase name="&a;"/></testsuites>',
    ],
)
def test_what_is_no_report(content: str) -> None:
    """A report that is cut, is no XML, is something else or brings a DTD is an error in words."""
    with pytest.raises(NotJUnit, match="not a JUnit report"):
        read_junit(content.encode())
