"""The HTML report as a file: its figures, its data, its bounds, and that nothing in it is anything but text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from offload_core.abc import Outcome
from offload_core.events import (
    AttemptAmended,
    AttemptDropped,
    Event,
    Incident,
    IncidentKind,
    SandboxEnd,
    TestNotRun,
    Warned,
)
from offload_core.results.html import html_report
from offload_core.results.html.recorded import Recorded
from offload_core.results.summary import summarize
from tests.support.synthetic import accounted, began, ended, found, run_of, sandbox, stamped, started


class Page(HTMLParser):
    """A report, taken apart by somebody else's reader."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self.words: list[str] = []
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        self._open = ""

    def handle_data(self, data: str) -> None:
        """Text."""
        if self._open in ("script", "style"):
            self.inside.setdefault(self._open, []).append(data)
        else:
            self.words.append(data)

    @property
    def data(self) -> Any:
        """What is embedded."""
        return json.loads(self.inside["script"][0])

    @property
    def shown(self) -> str:
        """All text without a script."""
        return " ".join(" ".join(self.words).split())


def page_of(*events: Event, exit_code: int | None = 0, **summary: Any) -> Page:
    """The report on a run with these events in it."""
    return report_on(run_of(*events, exit_code=exit_code), exit_code or 0, **summary)


def report_on(events: list[Event], exit_code: int = 0, **summary: Any) -> Page:
    """The report on these events and no others."""
    told = summarize(accounted(*events), exit_code, reports={}) | summary
    return Page("".join(html_report(stamped(events), told)))


def test_at_a_glance() -> None:
    """Verdict, counts, what failed first and why, wall time against what the tests would have taken at least."""
    page = page_of(
        found("good"), found("bad"), ended("good"), ended("bad", Outcome.FAILED, text="assert 1 == 2"), exit_code=1
    )
    assert "Some tests failed." in page.shown
    assert "Exit code 1: tests failed, erred, timed out or crashed" in page.shown
    assert "1 failed" in page.shown
    assert "tests/test_a.py::bad assert 1 == 2" in page.shown
    # two tests of half a second on one sandbox; the last of the ten events is at 0.9 s
    assert "Lower bound 1.00s 1.00s of tests on 1 sandbox; the longest test took 0.50s" in page.shown
    assert "0.90 × the lower bound" in page.shown


def test_the_longest_test_may_be_the_bound() -> None:
    """With more sandboxes than work, nothing is quicker than the longest test."""
    page = page_of(*sandbox("box-2"), *sandbox("box-3"), found("a"), found("b"), ended("a"), ended("b"))
    assert "Lower bound 0.50s the longest test; 1.00s of tests on 3 sandboxes would take 0.33s" in page.shown


def test_tests_at_once_in_one_sandbox() -> None:
    """Four tests that run at once divide the bound by four, and the sandbox is in tests while any of them runs."""
    names = [f"t{number}" for number in range(4)]
    page = page_of(*map(found, names), *map(began, names), *map(ended, names), *sandbox("box-1", SandboxEnd.TERMINATED))
    assert "Lower bound 0.50s the longest test; 2.00s of tests 4 at a time would take 0.50s" in page.shown
    assert "in tests 0.70s" in page.shown


def test_every_execution_is_there() -> None:
    """What failed and ran again, a copy that was not needed, a lost attempt, and one that had not ended."""
    events = run_of(
        *[found(name) for name in ("flaky", "hedged", "lost", "running")],
        began("flaky"),
        ended("flaky", Outcome.FAILED, text="once", again=True),
        began("flaky", 2),
        ended("flaky", number=2),
        began("hedged"),
        began("hedged", 2),
        ended("hedged"),
        AttemptDropped(test="unit/hedged", number=2),
        began("lost"),
        ended("lost", Outcome.LOST, again=True),
        began("running"),
        exit_code=None,
    )
    data = report_on(events, 3).data
    kinds = {}
    for test in data["tests"]:
        kinds[test[0].split("::")[1]] = [
            (row[0], data["outcomes"][row[2]] if row[2] >= 0 else None, row[5]) for row in test[6]
        ]
    dropped, again, unfinished = 2, 4, 8
    assert kinds == {
        "flaky": [(1, "failed", again), (2, "passed", 0)],
        "hedged": [(1, "passed", 0), (2, None, dropped)],
        "lost": [(1, "lost", again)],
        "running": [(1, None, unfinished)],
    }


def test_a_late_teardown_failure_counts() -> None:
    """An attempt that is amended is shown as the error that it became."""
    page = page_of(
        found("a"), began("a"), ended("a"), AttemptAmended(test="unit/a", number=1, message="it cannot be torn down")
    )
    (test,) = page.data["tests"]
    assert page.data["states"][test[3]] == "error"
    assert "it cannot be torn down" in test[6][0]


def test_lanes_and_overhead() -> None:
    """A sandbox has a lane from its order to its death, and where its life went adds up."""
    page = page_of(
        found("a"),
        began("a"),
        Incident(
            kind=IncidentKind.SANDBOX_DEAD, reason="killed", sandbox="box-1", requeued=("unit/a",), details="oops"
        ),
        ended("a", Outcome.LOST, again=True),
        *sandbox("box-1", SandboxEnd.DEAD),
        TestNotRun(test="unit/a", reason="no sandbox left"),
        exit_code=3,
    )
    ((name, starting, ready, end, how, _, sessions),) = page.data["lanes"]
    assert (name, how, sessions) == ("box-1", "dead", [])
    assert starting < ready < end
    assert "sandbox box-1 died (killed)" in page.shown
    assert "Run again: tests/test_a.py::a" in page.shown
    assert "Last output oops" in page.shown
    (test,) = page.data["tests"]
    assert test[5] == "no sandbox left"


