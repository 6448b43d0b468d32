"""A provider that lives in memory: sandboxes that start late, fall silent and die, sessions that only take time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from attrs import define, field, frozen

from offload_core.abc import (
    Command,
    Context,
    Download,
    Exit,
    Liveness,
    Process,
    Provider,
    Sandbox,
    SandboxRef,
    SandboxSpec,
    Upload,
)
from offload_core.errors import ConnectionLost, SandboxDead


@frozen(kw_only=True)
class Behaviour:
    """What a simulated test does: take time, then end; or end its process or its sandbox instead.

    `outcomes` are those of its attempts in order, the last one for all further; attempts from the second on take
    `then_secs`, if given. `teardown_fails`: what it shared cannot be torn down, said when the
    session closes.
    """

    secs: float = 0.0
    outcomes: tuple[str, ...] = ("passed",)
    ends: str = ""
    """What it does in its middle, every time it runs, or with `once-` before it the first time: `"process"` or
    `"sandbox"` ends; `"sandbox-late"`: the process, and then the sandbox; `"garbage"`: the session breaks the protocol.
    `"exit"`: it says goodbye after it (as after pytest.exit). `"unseen"`: the connection to the process breaks."""
    then_secs: float | None = None
    teardown_fails: bool = False


async def _nothing(*args: object) -> None:
    pass


@frozen
class NoOptions:
    """There are none."""


class _Stream:
    """A byte stream in memory that can be ended from outside."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()

    def feed(self, data: bytes) -> None:
        self._queue.put_nowait(data)

    def end(self) -> None:
        self._queue.put_nowait(b"")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._queue.get()
        if not chunk:
            self._queue.put_nowait(b"")
            raise StopAsyncIteration
        return chunk


