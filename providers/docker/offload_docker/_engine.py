"""A connection to one Docker Engine. docker-py blocks, so its calls run in threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import docker
from attrs import field, frozen
from docker.context import ContextAPI
from docker.utils import kwargs_from_env

from offload_core.errors import NotFound, ProviderError

from ._errors import RAISED, translated
from ._events import Events
from ._threads import in_thread

if TYPE_CHECKING:
    from ._process import DockerProcess

T = TypeVar("T")

CALL_SECS = 60.0
"""How long an engine may take for an ordinary call."""

HELLO_SECS = 10.0
"""How long it may take to say that it is there. Asked before what has no bound of its own."""


@frozen(kw_only=True)
class Address:
    """Where an engine is; `arguments` are docker-py's."""

    url: str
    arguments: dict[str, Any] = field(factory=dict, eq=False)


def resolve(hosts: Sequence[str]) -> list[Address]:
    """Engines by URL or by the name of a docker context; without any, the one that the `docker` command would use.

    Raises:
        NotFound: there is no such context.
        ProviderError: what the environment or the docker command's configuration says cannot be used.
    """
    try:
        return [_address(host) for host in hosts] or [_usual()]
    except RAISED as error:
        raise ProviderError(f"the docker command's configuration cannot be used: {error}") from error


def _address(host: str) -> Address:
    if "://" not in host:
        return _context(host)
    arguments: dict[str, Any] = {"base_url": host}
    if host.startswith("tcp://"):
        arguments |= {name: value for name, value in kwargs_from_env().items() if name == "tls"}
    return Address(url=host, arguments=arguments)


def _usual() -> Address:
    if os.environ.get("DOCKER_HOST"):
        arguments = dict(kwargs_from_env())
        return Address(url=str(arguments["base_url"]), arguments=arguments)
    return _context(os.environ.get("DOCKER_CONTEXT"))


def _context(name: str | None) -> Address:
    arguments: dict[str, Any] = dict(ContextAPI.kwargs_from_context(name))
    if not arguments and name:
        raise NotFound(f"there is no docker context {name!r}: `docker context ls` shows those there are")
    url = arguments.setdefault("base_url", "unix:///var/run/docker.sock")
    return Address(url=url, arguments=arguments)


class Engine:
    """One Docker Engine, from the first call to `aclose`.

    Args:
        address: where it is.
        connections: how many connections to keep: what runs at the same time.
        memory_gb: the limit of the containers that are made there, for the wording of their deaths.

    Attributes:
        sandboxes: ids of the containers that were made there and are not known to be dead.
        processes: the commands that run there.
        away_until: monotonic time until which no new sandbox is tried there.
    """

    def __init__(self, address: Address, connections: int, memory_gb: float | None = None) -> None:
        self.url = address.url
        self.sandboxes: set[str] = set()
        self.processes: set[DockerProcess] = set()
        self.away_until = 0.0
        self.events = Events(self, memory_gb)
        self._arguments = address.arguments
        self._connections = connections
        self._clients: dict[float | None, docker.APIClient] = {}
        self._version = ""
        self._finishing: set[asyncio.Future[Any]] = set()

    async def call(
        self,
        ask: Callable[[docker.APIClient], T],
        *,
        otherwise: type[ProviderError] = ProviderError,
        timeout: float | None = CALL_SECS,
    ) -> T:
        """The result of `ask`, in a thread of its own. Cancelled, the thread goes on, and what it finds is dropped.

        Args:
            otherwise: the class of errors that have none of their own.
            timeout: seconds that the engine may take to answer one request; None for as long as it takes.

        Raises:
            ProviderError: in the contract's classes.
        """
        try:
            return await in_thread(lambda: ask(self._client(timeout)))
        except RAISED as error:
            raise translated(error, self.url, otherwise) from error

    def finish(self, rest: Coroutine[Any, Any, None]) -> None:
        """Let something that was begun come to its end in the background; `aclose` waits for it."""
        task = asyncio.ensure_future(rest)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def hello(self) -> None:
        """See that it answers at all.

        Raises:
            ConnectionLost, OperationTimedOut: it does not.
        """
        await self.call(lambda client: client.ping(), timeout=HELLO_SECS)

    def _client(self, timeout: float | None) -> docker.APIClient:
        """The client with this bound. In a thread: the first one asks the engine for its version."""
        client = self._clients.get(timeout)
        if client is not None:
            return client
        if not self._version:
            first = {**self._arguments, "timeout": min(timeout or HELLO_SECS, HELLO_SECS)}
            asking = docker.APIClient(**first, version="auto")
            self._version = asking.api_version
            asking.close()
        arguments = {**self._arguments, "timeout": timeout, "max_pool_size": self._connections}
        return self._clients.setdefault(timeout, docker.APIClient(**arguments, version=self._version))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._finishing:
            _, late = await asyncio.wait(self._finishing, timeout=CALL_SECS / 4)
            for task in late:
                task.cancel()
        for process in tuple(self.processes):
            await process.aclose()
        await self.events.aclose()
        for client in self._clients.values():
            client.close()
        self._clients.clear()
