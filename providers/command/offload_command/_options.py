"""The `[provider]` table of `type = "default"` and `type = "command"`.

The configuration reference is made from it; the table in this distribution's README is written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import NOTHING, frozen
from attrs.validators import ge, gt, optional

from offload_core.abc import key

from ._template import references, script


def _line(instance: object, attribute: Any, value: str | None) -> None:
    if value is None:
        return
    if not value.strip():
        raise ValueError(f"'{attribute.name}' must not be empty")
    if attribute.name == "exec_command" and "{command}" not in value:
        raise ValueError(f"'{attribute.name}' must contain {{command}}: what is to be run in the sandbox: {value}")
    for name in references(value):
        try:
            script(name)
        except ValueError as error:
            raise ValueError(f"'{attribute.name}' {error}") from None


def _copies(instance: object, attribute: Any, value: tuple[str, ...]) -> None:
    for each in value:
        source, _, target = each.partition(":")
        if not (source and target):
            raise ValueError(f"'{attribute.name}' must hold pairs LOCAL:REMOTE: {each!r}")


@frozen(kw_only=True)
class CommandOptions:
    """The commands, each a line for `sh -c`, and what goes with them."""

    create_command: str = key(
        NOTHING,
        "Creates a sandbox; all it prints to standard output is the sandbox's id. Knows {image_id}, {cpu_cores}, "
        "{run_id}, {name} and {lifetime_secs}.",
        example='docker run --detach --init --rm --volume "$PWD:/app" my-image sleep {lifetime_secs}',
        validator=_line,
    )
    exec_command: str = key(
        NOTHING,
        "Runs {command}, one word that is a line for a shell in the sandbox {sandbox_id}, and hands on its output as "
        "it comes, its exit code and, if it can, its input.",
        example="docker exec --interactive {sandbox_id} sh -c {command}",
        validator=_line,
    )
    destroy_command: str = key(
        NOTHING,
        "Destroys the sandbox {sandbox_id}; if it is gone already, that is success.",
        example="docker rm --force {sandbox_id}",
        validator=_line,
    )
    prepare_command: str | None = key(
        None,
        "Makes the image before the first sandbox; the last line it prints to standard output is the image's id. It is "
        "given --copy-dir=LOCAL:REMOTE, --sandbox-init-cmd=COMMAND and --context-dir=DIRECTORY as they apply.",
        validator=_line,
    )
    download_command: str | None = key(
        None,
        "Brings {paths}, words of the form REMOTE:LOCAL, from the sandbox {sandbox_id}. By default `tar` in the "
        "sandbox does that.",
        validator=_line,
    )
    upload_command: str | None = key(
        None,
        "Brings {paths}, words of the form LOCAL:REMOTE, into the sandbox {sandbox_id}; files and directories, whose "
        "parents may have to be made. By default `tar` in the sandbox does that.",
        validator=_line,
    )
    probe_command: str | None = key(
        None,
        "Asks the backend about the sandbox {sandbox_id}: exit code 0 if it is alive, the line `OFFLOAD_SANDBOX_DEAD: "
        "REASON` on standard error if it is dead, any other exit code if that cannot be found out.",
        validator=_line,
    )
    list_command: str | None = key(
        None,
        "Lists the sandboxes of the run {run_id}, or all that Offload made if that is empty: a line for each with its "
        "id, run and name. By default Offload only knows what the same process made.",
        validator=_line,
    )
    working_dir: str | None = key(
        None, "Directory on this machine that the commands run in, relative to the project's; by default the project's."
    )
    timeout_secs: float = key(
        3600.0,
        "How long each command but `exec_command` and `probe_command` may take; then it is killed with all that it "
        "started. `[retry] call_timeout_secs` bounds all but `prepare_command`, too.",
        validator=gt(0),
    )
    copy_dirs: tuple[str, ...] = key(
        (),
        "Directories to copy, LOCAL:REMOTE: given to `prepare_command`, or without one copied into each sandbox.",
        validator=_copies,
    )
    env: Mapping[str, str] = key({}, "Variables for every command in a sandbox.")
    cpu_cores: float = key(1.0, "What {cpu_cores} stands for, and what costs are computed from.", validator=gt(0))
    cost_per_cpu_second: float | None = key(
        None, "Price of one CPU for one second, in US dollars. Without it no cost is shown.", validator=optional(ge(0))
    )
