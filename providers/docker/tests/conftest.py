"""A real Docker Engine for these tests. Where none can be started they skip and say why; in CI they must run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import docker_engine
from tests.docker_engine import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine that has the base image."""
    with _engine() as engine:
        yield engine


@pytest.fixture
def another() -> Iterator[Engine]:
    """One more engine, for one test, which may do anything to it."""
    with _engine() as engine:
        yield engine


class _engine:
    def __init__(self) -> None:
        reason = docker_engine.missing()
        if reason and not os.environ.get("CI"):
            pytest.skip(reason)
        assert not reason, f"CI must be able to start a Docker Engine: {reason}"

    def __enter__(self) -> Engine:
        self.engine = Engine(Path(tempfile.mkdtemp(prefix="offload-engine-")))
        try:
            self.engine.start()
            self.engine.import_base()
        except BaseException:
            self.engine.stop()
            raise
        return self.engine

    def __exit__(self, *error: object) -> None:
        self.engine.stop()
