"""Each important check of the conformance suite fails for a provider that is wrong in just that, and says why."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import evolve
from offload_local import LocalOptions, LocalProvider

from offload_core.abc import (
    ByteStream,
    Command,
    Context,
    Download,
    Liveness,
    LivenessSettings,
    Process,
    Provider,
    Sandbox,
    SandboxRef,
    SandboxSpec,
    Upload,
)
from offload_core.errors import ProviderError, SandboxDead
from offload_core.testing import FaultPlan, FaultyProvider, ProviderConformance
from offload_core.testing.faults import FaultySandbox


def _local() -> LocalProvider:
    context = Context(name="local", project_dir=Path("/"), liveness=LivenessSettings(interval_secs=0.1))
    return LocalProvider(LocalOptions(), context)


class Wrong(FaultyProvider):
    """Passes everything on to local, but for what a subclass or its sandboxes get wrong."""

    sandbox_class: ClassVar[type[FaultySandbox]] = FaultySandbox

    def __init__(self) -> None:
        super().__init__(_local(), FaultPlan())
        self.made: list[Sandbox] = []

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """The inner one's, as the class of sandbox that is wrong."""
        sandbox = await self.inner.create(spec)
        self.made.append(sandbox)
        return self.sandbox_class(self, sandbox)

    def attach(self, ref: SandboxRef) -> Sandbox:
        """The inner one's, as the class of sandbox that is wrong."""
        return self.sandbox_class(self, self.inner.attach(ref))

    async def aclose(self) -> None:
        """End what a failed check has left, then close."""
        await self.inner.terminate_many([sandbox.ref for sandbox in self.made])
        await super().aclose()


class Suite(ProviderConformance):
    """The suite over one provider, without much patience."""

    patience_secs = 2.0
    provider_class: type[Wrong] = Wrong

    def make_provider(self) -> Provider[Any]:
        """A new one."""
        return self.provider_class()

    async def kill_sandbox(self, sandbox: Sandbox) -> None:
        """End the inner one."""
        if isinstance(sandbox, FaultySandbox):
            sandbox = sandbox.inner
        await sandbox.terminate()


class TestRight(Suite):
    """The wrapper around local passes everything: so what fails below fails for its own fault."""

    patience_secs = 30.0


def _with(sandbox_class: type[FaultySandbox]) -> type[Wrong]:
    return type(sandbox_class.__name__, (Wrong,), {"sandbox_class": sandbox_class})


class KillsOneProcess(FaultySandbox):
    """Kills the first process of a command only."""

    async def exec(self, command: Command) -> Process:
        """With another kill."""
        process: Any = await super().exec(command)

        async def kill() -> None:
            try:
                os.kill(process._running.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

        process.kill = kill
        return process  # type: ignore[no-any-return]


class MergesStreams(FaultySandbox):
    """Sends standard error to standard output."""

    async def exec(self, command: Command) -> Process:
        """Through a shell that does it."""
        return await super().exec(evolve(command, argv=("/bin/sh", "-c", 'exec "$@" 2>&1', "sh", *command.argv)))


class JoinsArguments(FaultySandbox):
    """Makes a shell line of an argument list."""

    async def exec(self, command: Command) -> Process:
        """Quoted, but empty arguments are lost."""
        line = " ".join(shlex.quote(word) for word in command.argv if word)
        return await super().exec(evolve(command, argv=("/bin/sh", "-c", f"exec {line}")))


class LosesEnvironment(FaultySandbox):
    """Forgets a command's variables."""

    async def exec(self, command: Command) -> Process:
        """Without them."""
        return await super().exec(evolve(command, env={}))


class TranslatesNewlines(FaultySandbox):
    """Treats output as text."""

    async def exec(self, command: Command) -> Process:
        """With a translated stream."""
        process = await super().exec(command)
        stream = process.stdout

        async def translated() -> AsyncIterator[bytes]:
            async for chunk in stream:
                yield chunk.replace(b"\r\n", b"\n")

        process.stdout = translated()
        return process


class BuffersWithoutBound(FaultySandbox):
    """Reads all that a command writes into memory at once."""

    async def exec(self, command: Command) -> Process:
        """With streams that were read ahead."""
        process = await super().exec(command)
        tasks = []

        def ahead(stream: ByteStream) -> ByteStream:
            chunks: asyncio.Queue[bytes] = asyncio.Queue()

            async def read() -> None:
                async for chunk in stream:
                    chunks.put_nowait(chunk)
                chunks.put_nowait(b"")

            async def chunked() -> AsyncIterator[bytes]:
                while chunk := await chunks.get():
                    yield chunk

            tasks.append(asyncio.ensure_future(read()))
            return chunked()

        process.stdout, process.stderr = ahead(process.stdout), ahead(process.stderr)
        process.tasks = tasks  # type: ignore[attr-defined]
        return process


class IgnoresMissing(FaultySandbox):
    """Downloads what is there."""

    async def download(self, files: Sequence[Download]) -> None:
        """Without the rest."""
        await super().download([file for file in files if os.path.exists(file.source)])  # noqa: ASYNC240, PTH110


class DownloadsInPieces(FaultySandbox):
    """Writes what is there before it finds that something is missing."""

    async def download(self, files: Sequence[Download]) -> None:
        """One after the other."""
        for file in files:
            await super().download([file])


class LosesEmptyFiles(FaultySandbox):
    """Uploads only what has a content."""

    async def upload(self, files: Sequence[Upload]) -> None:
        """Without empty files."""
        await super().upload([file for file in files if _content(file)])


def _content(file: Upload) -> bytes:
    return file.source if isinstance(file.source, bytes) else file.source.read_bytes()


class NeverWakes(FaultySandbox):
    """Its `wait_dead` waits for ever."""

    async def wait_dead(self) -> Liveness:
        """For ever."""
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


class WakesTooEarly(FaultySandbox):
    """Its `wait_dead` returns what a probe says."""

    async def wait_dead(self) -> Liveness:
        """At once."""
        return await self.probe()


class ProbeRaises(FaultySandbox):
    """Its `probe` raises for a dead sandbox."""

    async def probe(self) -> Liveness:
        """Raise instead of dead."""
        answer = await super().probe()
        if answer.is_dead:
            raise SandboxDead(answer.reason)
        return answer


class TerminatesOnce(FaultySandbox):
    """Its second `terminate` errs."""

    async def terminate(self) -> None:
        """Once."""
        if (await self.probe()).is_dead:
            raise ProviderError("no such sandbox", operation="terminate")
        await super().terminate()


class ListMisses(Wrong):
    """Leaves one out."""

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """All but the last."""
        return (await super().list(run_id))[:-1]


class ListIgnoresRun(Wrong):
    """Lists everything, whatever it is asked."""

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """All."""
        return await super().list(None)


class TerminatesOnlyItsOwn(Wrong):
    """Does nothing about what another provider object made."""

    async def terminate_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, ProviderError]:
        """Only its own."""
        inner: Any = self.inner
        return await super().terminate_many([ref for ref in refs if ref.id in inner._made])


