"""What becomes of the tests of one package in a `go test`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from attrs import define, field

from ...abc import Outcome, Section
from ...kit import cut
from ..batch import Batch
from .stream import RESULT, Builds, Event, Text, summary

SETTLE_SECS = 0.1
"""A test that calls `t.Parallel` pauses at once; one that has said nothing for so long runs."""

_MAX_REASON = 1 << 16
_OUTCOMES = {"pass": Outcome.PASSED, "skip": Outcome.SKIPPED, "fail": Outcome.FAILED}
_FRAME = re.compile(r"\s*(=== (RUN|PAUSE|CONT|NAME)\s|--- (PASS|FAIL|SKIP): )")
_LOCATED = re.compile(r"^\s*(\S+\.go:\d+: )(.*)$", re.MULTILINE)
_TESTIFY = re.compile(r"^\s*Error:\s+(\S.*)$", re.MULTILINE)
_KILLED = re.compile(r"signal: (killed|terminated)$", re.MULTILINE)
_DEATH = re.compile(r"^(panic: |fatal error: |signal: |SIG[A-Z]+: |exit status ).*", re.MULTILINE)


@define
class _Test:
    """A test of the package: what it and its subtests have said."""

    own: Text = field(factory=Text)
    subtests: dict[str, Text] = field(factory=dict)  # those that run
    failed: Text = field(factory=Text)  # all subtests that have failed
    good: Text = field(factory=Text)  # all that have ended well
    failures: int = 0  # subtests that failed without one in them that did
    first: tuple[str, str] | None = None  # the first of these, and what it said
    parents: set[str] = field(factory=set)  # subtests with one in them that failed

    def say(self, name: str, text: str) -> None:
        if not _FRAME.match(text):
            (self.own if "/" not in name else self.subtests.setdefault(name, Text())).add(text)

    def end_subtest(self, event: Event) -> None:
        said = str(self.subtests.pop(event.test, ""))
        if event.action == "fail":
            name = event.test.partition("/")[2]
            if name not in self.parents:
                self.failures += 1
                self.first = self.first or (name, str(said)[:_MAX_REASON])
            self.parents.update(name[:at] for at, letter in enumerate(name) if letter == "/")
            self.failed.add(f"--- FAIL: {event.test} ({event.seconds:.2f}s)\n{said}")
        elif said:
            self.good.add(f"--- {event.action.upper()}: {event.test} ({event.seconds:.2f}s)\n{said}")

    def all(self) -> str:
        return "".join(map(str, (self.failed, self.own, *self.subtests.values())))


class PackageRun:
    """Reads the events of one package, and tells the batch what becomes of its tests.

    The result of a test is told when the next thing happens: a failure can be a panic, which ends the process, and
    after the last test there may come something that fails the package.
    """

    def __init__(self, batch: Batch, names: Mapping[str, str]) -> None:
        self._batch = batch
        self._names = dict(names)  # the ids of the tests that were asked for, by their names
        self._tests: dict[str, _Test] = {}
        self._own = Text()
        self._new = ""
        self._timer: asyncio.TimerHandle | None = None
        self._ending: Event | None = None
        self._ended = self._failures = 0
        self._came_to_its_end = False
        self._last: Event | None = None

    @property
    def seen(self) -> bool:
        """Whether anything was heard of the package."""
        return self._last is not None or bool(self._tests)

    def take(self, event: Event) -> None:
        """An event of the package or of one of its tests."""
        if event.test:
            self._of_test(event)
        elif event.action == "output":
            self._settle()
            self._came_to_its_end = self._came_to_its_end or event.output in ("PASS\n", "FAIL\n")
            if not RESULT.match(event.output):
                self._own.add(event.output)
        elif event.action in _OUTCOMES:
            self._last = event

    def _of_test(self, event: Event) -> None:
        name = event.test.partition("/")[0]  # of the test that a subtest belongs to
        if self._ending is not None and self._ending.test != name:
            self._finish()
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
        elif event.action in _OUTCOMES:
            self._ending = event

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

    def _finish(self) -> None:
        """Tell the result that came last, if it has not been told."""
        event, self._ending = self._ending, None
        if event is None:
            return
        test = self._tests.pop(event.test)
        outcome = _OUTCOMES[event.action]
        self._ended += 1
        self._failures += outcome is Outcome.FAILED
        message, details, output = "", "", f"{test.own}{test.good}"
        if outcome is Outcome.FAILED:
            message, details, output = _why(event.test, test), f"{test.failed}{test.own}", str(test.good)
        elif outcome is Outcome.SKIPPED:
            located = _LOCATED.findall(str(test.own))
            message = located[-1][1] if located else ""
        self._tell(event, outcome, message, details, output)

    def _tell(self, event: Event, outcome: Outcome, message: str, details: str, output: str) -> None:
        id = self._names.get(event.test, "")
        sections = (Section("Captured output", output),)
        self._batch.finished(id, outcome, event.seconds, message=message, details=details, output=sections)

    def end(self, builds: Builds, said: str) -> str | None:
        """The command has ended: every test that was asked for has its result, or the process of the package crashed.

        `said` are the last messages of the command.

        Returns:
            How it crashed, and in further lines what was said; None if it did not.
        """
        self._settle()
        last, own = self._last, str(self._own)
        if last is None:
            self._finish()
            return f"`go test` ended before a package did\n{said}\n{self._all()}"
        if last.action == "fail" and not self._came_to_its_end:
            if self._tests or self._ended:
                return self._crashed()
            told = builds.of(last.build, last.package)
            if _KILLED.search(told):
                return f"the build was killed\n{told}"
            what = "does not build there" if told else "failed before any test"
            death = _DEATH.search(own)
            why = death[0] if death else summary(told or own or said)
            self._batch.unreported(f"its package {what}: {why}", told or own or said, ids=self._names.values())
        elif last.action == "fail" and not self._failures and self._ending and self._ending.action != "fail":
            self._tell(self._ending, Outcome.ERROR, "its package failed after its tests", own, "")
        self._finish()
        silent = last.action == "fail" and not self._ended
        what = "its package failed without a word of it" if silent else "there is no such test in the package there"
        self._batch.unreported(what, own, ids=self._names.values())
        return None

    def _crashed(self) -> str | None:
        """The process ended before its tests: while some ran, which are not told of here; between two; after the last.

        One that says that it has failed is among the first: after a panic of its own.
        """
        told = self._all()
        found = _DEATH.search(told)
        last = told.strip().rpartition("\n")[2] or "nothing"
        how = found[0] if found else f"the test process ended; it had said last: {last}"
        if self._ending is not None and self._ending.action != "fail":
            if self._batch.left.keys() & self._names.values() <= {self._names.get(self._ending.test)}:
                self._tell(self._ending, Outcome.ERROR, f"after it, {how}", told, "")
                return None
            self._finish()
        return f"{how}\n{told}"

    def _all(self) -> str:
        return cut("".join([*(test.all() for test in self._tests.values()), str(self._own)]), _MAX_REASON)


def _why(name: str, test: _Test) -> str:
    """A failure in a line: the first that was reported, with its subtest."""
    if test.first is None:
        if name.startswith("Example"):
            return "its output is not the one in its comment"
        return _first_report(str(test.own))
    subtest, said = test.first
    more = f" (and {test.failures - 1} more)" if test.failures > 1 else ""
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
