"""How long the execution waits for what, where the configuration does not say. All in seconds."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Timing:
    """The bounds of a run. Injected, so that tests can wait less.

    Attributes:
        steal: how long a thief waits for a session's answer. What comes later is queued.
        start: how long a session may take at least until its framework is up, however short the tests' limit is.
        close: how long a session's own end (fixtures of the widest scope, coverage data) may take.
        end: how long the stream of a session that was killed may take to end before the sandbox is given up.
        exit: how long after the end of its output a process may take to end.
        drain: after a death: how long results that had already left the sandbox may take to be read.
        silent: how long to wait before asking again whether a sandbox can be reached in which a test takes too long.
        tend: how often the run looks at itself: for tests to hedge, and for whether anything moves.
        still: after so long without any progress, the run says what it waits for.
        stalled: so long beyond `test_timeout_secs` without any progress, nothing can come any more.
        terminate: how long ending one sandbox may take in all.
        sweep: how long the last look for left-over sandboxes may take.
        wind_down: once the run is over: after so long without any sandbox ending, all that is left is cut off.
        collect: how long bringing a session's artefacts may take. A sandbox in which it takes longer is asked no more.
        abandon: how long the end of a command may take that took too long.
        full: after a backend said that it is full: how long until another sandbox is asked for, at first and at most.
    """

    steal: float = 5.0
    start: float = 60.0
    close: float = 60.0
    end: float = 10.0
    exit: float = 2.0
    drain: float = 0.25
    silent: float = 1.0
    tend: float = 1.0
    still: float = 60.0
    stalled: float = 300.0
    terminate: float = 30.0
    sweep: float = 10.0
    wind_down: float = 200.0
    collect: float = 60.0
    abandon: float = 10.0
    full: tuple[float, float] = (5.0, 60.0)
