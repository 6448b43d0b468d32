"""Pipes for a process that is about to be started."""

from __future__ import annotations

import errno
import os

import pytest

from offload_core.kit import open_pipes


async def test_both_ends() -> None:
    """What the process writes is read here, and what is written here is its input."""
    (stdin, stdout, stderr), theirs = open_pipes()
    await stdin.write(b"in")
    await stdin.close()
    assert os.read(theirs[0], 10) == b"in"
    os.write(theirs[1], b"out")
    os.write(theirs[2], b"err")
    for descriptor in theirs:
        os.close(descriptor)
    assert [chunk async for chunk in stdout] == [b"out"]
    assert [chunk async for chunk in stderr] == [b"err"]


def test_no_more_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays open when not all of them can be had."""
    made: list[tuple[int, int]] = []

    def pipe() -> tuple[int, int]:
        if len(made) == 2:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(making())
        return made[-1]

    making = os.pipe
    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(OSError, match="Too many open files"):
        open_pipes()
    for descriptor in (*made[0], *made[1]):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
