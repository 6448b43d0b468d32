"""Every error Offload raises on purpose, in one tree with `OffloadError` at its root.

A message says what happened, where, and what to do about it. A class means one thing. `ProviderError` classes
declare whether an operation that failed this way may be tried again; a provider refines that for its own backend in
`offload_core.abc.Provider.is_retryable`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import attrs
from typing_extensions import override


class OffloadError(Exception):
    """The root: anything Offload knows how to explain. The command line prints it without a traceback."""


class ConfigError(OffloadError):
    """The configuration or the command line cannot be used as it is (exit code 4)."""


class PluginError(OffloadError):
    """A provider, framework or runner is not installed, or its package does not load (exit code 4)."""


class FrameworkError(OffloadError):
    """A test framework could not be started, or said something that is not its protocol."""


class FrameworkUnusable(FrameworkError):
    """A test framework cannot work in a sandbox at all. Nothing is held against a test; says what to do."""


class DiscoveryError(FrameworkError):
    """Listing the tests of a group failed as a whole; a single module that fails to collect is an event instead."""


class ReportError(OffloadError):
    """A journal or a report could not be written or read (exit code 3)."""


@contextmanager
def os_error_as(kind: type[OffloadError], problem: str) -> Iterator[None]:
    """Raise an `OSError` of the block as `kind`: the problem, and what the system says of it."""
    try:
        yield
    except OSError as error:
        raise kind(f"{problem}: {error.strerror or error}") from error


@attrs.define(eq=False, init=False)
class ProviderError(OffloadError):
    """Something went wrong between Offload and a backend. Never a test failure.

    Args:
        message: what happened, in words that stand alone.
        operation: the contract method that failed (`"create"`, `"exec"`, …), if known.
        sandbox: the sandbox's id, if the operation was on one.
        provider: the name of the provider, if known.
    The cause, where there is one, is chained with `raise … from`.
    """

    retryable: ClassVar[bool] = False

    message: str
    operation: str | None
    sandbox: str | None
    provider: str | None

    def __init__(
        self, message: str, *, operation: str | None = None, sandbox: str | None = None, provider: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.sandbox = sandbox
        self.provider = provider

    @override
    def __str__(self) -> str:
        where = [part for part in (self.provider, self.operation, self.sandbox and f"sandbox {self.sandbox}") if part]
        return f"{' '.join(where)}: {self.message}" if where else self.message


class CreateFailed(ProviderError):
    """A sandbox could not be created, for a reason that may pass."""

    retryable = True


class PrepareFailed(ProviderError):
    """The image could not be built: the build itself is wrong, and would be again."""


class ExecFailed(ProviderError):
    """A command could not be started. Whether it had an effect is not known, so it is never started again."""


class UploadFailed(ProviderError):
    """Files did not arrive in the sandbox."""

    retryable = True


class DownloadFailed(ProviderError):
    """Files did not arrive from the sandbox."""

    retryable = True


class RemoteFileMissing(ProviderError):
    """A file that was to be downloaded is not in the sandbox."""


class NotFound(ProviderError):
    """The backend does not know the thing named: an image, a volume, a region."""


class ConnectionLost(ProviderError):
    """The backend could not be reached, or the connection broke."""

    retryable = True


class OperationTimedOut(ProviderError):
    """The backend did not answer within the bound of one call."""

    retryable = True


class CapacityExhausted(ProviderError):
    """The backend has no room for another sandbox now, or limits the rate of calls."""

    retryable = True


class AuthenticationFailed(ProviderError):
    """The backend refuses the credentials, or there are none."""


class SandboxDead(ProviderError):
    """The sandbox is dead. Final: nothing on it is retried or waited for, whatever a provider says."""


class SandboxLost(ProviderError):
    """Nothing could be learned of the sandbox for `lost_after_secs`: it is abandoned. As final as `SandboxDead`."""
