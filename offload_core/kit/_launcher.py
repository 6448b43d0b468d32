"""The small POSIX sh launcher that every command in a sandbox starts under, and how to kill what it started.

No backend's exec can be relied on to kill: neither Docker's API nor Modal's process handle has a call for it. So each
command is marked in its environment, which its descendants inherit, and started in a process group of its own; to
kill it, a second command looks the mark up under /proc.
"""

from __future__ import annotations

import secrets
from pathlib import PurePosixPath

from attrs import evolve

from ..abc import EXEC_MARK, Command

# A process that already leads its group (fields 1 and 5 of /proc/self/stat) stays; else setsid, where there is one.
_LAUNCH = """\
if [ -n "$1" ]; then cd -- "$1" || exit 126; fi
shift
if read -r pid _ _ _ group _ 2>/dev/null </proc/$$/stat && [ "$pid" != "$group" ] && command -v setsid >/dev/null 2>&1
then exec setsid -- "$@"
fi
exec "$@"
"""

# Killing can race with forking, hence rounds; and in the middle of an exec a process shows no environment, hence two
# rounds that find nothing. What has died but is not yet reaped shows none either. A child that cleared its environment
# is found by the session (field 6) it shares with a marked process. Parents (field 4) go before their children, which
# have higher ids unless ids have come round: a test that sees its child die would go on, and could say that it has
# passed before its own turn comes. (To stop all first would be worse: a client such as nsenter stops with what it has
# started, and nothing continues it.)
_KILL = """\
read -r stat </proc/$$/stat || exit 1
set -- "$1" ${stat##*) }
own=$5
sessions=" "
empty=
for round in 1 2 3 4 5 6 7 8 9 10; do
    carry=" $(echo $(grep -l -s -a -e "$1" /proc/[0-9]*/environ)) "
    marked=
    late=" "
    for directory in /proc/[0-9] /proc/[0-9][0-9] /proc/[0-9][0-9][0-9] /proc/[0-9][0-9][0-9][0-9] \
        /proc/[0-9][0-9][0-9][0-9][0-9] /proc/[0-9][0-9][0-9][0-9][0-9][0-9]*; do
        pid=${directory#/proc/}
        { read -r stat <"$directory/stat"; } 2>/dev/null || continue
        set -- "$1" ${stat##*) }
        [ "$2" = Z ] && continue
        case $carry in
        *" $directory/environ "*)
            case " 0 1 $own $sessions" in *" $5 "*) ;; *) sessions="$sessions$5 " ;; esac ;;
        *)
            case $sessions in *" $5 "*) ;; *) continue ;; esac ;;
        esac
        case $late in
        *" $3 "*) late="$late$pid " ;;
        *) if [ "$3" -gt "$pid" ]; then late="$late$pid "; else marked="$marked $pid"; fi ;;
        esac
    done
    if [ -z "${marked}${late# }" ]; then
        [ -n "$empty" ] && exit 0
        empty=1
        continue
    fi
    empty=
    kill -9 $marked $late 2>/dev/null
    [ "$round" -gt 3 ] && sleep 0.1
done
exit 1
"""

KILL_SECS = 10.0
"""How long killing what carries a mark may take."""

_LAUNCHER = ("/bin/sh", "-c", _LAUNCH, "offload-launch")


def launched(command: Command) -> Command:
    """The same command, marked and under the launcher. Its directory is entered by the launcher, not by the backend."""
    mark = secrets.token_hex(8)
    cwd = str(command.cwd) if command.cwd is not None else ""
    return evolve(command, argv=(*_LAUNCHER, cwd, *command.argv), cwd=None, env={**command.env, EXEC_MARK: mark})


def without_launcher(command: Command) -> Command:
    """The command as it was before `launched`, but marked: for a provider that can do itself what it does."""
    if command.argv[: len(_LAUNCHER)] != _LAUNCHER:
        return command
    cwd, *argv = command.argv[len(_LAUNCHER) :]
    return evolve(command, argv=argv, cwd=PurePosixPath(cwd) if cwd else None)


def kill_command(mark: str, variable: str = EXEC_MARK) -> Command:
    """A command that kills all that carries the mark in the sandbox it runs in; exit code 1 if something survives.

    A provider whose sandboxes are marked by another variable ends a whole sandbox with it. It must not carry the mark.

    Args:
        mark: a value of letters, digits, dots and dashes that is not the beginning of another's: best with random ones.
    """
    return Command(argv=("/bin/sh", "-c", _KILL, "offload-kill", f"{variable}={mark}"), cwd=PurePosixPath("/"))
