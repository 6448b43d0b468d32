"""The server that the tests of this provider talk to: once for the session, or one of its own for a test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
os.environ["MODAL_CONFIG_PATH"] = os.devnull  # read when `modal` is imported: nobody's own account is used

from loopback import Loopback

from tests.support.marks import nightly


@pytest.fixture
def anyio_backend() -> str:
    """What tests that are coroutines run on."""
    return "asyncio"


@pytest.fixture(scope="session")
def shared_loopback() -> Iterator[Loopback]:
    """One server for all tests that command no fault of the whole server."""
    try:
        server = Loopback().start()
    except RuntimeError as error:
        if os.environ.get("CI"):
            raise  # there it must run
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture
def loopback(shared_loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    """The shared server, with the environment in which the SDK, here or in a child process, uses it."""
    _use(shared_loopback, monkeypatch)
    return shared_loopback


@pytest.fixture
def own_loopback(shared_loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A server for this test alone, with its environment; for faults of the whole server.

    It asks for the shared one because where that cannot be, this cannot be either.
    """
    with Loopback() as server:
        _use(server, monkeypatch)
        _disconnect()
        yield server
        server.control_plane("up")
        _disconnect()


@pytest.fixture(params=[nightly("v1"), "v2"])
def generation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs the test with both generations of the SDK's calls."""
    monkeypatch.setenv("MODAL_SANDBOX_V2", "0" if request.param == "v1" else "1")
    generation: str = request.param
    return generation


def _use(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def _disconnect() -> None:
    """Close the connection that the SDK keeps for the whole process; the next call makes one to the server in force."""
    import modal

    modal.Client.from_env().close()
