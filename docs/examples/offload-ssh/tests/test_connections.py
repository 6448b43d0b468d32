"""What a broken connection, a host that is gone and a refusal look like: each is what it is, and nothing else."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath

import pytest
from attrs import evolve
from offload_ssh import SshOptions, SshProvider
from openssh import Server, kill_marked

from offload_core.abc import Command, Context, PrepareRequest, Sandbox, SandboxSpec
from offload_core.errors import AuthenticationFailed, ConnectionLost, CreateFailed, NotFound, ProviderError
from offload_core.kit import launched

SPEC = SandboxSpec(name="one", run_id="run")


def on(options: SshOptions, check: Callable[[SshProvider], Awaitable[None]]) -> None:
    """Run a check with a provider, and close it."""

    async def checked() -> None:
        provider = SshProvider(options, Context(name="ssh"))
        try:
            await check(provider)
        finally:
            await provider.aclose()

    asyncio.run(checked())


@pytest.fixture
def options(doomed: Server, tmp_path: Path) -> SshOptions:
    """Of a server that can be stopped."""
    return SshOptions(hosts=("host",), ssh=doomed.ssh, directory=str(tmp_path / "sandboxes"))


async def ended(sandbox: Sandbox) -> None:
    """End it from this machine, where its host cannot be reached any more."""
    kill_marked(sandbox.ref.id)


def test_a_connection_that_breaks_is_not_a_death(doomed: Server, options: SshOptions) -> None:
    """What runs over it is lost; the sandbox is found alive over a new one, and can be used and ended."""

    async def check(provider: SshProvider) -> None:
        sandbox = await provider.create(SPEC)
        process = await sandbox.exec(launched(Command(argv=("cat",))))
        doomed.cut()
        with pytest.raises(ConnectionLost, match="the connection to host broke"):
            await process.wait()
        assert (await sandbox.probe()).status == "alive"
        assert (await sandbox.run(Command(argv=("echo", "here")))).stdout == b"here\n"
        await sandbox.terminate()
        assert not await provider.list()

    on(options, check)


def test_a_host_that_is_gone_proves_nothing(doomed: Server, options: SshOptions) -> None:
    """Its sandboxes are unknown, not dead: the core gives them up as lost when it has been so for long."""

    async def check(provider: SshProvider) -> None:
        sandbox = await provider.create(SPEC)
        doomed.stop()
        answer = await sandbox.probe()
        assert answer.is_unknown
        assert "host: " in answer.reason
        with pytest.raises(ConnectionLost) as raised:
            await sandbox.terminate()
        assert provider.is_retryable(raised.value)
        await ended(sandbox)

    on(options, check)


def test_a_host_that_was_restarted_has_no_sandbox(options: SshOptions) -> None:
    """The directory may be there still, but its keeper is not: that is certain."""

    async def check(provider: SshProvider) -> None:
        sandbox = await provider.create(SPEC)
        await ended(sandbox)
        answer = await sandbox.probe()
        assert answer.is_dead
        assert "its keeper does not run on host any more" in answer.reason
        assert [ref.id for ref in await provider.list("run")] == [sandbox.ref.id]
        await sandbox.terminate()
        assert "its directory is gone from host" in (await sandbox.probe()).reason

    on(options, check)


def test_what_another_try_cannot_change_is_not_retried(options: SshOptions, tmp_path: Path) -> None:
    """A user who is refused, a name that nobody knows, a directory that is somebody else's."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    cases: list[tuple[SshOptions, type[ProviderError]]] = [
        (evolve(options, ssh=(*options.ssh, "-l", "no-such-user")), AuthenticationFailed),
        (evolve(options, ssh=(*options.ssh, "-o", "HostName=no-such-host.invalid")), NotFound),
    ]
    if os.getuid() == 0:
        os.chown(theirs, 65534, 65534)
        cases.append((evolve(options, directory=str(theirs)), CreateFailed))
    for wrong, kind in cases:

        async def check(provider: SshProvider, kind: type[ProviderError] = kind) -> None:
            with pytest.raises(kind) as raised:
                await provider.create(SPEC)
            assert not provider.is_retryable(raised.value)

        on(wrong, check)


def test_check_says_what_is_missing(options: SshOptions) -> None:
    """Nothing, on this machine; hosts, where none are named."""

    async def fine(provider: SshProvider) -> None:
        assert [finding.what for finding in (await provider.check()).findings] == ["host answers"]

    async def nothing(provider: SshProvider) -> None:
        assert not (await provider.check()).ok
        with pytest.raises(NotFound, match="set `hosts`"):
            await provider.create(SPEC)

    on(options, fine)
    on(evolve(options, hosts=()), nothing)


def test_a_sandbox_has_the_project_as_git_knows_it(options: SshOptions, tmp_path: Path) -> None:
    """Without what git ignores or Offload itself writes; with what is copied, and what the init command makes."""
    project = tmp_path / "project"
    (project / "results").mkdir(parents=True)
    for name in ("kept", "ignored", "results/junit.xml"):
        (project / name).write_text(name)
    (project / ".gitignore").write_text("ignored\n")
    subprocess.run(["git", "init", "-q", project], check=True)
    request = PrepareRequest(context=project, init="cat kept >made", exclude=(PurePosixPath("results"),))

    async def check(provider: SshProvider) -> None:
        await provider.prepare(request)
        sandbox = await provider.create(SPEC)
        seen = (await sandbox.run(Command(argv=("sh", "-c", "find . -type f | sort; cat made")))).stdout
        assert seen == b"./.gitignore\n./kept\n./made\nkept"
        await sandbox.terminate()

    on(options, check)


def test_hosts_take_turns(options: SshOptions) -> None:
    """Each sandbox is on the host after the last one's, and is found there again."""

    async def check(provider: SshProvider) -> None:
        made = [await provider.create(evolve(SPEC, name=f"n{number}")) for number in range(3)]
        assert [sandbox.ref.where for sandbox in made] == ["one", "two", "one"]
        assert set(await provider.list("run")) >= {sandbox.ref for sandbox in made}
        assert await provider.terminate_many([sandbox.ref for sandbox in made]) == {}

    on(evolve(options, hosts=("one", "two")), check)
