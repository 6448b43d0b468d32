"""What all checks of the conformance suite share: a provider that is closed again, sandboxes, and patience."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import secrets
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from attrs import evolve

from ..abc import ByteStream, Command, Completed, Image, Liveness, Process, Provider, Sandbox, SandboxSpec
from ..kit import launched, run_command

T = TypeVar("T")
C = TypeVar("C", bound="Checks")

# A process that has ended but was not reaped yet still has an id.
ALIVE = """\
kill -0 "$1" 2>/dev/null || exit 1
{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || exit 0
case $stat in *") Z "*) exit 1 ;; esac
"""

_A_WHILE_SECS = 0.2
"""Long enough for most calls to be in the middle of what they do. It does no harm if one is not."""


def _waits_in(coroutine: Any) -> str:
    """Where a suspended coroutine is, from outside in, as far as the frames tell."""
    places: list[str] = []
    while coroutine is not None and len(places) < 50:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
        if frame is not None:
            places.append(f"in {frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return " < ".join(reversed(places[-3:])) or "somewhere"


def must(condition: object, message: str) -> None:
    """Fail with what the contract asks."""
    __tracebackhide__ = True
    if not condition:
        raise AssertionError(message)


class Checks(ABC):
    """What a provider's author fills in. See `ProviderConformance`."""

    patience_secs: float = 60.0
    """How long to wait for anything that has to happen. Only what fails takes so long."""

    enforces_lifetime: bool = True
    """Whether the backend itself ends a sandbox when `SandboxSpec.lifetime` is over."""

    at_once: int = 50
    """How many sandboxes are made at the same time."""

    _open = 0

    @abstractmethod
    def make_provider(self) -> Provider[Any]:
        """A new provider object, as a run would have it."""

    @abstractmethod
    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        """Make a sandbox die from outside as its backend lets it die, not through the provider's `terminate`."""

    async def make_image(self, provider: Provider[Any]) -> Image | None:
        """What sandboxes are made from, where the provider needs an image. Called for each test: cache it."""
        return None

    def run(self, check: Coroutine[Any, Any, T]) -> T:
        """Run a check on an event loop of its own. A check that hangs fails, also one that cannot be cancelled."""
        stuck = False

        async def bounded() -> T:
            nonlocal stuck
            running = asyncio.ensure_future(check)
            try:
                await asyncio.wait({running}, timeout=5 * self.patience_secs)
                where = "" if running.done() else _waits_in(check)
            finally:
                if not running.done():
                    running.cancel()
                    await asyncio.wait({running}, timeout=self.patience_secs)
                    stuck = not running.done()
            if where:
                even = ", not even when it was cancelled" if stuck else ""
                raise AssertionError(f"a call of the provider did not return{even}; no call may hang. It waits {where}")
            return running.result()

        runner = asyncio.Runner()
        try:
            return runner.run(bounded())
        finally:
            if not stuck:  # else closing would wait for what is stuck
                runner.close()

    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Provider[Any]]:
        """A provider that is closed in the end, and that has to leave nothing running in this process."""
        if not self._open:
            self._before = asyncio.all_tasks()
            self.runs: set[str] = set()
        self._open += 1
        provider = self.make_provider()
        try:
            yield provider
        except BaseException:
            await self._sweep(provider)
            raise
        finally:
            self._open -= 1
            await provider.aclose()
        if self._open:
            return  # whose tasks these are cannot be told yet
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - self._before
        if left:
            await asyncio.wait(left, timeout=1)
        left = {task for task in left if not task.done()}
        must(not left, f"`aclose` must leave no task running; these still do: {left}")

    async def _sweep(self, provider: Provider[Any]) -> None:
        """After a failure, end what the check has made, as far as that works: it may cost money."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self.patience_secs):
                for run in self.runs:
                    listed = await provider.list(run)
                    # A provider that fails here may list what is somebody else's.
                    await provider.terminate_many([ref for ref in listed if ref.run_id in (run, "")])

    async def create(self, provider: Provider[Any], **changes: Any) -> Sandbox:
        """A new sandbox of a run of its own, unless `changes` name one."""
        spec = SandboxSpec(name=f"check-{secrets.token_hex(3)}", run_id=new_run(), lifetime=600.0)
        spec = evolve(spec, image=await self.make_image(provider), **changes)
        self.runs.add(spec.run_id)
        return await provider.create(spec)

    @asynccontextmanager
    async def sandbox(self, **changes: Any) -> AsyncIterator[Sandbox]:
        """A sandbox that is terminated in the end."""
        async with self.provider() as provider:
            self.maker = provider
            sandbox = await self.create(provider, **changes)
            self.processes: list[Process] = []
            try:
                yield sandbox
            except BaseException:
                with contextlib.suppress(Exception):
                    await self.within(sandbox.terminate(), "the check has failed already")
                raise
            await self.succeeds(sandbox.terminate(), "`terminate` must return")
            for process in self.processes:
                await self.succeeds(drain(process), "streams must end when the sandbox is terminated")

    async def within(self, awaitable: Awaitable[T], message: str) -> T:
        """The result of something that has to end."""
        try:
            async with asyncio.timeout(self.patience_secs) as bound:
                return await awaitable
        except TimeoutError:
            if not bound.expired():
                raise
            raise AssertionError(f"{message} (waited {self.patience_secs:g} s)") from None

    async def succeeds(self, awaitable: Awaitable[T], message: str) -> T:
        """The result of something that has to end, and that must not fail."""
        try:
            return await self.within(awaitable, message)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{message}; it raised {error!r}") from error

    async def eventually(self, happened: Callable[[], Awaitable[bool]], message: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + self.patience_secs
        pause = 0.01
        while not await happened():
            must(time.monotonic() < deadline, f"{message} (waited {self.patience_secs:g} s)")
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.5)

    async def until_dead(self, sandbox: Sandbox) -> Liveness:
        """Wait until a probe says that a sandbox has died."""
        answers: list[Liveness] = []

        async def dead() -> bool:
            answers.append(await self.succeeds(sandbox.probe(), "`probe` must return, also for a dead sandbox"))
            return answers[-1].is_dead

        await self.eventually(dead, "`probe` must say dead of a sandbox that has died, not fail and not say unknown")
        return answers[-1]

    async def nothing_left(self, provider: Provider[Any], run: str, message: str) -> None:
        """Wait until a run has no sandbox."""

        async def gone() -> bool:
            return not await provider.list(run)

        await self.eventually(gone, message)

    async def cancelled(self, call: Awaitable[T], moment: int | None, message: str) -> asyncio.Future[T]:
        """A call that was cancelled after so many turns of the event loop, None for a while, and has ended."""
        running = asyncio.ensure_future(call)
        if moment is None:
            await asyncio.wait({running}, timeout=_A_WHILE_SECS)
        for _ in range(moment or 0):
            await asyncio.sleep(0)
        running.cancel()
        await self.within(asyncio.wait({running}), message)
        return running

    async def start(self, sandbox: Sandbox, script: str, *arguments: str, **changes: Any) -> Process:
        """Start a POSIX shell script as the core would."""
        process = await sandbox.exec(launched(shell(script, *arguments, **changes)))
        self.processes.append(process)
        return process

    async def alive(self, sandbox: Sandbox, pid: bytes) -> bool:
        """Whether a process runs in the sandbox."""
        return (await run_shell(sandbox, ALIVE, pid.decode())).exit.ok

    async def over(self, sandbox: Sandbox, pids: Sequence[bytes], message: str) -> None:
        """Wait until none of these processes runs in the sandbox."""

        async def none_alive() -> bool:
            return not any([await self.alive(sandbox, pid) for pid in pids])

        await self.eventually(none_alive, message)


def check(test: Callable[[C], Coroutine[Any, Any, None]]) -> Callable[[C], None]:
    """A check, to be called as any other test: it runs on an event loop of its own."""

    @functools.wraps(test)
    def checked(self: C) -> None:
        self.run(test(self))

    return checked


def in_sandbox(test: Callable[[C, Sandbox], Coroutine[Any, Any, None]]) -> Callable[[C], None]:
    """A `check` that is handed a sandbox, which is terminated in the end."""

    @functools.wraps(test)
    async def checked(self: C) -> None:
        async with self.sandbox() as sandbox:
            await test(self, sandbox)

    # Else pytest would take the parameter for a fixture.
    checked.__signature__ = inspect.signature(checked, follow_wrapped=False)  # type: ignore[attr-defined]
    return check(checked)


@contextmanager
def directory() -> Iterator[Path]:
    """A directory of this machine, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="offload-check-") as path:
        yield Path(path)


