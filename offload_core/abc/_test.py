"""A test, one attempt at it, and the states both can end in."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Outcome(StrEnum):
    """How one attempt ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    LOST = "lost"
    """Infrastructure ended before the test did. Says nothing of the test and uses up none of its retries."""

    @property
    def good(self) -> bool:
        """Whether a test may end this way without the run failing."""
        return self in (Outcome.PASSED, Outcome.SKIPPED, Outcome.XFAILED, Outcome.XPASSED)

    @property
    def bad(self) -> bool:
        """Whether this is evidence against the test, as opposed to good or lost."""
        return not self.good and self is not Outcome.LOST


class State(StrEnum):
    """How a test ended in the run: exactly one of these."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"
    FLAKY = "flaky"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    NOT_RUN = "not_run"

    @property
    def bad(self) -> bool:
        """Whether a test in this state fails the run (exit code 1)."""
        return self in (State.FAILED, State.ERROR, State.TIMED_OUT, State.CRASHED)


@frozen(kw_only=True)
class Test:
    """A test as discovery found it.

    Attributes:
        key: opaque, unique in a run. One id can stand in two groups, and more than once in one.
        id: the framework's canonical name, any Unicode. Never pasted into a shell line.
        group: the configuration's group it was found for.
        path: the module it belongs to: what must be imported or built to run it, relative to the project's root.
        affinity: tests that share one are cheaper together. Usually the path.
        retries: how many further attempts a failure gets.
        individual: runs in a session of its own.
        file: where it is defined, relative to the project's root, when known.
        line: of that file, counted from 1, when known.
        number: how many tests before it in its group have the same id.
    """

    __test__ = False  # not a test class, whatever its name suggests to pytest

    key: str
    id: str
    group: str
    path: str
    affinity: str
    retries: int = 0
    individual: bool = False
    file: str | None = None
    line: int | None = None
    number: int = 0


@frozen
class Section:
    """One piece of captured output, e.g. `("Captured stdout call", "…")`."""

    title: str
    text: str


@frozen(kw_only=True)
class Attempt:
    """One execution of one test.

    Attributes:
        test: the test's key.
        number: counts from 1 within the run; lost attempts are counted too.
        sandbox: the name of the sandbox it ran in.
        session: the name of the session.
        start: seconds since the run started.
        duration: seconds; for an attempt that did not end by itself, until its end was noticed.
        message: one line.
        details: the traceback or whatever else explains the outcome. Like `message`, it may be empty.
        hedge: it ran beside another attempt that had not ended.
    """

    test: str
    number: int
    sandbox: str
    session: str
    outcome: Outcome
    start: float
    duration: float
    message: str = ""
    details: str = ""
    output: tuple[Section, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    hedge: bool = False
