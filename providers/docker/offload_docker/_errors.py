"""What docker-py raises, in the words of the contract."""

from __future__ import annotations

import json

import requests
import urllib3
from docker.errors import APIError, DockerException

from offload_core.errors import (
    AuthenticationFailed,
    CapacityExhausted,
    ConnectionLost,
    NotFound,
    OperationTimedOut,
    ProviderError,
    SandboxDead,
)

RAISED = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError, json.JSONDecodeError)
"""Everything that a call through docker-py fails with."""

_BY_STATUS: dict[int | None, type[ProviderError]] = {401: AuthenticationFailed, 404: NotFound, 429: CapacityExhausted}


def translated(error: Exception, engine: str, otherwise: type[ProviderError]) -> ProviderError:
    """The error of a call to an engine as one of the contract; `otherwise` for what has no class of its own.

    The caller chains it to `error`, so that `is_retryable` can look at the engine's status code.
    """
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)):
        return OperationTimedOut(f"the engine at {engine} did not answer in time")
    if not isinstance(error, APIError):
        return ConnectionLost(f"no connection to the engine at {engine}: {_root(error)}")
    said = (error.explanation or str(error)).strip()
    status = error.status_code
    if _of_a_dead_container(status, said):
        return SandboxDead(f"gone: {said}")
    if status in _BY_STATUS:
        return _BY_STATUS[status](said)
    return otherwise(f"the engine at {engine} answers {status}: {said}")


def may_pass(error: ProviderError) -> bool:
    """Whether what an engine answered can be another answer next time; else what the error's class declares.

    Server errors may pass, client errors do not. Two are told apart by their meaning: a conflict (409) passes if
    something is still in progress, a refusal for too many requests (429) if it is not a registry's quota of pulls.
    """
    answer = error.__cause__
    if not error.retryable or not isinstance(answer, APIError):
        return error.retryable
    status, said = answer.status_code or 0, (answer.explanation or "").lower()
    if status == 409:
        return "in progress" in said or "in use" in said
    if status == 429:
        return "pull rate limit" not in said
    return status >= 500


def removing(error: ProviderError) -> bool:
    """Whether the engine refused to remove a container because it is about to do that anyway."""
    answer = error.__cause__
    return isinstance(answer, APIError) and answer.status_code == 409 and "removal of container" in str(answer)


def _of_a_dead_container(status: int | None, said: str) -> bool:
    said = said.lower()
    if status == 404:
        return "no such container" in said
    return status == 409 and ("is not running" in said or "is dead" in said or "marked for removal" in said)


def _root(error: BaseException) -> str:
    """The innermost reason: docker-py, requests and urllib3 each wrap it once more."""
    seen = {id(error)}
    while (inner := _inner(error)) is not None and id(inner) not in seen:
        seen.add(id(inner))
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _inner(error: BaseException) -> BaseException | None:
    wrapped = (error.__cause__, error.__context__, *error.args)
    return next((each for each in wrapped if isinstance(each, BaseException)), None)
