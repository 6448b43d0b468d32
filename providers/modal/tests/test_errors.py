"""Every exception of the SDK, as it raised it over the wire, is an error of the contract with the right answer to
whether to try again."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpclib
import grpclib.exceptions
import modal
import pytest
from at_modal import created, is_retryable, provider, sandbox
from loopback import Loopback, RouterMode
from modal import exception as modal_errors
from modal._utils import async_utils, grpc_utils
from modal.sandbox import _task_command_router_client as router_client
from offload_modal._errors import translated

from offload_core.abc import Command, PrepareRequest
from offload_core.errors import (
    AuthenticationFailed,
    CapacityExhausted,
    ConnectionLost,
    CreateFailed,
    ExecFailed,
    NotFound,
    OperationTimedOut,
    PrepareFailed,
    ProviderError,
    SandboxDead,
)

PATIENCE_SECS = 60.0


@pytest.mark.parametrize(
    ("status", "raised", "meaning", "again"),
    [
        ("UNAUTHENTICATED", modal_errors.AuthError, AuthenticationFailed, False),
        ("PERMISSION_DENIED", modal_errors.PermissionDeniedError, AuthenticationFailed, False),
        ("RESOURCE_EXHAUSTED", modal_errors.ResourceExhaustedError, CapacityExhausted, True),
        ("NOT_FOUND", modal_errors.NotFoundError, NotFound, False),
        ("INVALID_ARGUMENT", modal_errors.InvalidError, CreateFailed, False),
        ("FAILED_PRECONDITION", modal_errors.ConflictError, CreateFailed, False),
        ("ALREADY_EXISTS", modal_errors.AlreadyExistsError, CreateFailed, False),
        ("UNIMPLEMENTED", modal_errors.UnimplementedError, CreateFailed, False),
        ("DATA_LOSS", modal_errors.DataLossError, CreateFailed, True),
        ("INTERNAL", modal_errors.InternalError, ConnectionLost, True),
        ("UNAVAILABLE", modal_errors.ServiceError, ConnectionLost, True),
        ("UNKNOWN", modal_errors.ServiceError, ConnectionLost, True),
        ("DEADLINE_EXCEEDED", modal_errors.ServiceError, ConnectionLost, True),
    ],
)
async def test_control_plane(
    own_loopback: Loopback,
    generation: str,
    status: str,
    raised: type[BaseException],
    meaning: type[ProviderError],
    again: bool,
) -> None:
    """What the control plane answers to a creation, in each generation, by gRPC status."""
    method = "SandboxCreate" if generation == "v1" else "SandboxCreateV2"
    async with provider() as maker:
        own_loopback.fail(method, status, "said so")
        with pytest.raises(ProviderError, match="said so") as caught:
            await created(maker)
        assert type(caught.value) is meaning
        assert type(caught.value.__cause__) is raised
        assert maker.is_retryable(caught.value) is again
        assert caught.value.operation == "create"


async def test_control_plane_refuses_connections(own_loopback: Loopback) -> None:
    """A control plane that is away: the SDK's own ConnectionError."""
    async with provider() as maker:
        await maker.list("run")
        own_loopback.control_plane("refuse")
        with pytest.raises(ConnectionLost) as caught:
            await maker.list("run")
        assert isinstance(caught.value.__cause__, modal_errors.ConnectionError)
        assert maker.is_retryable(caught.value)
        own_loopback.control_plane("up")


@pytest.fixture
def no_token(own_loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes the token away."""
    modal.Client.from_env().close()
    with monkeypatch.context() as taken:
        taken.delenv("MODAL_TOKEN_ID")
        taken.delenv("MODAL_TOKEN_SECRET")
        yield


@pytest.mark.usefixtures("no_token")
async def test_no_token() -> None:
    """Without a token, `doctor` says what to do, and nothing is tried again."""
    async with provider() as maker:
        health = await maker.check()
        assert not health.ok
        assert "MODAL_TOKEN_ID" in health.findings[0].what
        with pytest.raises(AuthenticationFailed) as caught:
            await maker.list()
        assert not maker.is_retryable(caught.value)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts the SDK's minutes of retries to a second, and leaves the exceptions it raises in the end as they are."""
    once = async_utils.retry(n_attempts=1, attempt_timeout=0.5)
    connect = inspect.unwrap(router_client._connect_channel)  # noqa: SLF001
    monkeypatch.setattr(router_client, "_connect_channel", once(connect))
    monkeypatch.setattr(grpc_utils, "GRPC_KEEPALIVE_TIME_SECS", 0.2)
    monkeypatch.setattr(grpc_utils, "GRPC_KEEPALIVE_TIMEOUT_SECS", 0.2)
    for function, retries in (
        (router_client.call_with_retries_on_transient_errors, "max_retries"),
        (router_client.TaskCommandRouterClient.__init__, "stream_stdio_max_retries"),
    ):
        defaults: Any = function.__kwdefaults__
        monkeypatch.setitem(defaults, retries, 1)


async def _raised(handle: modal.Sandbox) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one it is, is what is asked
        await handle.exec.aio("true")
    return caught.value


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("router", "connected", "raised", "meaning"),
    [
        ("refuse", False, ConnectionRefusedError, ConnectionLost),
        ("refuse", True, ConnectionError, ConnectionLost),
        ("hang", False, grpclib.exceptions.StreamTerminatedError, ConnectionLost),
        ("hang", True, grpclib.exceptions.StreamTerminatedError, ConnectionLost),
        ("synhole", False, TimeoutError, OperationTimedOut),
        ("gone", False, modal_errors.NotFoundError, ConnectionLost),
        ("gone", True, modal_errors.NotFoundError, ConnectionLost),
    ],
)
async def test_router(
    loopback: Loopback,
    router: RouterMode,
    connected: bool,
    raised: type[BaseException],
    meaning: type[ProviderError],
) -> None:
    """What the bare SDK raises from a worker that is away, by whether there was a connection, may be tried again."""
    async with sandbox() as one, asyncio.timeout(PATIENCE_SECS):
        client = await modal.Client.from_env.aio()
        handle = await one.handle() if connected else await modal.Sandbox.from_id.aio(one.ref.id, client=client)
        loopback.router(one.ref.id, router)
        error = await _raised(handle)
        assert isinstance(error, raised)
        assert not isinstance(error, modal_errors.Error) or router == "gone"
        found = await one.death.explained(error, "exec")
        assert type(found) is meaning
        assert is_retryable(found)
        loopback.router(one.ref.id, "up")


