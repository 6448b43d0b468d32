"""Carries out a Dockerfile: one layer for each image that is asked for, made in a jail."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import attrs

from ._dockerfile import DockerfileError, Instruction, parse, substitute
from ._jail import Jail

_IDLE = ("sleep", "infinity")
_SHELL = ("/bin/sh", "-c")


class BuildFailed(Exception):
    """An instruction failed; the message has it, and the end of what it wrote."""


@attrs.frozen
class Image:
    """What a sandbox starts from: overlay layers, lowest first, and how commands are run."""

    layers: tuple[str, ...]
    env: Mapping[str, str] = attrs.field(factory=dict)
    workdir: str = "/root"
    command: tuple[str, ...] = _IDLE


@attrs.define
class _Stage:
    """A build stage while it is made: the image so far, and the jail that the next instructions run in."""

    image: Image
    jail: Jail
    arguments: dict[str, str]
    shell: Sequence[str] = _SHELL

    @property
    def variables(self) -> dict[str, str]:
        return {**self.arguments, **self.image.env}


@attrs.define
class Build:
    """The making of one image, whose layers are kept below `state` under names that start with `name`."""

    state: Path
    name: str
    registry: Image
    bases: Mapping[str, Image]
    secrets: Mapping[str, str]
    log: list[str]
    _stages: dict[str, _Stage] = attrs.field(init=False, factory=dict)
    _context: Path = attrs.field(init=False, default=Path())
    _arguments: dict[str, str] = attrs.field(init=False, factory=dict)

    async def run(self, commands: Iterable[str], context: Path, arguments: Mapping[str, str]) -> Image:
        """The image that `commands` describe; `context` is the directory that COPY takes from.

        Raises:
            BuildFailed: an instruction failed, is wrong, or is not carried out by this server.
        """
        self._context = context
        declared: dict[str, str] = {}
        try:
            for instruction in parse(commands):
                self.log.append(f"=> {instruction.name} {instruction.rest}\n")
                if instruction.name == "FROM":
                    await self._from(instruction, {**declared, **arguments})
                elif not self._stages:
                    name, _, value = instruction.rest.partition("=")
                    declared[name] = value.strip("\"'")
                else:
                    await self._carry_out(instruction, list(self._stages.values())[-1], arguments)
        except DockerfileError as error:
            raise BuildFailed(str(error)) from None
        finally:
            for stage in self._stages.values():
                await stage.jail.kill()
        if not self._stages:
            raise BuildFailed("there is no FROM")
        last = list(self._stages.values())[-1]
        return attrs.evolve(last.image, layers=(*last.image.layers, last.jail.layer))

    async def _from(self, instruction: Instruction, arguments: Mapping[str, str]) -> None:
        words = substitute(instruction.rest, arguments).split()
        number = len(self._stages)
        name = words[2] if len(words) == 3 else str(number)
        if earlier := self._stages.get(words[0]):
            # What lies in a mounted layer may no longer change, so the earlier stage ends here.
            await earlier.jail.kill()
            image = attrs.evolve(earlier.image, layers=(*earlier.image.layers, earlier.jail.layer))
        else:
            image = self.bases.get(words[0], self.registry)
        jail = Jail(self.state, f"{self.name}-{number}", image.layers)
        await jail.start(_IDLE, image.env, "/")
        self._stages[name] = _Stage(image, jail, {})

    async def _carry_out(self, instruction: Instruction, stage: _Stage, arguments: Mapping[str, str]) -> None:
        text = substitute(instruction.rest, stage.variables)
        match instruction.name:
            case "RUN":
                await self._run(instruction, stage)
            case "COPY" | "ADD":
                await self._copy(attrs.evolve(instruction, rest=text), stage)
            case "ENV":
                pairs = attrs.evolve(instruction, rest=text).pairs
                stage.image = attrs.evolve(stage.image, env={**stage.image.env, **pairs})
            case "ARG":
                name, _, default = text.partition("=")
                stage.arguments[name] = arguments.get(name, default.strip("\"'"))
            case "WORKDIR":
                workdir = str(PurePosixPath(stage.image.workdir) / text)
                stage.image = attrs.evolve(stage.image, workdir=workdir)
                await self._execute(stage, ["mkdir", "-p", workdir])
            case "CMD" | "ENTRYPOINT":
                command = instruction.listed or [*stage.shell, instruction.rest]
                if command != [""]:
                    stage.image = attrs.evolve(stage.image, command=tuple(command) or _IDLE)
            case "SHELL":
                stage.shell = instruction.words
            case _:
                raise DockerfileError(f"not emulated: {instruction.name}")

    async def _run(self, instruction: Instruction, stage: _Stage) -> None:
        mount = instruction.flags.get("mount", "type=cache")
        if "type=cache" not in mount:
            raise DockerfileError(f"not emulated: RUN --mount={mount}")
        command = instruction.listed or [*stage.shell, instruction.rest]
        code = await self._execute(stage, command)
        if code:
            raise BuildFailed(f"RUN {instruction.rest}\nended with exit code {code}:\n{self.log[-1][-4000:]}")

    async def _copy(self, instruction: Instruction, stage: _Stage) -> None:
        *sources, target = instruction.words
        origin = self._context
        if named := instruction.flags.get("from"):
            if named not in self._stages:
                raise DockerfileError(f"not emulated: COPY --from={named}, which is no stage before this one")
            origin = self._stages[named].jail.root
        if any("://" in source for source in sources):
            raise DockerfileError("not emulated: ADD of a URL")
        into = str(PurePosixPath(stage.image.workdir) / target) + ("/" if target.endswith(("/", ".")) else "")
        archive = await asyncio.to_thread(_pack, origin, sources, into)
        if await self._execute(stage, ["tar", "-xf", "-", "-C", "/", "--no-same-owner"], archive):
            raise BuildFailed(f"COPY {instruction.rest}\nfailed:\n{self.log[-1]}")

    async def _execute(self, stage: _Stage, command: Sequence[str], data: bytes = b"") -> int:
        env = {**stage.variables, **self.secrets}
        workdir = stage.image.workdir if stage.jail.root.joinpath(stage.image.workdir[1:]).is_dir() else "/"
        execution = stage.jail.run(command, env, workdir)
        try:
            await execution.stdin.write(0, data, eof=True)
            code = await execution.wait()
            self.log.append((await execution.text()).decode(errors="replace"))
            return code
        finally:
            await execution.close()


def _pack(origin: Path, sources: Sequence[str], target: str) -> bytes:
    """An archive of what COPY of `sources`, below `origin`, puts at `target`.

    Raises:
        DockerfileError: a source is not there.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for source in sources:
            pattern = str(PurePosixPath("/") / source)[1:] or "."
            found = sorted(origin.glob(pattern)) if set(pattern) & set("*?[") else [origin / pattern]
            if not found or not found[0].exists():
                raise DockerfileError(f"COPY: {source} is not in the build context")
            for path in found:
                many = len(found) > 1 or len(sources) > 1 or target.endswith("/")
                _add(archive, path, PurePosixPath(target), into_directory=many)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, path: Path, target: PurePosixPath, *, into_directory: bool) -> None:
    relative = str(target).lstrip("/")
    if path.is_dir():
        for child in path.iterdir():
            archive.add(child, f"{relative}/{child.name}" if relative else child.name)
    else:
        archive.add(path, f"{relative}/{path.name}" if into_directory else relative)