def new_run() -> str:
    """A run's id that nobody has."""
    return f"conformance-{secrets.token_hex(4)}"


def shell(
    script: str, *arguments: str, cwd: PurePosixPath | None = None, env: Mapping[str, str] | None = None
) -> Command:
    """A POSIX shell script with arguments."""
    return Command(argv=("/bin/sh", "-c", script, "sh", *arguments), cwd=cwd, env=env or {})


async def run_shell(sandbox: Sandbox, script: str, *arguments: str) -> Completed:
    """Run a POSIX shell script in a sandbox to its end."""
    return await run_command(sandbox, shell(script, *arguments))


async def noted(sandbox: Sandbox, path: str) -> bytes:
    """What a script has written to a file in the sandbox; nothing if it has not yet."""
    return (await run_shell(sandbox, 'cat "$1" 2>/dev/null', path)).stdout.strip()


async def drain(process: Process) -> list[int]:
    """Read both streams to their ends; how many bytes each of them had."""

    async def read(stream: ByteStream) -> int:
        return sum([len(chunk) async for chunk in stream])

    return list(await asyncio.gather(read(process.stdout), read(process.stderr)))


async def read_lines(process: Process, count: int) -> list[bytes]:
    """The first lines that a process prints. They must come, so the caller bounds this."""
    text = b""
    async for chunk in process.stdout:
        text += chunk
        if text.count(b"\n") >= count:
            break
    must(text.count(b"\n") >= count, f"standard output ended after {text!r}; it must hold all that was written")
    return text.splitlines()[:count]
