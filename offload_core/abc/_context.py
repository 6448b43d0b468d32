"""What a provider may know of the run it works for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from attrs import field, frozen

from ._liveness import LivenessSettings


@frozen(kw_only=True)
class Context:
    """What a provider may know of the run it works for.

    Attributes:
        name: the name it was configured under, for its error messages.
        project_dir: the project's root on the host.
        sandbox_root: the project's root in a sandbox, if the configuration names one.
        max_parallel: how many sandboxes there will be at most: size threads and connections by it.
        liveness: how often to probe and how long one probe may take.
        warn: called with a sentence that the user should see.
    """

    name: str = "provider"
    project_dir: Path = Path()
    sandbox_root: PurePosixPath | None = None
    max_parallel: int = 1
    liveness: LivenessSettings = field(factory=LivenessSettings)
    warn: Callable[[str], None] = lambda message: None
