"""The output directory: who may write to it, and which of its files are Offload's own."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import ConfigError, ReportError, os_error_as

JOURNAL = "events.jsonl"
PREVIOUS_JOURNAL = "events.previous.jsonl"
SUMMARY = "summary.json"
SUMMARY_MARKDOWN = "summary.md"
TRACE = "trace.json"
LOGS = "logs"
MANIFEST = ".offload-files"
LOCK = ".offload.lock"
NOT_CHOSEN = frozenset({SUMMARY, SUMMARY_MARKDOWN, TRACE})
"""Reports whose names are Offload's choice, not the user's."""


class OutputDirectory:
    """`[report] output_dir`, held by one run at a time: a context manager that locks it.

    A manifest names every file that Offload wrote there, and only those are ever removed: the directory may be the
    project itself. What stands where a new file has to go, and is not Offload's, is renamed, never overwritten. The
    exceptions are files whose names are the user's choice, as that of the JUnit report.

    Attributes:
        notes: what `write` renamed, in words that the user should see.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._lock = FileLock(path / LOCK, timeout=0)
        self._claimed: set[str] = set()

    def __enter__(self) -> OutputDirectory:
        """Make the directory and lock it.

        Raises:
            ConfigError: it is not a directory, cannot be written, or another run holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self._claimed = self._listed()
        except Timeout:
            raise ConfigError(
                f"another `offload run` is writing to {self.path}: wait for it, or give this run an output directory "
                "of its own ([report] output_dir)"
            ) from None
        except (OSError, NotImplementedError) as error:
            raise self._unusable(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def begin(self) -> list[str]:
        """Make room for a new run: rotate the journal and remove the other files of the run before.

        Read what is wanted of the last run before this. Returns what the user should know, in words.

        Raises:
            ConfigError: the directory cannot be written.
        """
        notes: list[str] = []
        try:
            listed = self._listed()
            own = JOURNAL in listed or _is_journal(self.path / JOURNAL)
            if own and _has_results(self.path / JOURNAL):
                if PREVIOUS_JOURNAL not in listed and not _is_journal(self.path / PREVIOUS_JOURNAL):
                    self._move_aside(PREVIOUS_JOURNAL, notes)
                (self.path / JOURNAL).replace(self.path / PREVIOUS_JOURNAL)
            elif own:
                (self.path / JOURNAL).unlink(missing_ok=True)
            for name in listed - {JOURNAL, PREVIOUS_JOURNAL}:
                self._remove(name)
            self._move_aside(JOURNAL, notes)
            self._move_aside(SUMMARY, notes)
            kept = f"{PREVIOUS_JOURNAL}\n" if _is_journal(self.path / PREVIOUS_JOURNAL) else ""
            replace_file(self.path / MANIFEST, [kept])
            self._claimed = {PREVIOUS_JOURNAL} if kept else set()
        except OSError as error:
            raise self._unusable(error) from error
        return notes

    def claim(self, name: str) -> Path:
        """The path for a file that Offload is about to write, entered in the manifest; its parent is made.

        Raises:
            ReportError: that could not be done.
        """
        path = self.path / name
        with os_error_as(ReportError, f"{path} could not be written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            if name not in self._claimed and self._inside(name):
                with (self.path / MANIFEST).open("a", encoding="utf-8") as manifest:
                    manifest.write(f"{name}\n")
                self._claimed.add(name)
        return path

    def owns(self, path: Path) -> bool:
        """Whether this run wrote the file, or Offload keeps it here for itself. `path` is without links."""
        directory = self.path.resolve()
        if not path.is_relative_to(directory):
            return False
        name = str(path.relative_to(directory))
        return name in self._claimed or name in (MANIFEST, LOCK)

    def write(self, name: str, chunks: Iterable[str]) -> Path:
        """Write a whole file, UTF-8, so that it is either there as a whole or not at all.

        A file of the user's that has one of the names in `NOT_CHOSEN` is renamed before; `notes` tells.

        Raises:
            ReportError: it could not be written.
        """
        path = self.path / name
        with os_error_as(ReportError, f"{path} could not be written"):
            if name in NOT_CHOSEN and name not in self._claimed:
                self._move_aside(name, self.notes)  # before the manifest lists it: what is listed may be removed
            replace_file(self.claim(name), chunks)
        return path

    def _listed(self) -> set[str]:
        try:
            text = (self.path / MANIFEST).read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return set()
        return {name for name in text.splitlines() if name}

    def _inside(self, name: str) -> bool:
        """Whether the directory that holds `name` is this one or below it, links resolved."""
        return "\n" not in name and (self.path / name).parent.resolve().is_relative_to(self.path.resolve())

    def _remove(self, name: str) -> None:
        path = self.path / name
        if self._inside(name) and (path.is_symlink() or path.is_file()):
            path.unlink(missing_ok=True)
            for directory in path.parents[: len(Path(name).parents) - 1]:
                with suppress(OSError):  # it is not empty
                    directory.rmdir()

    def _move_aside(self, name: str, notes: list[str]) -> None:
        path = self.path / name
        if not path.exists() and not path.is_symlink():
            return
        number = 0
        while (kept := path.with_name(f"{name}.kept{number or ''}")).exists() or kept.is_symlink():
            number += 1
        path.rename(kept)
        notes.append(f"Offload needs the name of {path}, which it does not know as its own file: it is {kept.name} now")

    def _unusable(self, error: Exception) -> ConfigError:
        if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTDIR):
            why = "it is, or lies below, a file that is not a directory"
        else:
            why = getattr(error, "strerror", None) or str(error)
        return ConfigError(f"the output directory {self.path} ([report] output_dir) cannot be used: {why}")


def replace_file(path: Path, chunks: Iterable[str], *, durable: bool = False) -> None:
    """Write a whole file, UTF-8, so that it is either there as a whole or as it was before.

    Args:
        durable: for what has to last: it is on the disk when this returns, with the permissions that it had.

    Raises:
        OSError: it could not be written.
    """
    draft = path.with_name(f".{path.name}.tmp")
    try:
        with draft.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as out:
            out.writelines(chunks)
            if durable:
                out.flush()
                os.fsync(out.fileno())
        if durable and path.exists():
            shutil.copymode(path, draft)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def _is_journal(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    return head.startswith(b'{"at":') and b'"RunStarted"' in head


def _has_results(path: Path) -> bool:
    """Whether a journal is worth keeping as the run before: a run that ended before any test did tells nothing."""
    if not path.is_file():
        return False
    with path.open("rb") as lines:
        return any(b'"event":"AttemptFinished"' in line[:100] for line in lines)
