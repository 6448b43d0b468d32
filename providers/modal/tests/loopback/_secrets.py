"""Secrets: made from a dictionary by a client, or given to the server under a name."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from grpclib import GRPCError, Status
from modal_proto import api_pb2


class Secrets:
    """Values by id. A name that nobody defined is answered with NOT_FOUND."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, str]] = {}
        self._ids: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def define(self, name: str, values: dict[str, str]) -> str:
        """Keep `values` under `name`; its id."""
        secret_id = self._ids.setdefault(name, f"st-{next(self._numbers):022d}")
        self._values[secret_id] = dict(values)
        return secret_id

    async def SecretGetOrCreate(self, request: api_pb2.SecretGetOrCreateRequest) -> api_pb2.SecretGetOrCreateResponse:
        """A secret by name, or a new one without a name."""
        if request.env_dict or not request.deployment_name:
            name = request.deployment_name or f"anonymous {next(self._numbers)}"
            return api_pb2.SecretGetOrCreateResponse(secret_id=self.define(name, dict(request.env_dict)))
        secret_id = self._ids.get(request.deployment_name)
        if secret_id is None:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{request.deployment_name}' not found")
        missing = set(request.required_keys) - self._values[secret_id].keys()
        if missing:
            raise GRPCError(Status.FAILED_PRECONDITION, f"Secret is missing key(s): {', '.join(sorted(missing))}")
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret_id)

    def environment(self, sources: Iterable[api_pb2.SecretSource]) -> dict[str, str]:
        """The variables of several secrets, a later one winning."""
        env: dict[str, str] = {}
        for source in sources:
            env |= self._values[source.secret_id] if source.secret_id else dict(source.env.contents)
        return env
