"""Tools for authors of providers and frameworks. They know the contracts and nothing else of Offload."""

from ._archive import MAX_UNPACKED_BYTES, Member, members, pack, unpack
from ._environment import inherited_environment
from ._junit import JUnitCase, NotJUnit, read_junit
from ._launcher import kill_command, launched, without_launcher
from ._local import ClientProcess, HostProcess
from ._pipes import PipeReader, PipeWriter
from ._race import END_SECS, cancelled, race
from ._shell import ShellProcess, ShellSandbox, kill_marked, run_command
from ._tasks import BackgroundTasks
from ._text import cut, spelled, xml_legal

__all__ = [
    "END_SECS",
    "MAX_UNPACKED_BYTES",
    "BackgroundTasks",
    "ClientProcess",
    "HostProcess",
    "JUnitCase",
    "Member",
    "NotJUnit",
    "PipeReader",
    "PipeWriter",
    "ShellProcess",
    "ShellSandbox",
    "cancelled",
    "cut",
    "inherited_environment",
    "kill_command",
    "kill_marked",
    "launched",
    "members",
    "pack",
    "race",
    "read_junit",
    "run_command",
    "spelled",
    "unpack",
    "without_launcher",
    "xml_legal",
]