@pytest.mark.usefixtures("impatient")
async def test_broken_stream(loopback: Loopback) -> None:
    """What the bare SDK raises when the connection breaks under a read is a lost connection."""
    async with sandbox() as one, asyncio.timeout(PATIENCE_SECS):
        handle = await one.handle()
        process = await handle.exec.aio("sh", "-c", "echo begun; exec sleep 600", text=False)
        chunks = aiter(process.stdout)
        await anext(chunks)
        loopback.router(one.ref.id, "refuse")
        with pytest.raises((OSError, grpclib.exceptions.StreamTerminatedError)) as caught:
            await anext(chunks)
        meaning = await one.death.explained(caught.value, "exec")
        assert type(meaning) is ConnectionLost
        loopback.router(one.ref.id, "up")


async def test_lifetime_over(loopback: Loopback, generation: str) -> None:
    """What the bare SDK raises for a sandbox whose lifetime is over, and for one that was terminated, is a death."""
    for status, raised in (
        ("TIMEOUT", modal_errors.SandboxTimeoutError),
        ("TERMINATED", modal_errors.SandboxTerminatedError),
    ):
        async with sandbox() as one, asyncio.timeout(PATIENCE_SECS):
            handle = await one.handle()
            loopback.kill(one.ref.id, status=status)  # type: ignore[arg-type]
            with pytest.raises(raised) as caught:
                await handle.wait.aio()
            meaning = translated(caught.value, "exec")
            assert type(meaning) is SandboxDead
            assert not is_retryable(meaning)


async def test_too_many_arguments(loopback: Loopback) -> None:
    """A command that the SDK refuses, for its length or for what is in it, could not be started."""
    async with sandbox() as one:
        for word in ("x" * (1 << 17), "\ud800"):
            with pytest.raises(ExecFailed) as caught:
                await one.exec(Command(argv=("true", word)))
            assert not is_retryable(caught.value)


async def test_image_that_is_not_there(loopback: Loopback) -> None:
    """An image id that Modal does not know is NotFound, and not alive."""
    async with provider() as maker:
        image = await maker.prepare(PrepareRequest(context=_here()))
        assert image is not None
        assert await maker.image_alive(image)
        loopback.forget_image(image.id)
        assert not await maker.image_alive(image)
        with pytest.raises(NotFound) as caught:
            await maker.prepare(PrepareRequest(context=_here(), base=image.id))
        assert not maker.is_retryable(caught.value)


async def test_build_that_fails(loopback: Loopback, tmp_path: Any) -> None:
    """A failed build names the instruction and its last lines, and is not tried again."""
    (tmp_path / "Dockerfile").write_text("FROM debian:12\nRUN echo fine\nRUN echo about to fail && exit 3\n")
    async with provider(image=None, dockerfile="Dockerfile") as maker:
        with pytest.raises(PrepareFailed, match="about to fail") as caught:
            await maker.prepare(PrepareRequest(context=tmp_path))
        assert isinstance(caught.value.__cause__, modal_errors.RemoteError)
        assert "exit code 3" in str(caught.value)
        assert not maker.is_retryable(caught.value)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (grpclib.exceptions.StreamTerminatedError("reset"), ConnectionLost),
        (grpclib.GRPCError(grpclib.Status.UNAVAILABLE, "away"), ConnectionLost),
        (grpclib.GRPCError(grpclib.Status.NOT_FOUND, "gone"), NotFound),
        (AttributeError("'NoneType' object has no attribute '_write_appdata'"), ConnectionLost),
        (TimeoutError(), OperationTimedOut),
        (modal_errors.TimeoutError("Timeout expired"), OperationTimedOut),
        (BrokenPipeError(32, "Broken pipe"), ConnectionLost),
        (AttributeError("another"), CreateFailed),
    ],
)
def test_others(error: Exception, meaning: type[ProviderError]) -> None:
    """What takes the SDK minutes to raise, or only some versions of grpclib, has a meaning too."""
    assert type(translated(error, "create")) is meaning


def _here() -> Path:
    return Path(__file__).parent