class MemoryProcess(Process):
    """Plays a session: reads requests, takes the time of each test, tells what happened."""

    def __init__(self, sandbox: MemorySandbox, command: Command) -> None:
        super().__init__(command)
        self._memory = sandbox
        self._out = _Stream()
        self._err = _Stream()
        self.stdout, self.stderr = self._out, self._err
        self._queue: list[str] = []
        self._paths: dict[str, str] = {}
        self._torn: list[str] = []
        self._closing = False
        self._poked = asyncio.Event()
        self._in_order = asyncio.Lock()
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._play())

    async def write(self, data: bytes) -> None:
        """Take in requests."""
        if self._exit.done():
            raise ConnectionLost("the process has ended", operation="write")
        await self._memory.backend.heard(self._memory.ref)
        async with self._in_order:
            await self._take_in(data)

    async def _take_in(self, data: bytes) -> None:
        for line in data.splitlines():
            request = json.loads(line)
            match request["do"]:
                case "run":
                    self._queue.extend(request["keys"])
                    self._paths |= request["paths"]
                case "revoke" if self._memory.backend.revokes:
                    await self._memory.backend.on_revoke(self._memory.ref)
                    given = [key for key in request["keys"] if key in self._queue]
                    self._queue = [key for key in self._queue if key not in given]
                    self._say(revoked=given)
                case "close":
                    self._closing = True
        self._poked.set()

    async def close_stdin(self) -> None:
        """No more requests."""
        self._closing = True
        self._poked.set()

    async def wait(self) -> Exit:
        """How it ended."""
        return await asyncio.shield(self._exit)

    async def kill(self) -> None:
        """End it, if it can be reached."""
        await self._memory.backend.heard(self._memory.ref)
        await self._memory.backend.on_kill()
        self.end(Exit(signal=9))

    def crash(self) -> None:
        """It ends by itself."""
        self.end(Exit(signal=11))

    def end(self, how: Exit) -> None:
        """The process is gone."""
        ref, backend = self._memory.ref, self._memory.backend
        if not self._exit.done() and (ref not in backend.silent or backend.deaths[ref].is_set()):
            self._exit.set_result(how)
            self._task.cancel()
            self._out.end()
            self._err.end()

    def _say(self, **event: object) -> None:
        if self._memory.ref in self._memory.backend.silent:
            return
        self._out.feed(json.dumps(event).encode() + b"\n")

    async def _play(self) -> None:  # noqa: C901  # one script, read from top to bottom
        backend = self._memory.backend
        suite = backend.suite
        kind = backend.session(backend.sessions)
        backend.sessions += 1
        await asyncio.sleep(backend.session_secs)
        match kind:
            case "mute":
                await asyncio.Event().wait()
            case "goodbye":
                self._say(bye="usage error")
                return self.end(Exit(code=4))
            case "dies":
                return self.end(Exit(code=1, reason="no such module"))
            case "garbage":
                self._say(garbage=True)
        self._say(hello=True)
        if kind == "leaves":
            self._say(bye="a hook ended it")
            return self.end(Exit(code=0))
        if self.command.argv[-1].startswith("["):
            await self._list(*json.loads(self.command.argv[-1]))
        path = ""
        while True:
            while not self._queue and not self._closing:
                self._poked.clear()
                await self._poked.wait()
            if not self._queue:
                break
            if self._paths[self._queue[0]] != path:
                path = self._paths[self._queue[0]]
                what = backend.imports.get(path, "")
                if what and not what.startswith("silent-"):
                    self._say(module=path)
                if await self._ends(what.removeprefix("silent-")):
                    return
                if not self._queue:
                    continue
            if backend.batches:
                if await self._play_batch():
                    return
                continue
            key = self._queue.pop(0)
            behaviour = suite[key]
            self._say(started=key)
            backend.begun[key] += 1
            first = backend.begun[key] == 1
            secs = behaviour.secs if first or behaviour.then_secs is None else behaviour.then_secs
            await asyncio.sleep(secs)
            if await self._ends(behaviour.ends if first or not behaviour.ends.startswith("once-") else ""):
                return
            attempt = min(backend.begun[key], len(behaviour.outcomes))
            self._say(finished=key, outcome=behaviour.outcomes[attempt - 1], secs=secs)
            if behaviour.teardown_fails:
                self._torn.append(key)
            if behaviour.ends == "exit":
                self._say(bye="pytest.exit: enough")
                return self.end(Exit(code=2))
        if self._torn:
            self._say(teardown=self._torn[-1])
        await asyncio.sleep(backend.close_secs)
        self._say(bye="")
        self.end(Exit(code=0))

    async def _list(self, keys: Sequence[str], secs: float) -> None:
        """It was asked to list: a test at a time."""
        for key in keys:
            await asyncio.sleep(secs)
            self._say(collected=[key], complete=False)
        self._say(collected=[], complete=True)

    async def _play_batch(self) -> bool:
        """All that waits, as one: it tells of results at the end only. Whether that was the end of the session."""
        backend = self._memory.backend
        batch, self._queue = self._queue, []
        for key in batch:
            self._say(started=key)
            backend.begun[key] += 1
        for key in batch:
            behaviour = backend.suite[key]
            await asyncio.sleep(behaviour.secs)
            first = backend.begun[key] == 1
            if await self._ends(behaviour.ends if first or not behaviour.ends.startswith("once-") else ""):
                return True
        for key in batch:
            behaviour = backend.suite[key]
            attempt = min(backend.begun[key], len(behaviour.outcomes))
            self._say(finished=key, outcome=behaviour.outcomes[attempt - 1], secs=behaviour.secs)
        return False

    async def _ends(self, what: str) -> bool:
        backend = self._memory.backend
        match what.removeprefix("once-"):
            case "process":
                self.end(Exit(code=3))
            case "unseen":
                self._exit.set_exception(ConnectionLost("the connection broke", operation="wait"))
                self._out.end()
                self._err.end()
            case "sandbox":
                backend.kill(self._memory.ref)
            case "hang":
                await asyncio.Event().wait()
            case "slowly":
                await asyncio.sleep(5.0)
                return False
            case "sandbox-late":
                asyncio.get_running_loop().call_later(0.3, backend.kill, self._memory.ref)
                self.end(Exit(code=137))
            case "garbage":
                self._say(garbage=True)
            case _:
                return False
        return True


class MemoryCollection(MemoryProcess):
    """Plays a command that looks for files to bring: it takes its time and finds none."""

    async def _play(self) -> None:
        await asyncio.sleep(self._memory.backend.collect_secs)
        self._out.feed(b"0 0\n")
        self.end(Exit(code=0))


class MemorySandbox(Sandbox):
    """A sandbox of `MemoryProvider`."""

    def __init__(self, provider: MemoryProvider, ref: SandboxRef) -> None:
        super().__init__(ref, provider.context)
        self.backend = provider.backend

    async def exec(self, command: Command) -> Process:
        """Start a session."""
        self.backend.count(self.ref, "exec")
        await self.backend.heard(self.ref)
        process = (MemoryCollection if "offload-artefacts" in command.argv else MemoryProcess)(self, command)
        self.backend.processes.setdefault(self.ref, []).append(process)
        return process

    async def probe(self) -> Liveness:
        """As the backend answers."""
        return self.backend.probe(self.ref)

    async def wait_dead(self) -> Liveness:
        """Told at once, if the backend pushes."""
        if not self.backend.pushes:
            raise ConnectionLost("no event stream", operation="wait_dead")
        await self.backend.deaths[self.ref].wait()
        return Liveness.dead("it died")

    async def terminate(self) -> None:
        """End it."""
        await self.backend.on_terminate(self.ref)
        self.backend.end(self.ref)

    async def upload(self, files: Sequence[Upload]) -> None:
        """There are no files."""
        self.backend.count(self.ref, "upload")

    async def download(self, files: Sequence[Download]) -> None:
        """There are no files."""
        self.backend.count(self.ref, "download")


