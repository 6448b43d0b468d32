"""Sandboxes that are folders, made and used by a shell script as a user's would be."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from offload_command import CommandOptions, CommandProvider, Patience
from offload_command._sandbox import CommandSandbox

from offload_core.abc import Context, LivenessSettings, SandboxSpec

SCRIPT = Path(__file__).with_name("folders.sh")


@frozen
class Folders:
    """Where the sandboxes of one test are, and what was done with them."""

    home: Path
    interval: float = 0.2
    patience: Patience = field(factory=Patience)

    def line(self, verb: str, arguments: str) -> str:
        """A command of the configuration."""
        return f"sh {SCRIPT} {verb} {self.home} {arguments}"

    def options(self, **changes: Any) -> dict[str, Any]:
        """The `[provider]` table: what is required, a probe and a list."""
        lines = {
            "create_command": self.line("create", "{run_id} {name}"),
            "exec_command": self.line("exec", "{sandbox_id} {command}"),
            "destroy_command": self.line("destroy", "{sandbox_id}"),
            "probe_command": self.line("probe", "{sandbox_id}"),
            "list_command": self.line("list", "{run_id}"),
        }
        return {name: value for name, value in {**lines, **changes}.items() if value is not None}

    def provider(self, warn: Callable[[str], None] = lambda message: None, **changes: Any) -> CommandProvider:
        """A provider whose sandboxes start in the root directory."""
        liveness = LivenessSettings(interval_secs=self.interval)
        context = Context(name="command", project_dir=Path("/"), liveness=liveness, warn=warn)
        return CommandProvider(CommandOptions(**self.options(**changes)), context, self.patience)

    @contextlib.asynccontextmanager
    async def sandbox(self, **changes: Any) -> AsyncIterator[CommandSandbox]:
        """A sandbox of a provider of its own, which is terminated in the end."""
        async with self.provider(**changes) as provider:
            sandbox = await provider.create(SandboxSpec(name="s", run_id="run"))
            try:
                yield sandbox
            finally:
                await sandbox.terminate()

    def calls(self) -> Counter[tuple[str, str]]:
        """How often each verb was called on each sandbox."""
        lines = (self.home / "calls").read_text(encoding="utf-8").splitlines()
        return Counter((verb, id) for verb, _, id in (line.partition("\t") for line in lines))

    def box(self, id: str) -> Path:
        """The folder of a sandbox."""
        return self.home / "boxes" / id

    def remove(self, id: str) -> None:
        """Let a sandbox die as a backend would: its processes, then every trace of it."""
        self.kill(id)
        for directory in (self.box(id), Path(f"/tmp/offload-{id}")):
            shutil.rmtree(directory, ignore_errors=True)

    @staticmethod
    def environments(variable: str) -> dict[int, str]:
        """The value that a variable has in each process that has it."""
        found: dict[int, str] = {}
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                pairs = (each.partition("=") for each in os.fsdecode(path.read_bytes()).split("\0"))
                found |= {int(path.parent.name): value for name, _, value in pairs if name == variable}
        return found

    @staticmethod
    def is_running(pid: str) -> bool:
        """Whether there is such a process that has not ended."""
        try:
            return Path("/proc", pid, "cmdline").read_bytes() != b""
        except OSError:
            return False

    def kill(self, id: str) -> None:
        """Kill the processes of a sandbox."""
        for pid, folder in self.environments("FOLDER").items():
            if folder == str(self.box(id)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def anyio_backend() -> str:
    """What tests that are coroutines run on."""
    return "asyncio"


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Folders]:
    """An empty place for sandboxes, in which none is left in the end."""
    made = Folders(tmp_path / "home")
    made.home.mkdir()
    (made.home / "calls").touch()
    yield made
    for path in (made.home / "boxes").glob("*"):
        made.remove(path.name)


@frozen
class Packages:
    """A directory on `sys.path`."""

    directory: Path

    def add(self, name: str, scripts: Mapping[str, str]) -> None:
        """Install a distribution that offers scripts: modules by the names that `@name` refers to them by."""
        info = self.directory / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        lines = ["[offload.scripts]", *(f"{script} = {module}" for script, module in scripts.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    """Packages that are installed for one test."""
    directory = tmp_path / "packages"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    return Packages(directory)
