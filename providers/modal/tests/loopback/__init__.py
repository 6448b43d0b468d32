"""A Modal server for tests, on the loopback interface: real processes, and faults on command. See README.md."""

from __future__ import annotations

from ._faults import Call
from ._gate import Mode
from ._sandboxes import RouterMode, Status
from ._server import MANY_STREAMS, Loopback, SandboxState

__all__ = ["MANY_STREAMS", "Call", "Loopback", "Mode", "RouterMode", "SandboxState", "Status"]
