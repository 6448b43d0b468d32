"""Images of the loopback server: their layers are really built, and a real suite runs in them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import modal
import pytest
from loopback import Loopback
from through_sdk import BOUND_SECS, new_app, new_sandbox, output

pytestmark = pytest.mark.usefixtures("generation")

DEBIAN = "debian:12"


def _layer(*commands: str, base: modal.Image | None = None) -> modal.Image:
    return (base or modal.Image.from_registry(DEBIAN)).dockerfile_commands(*commands)


async def test_layers_are_built_once(loopback: Loopback) -> None:
    """RUN is carried out, layers lie above one another, and an image that was built is not built again."""
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        first = _layer("RUN echo one > /opt/one && date +%N > /opt/when")
        second = _layer("RUN cat /opt/one /opt/one > /opt/two && rm /opt/one", base=first)
        said = []
        for image in (second, second, _layer("RUN echo one > /opt/one && date +%N > /opt/when")):
            sandbox = await new_sandbox(app=app, image=image)
            said.append(await output(sandbox, "sh", "-c", "cat /opt/when; ls /opt; cat /opt/two || true"))
        assert said[0] == said[1]
        when, *rest = said[0].split()
        assert "two" in rest
        assert "one" not in rest[: rest.index("two")]
        assert rest[-2:] == ["one", "one"]
        assert said[2].split()[0] == when


async def test_image_by_id(loopback: Loopback) -> None:
    """A built image is found by its id; one that the server forgot is not."""
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        built = await _layer("RUN echo here > /opt/here").build.aio(app)
        sandbox = await new_sandbox(app=app, image=modal.Image.from_id(built.object_id))
        assert await output(sandbox, "cat", "/opt/here") == "here\n"
        loopback.forget_image(built.object_id)
        with pytest.raises(modal.exception.NotFoundError):
            await new_sandbox(app=app, image=modal.Image.from_id(built.object_id))


async def test_failed_build(loopback: Loopback) -> None:
    """A RUN that fails fails the build, with its output; the next request tries again."""
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        for _ in range(2):
            with pytest.raises(modal.exception.ImageBuildError, match=r"(?s)exit code 3.*no luck"):
                await _layer("RUN echo no luck >&2; exit 3").build.aio(app)


async def test_what_is_not_emulated_is_said(loopback: Loopback) -> None:
    """An instruction that the server does not carry out fails the build and is named."""
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        with pytest.raises(modal.exception.ImageBuildError, match="not emulated: ONBUILD"):
            await _layer("ONBUILD RUN true").build.aio(app)


async def test_dockerfile(loopback: Loopback, tmp_path: Path) -> None:
    """A Dockerfile of several stages: ARG, ENV, WORKDIR, COPY from the context and from a stage, RUN, CMD."""
    (tmp_path / "context" / "sub").mkdir(parents=True)
    (tmp_path / "context" / "a.txt").write_text("file a\n")
    (tmp_path / "context" / "sub" / "b.txt").write_text("file b\n")
    (tmp_path / "context" / "tool").write_text("#!/bin/sh\necho tool of $WHO\n")
    (tmp_path / "context" / "tool").chmod(0o755)
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE=python:3.12-slim\n"
        "FROM ${BASE} AS maker\n"
        "RUN mkdir /made && \\\n"
        "    # a comment between the lines\n"
        "    echo made > /made/thing\n"
        "\n"
        "FROM python:3.12-slim\n"
        "ARG WHO=nobody\n"
        'ENV WHO=$WHO OTHER="with blanks"\n'
        "WORKDIR /app\n"
        "COPY a.txt sub ./copied/\n"
        "COPY --chmod=755 tool /usr/local/bin/\n"
        "COPY --from=maker /made/thing made\n"
        'RUN ["sh", "-c", "echo $OTHER > other"]\n'
        'CMD ["sleep", "1234"]\n'
    )
    async with asyncio.timeout(BOUND_SECS):
        image = modal.Image.from_dockerfile(
            tmp_path / "Dockerfile", context_dir=tmp_path / "context", build_args={"WHO": "us"}
        )
        sandbox = await new_sandbox(image=image)
        script = "pwd; cat copied/a.txt copied/b.txt made other; tool; pgrep -xa sleep"
        said = (await output(sandbox, "sh", "-c", script)).splitlines()
        assert said[:6] == ["/app", "file a", "file b", "made", "with blanks", "tool of us"]
        assert said[6].endswith("sleep 1234")


async def test_secrets(loopback: Loopback) -> None:
    """Secrets reach sandboxes, commands and builds, by name and from a dictionary; an unknown name is an error."""
    loopback.secret("known", {"BY_NAME": "name"})
    async with asyncio.timeout(BOUND_SECS):
        app = await new_app()
        secrets = [modal.Secret.from_name("known"), modal.Secret.from_dict({"BY_DICT": "dict"})]
        image = modal.Image.from_registry(DEBIAN).run_commands("echo $BY_NAME > /opt/secret", secrets=secrets[:1])
        sandbox = await new_sandbox(app=app, image=image, secrets=secrets)
        assert await output(sandbox, "sh", "-c", "cat /opt/secret; echo $BY_NAME $BY_DICT") == "name\nname dict\n"
        process = await sandbox.exec.aio("sh", "-c", "echo $ONLY", secrets=[modal.Secret.from_dict({"ONLY": "exec"})])
        assert await process.stdout.read.aio() == "exec\n"
        with pytest.raises(modal.exception.NotFoundError):
            await new_sandbox(app=app, secrets=[modal.Secret.from_name("unknown")])


@pytest.mark.parametrize("copy", [True, False], ids=["layer", "mount"])
async def test_local_files(loopback: Loopback, tmp_path: Path, copy: bool) -> None:
    """Local files, big ones too, get into an image as a layer or as a mount, with content and mode."""
    big = bytes(range(256)) * (5 << 12)
    (tmp_path / "big").write_bytes(big)
    (tmp_path / "script").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "script").chmod(0o755)
    async with asyncio.timeout(BOUND_SECS):
        image = modal.Image.from_registry(DEBIAN).add_local_dir(tmp_path, "/work/files", copy=copy)
        sandbox = await new_sandbox(image=image)
        assert await output(sandbox, "/work/files/script") == "ran\n"
        process = await sandbox.exec.aio("cat", "/work/files/big", text=False)
        assert await process.stdout.read.aio() == big


async def test_a_suite_runs(loopback: Loopback, tmp_path: Path) -> None:
    """A suite of pytest that was copied into an image runs in a sandbox, with fixtures and temporary files."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('number', range(50))\n"
        "def test_number(number, tmp_path):\n"
        "    (tmp_path / 'file').write_text(str(number))\n"
        "    assert number != 13\n"
    )
    async with asyncio.timeout(BOUND_SECS):
        image = modal.Image.debian_slim().workdir("/app").add_local_dir(tmp_path, "/app", copy=True)
        sandbox = await new_sandbox(image=image)
        process = await sandbox.exec.aio("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
        said = await process.stdout.read.aio()
        assert "1 failed, 49 passed" in said
        assert await process.wait.aio() == 1