def test_hostile_text_is_text() -> None:
    """In ids, messages, tracebacks, output, sandboxes' names, reasons, warnings: no element and no attribute more."""
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)> "
    evil += "\"' onload=alert(1) \u2028\u2029\x1b[31m\ud800 <!--"
    kinds = {tag for tag, _ in page_of(found("a"), ended("a", Outcome.FAILED, text="x")).tags}
    page = page_of(
        found(f"a[{evil}]"),
        Warned(evil),
        Incident(
            kind=IncidentKind.SANDBOX_LOST, reason=evil, sandbox=evil, requeued=(f"unit/a[{evil}]",), details=evil
        ),
        ended(f"a[{evil}]", Outcome.FAILED, text=evil, output=[(evil, evil)]),
        *sandbox(evil),
        exit_code=1,
        cost={"by_currency": {evil: 1.0}, "leaves_out": evil, "sandboxes": {}},
        discovery_errors={evil: evil},
    )
    assert {tag for tag, _ in page.tags} <= kinds | {"pre", "details", "summary", "ol"}
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert not set(page.text) & set("\x1b\u2028\u2029\ud800")
    assert "</script><img src=x onerror=alert(1)>" in page.data["tests"][0][0].replace("<script>alert(1)</script>", "")
    page.text.encode()


def test_the_page_may_do_nothing_but_its_own() -> None:
    """Its policy names its one style and its one script by their hashes, nothing else; and it links to nothing."""
    page = page_of(found("a"), ended("a"))
    (policy,) = [each["content"] for tag, each in page.tags if each.get("http-equiv") == "Content-Security-Policy"]
    (style,) = page.inside["style"]
    _, script = page.inside["script"]

    def named(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert policy == (
        f"default-src 'none'; style-src {named(style)}; script-src {named(script)}; base-uri 'none'; form-action 'none'"
    )
    targets = [each[name] for _, each in page.tags for name in ("href", "src", "action", "data") if name in each]
    assert targets
    assert all(target and target.startswith("#") for target in targets)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|url\(|@import", style + script)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.PASSED])
def test_output_cannot_blow_it_up(outcome: Outcome) -> None:
    """Three hundred tests with 100 kB each, all of it to be escaped: below 5 MB, cut where it says so."""
    names = [f"t{number}" for number in range(300)]
    said = "first " + "<" * 100_000 + " last"
    page = page_of(*map(found, names), *(ended(name, outcome, output=[("stdout", said)]) for name in names))
    assert len(page.text.encode()) < 5_000_000
    for test in page.data["tests"]:
        text = test[6][0][8][0][1]
        assert "characters left out" in text
        assert len(text) < 5_000


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.PASSED])
def test_texts_cannot_fill_the_memory(outcome: Outcome) -> None:
    """While the report is made, no more of all that tests said is held than a few times what the page may have."""
    said = "x" * 60_000
    names = [f"t{number}" for number in range(1000)]
    recorded = Recorded.of(
        stamped(run_of(*map(found, names), *(ended(name, outcome, output=[("stdout", said)]) for name in names)))
    )
    attempts = [attempt for record in recorded.accounting.records.values() for attempt in record.attempts]
    assert sum(len(section.text) for attempt in attempts for section in attempt.output) < 7_500_000


def test_what_comes_late_is_bounded_and_clean() -> None:
    """What an amendment says is treated as what an attempt says."""
    late = AttemptAmended(test="unit/a", number=1, message="\x1b[31m" + "m" * 9_000, details="\x1b[31m" + "d" * 99_000)
    ((_, _, _, _, _, _, message, details, *_),) = page_of(found("a"), ended("a"), late).data["tests"][0][6]
    assert len(message) <= 1000
    assert len(details) < 66_000
    assert "\x1b" not in message + details


def test_a_short_output_is_whole() -> None:
    """Nothing is cut from what fits."""
    said = "line\n" * 2_000
    page = page_of(found("a"), ended("a", output=[("stdout", said)]))
    assert page.data["tests"][0][6][0][8] == [["stdout", said]]


def test_cost_is_shown_where_there_is_one() -> None:
    """For the run and for each sandbox, with what the number leaves out."""
    cost = {
        "by_currency": {"USD": 1.25, "EUR": 0.5},
        "leaves_out": "storage",
        "sandboxes": {"box-1": {"amount": 1.25, "currency": "USD", "seconds": 3.0}},
    }
    page = page_of(found("a"), ended("a"), cost=cost)
    assert "Estimated cost $1.2500 and 0.5000 EUR without storage" in page.shown
    assert "$1.2500" in page.shown.partition("Overhead of each sandbox")[2]
    assert "Estimated cost" not in page_of(found("a"), ended("a")).shown


def test_a_run_that_was_cut_says_so() -> None:
    """Without a last event, and with nothing but a first one, there is a page that does not look like a success."""
    page = page_of(found("a"), ended("a"), exit_code=None)
    assert "The journal ends before the run did." in page.shown
    assert ("section", {"class": "glance warn", "aria-labelledby": "verdict"}) in page.tags
    assert "No tests were found." in report_on([started()], 3).shown
