"""The contracts between Offload's core, its providers and its test frameworks.

One concept a file. Nothing here imports an implementation: the only other module of Offload that these files know is
`offload_core.errors`. What ships with Offload and what third parties write meet the core here and nowhere else. Tools to
write them with are in `offload_core.kit`.
"""

from ._collection import Collection, CollectionFailed, CollectionSkipped, Discovered, Group
from ._context import Context
from ._contract import CONTRACT, OLDEST_CONTRACT
from ._cost import CostEstimate
from ._framework import Executor, Framework, Launch
from ._health import Finding, Health, Severity
from ._image import Image, PrepareRequest
from ._liveness import Liveness, LivenessSettings, LivenessStatus
from ._options import key, shell_words
from ._process import EXEC_MARK, ByteStream, Command, Completed, Exit, Process
from ._provider import PROBES_AT_ONCE, Provider
from ._resource import AsyncResource
from ._sandbox import Download, Sandbox, SandboxRef, SandboxSpec, Upload
from ._session import (
    Bye,
    Collected,
    Heartbeat,
    Hello,
    ModuleStarted,
    SessionEvent,
    TeardownFailed,
    TestFinished,
    TestSession,
    TestStarted,
)
from ._test import Attempt, Outcome, Section, State, Test

__all__ = [
    "CONTRACT",
    "EXEC_MARK",
    "OLDEST_CONTRACT",
    "PROBES_AT_ONCE",
    "AsyncResource",
    "Attempt",
    "Bye",
    "ByteStream",
    "Collected",
    "Collection",
    "CollectionFailed",
    "CollectionSkipped",
    "Command",
    "Completed",
    "Context",
    "CostEstimate",
    "Discovered",
    "Download",
    "Executor",
    "Exit",
    "Finding",
    "Framework",
    "Group",
    "Health",
    "Heartbeat",
    "Hello",
    "Image",
    "Launch",
    "Liveness",
    "LivenessSettings",
    "LivenessStatus",
    "ModuleStarted",
    "Outcome",
    "PrepareRequest",
    "Process",
    "Provider",
    "Sandbox",
    "SandboxRef",
    "SandboxSpec",
    "Section",
    "SessionEvent",
    "Severity",
    "State",
    "TeardownFailed",
    "Test",
    "TestFinished",
    "TestSession",
    "TestStarted",
    "Upload",
    "key",
    "shell_words",
]
