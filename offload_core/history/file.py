"""The history file: one line a test, sorted by key, replaced as a whole.

Reading looks only for the key of each line. What a line says is decoded when somebody asks, and what nobody touched is
written as it was: a run needs few of many tests, and changes few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field

from ..errors import ReportError, os_error_as
from ..results.directory import replace_file
from .entry import Entry, Key, decode, encode
from .merging import without_base

LOCK_TIMEOUT_SECS = 60.0
"""How long a writer waits for others; each holds the lock for about a second at most."""

_CONFLICT = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
# as writers write it: where nothing is escaped, what stands between the quotes is the string
_PLAIN_KEY = re.compile(r'\{"k":\["([^"\\]*)","([^"\\]*)"\],"v":\{')


@define
class History:
    """A history that was read.

    Attributes:
        lines: the line of each test.
        problems: what could not be read, in words, with the number of the line.
    """

    path: Path
    lines: dict[Key, str] = field(factory=dict)
    problems: list[str] = field(factory=list)

    def entry(self, key: Key) -> Entry:
        """What is known of a test; an empty entry if nothing is.

        Raises:
            ReportError: its line is damaged.
        """
        line = self.lines.get(key)
        try:
            return Entry() if line is None else decode(line)[1]
        except ValueError as error:
            raise ReportError(
                f"{self.path}: the entry of {key[1]!r} is damaged: {error}. Remove that line; what it knew is lost"
            ) from None

    def put(self, key: Key, entry: Entry) -> None:
        """Set what is known of a test."""
        self.lines[key] = encode(key, entry)

    @property
    def problem(self) -> str:
        """All problems in a sentence, empty if there are none."""
        if not self.problems:
            return ""
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        return f"{self.path}, {self.problems[0]}{more}"


def read_history(path: Path) -> History:
    """The history at `path`; an empty one if there is no file.

    A line that is none of a history is one of `problems`, and the rest is read. Two lines of one test, as a text merge
    leaves them, count as one.

    Raises:
        ReportError: the file cannot be read.
    """
    history = History(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return history
    except OSError as error:
        raise ReportError(f"{path} could not be read: {error.strerror or error}") from error
    try:
        text, clean = data.decode(), True
    except UnicodeDecodeError:
        text, clean = data.decode(errors="surrogateescape"), False
    lines = history.lines
    for number, line in enumerate(text.split("\n"), 1):
        plain = _PLAIN_KEY.match(line) if clean and line.endswith("}}") else None
        if plain and (key := (plain[1], plain[2])) not in lines:
            lines[key] = line
            continue
        try:
            _add(lines, line)
        except ValueError as error:
            history.problems.append(f"line {number}: {_why(line, error)}")
    return history


def write_history(history: History) -> None:
    """Replace the file by `history`, sorted, so that it is there as a whole or as it was. Hold `locked`.

    Raises:
        ReportError: it could not be written; or parts of it could not be read, and would be lost.
    """
    if history.problems:
        raise ReportError(
            f"{history.problem}: nothing was written to it, because that would lose what cannot be read. Repair the "
            "file, or restore it with your version control"
        )
    path = history.path.resolve()
    with os_error_as(ReportError, f"{path} could not be written"):
        replace_file(path, (f"{line}\n" for _, line in sorted(history.lines.items())), durable=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the history for reading it and writing it back: nobody else does meanwhile.

    Raises:
        ReportError: another process holds it for too long, or there is no place for the lock.
    """
    from filelock import FileLock, Timeout

    path = path.resolve()
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_TIMEOUT_SECS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ReportError(f"another process has held {lock.lock_file} for {LOCK_TIMEOUT_SECS:g} s") from None
    except (OSError, NotImplementedError) as error:
        raise ReportError(f"{path} could not be locked: {getattr(error, 'strerror', None) or error}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink()  # while it is held: whoever waits finds it gone, and makes a new one
        lock.release()


def _add(lines: dict[Key, str], line: str) -> None:
    """Add a line that is not as most are.

    Raises:
        ValueError: it is not a line of a history.
    """
    if not line.strip():
        return
    try:
        line.encode()
    except UnicodeEncodeError:
        raise ValueError("not UTF-8") from None
    key, entry = decode(line)
    lines[key] = encode(key, without_base(decode(lines[key])[1], entry)) if key in lines else line


def _why(line: str, error: ValueError) -> str:
    """Why a line is none of a history, and what to do."""
    if line.startswith(_CONFLICT):
        return (
            "the mark of a merge conflict. `git checkout --merge` of the file, after `offload history "
            "setup-merge-driver`, merges it again"
        )
    return f"not an entry of a history: {error}"
