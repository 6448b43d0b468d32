"""Pipes to processes: what is read, what is not, and when it ends."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator

import pytest
from attrs import frozen

from offload_core.kit import PipeReader, PipeWriter, cancelled, open_pipes


@frozen
class Pipe:
    """One with a reader, and the other end as a descriptor that somebody holds open."""

    reader: PipeReader
    end: int


@pytest.fixture
async def pipe() -> AsyncIterator[Pipe]:
    """One."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    yield Pipe(PipeReader(ours), theirs)
    os.close(theirs)


async def rest(reader: PipeReader) -> bytes:
    """All that is left, which has to end."""
    async with asyncio.timeout(60):
        return b"".join([chunk async for chunk in reader])


async def test_what_was_written_before_a_cut_is_read(pipe: Pipe) -> None:
    """Then the stream ends, although the other end is held; and it stays ended."""
    os.write(pipe.end, b"last words")
    pipe.reader.cut()
    pipe.reader.cut()
    assert await rest(pipe.reader) == b"last words"
    assert await rest(pipe.reader) == b""


async def test_a_cut_wakes_who_reads(pipe: Pipe) -> None:
    """With what came before, if anything did."""
    reading = asyncio.create_task(rest(pipe.reader))
    await asyncio.sleep(0.01)
    assert not reading.done()
    pipe.reader.cut()
    assert await reading == b""


async def test_who_goes_on_writing_is_not_heard_for_ever(pipe: Pipe) -> None:
    """What still comes after a cut is bounded."""
    size = 0
    os.write(pipe.end, bytes(65536))
    pipe.reader.cut()
    async with asyncio.timeout(60):
        async for chunk in pipe.reader:
            size += len(chunk)
            os.write(pipe.end, bytes(4096))
    assert size <= 2 << 20


async def test_a_cancelled_read_loses_nothing(pipe: Pipe) -> None:
    """The next one gets what comes."""
    reading = asyncio.ensure_future(anext(pipe.reader))
    await asyncio.sleep(0.01)
    await cancelled(reading)
    os.write(pipe.end, b"here")
    assert await anext(pipe.reader) == b"here"


async def test_writing_waits_and_ends() -> None:
    """Until somebody reads; to what nobody reads any more it is a broken pipe, as it is after closing."""
    ours, theirs = os.pipe()
    reader, writer = PipeReader(ours), PipeWriter(theirs)
    data = os.urandom(1 << 20)
    writing = asyncio.create_task(writer.write(data))
    await asyncio.sleep(0.01)
    assert not writing.done()
    closing = asyncio.create_task(writer.close())
    assert await rest(reader) == data
    await asyncio.gather(writing, closing)
    with pytest.raises(BrokenPipeError):
        await writer.write(b"x")
    ours, theirs = os.pipe()
    os.close(ours)
    with pytest.raises(BrokenPipeError):
        await PipeWriter(theirs).write(b"x")


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
