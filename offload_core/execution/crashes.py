"""What follows when a session or its sandbox ended before its tests did, told as events. The rules are `Poison`'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen

from ..abc import Attempt, Outcome, Test
from ..events import AttemptDropped, AttemptFinished, Incident
from ..scheduling import Crash, CrashKind, Poison, Ruling
from .attempts import Attempts, RunningAttempt


@frozen(eq=False)
class CrashJudge:
    """Judges crashes. What is to be run again is the caller's business."""

    attempts: Attempts
    _poison: Poison = field(factory=Poison, init=False)

    def judge(self, crash: Crash, attempts: Sequence[RunningAttempt], incident: Incident) -> Ruling:
        """Blame somebody, or nobody.

        Args:
            attempts: those that ran when it came. They are closed.
            incident: what to tell; completed with what follows from it.
        """
        book = self.attempts
        for attempt in attempts:
            book.close(attempt)
        # what is decided, or runs elsewhere as well, has nothing more to tell
        wanted = {
            attempt.test.key: attempt
            for attempt in attempts
            if book.ledger.owes(attempt.test.key) and not book.copies(attempt.test.key)
        }
        running = tuple(test for test in crash.running if test.key in wanted)
        unstarted = tuple(test for test in crash.unstarted if book.ledger.owes(test.key))
        if crash.running and not running:
            ruling = Ruling(requeue=unstarted)  # what ran explains the end
        else:
            ruling = self._poison.judge(evolve(crash, running=running, unstarted=unstarted))
        suspects = tuple(test for unit in ruling.suspects for test in unit)
        book.bus.emit(
            evolve(
                incident,
                requeued=tuple(test.key for test in (*ruling.requeue, *suspects)),
                suspects=tuple(test.key for test in (*suspects, *ruling.convicted)),
            )
        )
        for attempt in attempts:
            if attempt.test.key not in wanted:
                book.emit(AttemptDropped(test=attempt.test.key, number=attempt.number))
        nobody_knows = crash.kind is CrashKind.SANDBOX or len(running) > 1
        self._tell(ruling, crash.kind, wanted, incident, Outcome.LOST if nobody_knows else Outcome.CRASHED)
        return ruling

    def _tell(
        self,
        ruling: Ruling,
        kind: CrashKind,
        attempts: Mapping[str, RunningAttempt],
        incident: Incident,
        suspected: Outcome,
    ) -> None:
        """Say what it means for each test. `suspected` is how the attempt of a suspect has ended."""
        what = "its sandbox" if kind is CrashKind.SANDBOX else "its process"
        for test in ruling.convicted:
            message = f"{what} ended again while it ran alone"
            self._end(test, attempts.get(test.key), incident, Outcome.CRASHED, message)
        for test in ruling.broken:
            self._end(test, None, incident, Outcome.ERROR, f"{what} ended twice before a test of {test.path} began")
        for test in (test for unit in ruling.suspects for test in unit):
            attempt = attempts.get(test.key)
            if attempt is not None:
                message = f"{what} ended while it ran: {incident.reason}"
                ended = self.attempts.ended(attempt, suspected, message=message)
                self.attempts.emit(AttemptFinished(evolve(ended, details=incident.details), again=True))

    def _end(
        self, test: Test, attempt: RunningAttempt | None, incident: Incident, outcome: Outcome, message: str
    ) -> None:
        """A verdict that no attempt gave by itself: it is final."""
        message = f"{message}: {incident.reason}"
        if attempt is not None:
            ended = self.attempts.ended(attempt, outcome, message=message)
        else:
            ended = Attempt(
                test=test.key,
                number=self.attempts.ledger.records[test.key].begun + 1,
                sandbox=incident.sandbox,
                session=incident.session,
                outcome=outcome,
                start=self.attempts.bus.clock(),
                duration=0.0,
                message=message,
            )
        self.attempts.emit(AttemptFinished(evolve(ended, details=incident.details)))
