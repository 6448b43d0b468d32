"""A real Docker Engine for these tests. Where none can be started they skip and say why; in CI they must run."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import docker_engine
from tests.docker_engine import Engine
from tests.e2e.project import Project, a_project


@pytest.fixture
def anyio_backend() -> str:
    """What tests that are coroutines run on."""
    return "asyncio"


@contextlib.contextmanager
def _engine() -> Iterator[Engine]:
    reason = docker_engine.missing()
    if reason and not os.environ.get("CI"):
        pytest.skip(reason)
    assert not reason, f"CI must be able to start a Docker Engine: {reason}"
    engine = Engine(Path(tempfile.mkdtemp(prefix="offload-engine-")))
    engine.start()
    try:
        engine.import_base()
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine that has the base image."""
    with _engine() as engine:
        yield engine


@pytest.fixture
def another() -> Iterator[Engine]:
    """One more, for one test, which may do anything to it."""
    with _engine() as engine:
        yield engine


@pytest.fixture
def refused() -> Iterator[None]:
    """docker-py does not close a socket whose connection was refused: that is found here, not in a later test."""
    yield
    gc.collect()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty project. See `configure`."""
    with a_project(tmp_path) as made:
        yield made
