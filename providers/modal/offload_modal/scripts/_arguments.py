"""The command line of `modal_sandbox.py`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from offload_core.errors import OffloadError, SandboxDead, SandboxLost

from . import _commands

DEAD = 69
"""The exit code when the sandbox is dead."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    Results go to standard output. A sandbox that has ended is said on standard error: `OFFLOAD_SANDBOX_DEAD: <reason>`.
    """
    parsed = parser().parse_args(arguments)
    try:
        return asyncio.run(_until_terminated(parsed))
    except (SandboxDead, SandboxLost) as error:
        reason = " ".join(error.message.split())
        print(f"OFFLOAD_SANDBOX_DEAD: {reason}", file=sys.stderr, flush=True)
        return DEAD
    except OffloadError as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 128 + signal.SIGTERM


async def _until_terminated(parsed: argparse.Namespace) -> int:
    """Run the command; SIGTERM cancels it, so that nothing is left running in a sandbox."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    result: int = await parsed.command(parsed)
    return result


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    whole = argparse.ArgumentParser(prog="modal_sandbox.py", description=main.__doc__)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, help: str, run: Callable[[argparse.Namespace], object]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help)
        added.set_defaults(command=run)
        return added

    _prepare(command("prepare", "build the image; its id is the last line of the output", _commands.prepare))
    _create(command("create", "make a sandbox; prints its id", _commands.create))
    exec_ = command("exec", "run a shell command in a sandbox, with its streams and exit code", _commands.exec_)
    exec_.add_argument("id")
    exec_.add_argument("line", metavar="COMMAND")
    download = command("download", "copy files and directories from a sandbox", _commands.download)
    download.add_argument("id")
    download.add_argument("paths", nargs="+", metavar="REMOTE:LOCAL", type=_pair)
    command("destroy", "end a sandbox", _commands.destroy).add_argument("id")
    command("destroy-many", "end the sandboxes whose ids are on standard input, one a line", _commands.destroy_many)
    run = command("run", "run a shell command in a sandbox of its own", _commands.run)
    run.add_argument("line", metavar="COMMAND")
    return whole


def _prepare(prepare: argparse.ArgumentParser) -> None:
    prepare.add_argument("dockerfile", nargs="?", metavar="DOCKERFILE")
    prepare.add_argument("--include-cwd", action="store_true", help="copy the context into the image")
    prepare.add_argument("--copy-dir", action="append", default=[], metavar="LOCAL:REMOTE", type=_pair)
    prepare.add_argument("--sandbox-init-cmd", metavar="COMMAND", help="run as the last layer")
    prepare.add_argument("--context-dir", type=Path, default=Path(), metavar="DIR")
    prepare.add_argument("--cached", action="store_true", help="accepted, without effect: layers are cached always")
    prepare.add_argument("--no-cache", action="store_true", help="build every layer anew")
    prepare.add_argument("--from-base-image", metavar="ID", help="start from this image instead of building one")
    prepare.add_argument("--patch-file", type=Path, metavar="FILE", help="a patch that `git apply` lays over the root")
    prepare.add_argument("--sandbox-project-root", default="/app", metavar="DIR")
    prepare.add_argument("--post-patch-cmd", metavar="COMMAND", help="run after the patch")


def _create(create: argparse.ArgumentParser) -> None:
    create.add_argument("image", metavar="IMAGE")
    create.add_argument("--cpu", type=float, default=0.125, metavar="CORES")
    create.add_argument("--memory-gb", type=float, metavar="GIB")
    create.add_argument("--experimental-options", type=_table, default={}, metavar="JSON")
    create.add_argument("--copy-dir", action="append", default=[], metavar="LOCAL:REMOTE", type=_pair)
    create.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", type=_variable)


def _pair(text: str) -> tuple[str, str]:
    first, _, second = text.partition(":")
    if not (first and second):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form A:B")
    return first, second


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _table(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return value
