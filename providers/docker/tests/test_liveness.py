"""What the provider knows of a container's life: by inspection, and by the engine's event stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

import pytest
from offload_docker import DockerOptions, DockerProvider

from offload_core.abc import (
    Command,
    Context,
    Image,
    Liveness,
    LivenessSettings,
    PrepareRequest,
    Process,
    SandboxSpec,
    Upload,
)
from offload_core.errors import ConnectionLost, ProviderError, SandboxDead
from offload_core.kit import launched, run_command
from offload_core.liveness import DeathWatch, Poller
from providers.docker.tests.proxy import proxied
from tests.docker_engine import BASE, Engine

BOUND_SECS = 60.0
SLOW = LivenessSettings(interval_secs=0.2, timeout_secs=5.0, lost_after_secs=30.0)


def provider(url: str, **options: object) -> DockerProvider:
    """A provider for one engine."""
    context = Context(name="docker", sandbox_root=PurePosixPath("/work"), max_parallel=4, liveness=SLOW)
    return DockerProvider(DockerOptions(image=BASE, hosts=(url,), **options), context)  # type: ignore[arg-type]


def spec(**changes: object) -> SandboxSpec:
    """A sandbox of the base image."""
    return SandboxSpec(**{"name": "a", "run_id": "liveness", "image": Image(id=BASE), **changes})  # type: ignore[arg-type]


@asynccontextmanager
async def closing(made: DockerProvider) -> AsyncIterator[DockerProvider]:
    """End what it made, and close it."""
    async with made:
        try:
            yield made
        finally:
            await made.terminate_many(await made.list("liveness"))


REFUSED = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


async def until(happened: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(BOUND_SECS):
        while not happened():  # noqa: ASYNC110 - what happens is not the test's own
            await asyncio.sleep(0.01)


async def output_of(process: Process) -> bytes:
    """All that it writes to standard output."""
    return b"".join([chunk async for chunk in process.stdout])


@pytest.mark.parametrize(
    ("how", "reason"),
    [("kill", "exit code 137"), ("rm -f", "exit code 137"), ("kill -s TERM", "exit code 143")],
)
async def test_the_reason_of_a_death(engine: Engine, how: str, reason: str) -> None:
    """It is in words, the same whoever asks, and stays when the container is removed."""
    async with closing(provider(engine.url)) as docker:
        sandbox = await docker.create(spec())
        waiting = asyncio.create_task(sandbox.wait_dead())
        await run_command(sandbox, Command(argv=("true",)))
        engine.docker(*how.split(), sandbox.ref.id)
        async with asyncio.timeout(BOUND_SECS):
            told = await waiting
        assert told.is_dead
        assert told.reason == reason
        assert await sandbox.probe() == told
        with pytest.raises(SandboxDead, match=reason):
            await sandbox.exec(launched(Command(argv=("true",))))


async def test_a_container_that_another_process_removed(engine: Engine) -> None:
    """An inspection finds nothing: it was removed."""
    async with closing(provider(engine.url)) as maker, closing(provider(engine.url)) as other:
        sandbox = await maker.create(spec())
        engine.docker("rm", "-f", sandbox.ref.id)
        assert await other.attach(sandbox.ref).probe() == Liveness.dead("removed")


async def test_a_lifetime_that_is_over(engine: Engine) -> None:
    """The container ends by itself, is removed, and the reason says so."""
    async with closing(provider(engine.url)) as docker:
        sandbox = await docker.create(spec(lifetime=0.5))
        async with asyncio.timeout(BOUND_SECS):
            told = await sandbox.wait_dead()
        assert told.reason == "its lifetime is over"


async def test_a_command_that_is_killed_for_memory(engine: Engine) -> None:
    """The container lives on, and the command's exit says what happened."""
    greedy = "x = [bytearray(b'x' * (64 << 20)) for _ in range(64)]"
    async with closing(provider(engine.url, memory_gb=0.25)) as docker:
        sandbox = await docker.create(spec())
        done = await run_command(sandbox, Command(argv=("python3", "-c", greedy)))
        assert done.exit.code == 137
        assert done.exit.reason == "out of memory (limit 0.25 GiB)"
        assert (await sandbox.probe()) == Liveness.alive()
        quick = await run_command(sandbox, Command(argv=("sh", "-c", "kill -9 $$")))
        assert quick.exit.reason == "", "only what happened since it was started counts"


