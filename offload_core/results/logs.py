"""What sandboxes print that is no test's output: `logs/<sandbox>.<session>.log`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from ..errors import ReportError
from ..events import LogLine, SessionEnded, Stamped
from .directory import LOGS
from .journal import AppendOnlyFile
from .sanitize import file_name, printable


class SandboxLogs:
    """A consumer that writes each session's log lines, with the seconds since the run started, as they come.

    Args:
        claim: gives the path for a file's name, or raises `ReportError`.
        failures: gets a `ReportError` for the first log that cannot be written; logging ends there.
        max_open: how many logs are held open at once; the least recently used is closed first.
        max_bytes: of one log. What comes after is left out, and the log says so.
    """

    def __init__(
        self,
        claim: Callable[[str], Path],
        failures: list[ReportError],
        *,
        max_open: int = 64,
        max_bytes: int = 16 << 20,
    ) -> None:
        self._max_open, self._max_bytes = max_open, max_bytes
        self._claim = claim
        self._failures = failures
        self._own_failures: list[ReportError] = []
        self._open: OrderedDict[str, AppendOnlyFile] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def __call__(self, stamped: Stamped) -> None:
        """Write a line, or close the log of a session that has ended."""
        event = stamped.event
        if isinstance(event, LogLine) and not self._own_failures:
            try:
                self._write(_log_name(event.sandbox, event.session), stamped.at, event.line)
            except ReportError as error:
                self._own_failures.append(error)
            self._failures.extend(self._own_failures)
        elif isinstance(event, SessionEnded) and (log := self._open.pop(_log_name(event.sandbox, event.session), None)):
            log.close()

    @property
    def written(self) -> bool:
        """Whether there is any log."""
        return bool(self._sizes)

    def close(self) -> None:
        """Idempotent."""
        for log in self._open.values():
            log.close()
        self._open.clear()

    def _write(self, name: str, at: float, line: str) -> None:
        size = self._sizes.get(name, 0)
        if size >= self._max_bytes:
            return
        text = "".join(f"[{at:9.3f}] {part}\n" for part in printable(line).split("\n"))
        data = text.encode(errors="backslashreplace")
        self._sizes[name] = size + len(data)
        if size + len(data) >= self._max_bytes:
            data += f"[this log ends here: Offload keeps {self._max_bytes >> 20} MiB of a session]\n".encode()
        self._log(name, fresh=not size).append(data)

    def _log(self, name: str, *, fresh: bool) -> AppendOnlyFile:
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        if len(self._open) >= self._max_open:
            self._open.popitem(last=False)[1].close()
        self._open[name] = AppendOnlyFile(self._claim(name), self._own_failures, fresh=fresh)
        return self._open[name]


def _log_name(sandbox: str, session: str) -> str:
    return f"{LOGS}/{file_name(sandbox)}.{file_name(session)}.log"
