"""What a broken connection, a host that is gone and a refusal look like: each is what it is, and nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

import pytest
from attrs import evolve
from offload_ssh import SshOptions, SshProvider
from openssh import Server, kill_marked

from offload_core.abc import Command, Context, PrepareRequest, SandboxSpec
from offload_core.errors import AuthenticationFailed, ConnectionLost, CreateFailed, NotFound, ProviderError
from offload_core.kit import launched, run_command

SPEC = SandboxSpec(name="one", run_id="run")


@pytest.fixture
def options(doomed: Server, tmp_path: Path) -> SshOptions:
    """Of a server that can be stopped."""
    return SshOptions(hosts=("host",), ssh=doomed.ssh, directory=str(tmp_path / "sandboxes"))


@pytest.fixture
async def provider(options: SshOptions) -> AsyncIterator[SshProvider]:
    """With that server."""
    async with SshProvider(options, Context(name="ssh")) as made:
        yield made


async def test_a_connection_that_breaks_is_not_a_death(doomed: Server, provider: SshProvider) -> None:
    """What runs over it is lost; the sandbox is found alive over a new one, and can be used and ended."""
    sandbox = await provider.create(SPEC)
    process = await sandbox.exec(launched(Command(argv=("cat",))))
    doomed.cut()
    with pytest.raises(ConnectionLost, match="the connection to host broke"):
        await process.wait()
    assert (await sandbox.probe()).status == "alive"
    assert (await run_command(sandbox, Command(argv=("echo", "here")))).stdout == b"here\n"
    await sandbox.terminate()
    assert not await provider.list()


async def test_a_host_that_is_gone_proves_nothing(doomed: Server, provider: SshProvider) -> None:
    """Its sandboxes are unknown, not dead: the core gives them up as lost when it has been so for long."""
    sandbox = await provider.create(SPEC)
    doomed.stop()
    answer = await sandbox.probe()
    assert answer.is_unknown
    assert "host: " in answer.reason
    with pytest.raises(ConnectionLost) as raised:
        await sandbox.terminate()
    assert provider.is_retryable(raised.value)
    kill_marked(sandbox.ref.id)


async def test_a_host_that_was_restarted_has_no_sandbox(provider: SshProvider) -> None:
    """The directory may be there still, but its keeper is not: that is certain."""
    sandbox = await provider.create(SPEC)
    kill_marked(sandbox.ref.id)
    answer = await sandbox.probe()
    assert answer.is_dead
    assert "its keeper does not run on host any more" in answer.reason
    assert [ref.id for ref in await provider.list("run")] == [sandbox.ref.id]
    await sandbox.terminate()
    assert "its directory is gone from host" in (await sandbox.probe()).reason


async def test_what_another_try_cannot_change_is_not_retried(options: SshOptions, tmp_path: Path) -> None:
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
        async with SshProvider(wrong, Context(name="ssh")) as provider:
            with pytest.raises(kind) as raised:
                await provider.create(SPEC)
            assert not provider.is_retryable(raised.value)


async def test_a_login_shell_that_prints_something_is_said(options: SshOptions) -> None:
    """What it prints would be taken for the output of commands; nobody waits for a connection that cannot be used."""
    talkative = evolve(options, ssh=("sh", "-c", 'echo "Welcome!"; exec cat', "ssh"))
    async with SshProvider(talkative, Context(name="ssh")) as provider:
        with pytest.raises(ConnectionLost, match="its login shell prints b'Welcome!"):
            await provider.create(SPEC)


async def test_check_says_what_is_missing(options: SshOptions) -> None:
    """Nothing, on this machine; hosts, where none are named."""
    async with SshProvider(options, Context(name="ssh")) as provider:
        assert [finding.what for finding in (await provider.check()).findings] == ["host answers"]
    async with SshProvider(evolve(options, hosts=()), Context(name="ssh")) as provider:
        assert not (await provider.check()).ok
        with pytest.raises(NotFound, match="set `hosts`"):
            await provider.create(SPEC)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """With a file that is ignored, and one that Offload wrote."""
    directory = tmp_path / "project"
    (directory / "results").mkdir(parents=True)
    for name in ("kept", "ignored", "results/junit.xml"):
        (directory / name).write_text(name)
    (directory / ".gitignore").write_text("ignored\n")
    subprocess.run(["git", "init", "-q", directory], check=True)
    return directory


async def test_a_sandbox_has_the_project_as_git_knows_it(provider: SshProvider, project: Path) -> None:
    """Without what git ignores or Offload itself writes; with what is copied, and what the init command makes."""
    await provider.prepare(PrepareRequest(context=project, init="cat kept >made", exclude=(PurePosixPath("results"),)))
    sandbox = await provider.create(SPEC)
    seen = (await run_command(sandbox, Command(argv=("sh", "-c", "find . -type f | sort; cat made")))).stdout
    assert seen == b"./.gitignore\n./kept\n./made\nkept"
    await sandbox.terminate()


async def test_hosts_take_turns(options: SshOptions) -> None:
    """Each sandbox is on the host after the last one's, and is found there again."""
    async with SshProvider(evolve(options, hosts=("one", "two")), Context(name="ssh")) as provider:
        made = [await provider.create(evolve(SPEC, name=f"n{number}")) for number in range(3)]
        assert [sandbox.ref.where for sandbox in made] == ["one", "two", "one"]
        assert set(await provider.list("run")) >= {sandbox.ref for sandbox in made}
        assert await provider.terminate_many([sandbox.ref for sandbox in made]) == {}
