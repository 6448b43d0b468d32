"""A worker holds one sandbox and drives test sessions in it, until nothing is left or the sandbox is gone.

What a session was evidence of, it decides from the session's result alone. What becomes of a test, it does not decide.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from ..abc import Collection, Hello, Launch, Test
from ..errors import FrameworkError, FrameworkUnusable, ProviderError, SandboxDead, SandboxLost
from ..events import Bus, Incident, IncidentKind, LogLine, SessionEnded, SessionOpened
from ..liveness import DeathWatch
from ..scheduling import Bundle, Crash, CrashKind
from .artefacts import Artefacts
from .dispatcher import Dispatcher
from .listing import Listing
from .messages import Aborted, Crashed, Returned, Suspected, TimedOut, Unstarted
from .request import RunRequest
from .session_driver import SessionDriver, SessionTerms
from .session_result import SessionEnd, SessionResult

MAX_BARREN = 3
"""So many sessions in a row may end by themselves in a sandbox before any test; then it is given up."""


class Worker:
    """Runs tests in one sandbox. What the dispatcher sees of it is a `WorkerView`.

    Args:
        launch: where sessions run; each gets a name of its own.
        listing: gets what sessions list.
        artefacts: collects what sessions leave.

    Attributes:
        finished: how many tests have ended by themselves in it.
        on_trial: whether the sandbox ended while a suspect had it to itself.
    """

    def __init__(
        self,
        request: RunRequest,
        dispatcher: Dispatcher,
        bus: Bus,
        launch: Launch,
        watch: DeathWatch,
        listing: Listing,
        artefacts: Artefacts | None = None,
    ) -> None:
        self.name = launch.name
        self.session_name = ""
        self.finished = 0
        self.on_trial = False
        self._request = request
        self._dispatcher = dispatcher
        self._bus = bus
        self._launch = launch
        self._watch = watch
        self._listing = listing
        self._artefacts = artefacts
        self._driver: SessionDriver | None = None
        self._next: Bundle | None = None
        self._evidence: Crashed | None = None
        self._used = False
        self._sessions = 0
        self._failed_starts = 0
        self._barren = 0

    # -- the dispatcher's view ------------------------------------------------------------------------------------

    @property
    def fresh(self) -> bool:
        """Whether nothing has run in its sandbox yet."""
        return not (self._used or (self._driver is not None and self._driver.sent))

    @property
    def held(self) -> dict[str, Test]:
        """What the session was sent and has not started, in order. What has to run alone is nobody else's to take."""
        return self._driver.held if self._driver is not None else {}

    def wake(self) -> None:
        """There may be something to do."""
        if self._driver is not None:
            self._driver.wake()

    async def revoke(self, tests: Sequence[Test]) -> Sequence[Test]:
        """Take back held tests; those that are returned are not this worker's any more."""
        return await self._driver.revoke(tests) if self._driver is not None else ()

    def abort(self, test: Test) -> None:
        """Stop what runs, if it is this test."""
        if self._driver is not None:
            self._driver.abort(test)

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until the run is over. Unless cancelled, what it was working on has been dealt with at the end.

        Raises:
            SandboxDead, SandboxLost: the sandbox is gone.
            FrameworkError: no session could be started in it, twice in a row, or none can work there.
            ProviderError: it could not be used.
        """
        self._dispatcher.join(self)
        try:
            while not self._dispatcher.over:
                await self._session()
        except (SandboxDead, SandboxLost) as error:
            # if a process went before it, and no other came up since, it was the sandbox all along
            gone = self._evidence or Crashed(Crash(kind=CrashKind.SANDBOX), (), self._incident(_kind_of(error), ""))
            self.on_trial = gone.crash.on_trial
            self._evidence = evolve(
                gone,
                crash=evolve(gone.crash, kind=CrashKind.SANDBOX),
                incident=self._incident(_kind_of(error), error.message),
            )
            raise
        except (ProviderError, FrameworkUnusable):
            if self._evidence is not None:
                self._evidence = evolve(self._evidence, crash=evolve(self._evidence.crash, kind=CrashKind.SANDBOX))
            raise
        finally:
            self._tell_evidence()
            if self._next is not None:
                self._dispatcher.tell(Returned(self._next))
            self._dispatcher.leave(self)

    async def _session(self) -> None:
        self._sessions += 1
        self.session_name = f"{self.name}.{self._sessions}"
        launch = evolve(self._launch, name=self.session_name, log=self._log)
        if self._artefacts is not None:
            launch = await self._artefacts.begin(launch, self._watch)
        result = await self._drive(launch)
        self.finished += result.finished
        self._next = result.left_over
        try:
            self._conclude(result)
        finally:
            if self._artefacts is not None and result.error is None:
                await self._artefacts.collect(launch, self._watch, failed=result.failed)

    async def _drive(self, launch: Launch) -> SessionResult:
        request, listing = self._request, self._listing.claim()
        terms = SessionTerms(
            test_timeout=request.offload.test_timeout_secs,
            timing=request.timing,
            leaves_files=self._artefacts is not None,
            collected=self._listing.take if listing else None,
            up=self._session_up,
            log=self._log,
        )
        first, self._next = self._next, None
        driver = self._driver = SessionDriver(self, self._dispatcher, self._watch, terms, first)
        try:
            collection = Collection(groups=request.groups, listing=listing)
            return await driver.drive(request.framework.open(launch, collection))
        finally:
            if listing:
                self._listing.release()
            self._used = self._used or driver.sent
            self._driver = None

    def _session_up(self, hello: Hello) -> None:
        """The sandbox can run a session: a process that ended before did so by itself."""
        self._failed_starts = 0
        self._tell_evidence()
        self._bus.emit(SessionOpened(sandbox=self.name, session=self.session_name, versions=hello.versions))

    # -- what follows from a result -------------------------------------------------------------------------------

    def _conclude(self, result: SessionResult) -> None:
        """Deal with what a session left.

        Raises:
            SandboxDead, SandboxLost, FrameworkError, ProviderError: the sandbox cannot be used any more.
        """
        if result.error is None:
            said = result.reason if result.goodbye else result.reason.partition("\n")[0]
            self._bus.emit(
                SessionEnded(sandbox=self.name, session=self.session_name, complete=result.goodbye, reason=said)
            )
        self._settle_kill(result)
        match result.end:
            case SessionEnd.CLOSED | SessionEnd.KILLED:
                self._dispatcher.tell(Unstarted(result.unstarted))
            case SessionEnd.CRASHED if not result.started:
                return self._failed_start(result.reason)
            case SessionEnd.CRASHED:
                self._hold(result, CrashKind.PROCESS, IncidentKind.SESSION_CRASHED)
            case SessionEnd.BROKEN | SessionEnd.GONE:
                self._unusable(result)
        self._count_barren(result)

    def _settle_kill(self, result: SessionResult) -> None:
        limit = self._request.offload.test_timeout_secs
        for attempt in result.aborted:
            self._dispatcher.tell(Aborted(attempt))
        stuck = [self._dispatcher.begin(self, test) for test in result.stuck]
        for attempt in (*result.timed_out, *stuck):
            self._dispatcher.tell(TimedOut(attempt, limit))

    def _failed_start(self, reason: str) -> None:
        self._failed_starts += 1
        if self._failed_starts > 1:
            raise FrameworkError(f"the test framework does not start: {reason}")
        self._log(f"it did not start: {reason}")

    def _count_barren(self, result: SessionResult) -> None:
        if result.productive:
            self._barren = 0
        elif result.end is not SessionEnd.KILLED and not result.asked_to_end:
            self._barren += 1
            if self._barren > MAX_BARREN:
                raise FrameworkError(f"{self._barren} test sessions in a row ended before any test: {result.reason}")

    def _unusable(self, result: SessionResult) -> None:
        error = result.error
        assert error is not None  # that is what makes it unusable
        if isinstance(error, (SandboxDead, SandboxLost)):
            if self._evidence is None:
                self._hold(result, CrashKind.SANDBOX, _kind_of(error))
        elif result.started:
            self._hold(result, CrashKind.PROCESS, IncidentKind.SESSION_CRASHED)
        raise error

    # -- evidence -------------------------------------------------------------------------------------------------

    def _hold(self, result: SessionResult, kind: CrashKind, incident: IncidentKind) -> None:
        """Keep what a session's end is evidence of: whether its sandbox died with it is known once a new one is up."""
        self._dispatcher.tell(Suspected(result.suspects))
        self._evidence = Crashed(result.crash(kind), result.suspects, self._incident(incident, result.reason))

    def _tell_evidence(self) -> None:
        evidence, self._evidence = self._evidence, None
        if evidence is not None:
            self._dispatcher.tell(evidence)

    def _incident(self, kind: IncidentKind, reason: str) -> Incident:
        words, _, output = reason.partition("\n")
        return Incident(kind=kind, reason=words, sandbox=self.name, session=self.session_name, details=output)

    def _log(self, line: str) -> None:
        """Output that is no test's."""
        self._bus.emit(LogLine(sandbox=self.name, session=self.session_name, line=line))


def _kind_of(error: SandboxDead | SandboxLost) -> IncidentKind:
    return IncidentKind.SANDBOX_LOST if isinstance(error, SandboxLost) else IncidentKind.SANDBOX_DEAD
