"""Tools for authors of providers and frameworks. They know the contracts and nothing else of Offload."""

from ._archive import MAX_UNPACKED_BYTES, Member, members, pack, unpack
from ._environment import inherited_environment
from ._launcher import kill_command, launched, without_launcher
from ._local import ClientProcess, HostProcess, PipedProcess
from ._naming import naming
from ._pipes import PipeReader, Pipes, PipeWriter, open_pipes
from ._race import END_SECS, cancelled, race, settle
from ._shell import ShellProcess, ShellSandbox, kill_marked, run_command
from ._tasks import BackgroundTasks

__all__ = [
    "END_SECS",
    "MAX_UNPACKED_BYTES",
    "BackgroundTasks",
    "ClientProcess",
    "HostProcess",
    "Member",
    "PipeReader",
    "PipeWriter",
    "PipedProcess",
    "Pipes",
    "ShellProcess",
    "ShellSandbox",
    "cancelled",
    "inherited_environment",
    "kill_command",
    "kill_marked",
    "launched",
    "members",
    "naming",
    "open_pipes",
    "pack",
    "race",
    "run_command",
    "settle",
    "unpack",
    "without_launcher",
]
