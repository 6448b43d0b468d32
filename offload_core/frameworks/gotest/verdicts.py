"""What becomes of the tests of one package in one `go test`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from attrs import define, field

from ...abc import Outcome, Section
from ...errors import FrameworkUnusable
from ...results.sanitize import cut
from ..batch import Batch
from ..tool import ToolCrashed
from .stream import Builds, Event, Text, event, is_result, summary

SETTLE_SECS = 0.1
"""A test that calls `t.Parallel` pauses at once; one that has said nothing for so long runs."""

_MAX_REASON = 1 << 16
_OUTCOMES = {"pass": Outcome.PASSED, "skip": Outcome.SKIPPED, "fail": Outcome.FAILED}
_FRAME = re.compile(r"\s*(=== (RUN|PAUSE|CONT|NAME)\s|--- (PASS|FAIL|SKIP): )")
_LOCATED = re.compile(r"^\s*(\S+\.go:\d+: )(.*)$", re.MULTILINE)
_TESTIFY = re.compile(r"^\s*Error:\s+(\S.*)$", re.MULTILINE)
_DEATH = re.compile(r"^(panic: |fatal error: |signal: |SIG[A-Z]+: |exit status ).*", re.MULTILINE)


@define
class _Test:
    """A test of the package: what it and its subtests have said.

    Attributes:
        own: its own output. subtests: that of those that run. failed, good: of those that have ended.
    """

    own: Text = field(factory=Text)
    subtests: dict[str, Text] = field(factory=dict)
    failed: Text = field(factory=Text)
    good: Text = field(factory=Text)
    failures: list[tuple[str, str]] = field(factory=list)

    def say(self, name: str, text: str) -> None:
        """Output of the test or of a subtest."""
        if not _FRAME.match(text):
            (self.own if "/" not in name else self.subtests.setdefault(name, Text())).add(text)

    def end_subtest(self, event: Event) -> None:
        """A subtest has ended."""
        said = str(self.subtests.pop(event.test, ""))
        if event.action == "fail":
            if not any(name.startswith(f"{event.test}/") for name, _ in self.failures):
                self.failures.append((event.test.partition("/")[2], said))
            self.failed.add(f"--- FAIL: {event.test} ({event.seconds:.2f}s)\n{said}")
        elif said:
            self.good.add(f"--- {event.action.upper()}: {event.test} ({event.seconds:.2f}s)\n{said}")

    def all(self) -> str:
        """Everything that was said, as far as it is kept."""
        return "".join(map(str, (self.failed, self.own, *self.subtests.values())))


class PackageRun:
    """Reads the output of `go test -json` of one package, and tells the batch.

    Args:
        names: the ids of the tests that were asked for, by their names.
    """

    def __init__(self, batch: Batch, names: Mapping[str, str]) -> None:
        self._batch = batch
        self._names = dict(names)
        self._tests: dict[str, _Test] = {}
        self._builds = Builds()
        self._own = Text()
        self._new = ""
        self._timer: asyncio.TimerHandle | None = None
        self._failing: Event | None = None
        self._failures = 0
        self._came_to_its_end = False
        self._last: Event | None = None

    def read(self, line: bytes) -> bool:
        """Take a line; whether it was an event."""
        found = event(line)
        if found is None:
            self._builds.message(line)
            return False
        if found.action.startswith("build-"):
            self._builds.take(found)
        elif found.test:
            self._of_test(found)
        else:
            self._of_package(found)
        return True

    def _of_test(self, event: Event) -> None:
        name = event.top
        if self._failing is not None and self._failing.test != name:
            self._fail()
        is_frame = event.action == "output" and _FRAME.match(event.output)
        if event.action == "pause" and event.test == self._new:
            self._settle(begins=False)
        elif not (is_frame and name == self._new):
            self._settle()
        if event.action == "run" and event.test == name:
            self._tests[name] = _Test()
            self._new = name
            self._timer = asyncio.get_running_loop().call_later(SETTLE_SECS, self._settle)
        elif event.action == "cont" and event.test == name:
            self._begin(name)
        test = self._tests.get(name)
        if test is None:
            return
        if event.action == "output":
            test.say(event.test, event.output)
        elif event.action in _OUTCOMES and event.test != name:
            test.end_subtest(event)
        elif event.action == "fail":
            self._failing = event
        elif event.action in _OUTCOMES:
            self._finish(event)

    def _of_package(self, event: Event) -> None:
        self._settle()
        if event.action == "output":
            if event.output in ("PASS\n", "FAIL\n"):
                self._came_to_its_end = True
                self._fail()
            self._own.add(event.output)
        elif event.action in _OUTCOMES:
            self._last = event

    def _settle(self, *, begins: bool = True) -> None:
        """The newest test runs, or it waits for others."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        name, self._new = self._new, ""
        if name and begins:
            self._begin(name)

    def _begin(self, name: str) -> None:
        if name in self._names:
            self._batch.began(self._names[name])

    def _fail(self) -> None:
        """The failure that came last was one: its process has gone on."""
        failing, self._failing = self._failing, None
        if failing is not None:
            self._finish(failing)

    def _finish(self, event: Event) -> None:
        test = self._tests.pop(event.test)
        outcome = _OUTCOMES[event.action]
        self._failures += outcome is Outcome.FAILED
        message, details, output = "", "", f"{test.own}{test.good}"
        if outcome is Outcome.FAILED:
            details, output = f"{test.failed}{test.own}", str(test.good)
            message = _why(event.test, test)
        elif outcome is Outcome.SKIPPED:
            located = _LOCATED.findall(str(test.own))
            message = located[-1][1] if located else ""
        if event.test in self._names:
            self._batch.finished(
                self._names[event.test],
                outcome,
                event.seconds,
                message=message,
                details=details,
                output=(Section("Captured output", output),),
            )

    def end(self, said: str) -> None:
        """The command has ended. `said`: its last messages.

        Raises:
            ToolCrashed: the test process ended before its tests.
            FrameworkUnusable: the command did not get as far as the package.
        """
        self._settle()
        last = self._last
        if last is None:
            if not self._tests:
                raise FrameworkUnusable(f"`go test` did not run: {summary(said)}\n{said}")
            raise ToolCrashed(f"`go test` was ended\n{self._all()}")
        own = str(self._own)
        if last.action == "fail" and ("[build failed]" in own or "[setup failed]" in own):
            told = self._builds.of(last.build, last.package) or said
            return self._batch.unreported(f"its package does not build there: {summary(told)}", told)
        if last.action == "fail" and not self._came_to_its_end:
            return self._died()
        if last.action == "fail" and not self._failures:
            self._batch.teardown_failed("its package failed after its tests", _without_result(own))
        self._batch.unreported("there is no such test in the package there", own)

    def _died(self) -> None:
        """The test process ended before its tests, or before any of them."""
        if self._tests or self._batch.left.keys() < set(self._names.values()):
            told = self._all()
            found = _DEATH.search(told)
            raise ToolCrashed(f"{found[0] if found else 'the test process ended by itself'}\n{told}")
        own = _without_result(str(self._own))
        why = _DEATH.search(own)
        message = why[0] if why else summary(own)
        self._batch.unreported(f"its package failed before any test: {message}", own)

    def _all(self) -> str:
        return cut(
            "".join([*(test.all() for test in self._tests.values()), _without_result(str(self._own))]), _MAX_REASON
        )


def _why(name: str, test: _Test) -> str:
    """A failure in a line: the first that was reported, with its subtest."""
    if not test.failures:
        if name.startswith("Example"):
            return "its output is not the one in its comment"
        return _first_report(str(test.own))
    subtest, said = test.failures[0]
    more = f" (and {len(test.failures) - 1} more subtests)" if len(test.failures) > 1 else ""
    return f"{subtest}: {_first_report(said)}{more}"


def _first_report(said: str) -> str:
    located = _LOCATED.search(said)
    if located is None:
        return summary(said) or "it failed, and did not say why"
    place, text = located[1], located[2].strip()
    if not text:
        rest = said[located.end() :]
        error = _TESTIFY.search(rest)
        text = error[1] if error else summary(rest)
    return f"{place}{text}"


def _without_result(own: str) -> str:
    """A package's output without the line that go adds to it."""
    return "".join(line for line in own.splitlines(keepends=True) if not is_result(line))
