"""A connection to one Docker Engine. docker-py blocks, so its calls run in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import docker
from attrs import field, frozen
from docker.context import ContextAPI
from docker.utils import kwargs_from_env

from offload_core.errors import NotFound, ProviderError

from ._errors import RAISED, translated
from ._threads import in_thread

T = TypeVar("T")

CALL_SECS = 60.0
"""How long an engine may take for an ordinary call."""


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


class Connection:
    """The calls to one Docker Engine.

    Args:
        address: where it is.
        connections: how many connections to keep: what runs at the same time.
        hello_secs: how long it may take to say that it is there. Asked before what has no bound of its own.

    Attributes:
        url: where it is, for messages.
    """

    def __init__(self, address: Address, connections: int, hello_secs: float) -> None:
        self.url = address.url
        self.hello_secs = hello_secs
        self._arguments = address.arguments
        self._connections = connections
        self._clients: dict[float | None, docker.APIClient] = {}
        self._version = ""

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

    async def hello(self) -> None:
        """See that it answers at all.

        Raises:
            ConnectionLost, OperationTimedOut: it does not.
        """
        await self.call(lambda client: client.ping(), timeout=self.hello_secs)

    def _client(self, timeout: float | None) -> docker.APIClient:
        """The client with this bound. In a thread: the first one asks the engine for its version."""
        client = self._clients.get(timeout)
        if client is not None:
            return client
        if not self._version:
            first = {**self._arguments, "timeout": min(timeout or self.hello_secs, self.hello_secs)}
            asking = docker.APIClient(**first, version="auto")
            self._version = asking.api_version
            asking.close()
        arguments = {**self._arguments, "timeout": timeout, "max_pool_size": self._connections}
        return self._clients.setdefault(timeout, docker.APIClient(**arguments, version=self._version))

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