@REFUSED
@pytest.mark.usefixtures("refused")
async def test_a_death_while_the_event_stream_is_down(engine: Engine) -> None:
    """It is found when the connection is there again."""
    with proxied(engine.socket) as proxy:
        async with closing(provider(proxy.url)) as docker:
            sandbox = await docker.create(spec())
            async with Poller(docker) as poller, DeathWatch(sandbox, poller) as watch:
                await watch.probe()
                proxy.cut()
                assert (await watch.probe()).is_unknown
                engine.docker("kill", sandbox.ref.id)
                assert not watch.gone.done(), "what cannot be reached is not dead"
                proxy.mend()
                await until(watch.gone.done)
            assert isinstance(watch.gone.result(), SandboxDead)


@REFUSED
@pytest.mark.usefixtures("refused")
async def test_a_dropped_event_stream_is_connected_again(engine: Engine) -> None:
    """`wait_dead` says that it lost its connection, and works when it is called again."""
    with proxied(engine.socket) as proxy:
        async with closing(provider(proxy.url)) as docker:
            sandbox = await docker.create(spec())
            waiting = asyncio.create_task(sandbox.wait_dead())
            await run_command(sandbox, Command(argv=("true",)))
            proxy.drop()
            with pytest.raises(ConnectionLost, match=proxy.url):
                await waiting
            again = asyncio.create_task(sandbox.wait_dead())
            await run_command(sandbox, Command(argv=("true",)))
            engine.docker("kill", sandbox.ref.id)
            async with asyncio.timeout(BOUND_SECS):
                assert (await again).is_dead


@REFUSED
@pytest.mark.usefixtures("refused")
async def test_a_command_whose_connection_breaks(engine: Engine) -> None:
    """Its output ends. It still runs, so its end is not told before it comes; then it is."""
    with proxied(engine.socket) as proxy:
        async with closing(provider(proxy.url)) as docker:
            sandbox = await docker.create(spec())
            script = "echo here; until [ -e /go ]; do sleep 0.05; done; exit 7"
            process = await sandbox.exec(launched(Command(argv=("sh", "-c", script))))
            assert await anext(process.stdout) == b"here\n"
            proxy.drop()
            async with asyncio.timeout(BOUND_SECS):
                assert await output_of(process) == b""
            waiting = asyncio.create_task(process.wait())
            assert (await run_command(sandbox, Command(argv=("touch", "/go")))).exit.ok
            async with asyncio.timeout(BOUND_SECS):
                assert (await waiting).code == 7


@REFUSED
@pytest.mark.usefixtures("refused")
async def test_an_engine_that_is_away(engine: Engine) -> None:
    """Nothing hangs: probes are unknown, everything else is a lost connection that names the engine."""
    with proxied(engine.socket) as proxy:
        async with closing(provider(proxy.url)) as docker:
            sandbox = await docker.create(spec())
            process = await sandbox.exec(launched(Command(argv=("sleep", "600"))))
            proxy.cut()
            async with asyncio.timeout(BOUND_SECS):
                with pytest.raises(ConnectionLost, match=proxy.url):
                    await process.wait()
                for call in (sandbox.wait_dead(), docker.create(spec()), docker.list(), sandbox.terminate()):
                    with pytest.raises(ConnectionLost, match=proxy.url) as caught:
                        await call
                    assert docker.is_retryable(caught.value)
                assert (await sandbox.probe()).is_unknown
                answers = await docker.probe_many([sandbox.ref])
                assert answers[sandbox.ref].is_unknown
                failed = await docker.terminate_many([sandbox.ref])
                assert isinstance(failed[sandbox.ref], ProviderError)
            proxy.mend()
            assert (await sandbox.probe()) == Liveness.alive()


@pytest.mark.parametrize("number", range(5))
async def test_a_command_whose_container_dies(engine: Engine, number: int) -> None:
    """It never ends as if by itself, whichever of the two the engine tells of first."""
    async with closing(provider(engine.url)) as docker:
        sandbox = await docker.create(spec())
        process = await sandbox.exec(launched(Command(argv=("sleep", "600"))))
        killing = asyncio.create_task(asyncio.to_thread(engine.docker, "kill", sandbox.ref.id))
        async with asyncio.timeout(BOUND_SECS):
            with pytest.raises(SandboxDead, match="exit code 137"):
                await process.wait()
        await killing


