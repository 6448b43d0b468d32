"""A worker holds one sandbox and drives test sessions in it, until nothing is left or the sandbox is gone.

It sees, and tells the dispatcher; it decides nothing about tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from attrs import define, evolve

from ..abc import Framework, Hello, Place, Test
from ..errors import FrameworkError, FrameworkUnusable, ProviderError, SandboxDead, SandboxLost
from ..events import Bus, Incident, IncidentKind, LogLine, SessionEnded, SessionOpened
from ..liveness import DeathWatch
from ..scheduling import Bundle, Crash, CrashKind
from .artefacts import Artefacts
from .dispatcher import Dispatcher
from .drive import END_SECS, Drive
from .fleet import Run

EXIT_SECS = 2.0
"""How long after the end of its output a process may take to end."""

MAX_BARREN = 3
"""So many sessions in a row may end by themselves in a sandbox before any test; then it is given up."""


@define(eq=False)
class _Pending:
    """A process that ended, not yet judged: whether its sandbox died with it is known once a new session is up."""

    crash: Crash
    runs: tuple[Run, ...]
    incident: Incident


class Worker:
    """Runs tests in one sandbox. To the dispatcher it is a `Runner`.

    Args:
        place: where sessions run; each gets a name of its own.
        test_timeout: seconds.
        artefacts: collects what sessions leave.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        framework: Framework[Any],
        place: Place,
        watch: DeathWatch,
        bus: Bus,
        test_timeout: float,
        artefacts: Artefacts | None = None,
    ) -> None:
        self.name = place.name
        self.session_name = ""
        self.fresh = True
        self.finished = 0
        self.on_trial = False
        self._dispatcher = dispatcher
        self._framework = framework
        self._place = place
        self._watch = watch
        self._bus = bus
        self._test_timeout = test_timeout
        self._artefacts = artefacts
        self._drive: Drive | None = None
        self._next: Bundle | None = None
        self._pending: _Pending | None = None
        self._sessions = 0
        self._failed_starts = 0
        self._barren = 0

    # -- the dispatcher's view ------------------------------------------------------------------------------------

    @property
    def held(self) -> dict[str, Test]:
        """What the session was sent and has not started, in order. What has to run alone is nobody else's to take."""
        return self._drive.held if self._drive is not None and self._drive.alone is None else {}

    @property
    def leaves_files(self) -> bool:
        """Whether the end of a session writes what is brought then, such as coverage data."""
        return self._artefacts is not None

    def wake(self) -> None:
        """There may be something to do."""
        if self._drive is not None:
            self._drive.wake()

    async def revoke(self, tests: Sequence[Test]) -> Sequence[Test]:
        """Take back held tests; those that are returned are not this worker's any more."""
        return await self._drive.revoke(tests) if self._drive is not None else ()

    def abort(self, test: Test) -> None:
        """Stop what runs, if it is this test."""
        if self._drive is not None:
            self._drive.abort(test)

    # -- the drive's view -----------------------------------------------------------------------------------------

    def log(self, line: str) -> None:
        """Output that is no test's."""
        self._bus.emit(LogLine(sandbox=self.name, session=self.session_name, line=line))

    def session_up(self, hello: Hello) -> None:
        """The sandbox can run a session: a process that ended before did so by itself."""
        self._failed_starts = 0
        if self._pending is not None:
            self._judge(self._pending)
        self._bus.emit(SessionOpened(sandbox=self.name, session=self.session_name, versions=hello.versions))

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until the run is over. In any case, what it was working on has been dealt with at the end.

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
            self._sandbox_gone(error)
            raise
        except (FrameworkError, ProviderError) as error:
            if self._drive is not None:
                self._next = self._drive.left_over
                crashed = IncidentKind.SESSION_CRASHED
                self._pending = self._evidence(self._drive, CrashKind.PROCESS, crashed, str(error))
            if self._pending is not None and isinstance(error, (ProviderError, FrameworkUnusable)):
                self._pending.crash = evolve(self._pending.crash, kind=CrashKind.SANDBOX)
            raise
        finally:
            if self._pending is not None:
                self._judge(self._pending)
            if self._next is not None:
                self._dispatcher.give_back(self._next.tests)
            self._dispatcher.leave(self)

    async def _session(self) -> None:
        self._sessions += 1
        self.session_name = f"{self.name}.{self._sessions}"
        place = evolve(self._place, name=self.session_name, log=self.log)
        if self._artefacts is not None:
            place = await self._artefacts.begin(place, self._watch)
        session = await self._watch.guard(self._framework.open(place))
        first, self._next = self._next, None
        drive = self._drive = Drive(
            self,
            session,
            dispatcher=self._dispatcher,
            watch=self._watch,
            test_timeout=self._test_timeout,
            first=first,
        )
        await drive.run()
        killed = drive.timed_out or drive.unwanted
        if drive.bye is None and not killed:
            await self._watch.probe()
        if self._watch.gone.done():
            raise self._watch.loss()
        ended = "" if killed else await self._how_it_ended(drive)
        self._drive = None
        self._next = drive.left_over
        try:
            self._after(drive, ended)
        finally:
            if self._artefacts is not None:
                failed = drive.failed or drive.timed_out or (drive.bye is None and not drive.unwanted)
                await self._artefacts.collect(place, self._watch, failed=failed)

    def _after(self, drive: Drive, ended: str) -> None:
        """A session has ended in a sandbox that, as far as anybody knows, is alive."""
        reason = (drive.bye.reason if drive.bye else drive.why_killed) or ended
        clean = drive.bye is not None and drive.hello is not None and not drive.running
        self._bus.emit(
            SessionEnded(
                sandbox=self.name,
                session=self.session_name,
                complete=drive.bye is not None,
                reason=drive.bye.reason if drive.bye else reason.partition("\n")[0],
            )
        )
        explained = self._settle_kill(drive)
        if explained or (clean and (drive.latest is not None or not drive.owed)):
            self._dispatcher.give_back(drive.owed.values())
        elif drive.hello is None:
            return self._failed_start(reason)
        else:
            self._pending = self._evidence(drive, CrashKind.PROCESS, IncidentKind.SESSION_CRASHED, reason)
        if drive.latest is not None:
            self._barren = 0
        elif not explained and not drive.closing:
            self._barren += 1
            if self._barren > MAX_BARREN:
                raise FrameworkError(f"{self._barren} test sessions in a row ended before any test: {reason}")

    async def _how_it_ended(self, drive: Drive) -> str:
        """The process's exit, in words. A process that outlives its output is ended: it could still run tests."""
        try:
            async with asyncio.timeout(EXIT_SECS):
                return str(await self._watch.guard(drive.session.wait()))
        except TimeoutError:
            pass
        except (SandboxDead, SandboxLost):
            raise
        except ProviderError as error:  # whatever ended it, it was not seen: that is no evidence against a test
            self._watch.lost(f"the connection to its test process broke: {error.message}")
            raise self._watch.loss() from error
        try:
            async with asyncio.timeout(END_SECS):
                await self._watch.guard(drive.session.kill())
        except (SandboxDead, SandboxLost):
            raise
        except (ProviderError, TimeoutError) as error:
            self._watch.lost(f"a command in it could not be killed: {error}")
            raise self._watch.loss() from error
        return "its output ended before its process"

    def _failed_start(self, reason: str) -> None:
        self._failed_starts += 1
        if self._failed_starts > 1:
            raise FrameworkError(f"the test framework does not start: {reason}")
        self.log(f"it did not start: {reason}")

    def _settle_kill(self, drive: Drive) -> bool:
        """Deal with what the session was killed for, if it was killed; whether that explains its end.

        A test that began only while the kill was on its way is not to blame: it stays among what is owed. Nor can it
        be told which of several tests took too long: they are left running, which makes them suspects.
        """
        if not (drive.timed_out or drive.unwanted) or (drive.timed_out and len(drive.running) > 1):
            return False
        runs, drive.running = drive.running, {}
        late: list[Run] = []
        if not runs and drive.timed_out and drive.importing == drive.doomed_import:
            stuck = [test for test in drive.held.values() if test.path == drive.importing]
            late = [self._dispatcher.began(self, test) for test in stuck]
        for run in runs.values():
            if drive.timed_out and run in drive.doomed:
                late.append(run)
                continue
            if run in drive.doomed:
                drive.owed.pop(run.test.key, None)
            self._dispatcher.dropped(run)
        for each in late:
            drive.owed.pop(each.test.key, None)
            self._dispatcher.timed_out(each, self._test_timeout)
        return drive.unwanted or bool(drive.doomed) or bool(late)

    def _evidence(self, drive: Drive, kind: CrashKind, incident: IncidentKind, reason: str) -> _Pending:
        running = tuple(drive.running.values())
        for run in running:
            drive.owed.pop(run.test.key, None)
        self._dispatcher.suspected(running)
        words, _, output = reason.partition("\n")
        return _Pending(
            Crash(
                kind=kind,
                running=tuple(run.test for run in running),
                importing=drive.importing,
                unstarted=tuple(drive.owed.values()),
                suspects=drive.alone is not None and drive.alone.suspect,
            ),
            running,
            Incident(kind=incident, reason=words, sandbox=self.name, session=self.session_name, details=output),
        )

    def _sandbox_gone(self, error: SandboxDead | SandboxLost) -> None:
        kind = IncidentKind.SANDBOX_LOST if isinstance(error, SandboxLost) else IncidentKind.SANDBOX_DEAD
        incident = Incident(kind=kind, reason=error.message, sandbox=self.name, session=self.session_name)
        drive, self._drive = self._drive, None
        pending = self._pending
        if drive is not None and drive.left_over is not None:
            self._next = drive.left_over
        if pending is not None:  # the process went first, and no other came up since: it was the sandbox all along
            pending = _Pending(evolve(pending.crash, kind=CrashKind.SANDBOX), pending.runs, incident)
        elif drive is not None:
            self._settle_kill(drive)
            pending = self._evidence(drive, CrashKind.SANDBOX, kind, error.message)
        else:
            pending = _Pending(Crash(kind=CrashKind.SANDBOX), (), incident)
        self.on_trial = pending.crash.suspects
        self._judge(pending)

    def _judge(self, pending: _Pending) -> None:
        self._pending = None
        self._dispatcher.crashed(pending.crash, pending.runs, pending.incident)
