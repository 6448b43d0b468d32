"""`python -m tests.benchmarks.modal_many`: how soon deaths are noticed among two hundred sandboxes at Modal.

One loopback server that allows 100 HTTP/2 streams on a connection, the real SDK, and a death watch for each sandbox.
Some sandboxes are killed at random moments; measured is the time from the announcement until the watch knows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).parents[2] / "providers" / "modal" / "tests"))
os.environ["MODAL_CONFIG_PATH"] = os.devnull  # read when `modal` is imported: nobody's own account is used

import modal
from loopback import Loopback
from offload_modal import ModalOptions, ModalProvider

from offload_core.abc import Context, LivenessSettings, PrepareRequest, Sandbox, SandboxSpec
from offload_core.liveness import DeathWatch, Poller

STREAMS = 100
MOST_SECS = 3.0
_CREATED_AT_ONCE = 16


async def measure(server: Loopback, sandboxes: int, deaths: int, seed: int) -> list[tuple[bool, float]]:
    """For each death: whether its sandbox was watched by a push, and the seconds until it was known."""
    context = Context(name="modal", sandbox_root=PurePosixPath("/"), max_parallel=sandboxes)
    dice = random.Random(seed)
    limit = asyncio.Semaphore(_CREATED_AT_ONCE)
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(ModalProvider(ModalOptions(image="debian:12"), context))
        image = await provider.prepare(PrepareRequest(context=Path("/")))

        async def create(number: int) -> Sandbox:
            async with limit:
                return await provider.create(SandboxSpec(name=f"s{number}", run_id="many", image=image))

        made = await asyncio.gather(*map(create, range(sandboxes)))
        stack.push_async_callback(provider.terminate_many, [each.ref for each in made])
        poller = await stack.enter_async_context(Poller(provider))
        watches = [await stack.enter_async_context(DeathWatch(each, poller)) for each in made]
        await asyncio.sleep(2 * LivenessSettings().interval_secs)  # so that every watch has settled
        noticed = []
        for index in dice.sample(range(sandboxes), deaths):
            await asyncio.sleep(dice.uniform(0, 0.5))
            noticed.append(asyncio.create_task(_noticed(server, watches[index])))
        seconds = await asyncio.gather(*noticed)
        alive = [watch for watch in watches if not watch.gone.done()]
        assert len(alive) == sandboxes - deaths, "a sandbox that lives was called dead or lost"
    return seconds


async def _noticed(server: Loopback, watch: DeathWatch) -> tuple[bool, float]:
    ref = watch.sandbox.ref
    await asyncio.to_thread(server.kill, ref.id, router="hang", announce=None)
    polls = server.calls(ref.id)
    announced = time.monotonic()
    server.announce(ref.id)
    await asyncio.shield(watch.gone)
    return polls["SandboxWait"] + polls["SandboxWaitV2"] > 0, time.monotonic() - announced


def main() -> int:
    """Measure and print; 1 if a death was noticed too late."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.modal_many", description=__doc__)
    parser.add_argument("--sandboxes", type=int, default=200)
    parser.add_argument("--deaths", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="see that it works: 20 sandboxes, 5 deaths")
    options = parser.parse_args()
    sandboxes, deaths = (20, 5) if options.quick else (options.sandboxes, options.deaths)
    with Loopback(streams=STREAMS) as server:
        os.environ.update(server.environment)
        seconds = asyncio.run(measure(server, sandboxes, deaths, options.seed))
        modal.Client.from_env().close()
    print("| watched by | deaths | noticed after, median | most |\n|---|---|---|---|")
    for name, pushed in (("push", True), ("listing", False)):
        took = [each for by_push, each in seconds if by_push is pushed]
        if took:
            print(f"| {name} | {len(took)} | {statistics.median(took) * 1000:.1f} ms | {max(took) * 1000:.1f} ms |")
    return int(max(took for _, took in seconds) > MOST_SECS)


if __name__ == "__main__":
    sys.exit(main())
