"""What a liveness probe can say."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen
from attrs.validators import gt

from ._options import key


class LivenessStatus(StrEnum):
    """Three answers: a probe that errs is `UNKNOWN`, never `DEAD`."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@frozen
class Liveness:
    """The answer of one probe.

    Attributes:
        reason: in words a person understands ("killed: out of memory (limit 0.2 GiB)", "exit code 137").
        exit_code: of the sandbox's main process, where there is one.
        out_of_memory: whether the backend says that memory ran out.
    """

    status: LivenessStatus
    reason: str = ""
    exit_code: int | None = None
    out_of_memory: bool = False

    @classmethod
    def alive(cls) -> Liveness:
        """It runs."""
        return cls(LivenessStatus.ALIVE)

    @classmethod
    def dead(cls, reason: str, *, exit_code: int | None = None, out_of_memory: bool = False) -> Liveness:
        """It has ended, for good."""
        return cls(LivenessStatus.DEAD, reason, exit_code, out_of_memory)

    @classmethod
    def unknown(cls, reason: str) -> Liveness:
        """The probe could not find out; `reason` says why."""
        return cls(LivenessStatus.UNKNOWN, reason)

    @property
    def is_dead(self) -> bool:
        """Whether it is dead for certain."""
        return self.status is LivenessStatus.DEAD

    @property
    def is_unknown(self) -> bool:
        """Whether the probe could not find out."""
        return self.status is LivenessStatus.UNKNOWN


@frozen(kw_only=True)
class LivenessSettings:
    """`[liveness]`: how often to probe, how long one probe may take, when silence means lost. Seconds."""

    interval_secs: float = key(2.0, "How often sandboxes are probed where the provider cannot push.", validator=gt(0))
    timeout_secs: float = key(5.0, "How long one probe may take before its answer is `unknown`.", validator=gt(0))
    lost_after_secs: float = key(
        15.0, "A sandbox of which nothing could be learned for so long is lost, and abandoned.", validator=gt(0)
    )
