"""Whether the engines can be worked with: the findings of `offload doctor`."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from docker import APIClient

from offload_core.abc import Context, Finding, Health, Severity
from offload_core.errors import ProviderError

from ._connection import Connection
from ._death import GIB
from ._options import DockerOptions

_FREE_BYTES = 2 * GIB


async def look(options: DockerOptions, context: Context, find: Callable[[], Sequence[Connection]]) -> Health:
    """Ask each of the engines that `find` returns. Never raises."""
    findings: list[Finding] = []
    if options.image is None and options.dockerfile is None:
        what = "neither `image` nor `dockerfile` is set in [provider]"
        findings.append(Finding(Severity.ERROR, what, "name an image, or a Dockerfile to build one from"))
    try:
        engines = find()
    except ProviderError as error:
        remedy = "create it, or name another in `hosts` of [provider]"
        return Health((*findings, Finding(Severity.ERROR, error.message, remedy)))
    share = -(-context.max_parallel // len(engines))
    asking = (_look(engine, context.liveness.timeout_secs, options.memory_gb or 0, share) for engine in engines)
    for found in await asyncio.gather(*asking):
        findings += found
    return Health(tuple(findings))


async def _look(engine: Connection, timeout: float, memory_gb: float, share: int) -> list[Finding]:
    def ask(client: APIClient) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        return client.version(), client.info()

    try:
        version, info = await engine.call(ask, timeout=timeout)
    except ProviderError as error:
        return [Finding(Severity.ERROR, error.message, _remedy(engine.url, error.message))]
    what = f"Docker Engine {version['Version']} at {engine.url}: {info['NCPU']} CPUs, {info['MemTotal'] / GIB:.1f} GiB"
    findings = [Finding(Severity.OK, what)]
    root = str(info["DockerRootDir"])
    free = await asyncio.to_thread(_free, root) if engine.url.startswith("unix://") else None
    if free is not None:
        enough = free >= _FREE_BYTES
        severity, remedy = (Severity.OK, "") if enough else (Severity.WARNING, "free some: `docker system prune`")
        findings.append(Finding(severity, f"{free / GIB:.1f} GiB free in {root}", remedy))
    if memory_gb * share * GIB > info["MemTotal"]:
        what = f"{share} sandboxes of {memory_gb:g} GiB are more than the memory of {engine.url}"
        findings.append(Finding(Severity.WARNING, what, "lower `max_parallel` or `memory_gb`"))
    return findings


def _free(directory: str) -> int | None:
    try:
        return shutil.disk_usage(directory).free
    except OSError:  # the engine is in a machine of its own
        return None


def _remedy(url: str, said: str) -> str:
    if "permission denied" in said.lower():
        return "join the group that may use the socket (`sudo usermod -aG docker $USER`, then log in again)"
    if url.startswith("unix://"):
        return "start the engine (`sudo systemctl start docker`, or Docker Desktop), or set DOCKER_HOST or `hosts`"
    return "see that the engine runs and can be reached from here, or set DOCKER_HOST or `hosts` to another"