@define(eq=False)
class Backend:
    """The world behind `MemoryProvider`: what exists, what died, what is silent, what was called on the dead.

    `session`: how the session of that number behaves: `"mute"` never says hello, `"goodbye"` says goodbye instead,
    `"leaves"` says both and ends, `"dies"` ends without a word, `"garbage"` breaks the protocol. `imports`: what
    importing a module does: as `Behaviour.ends`, `"hang"` or `"slowly"`; with `silent-` before it, unannounced.
    `calls_on_dead`: the operation, and how many seconds after the death it came. Of what is `silent` nothing is heard,
    but it can be terminated. `batches`: sessions run all they have as one batch, without saying which test runs.
    """

    suite: Mapping[str, Behaviour]
    start_secs: Callable[[int], float] = lambda number: 0.0
    session_secs: float = 0.0
    refuse: Callable[[int], Exception | None] = lambda number: None
    silent: set[SandboxRef] = field(factory=set)
    deaths: dict[SandboxRef, asyncio.Event] = field(factory=dict)
    processes: dict[SandboxRef, list[MemoryProcess]] = field(factory=dict)
    begun: Counter[str] = field(factory=Counter)
    calls_on_dead: list[tuple[str, float]] = field(factory=list)
    died_at: dict[SandboxRef, float] = field(factory=dict)
    created: int = 0
    sessions: int = 0
    session: Callable[[int], str] = lambda number: ""
    imports: Mapping[str, str] = field(factory=dict)
    close_secs: float = 0.0
    collect_secs: float = 0.0
    pushes: bool = True
    probes_fail: bool = False
    revokes: bool = True
    batches: bool = False
    probes: int = 0
    on_kill: Callable[[], Awaitable[None]] = _nothing
    on_revoke: Callable[[SandboxRef], Awaitable[None]] = _nothing
    on_terminate: Callable[[SandboxRef], Awaitable[None]] = _nothing
    on_create: Callable[[SandboxRef], None] = lambda ref: None
    ended: set[SandboxRef] = field(factory=set)

    def alive(self) -> list[SandboxRef]:
        """What has neither died nor been terminated."""
        return [ref for ref, death in self.deaths.items() if not death.is_set()]

    def probe(self, ref: SandboxRef) -> Liveness:
        """As a backend would answer."""
        if ref in self.silent or self.probes_fail:
            return Liveness.unknown("the backend does not answer")
        return Liveness.dead("it died") if self.deaths[ref].is_set() else Liveness.alive()

    async def heard(self, ref: SandboxRef) -> None:
        """Return if it can be reached, else never."""
        if ref in self.silent:
            await asyncio.Event().wait()

    def kill(self, ref: SandboxRef) -> None:
        """It dies: its processes end without a word."""
        self.died_at.setdefault(ref, asyncio.get_running_loop().time())
        self.deaths[ref].set()
        for process in self.processes.get(ref, ()):
            process.end(Exit())

    def end(self, ref: SandboxRef) -> None:
        """It is terminated."""
        self.ended.add(ref)
        self.kill(ref)

    def count(self, ref: SandboxRef, operation: str) -> None:
        """Note a call, and refuse it if the sandbox is dead."""
        if self.deaths[ref].is_set():
            self.calls_on_dead.append((operation, asyncio.get_running_loop().time() - self.died_at[ref]))
            raise SandboxDead("it died", operation=operation, sandbox=ref.id)


class MemoryProvider(Provider[NoOptions]):
    """Sandboxes in memory."""

    Options = NoOptions

    def __init__(self, backend: Backend, context: Context) -> None:
        super().__init__(NoOptions(), context)
        self.backend = backend

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """Take `start_secs`, then refuse or make one."""
        backend = self.backend
        number = backend.created
        backend.created += 1
        await asyncio.sleep(backend.start_secs(number))
        error = backend.refuse(number)
        if error is not None:
            raise error
        ref = SandboxRef(id=f"m{number}", run_id=spec.run_id, name=spec.name)
        backend.deaths[ref] = asyncio.Event()
        backend.on_create(ref)
        return MemorySandbox(self, ref)

    def attach(self, ref: SandboxRef) -> Sandbox:
        """A handle."""
        return MemorySandbox(self, ref)

    async def list(self, run_id: str | None = None) -> Sequence[SandboxRef]:
        """What is alive."""
        return [ref for ref in self.backend.alive() if run_id in (None, ref.run_id)]

    async def probe_many(self, refs: Sequence[SandboxRef]) -> Mapping[SandboxRef, Liveness]:
        """All at once."""
        self.backend.probes += 1
        return {ref: self.backend.probe(ref) for ref in refs}
