"""What the SDK raises, as what it means here.

The SDK's own errors are `modal.Error`; but those of the command router, which runs commands, reach the caller as
builtin `OSError` and `TimeoutError` or as grpclib's. All of them are looked at here and nowhere else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import grpclib
import grpclib.exceptions
from modal import exception as modal_errors

from offload_core.abc import Provider, Sandbox
from offload_core.errors import (
    AuthenticationFailed,
    CapacityExhausted,
    ConnectionLost,
    CreateFailed,
    DownloadFailed,
    ExecFailed,
    NotFound,
    OperationTimedOut,
    PrepareFailed,
    ProviderError,
    SandboxDead,
    UploadFailed,
)
from offload_core.kit import naming

# In this order: the first that fits counts.
_MEANING: tuple[tuple[tuple[type[BaseException], ...], type[ProviderError]], ...] = (
    ((modal_errors.AuthError, modal_errors.PermissionDeniedError), AuthenticationFailed),
    ((modal_errors.ResourceExhaustedError,), CapacityExhausted),
    ((modal_errors.NotFoundError,), NotFound),
    ((modal_errors.SandboxTimeoutError, modal_errors.SandboxTerminatedError), SandboxDead),
    ((modal_errors.TimeoutError, TimeoutError), OperationTimedOut),
    ((modal_errors.ServiceError, modal_errors.InternalError, modal_errors.InternalFailure), ConnectionLost),
    ((modal_errors.ConnectionError, modal_errors.ClientClosed), ConnectionLost),
    ((grpclib.exceptions.StreamTerminatedError, grpclib.exceptions.ProtocolError, OSError), ConnectionLost),
)

_BY_STATUS: dict[grpclib.Status, type[ProviderError]] = {
    grpclib.Status.UNAUTHENTICATED: AuthenticationFailed,
    grpclib.Status.PERMISSION_DENIED: AuthenticationFailed,
    grpclib.Status.RESOURCE_EXHAUSTED: CapacityExhausted,
    grpclib.Status.NOT_FOUND: NotFound,
    grpclib.Status.DEADLINE_EXCEEDED: ConnectionLost,
    grpclib.Status.UNAVAILABLE: ConnectionLost,
    grpclib.Status.CANCELLED: ConnectionLost,
    grpclib.Status.INTERNAL: ConnectionLost,
    grpclib.Status.UNKNOWN: ConnectionLost,
}

# What an operation that failed for no reason of the list above is called.
_OF_OPERATION: dict[str, type[ProviderError]] = {
    "create": CreateFailed,
    "prepare": PrepareFailed,
    "exec": ExecFailed,
    "upload": UploadFailed,
    "download": DownloadFailed,
}

_REFUSED = (
    modal_errors.InvalidError,
    modal_errors.UnimplementedError,
    modal_errors.AlreadyExistsError,
    modal_errors.VersionError,
    modal_errors.RequestSizeError,
    modal_errors.ClientClosed,
)
"""The same request would be refused again."""


@contextlib.contextmanager
def translating(operation: str, where: Provider[Any] | Sandbox) -> Iterator[None]:
    """Let what the SDK raises leave the block as an error of the contract, which says where it came from."""
    with naming(operation, where):
        try:
            yield
        except ProviderError:
            raise
        except Exception as error:
            raise translated(error, operation) from error


def translated(error: BaseException, operation: str) -> ProviderError:
    """The error of the contract for one that the SDK raised. To be raised `from` it.

    Anything that is not known, such as a defect of the SDK, is the operation's own failure.
    """
    if isinstance(error, ProviderError):
        return error
    kind = _kind(error) or _OF_OPERATION.get(operation, ProviderError)
    return kind(_words(error))


def is_refusal(error: BaseException | None) -> bool:
    """Whether the SDK's error says that the same request would be refused again."""
    return isinstance(error, _REFUSED)


def _kind(error: BaseException) -> type[ProviderError] | None:
    for classes, meaning in _MEANING:
        if isinstance(error, classes):
            return meaning
    if isinstance(error, grpclib.GRPCError) and not isinstance(error, modal_errors.Error):
        return _BY_STATUS.get(error.status)
    if isinstance(error, AttributeError) and "_write_appdata" in str(error):
        return ConnectionLost  # how some versions of grpclib fail on a connection that broke
    return None


def _words(error: BaseException) -> str:
    name = type(error).__name__
    text = str(error).strip()
    if isinstance(error, modal_errors.AuthError):
        return f"{text}: run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"
    if isinstance(error, modal_errors.Error) and text:
        return text
    return f"{name}: {text}" if text else name
