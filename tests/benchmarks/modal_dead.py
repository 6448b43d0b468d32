"""`python -m tests.benchmarks.modal_dead`: how long a caller waits for a dead sandbox at Modal.

Side by side, on one loopback server, through the real SDK: (a) the bare SDK; (b) the same under a plain retry with
three attempts, computed from (a); (c) Offload, from the moment in which Modal announces the death to "dead, not
retried". All cells of (a) wait at the same time; (c) is measured beside them, one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

sys.path.insert(0, str(Path(__file__).parents[2] / "providers" / "modal" / "tests"))
os.environ["MODAL_CONFIG_PATH"] = os.devnull  # read when `modal` is imported: nobody's own account is used

import modal
from loopback import Loopback
from offload_modal import ModalOptions, ModalProvider

from offload_core.abc import Command, Context, Download, Image, LivenessSettings, PrepareRequest, Sandbox, SandboxSpec
from offload_core.errors import OffloadError, OperationTimedOut, SandboxDead, SandboxLost
from offload_core.kit import launched, run_command
from offload_core.liveness import DeathWatch, Poller
from offload_core.retry import RetryPolicy

if TYPE_CHECKING:
    from loopback import RouterMode

ROUTERS: tuple[RouterMode, ...] = ("refuse", "hang", "synhole")
RETRY_WAITS_SECS = 0.5 + 1.0
MEDIAN_SECS, MOST_SECS = 0.05, 1.0
"""What (c) may take in the median, and at most."""

ON_THEIR_WAY_SECS = 0.1
"""Calls that arrive so soon after the death is known were made before."""

# A `tar` that stops in the middle of its archive, for a download that is in flight when the sandbox dies.
_STALLED_TAR = "printf '#!/bin/sh\\nhead -c 100000 /dev/zero\\nexec sleep 3600\\n' >/usr/local/bin/tar"
_STALL = f"{_STALLED_TAR} && chmod +x /usr/local/bin/tar"
_FILE = "/etc/hostname"


@frozen
class Moment:
    """When the sandbox dies, seen from its caller."""

    name: str
    connected: bool
    during: bool
    download: bool


MOMENTS = (
    Moment("before its first exec", connected=False, during=False, download=False),
    Moment("between two execs", connected=True, during=False, download=False),
    Moment("during an exec", connected=True, during=True, download=False),
    Moment("before a download, unconnected", connected=False, during=False, download=True),
    Moment("between exec and download", connected=True, during=False, download=True),
    Moment("during a download", connected=True, during=True, download=True),
)


@frozen
class Cell:
    """One line of the table. Times in seconds; the bare one is None if it was cut."""

    router: RouterMode
    moment: Moment
    bare: float | None
    raised: str
    offload: list[float] = field(factory=list)
    calls: Counter[str] = field(factory=Counter)


class Bench:
    """One server, one provider, and the measurements."""

    def __init__(self, server: Loopback, provider: ModalProvider, image: Image | None, cut: float | None) -> None:
        self.server = server
        self.provider = provider
        self.image = image
        self.cut = cut

    async def sandbox(self, *, stalled: bool) -> Sandbox:
        """A new sandbox whose `tar` stops halfway, if a download is to be in flight."""
        sandbox = await self.provider.create(SandboxSpec(name="bench", run_id="bench", image=self.image))
        if stalled:
            done = await run_command(sandbox, Command(argv=("/bin/sh", "-c", _STALL)))
            assert done.exit.ok, done
        return sandbox

    async def kill(self, sandbox: Sandbox, router: RouterMode) -> float:
        """Kill it; Modal announces that at the moment that is returned."""
        await asyncio.to_thread(self.server.kill, sandbox.ref.id, router=router, announce=None)
        return await self.announce(sandbox)

    async def announce(self, sandbox: Sandbox) -> float:
        """Announce its death; the moment just before."""
        moment = time.monotonic()
        self.server.announce(sandbox.ref.id)
        return moment

    async def bare(self, router: RouterMode, moment: Moment, begun: asyncio.Event) -> tuple[float | None, str]:
        """How long the bare SDK takes to end, and what it raises; `begun` is set when its sandbox has died."""
        sandbox = await self.sandbox(stalled=False)
        handle = await modal.Sandbox.from_id.aio(sandbox.ref.id, client=await modal.Client.from_env.aio())
        script = ("/bin/sh", "-c", "head -c 100000 /dev/zero; exec sleep 3600")
        flying: asyncio.Future[Any] | None = None
        if moment.connected:
            process = await handle.exec.aio(*(script if moment.during else ("true",)), text=False)
            if moment.during:
                await anext(aiter(process.stdout))
                flying = asyncio.ensure_future(process.stdout.read.aio())
        began = await self.kill(sandbox, router)
        begun.set()

        async def call() -> None:
            if flying is not None:
                await flying
            else:
                process = await handle.exec.aio("tar", "-cf", "-", _FILE, text=False)
                await process.stdout.read.aio()

        try:
            async with asyncio.timeout(self.cut) as bound:
                await call()
        except Exception as error:
            if bound.expired():
                return None, ""
            return time.monotonic() - began, type(error).__name__
        finally:
            if flying is not None:
                flying.cancel()
        return time.monotonic() - began, "no error"

    async def offload(self, router: RouterMode, moment: Moment) -> tuple[float, Counter[str]]:
        """How long Offload takes from the announcement, and which calls it makes on the sandbox once it knows."""
        made = await self.sandbox(stalled=moment.during and moment.download)
        provider = self.provider if moment.connected else _provider()
        sandbox = provider.attach(made.ref)
        policy = RetryPolicy(provider)
        async with Poller(provider) as poller, DeathWatch(sandbox, poller) as watch:
            call = _download(sandbox, policy, watch) if moment.download else _exec(sandbox, watch)
            if moment.during:
                flying = asyncio.ensure_future(call())
                await self._in_flight(sandbox)
                announced = await self.kill(sandbox, router)
                await _dead(flying)
            else:
                if not moment.connected:
                    await sandbox.probe()
                announced = await self.kill(sandbox, router)
                await _dead(call())
            known = time.monotonic()
            await sandbox.terminate()
            await asyncio.sleep(2 * ON_THEIR_WAY_SECS)  # so that whatever goes on calling is seen
        calls = self.server.calls(sandbox.ref.id, known + ON_THEIR_WAY_SECS)
        if provider is not self.provider:
            await provider.aclose()
        return known - announced, calls

    async def _in_flight(self, sandbox: Sandbox) -> None:
        began = self.server.calls(sandbox.ref.id)["TaskExecStdioRead"]
        pause = 0.001
        while self.server.calls(sandbox.ref.id)["TaskExecStdioRead"] < began + 1:
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)

    async def cells(self, times: int) -> list[Cell]:
        """The whole table."""
        places = [(router, moment) for moment in MOMENTS for router in ROUTERS]
        waiting: list[asyncio.Task[tuple[float | None, str]]] = []
        for router, moment in places:
            begun = asyncio.Event()
            waiting.append(asyncio.create_task(self.bare(router, moment, begun)))
            await begun.wait()
        measured = [[await self.offload(router, moment) for _ in range(times)] for router, moment in places]
        cells = []
        for (router, moment), bare, several in zip(places, waiting, measured, strict=True):
            seconds, raised = await bare
            calls = sum((made for _, made in several), Counter[str]())
            cells.append(Cell(router, moment, seconds, raised, [took for took, _ in several], calls))
        return cells

    async def unannounced(self, router: RouterMode, moment: Moment) -> str:
        """What Offload makes of a death that Modal never announces, and after how many seconds."""
        made = await self.sandbox(stalled=moment.during and moment.download)
        provider = self.provider if moment.connected else _provider()
        sandbox = provider.attach(made.ref)
        policy = RetryPolicy(provider)
        async with Poller(provider) as poller, DeathWatch(sandbox, poller) as watch:
            call = _download(sandbox, policy, watch) if moment.download else _exec(sandbox, watch)
            flying = asyncio.ensure_future(call())
            if moment.during:
                await self._in_flight(sandbox)
            await asyncio.to_thread(self.server.kill, sandbox.ref.id, router=router, announce=None)
            began = time.monotonic()
            try:
                await flying
            except (SandboxLost, OperationTimedOut) as error:
                return f"{moment.name}, {router}: {type(error).__name__} after {time.monotonic() - began:.1f} s"
            finally:
                await sandbox.terminate()
                if provider is not self.provider:
                    await provider.aclose()
        raise AssertionError("a call on a dead sandbox returned")


def _exec(sandbox: Sandbox, watch: DeathWatch) -> Callable[[], Awaitable[object]]:
    async def call() -> object:
        command = launched(Command(argv=("/bin/sh", "-c", "echo begun; exec sleep 3600")))
        process = await watch.guard(sandbox.exec(command))
        return await watch.guard(process.communicate())

    return call


def _download(sandbox: Sandbox, policy: RetryPolicy, watch: DeathWatch) -> Callable[[], Awaitable[object]]:
    files = [Download(PurePosixPath(_FILE), Path(os.devnull))]
    return lambda: policy.call("download", lambda: sandbox.download(files), watch=watch)


async def _dead(call: Awaitable[object]) -> None:
    try:
        await call
    except SandboxDead:
        return
    except OffloadError as error:
        raise AssertionError(f"not known to be dead: {error!r}") from error
    raise AssertionError("a call on a dead sandbox returned")


def _provider() -> ModalProvider:
    context = Context(name="modal", sandbox_root=PurePosixPath("/"), max_parallel=20, liveness=LivenessSettings())
    return ModalProvider(ModalOptions(image="debian:12"), context)


def _never_announced() -> list[tuple[RouterMode, Moment]]:
    return [(router, moment) for moment in MOMENTS if moment.during for router in ROUTERS]


async def measure(server: Loopback, cut: float | None, times: int, *, quick: bool) -> tuple[list[Cell], list[str]]:
    """All cells, and what becomes of deaths that are never announced."""
    async with _provider() as provider:
        image = await provider.prepare(PrepareRequest(context=Path("/")))
        bench = Bench(server, provider, image, cut)
        cells = await bench.cells(times)
        lost = [] if quick else await asyncio.gather(*(bench.unannounced(*place) for place in _never_announced()))
        return cells, lost


def table(cells: list[Cell], cut: float | None) -> str:
    """The table, in Markdown."""
    lines = [
        "| the sandbox dies | its worker | (a) bare SDK | raises | (b) three attempts | (c) Offload, median | most |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell in cells:
        if cell.bare is None:
            bare, retried = f">{cut:g} s", f">{3 * (cut or 0) + RETRY_WAITS_SECS:g} s"
        else:
            bare, retried = f"{cell.bare:.1f} s", f"{3 * cell.bare + RETRY_WAITS_SECS:.1f} s"
        median, most = statistics.median(cell.offload), max(cell.offload)
        lines.append(
            f"| {cell.moment.name} | {cell.router} | {bare} | {cell.raised} | {retried} "
            f"| {median * 1000:.1f} ms | {most * 1000:.1f} ms |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and return 1 if (c) is slower than it may be, or a dead sandbox was called."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.modal_dead", description=__doc__)
    parser.add_argument("--cut", type=float, default=60.0, help="seconds after which the bare SDK is given up")
    parser.add_argument("--full", action="store_true", help="wait for the bare SDK to the end, up to 20 minutes")
    parser.add_argument("--times", type=int, default=7, help="how often Offload is measured in each cell")
    parser.add_argument("--quick", action="store_true", help="see that it works: 3 s, twice")
    options = parser.parse_args()
    cut = 1200.0 if options.full else 3.0 if options.quick else options.cut
    with Loopback() as server:
        os.environ.update(server.environment)
        times = 2 if options.quick else options.times
        cells, lost = asyncio.run(measure(server, cut, times, quick=options.quick))
        modal.Client.from_env().close()
    print(table(cells, cut))
    took = [seconds for cell in cells for seconds in cell.offload]
    calls = sum((cell.calls for cell in cells), Counter[str]())
    print(
        f"\n(c) over all {len(took)}: median {statistics.median(took) * 1000:.1f} ms, most {max(took) * 1000:.1f} ms. "
        f"Calls on a sandbox that is known to be dead: {dict(calls) or 'none'}."
    )
    if lost:
        print("\nDeaths that Modal never announces:\n", *lost, sep="\n- ")
    called = {name for name in calls if name not in ("SandboxWait", "SandboxWaitV2", "SandboxTerminateV2")}
    return int(statistics.median(took) > MEDIAN_SECS or max(took) > MOST_SECS or bool(called))


if __name__ == "__main__":
    sys.exit(main())
