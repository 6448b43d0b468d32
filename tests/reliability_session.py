"""A test session in 60 lines, for suites that are run by the thousand: it speaks the wire of the pytest plugin.

    python -I -S reliability_session.py MARKER SUITE.json DIRECTORY

SUITE maps ids to what the tests do; DIRECTORY gets a file for each test, with a letter for each time it ran.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` takes a while to import
    from typing import Any

MARKER, SUITE, DIRECTORY = sys.argv[1:]


def say(**event: object) -> None:
    """Write one event."""
    sys.stdout.write(MARKER + " " + json.dumps(event) + "\n")
    sys.stdout.flush()


def outcome(test_id: str, does: dict[str, Any]) -> str:
    """Do what the test does, and return how it ended."""
    path = os.path.join(DIRECTORY, test_id)
    with open(path, "a") as file:
        file.write("x")
    time.sleep(does.get("secs", 0))
    if does["ends"] == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if does["ends"] == "flaky":
        return "passed" if os.path.getsize(path) > 1 else "failed"
    return str(does["ends"])


def requests(queue: list[Any]) -> bool:
    """Take in requests that are there, or wait for one; False at the end."""
    import select

    ready, _, _ = select.select([0], [], [], 0 if queue else None)
    if not ready:
        return True
    data = os.read(0, 1 << 16)
    for line in data.splitlines():
        request = json.loads(line)
        if "run" in request:
            queue.extend(request["run"])
        elif "revoke" in request:
            gone = [test[0] for test in queue if test[0] in request["revoke"]]
            queue[:] = [test for test in queue if test[0] not in gone]
            say(event="revoked", n=request["n"], keys=gone)
        else:
            return False
    return bool(data)


def main() -> None:
    """Serve until asked to close."""
    with open(SUITE) as file:
        suite = json.load(file)
    say(event="hello", versions="reliability")
    queue: list[Any] = []
    while requests(queue):
        if queue:
            key, test_id, _, _ = queue.pop(0)
            say(event="started", key=key)
            start = time.monotonic()
            say(event="finished", key=key, outcome=outcome(test_id, suite[test_id]), duration=time.monotonic() - start)
    say(event="bye", reason="")


main()
