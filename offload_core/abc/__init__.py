"""The contracts between Offload's core, its providers and its test frameworks.

One concept a file. Nothing here imports an implementation: the only other module of Offload that these files know is
`offload_core.errors`. What ships with Offload and what third parties write meet the core here and nowhere else. Tools
to write them with are in `offload_core.kit`.
"""

from ._collection import (
    Collection as Collection,
    CollectionFailed as CollectionFailed,
    CollectionSkipped as CollectionSkipped,
    Discovered as Discovered,
    Group as Group,
)
from ._context import Context as Context
from ._contract import CONTRACT as CONTRACT, OLDEST_CONTRACT as OLDEST_CONTRACT
from ._cost import CostEstimate as CostEstimate
from ._framework import Executor as Executor, Framework as Framework, Launch as Launch
from ._health import Finding as Finding, Health as Health, Severity as Severity
from ._image import Image as Image, PrepareRequest as PrepareRequest
from ._liveness import Liveness as Liveness, LivenessSettings as LivenessSettings, LivenessStatus as LivenessStatus
from ._options import key as key, local_and_remote as local_and_remote, shell_words as shell_words
from ._process import (
    EXEC_MARK as EXEC_MARK,
    ByteStream as ByteStream,
    Command as Command,
    Completed as Completed,
    Exit as Exit,
    Process as Process,
)
from ._provider import PROBES_AT_ONCE as PROBES_AT_ONCE, Provider as Provider
from ._resource import AsyncResource as AsyncResource
from ._sandbox import (
    Download as Download,
    Sandbox as Sandbox,
    SandboxRef as SandboxRef,
    SandboxSpec as SandboxSpec,
    Upload as Upload,
)
from ._session import (
    Bye as Bye,
    Collected as Collected,
    Heartbeat as Heartbeat,
    Hello as Hello,
    ModuleStarted as ModuleStarted,
    SessionEvent as SessionEvent,
    TeardownFailed as TeardownFailed,
    TestFinished as TestFinished,
    TestSession as TestSession,
    TestStarted as TestStarted,
)
from ._test import Attempt as Attempt, Outcome as Outcome, Section as Section, State as State, Test as Test