@REFUSED
@pytest.mark.usefixtures("refused")
async def test_what_outlives_a_command_is_killed_with_it(engine: Engine) -> None:
    """A child that its parent left behind, and a command whose end was not seen."""
    count = "grep -l -a '[5]001' /proc/[0-9]*/cmdline | wc -l"
    one = Command(argv=("sh", "-c", f'until [ "$({count})" = 1 ]; do sleep 0.05; done'))
    none = Command(argv=("sh", "-c", f'until [ "$({count})" = 0 ]; do sleep 0.05; done'))
    with proxied(engine.socket) as proxy:
        async with closing(provider(proxy.url)) as docker, asyncio.timeout(BOUND_SECS):
            sandbox = await docker.create(spec())
            parent = await sandbox.exec(launched(Command(argv=("sh", "-c", "sleep 5001 & exit 3"))))
            assert (await parent.wait()).code == 3
            await run_command(sandbox, one)
            await parent.kill()
            await run_command(sandbox, none)
            unseen = await sandbox.exec(launched(Command(argv=("sleep", "5001"))))
            await run_command(sandbox, one)
            proxy.cut()
            with pytest.raises(ConnectionLost):
                await unseen.wait()
            proxy.mend()
            await unseen.kill()
            await run_command(sandbox, none)


@REFUSED
@pytest.mark.usefixtures("refused")
async def test_an_engine_that_never_answers(engine: Engine) -> None:
    """Beside one that does, it holds up nothing: images, sandboxes and lists come from the other, with a warning."""
    warnings: list[str] = []
    with proxied(engine.socket) as proxy:
        proxy.mute = True
        context = Context(name="docker", max_parallel=4, liveness=SLOW, warn=warnings.append)
        options = DockerOptions(image=BASE, hosts=(proxy.url, engine.url))
        docker = DockerProvider(options, context, hello_secs=1.0, list_secs=1.0)
        async with closing(docker), asyncio.timeout(BOUND_SECS):
            image = await docker.prepare(PrepareRequest(context=Path("/nowhere")))
            made = [await docker.create(spec(name=f"s{n}", image=image)) for n in range(2)]
            assert {sandbox.ref.where for sandbox in made} == {engine.url}
            assert {ref.id for ref in await docker.list("liveness")} == {sandbox.ref.id for sandbox in made}
    assert any(proxy.url in warning for warning in warnings)


async def test_what_the_options_do(engine: Engine) -> None:
    """User, network, CPUs, memory, labels and variables are those of the container."""
    options = {
        "user": "nobody",
        "network": "none",
        "cpu_cores": 0.5,
        "memory_gb": 0.5,
        "labels": {"team": "a b", "offload.run_id": "not this"},
        "env": {"FROM_OPTIONS": "1", "BOTH": "options"},
    }
    async with closing(provider(engine.url, **options)) as docker:
        sandbox = await docker.create(spec(env={"BOTH": "spec"}))
        (found,) = json.loads(engine.docker("inspect", sandbox.ref.id).stdout)
        assert found["HostConfig"]["NanoCpus"] == 500_000_000
        assert found["HostConfig"]["Memory"] == found["HostConfig"]["MemorySwap"] == 1 << 29
        assert found["HostConfig"]["NetworkMode"] == "none"
        assert found["Config"]["Labels"]["team"] == "a b"
        assert found["Config"]["Labels"]["offload.run_id"] == "liveness"
        done = await run_command(sandbox, Command(argv=("sh", "-c", "id -un; echo $FROM_OPTIONS $BOTH")))
        assert done.stdout.split() == [b"nobody", b"1", b"spec"]
        await sandbox.upload([Upload(b"x", sandbox.scratch / "file")])
        assert (await run_command(sandbox, Command(argv=("cat", str(sandbox.scratch / "file"))))).stdout == b"x"
        process = await sandbox.exec(launched(Command(argv=("sleep", "600"))))
        await process.kill()
        assert (await process.wait()).code == 137
        assert (await sandbox.probe()) == Liveness.alive(), "killed, not terminated"
