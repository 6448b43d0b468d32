"""Errors in the contract's words: which of them may pass, and what `offload doctor` says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from docker.errors import APIError
from offload_docker import DockerOptions, DockerProvider

from offload_core.abc import Context, Image, SandboxSpec, Severity
from offload_core.errors import (
    CapacityExhausted,
    ConnectionLost,
    CreateFailed,
    NotFound,
    PrepareFailed,
    ProviderError,
    SandboxDead,
)
from tests.docker_engine import BASE, Engine


def provider(*hosts: str, **options: Any) -> DockerProvider:
    """A provider of these engines."""
    return DockerProvider(DockerOptions(image=BASE, hosts=hosts, **options), Context(name="docker"))


def answered(cls: type[ProviderError], status: int, said: str = "") -> ProviderError:
    """An error that came of an engine's answer."""
    response = requests.Response()
    response.status_code = status
    error = cls("an error")
    error.__cause__ = APIError("an error", response=response, explanation=said)
    return error


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (answered(CreateFailed, 500), True),
        (answered(CreateFailed, 503), True),
        (answered(CreateFailed, 400), False),
        (answered(CreateFailed, 404), False),
        (answered(CreateFailed, 409, "removal of container x is already in progress"), True),
        (answered(CreateFailed, 409, "the container name is already in use by another"), True),
        (answered(CreateFailed, 409, "cannot do that with a paused container"), False),
        (answered(CapacityExhausted, 429, "too many requests"), True),
        (answered(CapacityExhausted, 429, "you have reached your unauthenticated pull rate limit"), False),
        (answered(PrepareFailed, 500), False),
        (answered(SandboxDead, 500), False),
        (ConnectionLost("gone"), True),
        (NotFound("no image"), False),
    ],
    ids=str,
)
def test_what_may_pass(error: ProviderError, may_pass: bool) -> None:
    """Server errors and lost connections do; what is refused does not, except for a conflict or a rush that ends."""
    assert provider("unix:///nowhere").is_retryable(error) is may_pass


async def fails(call: Callable[[DockerProvider], Any], *hosts: str, **options: Any) -> ProviderError:
    """The error of a call."""
    async with provider(*hosts, **options) as docker:
        with pytest.raises(ProviderError) as caught:
            await call(docker)
        return caught.value


def spec(image: str) -> SandboxSpec:
    """A sandbox of an image."""
    return SandboxSpec(name="a", run_id="errors", image=Image(id=image))


async def test_an_image_that_is_not_there(engine: Engine) -> None:
    """As the engine says it over the wire."""
    error = await fails(lambda docker: docker.create(spec("offload-no-such-image")), engine.url)
    assert isinstance(error, NotFound)
    assert "offload-no-such-image" in str(error)


async def test_a_network_that_is_not_there(engine: Engine) -> None:
    """Nothing is left of a container that could not be started."""
    error = await fails(lambda docker: docker.create(spec(BASE)), engine.url, network="offload-no-such-network")
    assert "offload-no-such-network" in str(error)
    assert engine.docker("ps", "-aq", "--filter", "label=offload.run_id=errors").stdout == ""


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("refused")
async def test_no_engine(tmp_path: Path) -> None:
    """The message names the engine and the reason; it may pass."""
    url = f"unix://{tmp_path}/docker.sock"
    error = await fails(lambda docker: docker.create(spec(BASE)), url)
    assert isinstance(error, ConnectionLost)
    assert url in str(error)
    assert "No such file or directory" in str(error)
    assert provider(url).is_retryable(error)


async def test_a_context_that_does_not_exist() -> None:
    """It says how to see which do."""
    error = await fails(lambda docker: docker.list(), "offload-no-such-context")
    assert isinstance(error, NotFound)
    assert "docker context ls" in str(error)


def test_the_environment_names_the_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `hosts`, it is the one that the `docker` command would use."""
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    assert [each.url for each in provider().engines] == [engine.url]


def test_a_context_names_the_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By `hosts`, by DOCKER_CONTEXT, and by what `docker context use` has stored."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text("{}")  # docker-py looks for contexts only beside it
    engine.command("context", "create", "mine", "--docker", f"host={engine.url}")
    assert [each.url for each in provider("mine").engines] == [engine.url]
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    assert [each.url for each in provider().engines] == [engine.url]
    monkeypatch.delenv("DOCKER_CONTEXT")
    engine.command("context", "use", "mine")
    assert [each.url for each in provider().engines] == [engine.url]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("refused")
async def test_doctor(engine: Engine, tmp_path: Path) -> None:
    """An engine's version and free disk, and what to do about one that does not answer."""
    async with provider(engine.url, f"unix://{tmp_path}/docker.sock", memory_gb=100000.0) as docker:
        health = await docker.check()
    assert not health.ok
    told = [(finding.severity, finding.what, finding.remedy) for finding in health.findings]
    assert told[0][0] is Severity.OK
    assert told[0][1].startswith("Docker Engine ")
    assert told[1][1].endswith(f"GiB free in {engine.directory}/data")
    assert told[2][0] is Severity.WARNING
    assert "memory_gb" in told[2][2]
    assert told[3][0] is Severity.ERROR
    assert "systemctl start docker" in told[3][2]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dockerfile", {"image": "a", "dockerfile": "b"}),
        ("copy_dirs", {"copy_dirs": ("a",)}),
        ("cpu", {"cpu_cores": 0}),
    ],
)
def test_options_that_contradict(name: str, options: dict[str, Any]) -> None:
    """`image` and `dockerfile` exclude each other; a pair of paths needs its colon; nothing runs on no CPU."""
    with pytest.raises(ValueError, match=name):
        DockerOptions(**options)
