"""The contracts between Offload's core, its providers and its test frameworks.

One concept a file. Nothing here imports an implementation: the only other module of Offload that these files know is
`offload_core.errors`. What ships with Offload and what third parties write meet the core here and nowhere else.
"""

from ._archive import Member, members, pack, unpack
from ._client import ClientProcess
from ._contract import CONTRACT, OLDEST_CONTRACT
from ._cost import CostEstimate
from ._environment import inherited_environment
from ._framework import (
    CollectionFailed,
    CollectionSkipped,
    Discovered,
    Executor,
    Framework,
    Group,
    Place,
)
from ._health import Finding, Health, Severity
from ._image import Image, PrepareRequest
from ._launcher import EXEC_MARK, kill_command, launched, mark_of, without_launcher
from ._liveness import Liveness, LivenessSettings, LivenessStatus
from ._options import key, shell_words
from ._pipes import PipeReader, PipeWriter
from ._poller import Poller
from ._process import ByteStream, Command, Completed, Exit, Process
from ._provider import Context, Provider
from ._sandbox import Download, Sandbox, SandboxRef, SandboxSpec, Upload
from ._session import (
    Bye,
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
    "Attempt",
    "Bye",
    "ByteStream",
    "ClientProcess",
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
    "Liveness",
    "LivenessSettings",
    "LivenessStatus",
    "Member",
    "ModuleStarted",
    "Outcome",
    "PipeReader",
    "PipeWriter",
    "Place",
    "Poller",
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
    "inherited_environment",
    "key",
    "kill_command",
    "launched",
    "mark_of",
    "members",
    "pack",
    "shell_words",
    "unpack",
    "without_launcher",
]
