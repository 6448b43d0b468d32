"""Bringing files keeps a run for a bounded time, whatever the sandbox does; dead ones are not asked."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

import pytest
from attrs import define, field

from offload_core.abc import Command, Context, Download, Exit, Launch, Process, SandboxRef
from offload_core.config.schema import RetryTable
from offload_core.errors import ConnectionLost, ExecFailed, ProviderError, SandboxDead
from offload_core.events import ArtefactsCollected, Bus, Stamped, Warned
from offload_core.execution.artefacts import VARIABLE, ArtefactRequest, Artefacts
from offload_core.execution.guarded import GuardedExecutor
from offload_core.execution.timing import Timing
from offload_core.liveness import DeathWatch, Poller
from offload_core.retry import RetryPolicy
from tests.support.simulated_backend import Backend, MemoryProvider, MemorySandbox
from tests.support.virtual_time import run_virtually


async def _told(data: bytes, forever: bool) -> AsyncIterator[bytes]:
    if data:
        yield data
    if forever:
        await asyncio.Event().wait()


class Answer(Process):
    """A command that says this, and ends, or hangs."""

    def __init__(self, box: Box, command: Command, said: bytes | None) -> None:
        super().__init__(command)
        self.box = box
        self.stdout, self.stderr = _told(said or b"", said is None), _told(b"", False)

    async def write(self, data: bytes) -> None:
        """Takes nothing."""

    async def close_stdin(self) -> None:
        """Nothing to close."""

    async def wait(self) -> Exit:
        """It went well."""
        return Exit(code=0)

    async def kill(self) -> None:
        """Takes time, too, where the command hangs."""
        self.box.kills += 1
        await asyncio.sleep(self.box.kill_secs)


class Box(MemorySandbox):
    """A sandbox that answers each command in turn: with output, never (None), or with an error."""

    answers: list[bytes | ProviderError | None]
    kill_secs = 0.0
    kills = 0
    execs = 0
    downloads = 0

    async def exec(self, command: Command) -> Process:
        """The next answer."""
        self.execs += 1
        answer = self.answers.pop(0)
        if isinstance(answer, ProviderError):
            raise answer
        return Answer(self, command, answer)

    async def download(self, files: Sequence[Download]) -> None:
        """Breaks."""
        self.downloads += 1
        raise ConnectionLost("reset")


@define
class Asked:
    """A sandbox, the collector that asks it, and what the run is told."""

    box: Box
    watch: DeathWatch
    launch: Launch
    retry: RetryPolicy
    artefacts: Artefacts
    events: list[Stamped] = field(factory=list)

    @property
    def warnings(self) -> list[str]:
        """In words."""
        assert not [each for each in self.events if isinstance(each.event, ArtefactsCollected)]
        return [each.event.message for each in self.events if isinstance(each.event, Warned)]

    async def session(self) -> float:
        """Begin and end a session; how many seconds the collection took."""
        loop = asyncio.get_running_loop()
        launch = await self.artefacts.begin(self.launch, self.watch)
        began = loop.time()
        await self.artefacts.collect(launch, self.watch, failed=False)
        return loop.time() - began


class Packed(Box):
    """Answers, and its archive has this many files whose names are the same once they are clean."""

    files = 0

    async def download(self, files: Sequence[Download]) -> None:
        """Write the archive."""
        with tarfile.open(files[0].target, "w") as tar:
            for number in range(self.files):
                tar.addfile(tarfile.TarInfo(f"{number:013b}".translate({48: 1, 49: 2})))


def claim(name: str) -> Path:
    """Nothing is to be written."""
    raise AssertionError(name)


@asynccontextmanager
async def asking(*answers: bytes | ProviderError | None) -> AsyncIterator[Asked]:
    """A sandbox that gives these answers."""
    loop = asyncio.get_running_loop()
    backend = Backend(suite={})
    provider = MemoryProvider(backend, Context(name="memory"))
    ref = SandboxRef(id="box", name="s1")
    backend.deaths[ref] = asyncio.Event()
    box = Box(provider, ref)
    box.answers = list(answers)
    events: list[Stamped] = []
    retry = RetryPolicy(provider)
    request = ArtefactRequest(
        globs=("*.txt",), failure_only=False, output_dir=Path("/out"), claim=claim, owns=lambda path: False
    )
    async with Poller(provider) as poller, DeathWatch(box, poller) as watch:
        launch = Launch(
            name="s1.1",
            executor=GuardedExecutor(watch, retry),
            root=PurePosixPath("/app"),
            scratch=PurePosixPath("/tmp/s1"),
        )
        artefacts = Artefacts(request, retry, Bus(clock=loop.time, consumers=[events.append]), Timing())
        yield Asked(box, watch, launch, retry, artefacts, events)
    backend.end(ref)


@pytest.mark.parametrize("kill_secs", [0.0, 15.0])
def test_a_command_that_hangs(kill_secs: float) -> None:
    """It is ended after a minute, however long its end takes; one warning, and no further collection there."""

    async def main() -> None:
        async with asking(b"", None, b"", b"") as asked:
            asked.box.kill_secs = kill_secs
            assert await asked.session() == pytest.approx(Timing().collect + min(kill_secs, Timing().abandon))
            assert asked.box.kills == 1
            execs = asked.box.execs
            assert await asked.session() == 0
            assert asked.box.execs == execs + 1, "only the beginning of the session"
            (warning,) = asked.warnings
            assert "took longer than 60 s" in warning

    run_virtually(main())


@pytest.mark.parametrize("hangs", ["begin", "collect"])
def test_a_sandbox_that_dies_meanwhile(hangs: str) -> None:
    """The death is raised in its moment, and nothing is asked or killed there any more."""

    async def main() -> None:
        answers: list[bytes | None] = [None] if hangs == "begin" else [b"", None]
        async with asking(*answers) as asked:
            loop = asyncio.get_running_loop()
            loop.call_later(7.0, asked.watch.died, "gone")
            with pytest.raises(SandboxDead):
                await asked.session()
            assert (loop.time(), asked.box.kills, asked.box.execs) == (7.0, 0, len(answers))
            with pytest.raises(SandboxDead):
                await asked.artefacts.collect(asked.launch, asked.watch, failed=True)
            assert asked.box.execs == len(answers)
            assert asked.warnings == []

    run_virtually(main())


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ((b"", b"0 3000000000"), "more than 1 GiB"),
        ((b"", b"not a number"), "invalid literal"),
        ((b"", b"1"), "shorter"),
        ((b"", ExecFailed("no shell")), "no shell"),
        ((b"", b"10 0"), "reset"),
    ],
)
def test_what_goes_wrong_is_a_warning(answers: Sequence[bytes | ProviderError], why: str) -> None:
    """Too much, nonsense, or a failed call."""

    async def main() -> None:
        async with asking(*answers) as asked:
            await asked.session()
            (warning,) = asked.warnings
            assert warning.startswith("the files of session s1.1 could not be brought: ")
            assert why in warning
            assert asked.box.downloads == (RetryTable().attempts if why == "reset" else 0)

    run_virtually(main())


def test_a_session_that_was_not_marked() -> None:
    """If what was there before cannot be told apart, nothing is collected, and the session is told no directory."""

    async def main() -> None:
        async with asking(ExecFailed("no shell")) as asked:
            launch = await asked.artefacts.begin(asked.launch, asked.watch)
            assert VARIABLE not in launch.env
            await asked.artefacts.collect(launch, asked.watch, failed=True)
            assert (asked.box.execs, len(asked.warnings)) == (1, 1)

    run_virtually(main())


def test_names_that_become_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of thousands gets a number of its own, and what stands there is looked at about once for each."""
    looked: list[Path] = []
    exists = Path.exists

    def seen(path: Path) -> bool:
        looked.append(path)
        return exists(path)

    monkeypatch.setattr(Path, "exists", seen)

    async def main() -> None:
        async with asking(b"", b"1 0") as asked:
            asked.box.__class__ = Packed
            asked.box.files = 3000  # type: ignore[attr-defined]
            request = ArtefactRequest(
                globs=("*",),
                failure_only=False,
                output_dir=tmp_path,
                claim=tmp_path.joinpath,
                owns=lambda path: False,
            )
            bus = Bus(clock=lambda: 0.0, consumers=[asked.events.append])
            asked.artefacts = Artefacts(request, asked.retry, bus, Timing())
            await asked.session()
            (event,) = [each.event for each in asked.events]
            assert isinstance(event, ArtefactsCollected)
            assert len(event.files) == 3000

    asyncio.run(main())
    assert len([path for path in looked if tmp_path in path.parents]) < 4 * 3000
