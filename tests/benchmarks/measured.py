"""`python measured.py FIGURES pytest|offload ARGUMENTS…`: run one of them in this process, and write what it took.

FIGURES becomes a JSON object: CPU seconds of this process (`own_cpu`) and of those it waited for (`children_cpu`), and
for pytest the time of day of the first test's start (`first_start`) and every outcome (`outcomes`, lists by node id).
It needs nothing but what it runs, and imports nothing of it before.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any


class Recorder:
    """A plugin for the pytest process that the user starts; xdist's workers do not have it, and report to it."""

    def __init__(self) -> None:
        self.first_start = 0.0
        self.outcomes: defaultdict[str, list[str]] = defaultdict(list)
        self._phases: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test starts here, or a worker says so."""
        self.first_start = self.first_start or time.time()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A phase has ended."""
        self._phases.setdefault(report.nodeid, {})[report.when] = report
        if report.when == "teardown":
            self.outcomes[report.nodeid].append(outcome(self._phases.pop(report.nodeid)))

    def pytest_collectreport(self, report: Any) -> None:
        """A module that skips itself or does not import is an outcome too."""
        if report.outcome != "passed":
            self.outcomes[report.nodeid].append("error" if report.outcome == "failed" else "skipped")


def outcome(phases: dict[str, Any]) -> str:
    """What pytest's own summary would count a test as."""
    failed = [when for when, report in phases.items() if report.outcome == "failed"]
    if failed:
        return "failed" if "call" in failed else "error"
    deciding = phases.get("call", phases["setup"])
    if hasattr(deciding, "wasxfail"):
        return "xfailed" if deciding.outcome == "skipped" else "xpassed"
    return str(deciding.outcome)


def main() -> int:
    """Run, write the figures, and return the exit code."""
    figures, program, *arguments = sys.argv[1:]
    sys.path[0] = str(Path.cwd())  # as `python -m` would
    sys.argv = [program, *arguments]
    found: dict[str, Any] = {}
    if program == "pytest":
        import pytest

        recorder = Recorder()
        code = int(pytest.main(arguments, plugins=[recorder]))
        found.update(first_start=recorder.first_start, outcomes=recorder.outcomes)
    else:
        from offload_core.cli import main as offload

        code = offload(arguments)
    for name, who in (("own_cpu", resource.RUSAGE_SELF), ("children_cpu", resource.RUSAGE_CHILDREN)):
        usage = resource.getrusage(who)
        found[name] = usage.ru_utime + usage.ru_stime
    Path(figures).write_text(json.dumps(found), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
