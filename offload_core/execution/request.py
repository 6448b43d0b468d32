"""Everything that a run needs to know, in one value, and the way to ask it to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from ..abc import Framework, Group, PrepareRequest, Provider
from ..config.schema import OffloadTable, RetryTable
from ..scheduling.estimates import UNKNOWN_SECS
from .artefacts import ArtefactRequest
from .timing import Timing


@frozen(kw_only=True)
class RunRequest:
    """What to run, where and how.

    Attributes:
        run_id: unique; every sandbox is labelled with it.
        project: a name for people; another label.
        project_dir: the project's root on the host.
        env: for sandboxes, on top of what the provider's options say.
        framework_env: for the framework's commands, on the host and in sandboxes.
        discover_in: `"host"` or `"sandbox"`.
        hash_seed: PYTHONHASHSEED of discovery and of every session: ids can depend on it.
        estimates: seconds per test id, from earlier runs. Asked for the tests that are found, never copied.
        default_duration_secs: the estimate where nothing at all is known.
        sandboxes_hint: how many sandboxes to begin with while discovery still runs.
        artefacts: which files to bring from sandboxes; None for none.
        timing: the bounds that the configuration does not set.
    """

    run_id: str
    provider: Provider[Any]
    framework: Framework[Any]
    groups: tuple[Group, ...]
    project: str
    project_dir: Path
    offload: OffloadTable
    retry: RetryTable
    prepare: PrepareRequest
    env: Mapping[str, str] = field(factory=dict)
    framework_env: Mapping[str, str] = field(factory=dict)
    discover_in: str = "host"
    hash_seed: int = 0
    fail_fast: bool = False
    estimates: Mapping[str, float] = field(factory=dict)
    default_duration_secs: float = UNKNOWN_SECS
    sandboxes_hint: int = 2
    artefacts: ArtefactRequest | None = None
    timing: Timing = field(factory=Timing)

    @property
    def command_env(self) -> dict[str, str]:
        """The environment that every command of the framework gets, wherever it runs."""
        return {"PYTHONHASHSEED": str(self.hash_seed), **self.framework_env}


class StopRequest:
    """Asks a run to stop early: it keeps what has finished, terminates its sandboxes and says why."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.signal = 0

    def ask(self, signal: int) -> None:
        """Stop, because of this signal. Safe to call from a signal handler of the event loop."""
        self.signal = signal
        self._event.set()

    async def wait(self) -> None:
        """Return when somebody has asked."""
        await self._event.wait()