class LeavesCancelled(Wrong):
    """Lets a cancelled create go on."""

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """In a task that is not cancelled."""
        self.creating = asyncio.ensure_future(super().create(spec))
        return await asyncio.shield(self.creating)

    async def aclose(self) -> None:
        """When that is done."""
        await asyncio.wait({self.creating})
        await super().aclose()


class NoLifetime(Wrong):
    """Forgets the lifetime."""

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """For a day."""
        return await super().create(evolve(spec, lifetime=86400.0))


class RetriesTheDead(Wrong):
    """Calls everything retryable."""

    def is_retryable(self, error: ProviderError) -> bool:
        """Yes."""
        return True


class LeavesTask(Wrong):
    """Leaves a task running when it is closed."""

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """And start a task."""
        self.task = asyncio.create_task(asyncio.sleep(600))
        return await super().create(spec)


_WRONG: list[tuple[type[Wrong], str, str]] = [
    (_with(KillsOneProcess), "test_kill_reaches_grandchildren", "`kill` must end all descendants"),
    (_with(MergesStreams), "test_exec_output_and_exit_code", "`stdout` must hold what was written to it, and only"),
    (_with(JoinsArguments), "test_exec_arguments_and_environment", "arguments must arrive unchanged"),
    (_with(LosesEnvironment), "test_exec_arguments_and_environment", "`Command.env` must come on top"),
    (_with(TranslatesNewlines), "test_exec_stdin_binary", "bytes must not be changed"),
    (_with(BuffersWithoutBound), "test_exec_back_pressure", "must stop reading from its backend"),
    (_with(IgnoresMissing), "test_files_missing", "must raise RemoteFileMissing"),
    (_with(LosesEmptyFiles), "test_files_round_trip", "no such file"),
    (_with(DownloadsInPieces), "test_files_missing", "must write nothing"),
    (_with(NeverWakes), "test_wait_dead", "`wait_dead` must return when it has died"),
    (_with(WakesTooEarly), "test_wait_dead", "must not return while the sandbox lives"),
    (_with(TerminatesOnce), "test_terminate", "no such sandbox"),
    (_with(ProbeRaises), "test_probe", "(reason|terminated)"),
    (ListMisses, "test_list", "must show the run's sandboxes"),
    (ListIgnoresRun, "test_list", "must show the run's sandboxes"),
    (TerminatesOnlyItsOwn, "test_attach", "another process ended the sandbox"),
    (LeavesCancelled, "test_create_cancelled", "must leave no sandbox"),
    (NoLifetime, "test_lifetime", "when its lifetime is over"),
    (RetriesTheDead, "test_is_retryable", "must never be retried"),
    (LeavesTask, "test_probe", "must leave no task running"),
]


@pytest.mark.parametrize(("provider", "check", "words"), _WRONG, ids=lambda value: getattr(value, "__name__", None))
def test_wrong_provider_fails(provider: type[Wrong], check: str, words: str) -> None:
    """The check that is about what is wrong fails, with words that say what the contract asks."""
    suite = Suite()
    suite.provider_class = provider
    with pytest.raises((AssertionError, ProviderError), match=words):
        getattr(suite, check)()
