"""A test framework: how tests are listed and run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from attrs import field, frozen

from ._collection import Collection, Discovered, Group
from ._health import Health
from ._process import Command, Process
from ._sandbox import Upload
from ._session import TestSession

OptionsT = TypeVar("OptionsT")


class Executor(Protocol):
    """Where a framework's commands can run: a sandbox that is watched, or the host. It sees to the launcher itself."""

    async def exec(self, command: Command) -> Process:
        """Start a command; see `Sandbox.exec`.

        Raises:
            ExecFailed: the command could not be started.
            SandboxDead, SandboxLost, ConnectionLost, OperationTimedOut: nothing is known of it.
        """

    async def upload(self, files: Sequence[Upload]) -> None:
        """Bring files there; see `Sandbox.upload`.

        Raises:
            UploadFailed, SandboxDead, SandboxLost: some of them are not there.
        """


@frozen(kw_only=True)
class Launch:
    """Where and how a framework's commands are launched.

    Attributes:
        name: of the session or the discovery, unique in the run.
        executor: what runs commands there.
        root: the project's root there; commands start in it.
        scratch: a directory of this sandbox's own, which the framework may fill.
        env: for every command, on top of the sandbox's own.
        worker: the number of the sandbox, from 0.
        log: called with lines that are output but no event: one, or several with line breaks between them.
    """

    name: str
    executor: Executor
    root: PurePosixPath
    scratch: PurePosixPath
    env: Mapping[str, str] = field(factory=dict)
    worker: int = 0
    log: Callable[[str], None] = lambda line: None

    @property
    def artefacts(self) -> PurePosixPath:
        """A directory for what this session is to leave for `[report] download_globs`, besides files below `root`.
        Need not exist.
        """
        return self.scratch / "artefacts" / self.name


class Framework(ABC, Generic[OptionsT]):
    """Knows how one test framework lists its tests and runs them. Holds no state of a run."""

    Options: ClassVar[type]
    """A frozen attrs class, into which the `[framework]` table is structured. Unknown keys warn."""

    contract: ClassVar[int] = 1
    """The version of the contracts that it was made for. One that this version of Offload cannot use does not load."""

    start_secs: ClassVar[float] = 0.0
    """What it roughly costs a session to start on what `run` is given, in seconds; 0 where a warm process waits for
    it. The scheduler makes bundles accordingly large."""

    module_secs: ClassVar[float] = 0.0
    """What it roughly costs to import a module, in seconds. A module whose tests take less is not split."""

    sessions_list: ClassVar[bool] = False
    """Whether its sessions can list what they collect, so that with `discover_in = "sandbox"` none is made for that."""

    def __init__(self, options: OptionsT) -> None:
        self.options = options

    @abstractmethod
    def discover(self, group: Group, launch: Launch) -> AsyncIterator[Discovered]:
        """List the tests of a group, each as soon as it is known.

        Raises:
            DiscoveryError: the framework could not list anything; says what it printed and what to do.

        Closing the iterator early ends the command it runs.
        """

    @abstractmethod
    async def open(self, launch: Launch, collection: Collection) -> TestSession:
        """Start a session. Returns when its process has started; `Hello` comes later, among its events.

        Raises:
            ProviderError: as `Sandbox.exec` and `Sandbox.upload`.
        """

    @classmethod
    def guess_options(cls, directory: Path) -> dict[str, Any]:
        """What `offload init` should write into `[framework]`, from what it finds in a project's directory."""
        return {}

    async def check(self, launch: Launch) -> Health:
        """Is the framework's command there, and which version? For `offload doctor`. Never raises."""
        return Health()
