"""What runs on a host: POSIX sh, with `setsid`, `grep`, `base64` and Linux's /proc. Whatever comes in is quoted."""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Mapping, Sequence

from offload_core.kit import kill_command

MARK = "OFFLOAD_SSH_SANDBOX"
"""The variable that every process of a sandbox carries, with the sandbox's id."""

READER = 'exec /bin/sh -c \'IFS= read -r script && eval "$(echo "$script" | base64 -d)"\''
"""The only line that a login shell sees. The script comes on standard input: a process list must show no variable."""

_STATE = """\
state() {
    if [ ! -d "$1" ]; then echo gone
    elif [ ! -s "$1/keeper" ]; then echo new
    elif grep -qsa "OFFLOAD_SSH_SANDBOX=${1##*/}" "/proc/$(cat "$1/keeper")/environ"; then echo alive
    else echo ended
    fi
}
"""

# The keeper ends the sandbox when its time is over. While it lives, so does the sandbox. It tells its own id, once it
# can be found by its environment: a process that begins shows none.
_MAKE = """\
umask 077
mkdir -p "$1" || exit
[ -O "$1" ] || { echo "$1 belongs to somebody else" >&2; exit 1; }
mkdir "$1/$2" "$1/$2/project" "$1/$2/scratch" || exit
cd "$1/$2" || exit
echo $(($(date +%s) + $3)) >expires
export OFFLOAD_SSH_SANDBOX="$2"
keep='echo $$; exec >/dev/null; sleep "$1"; unset OFFLOAD_SSH_SANDBOX; exec sh -c "$2"'
echo "$(setsid sh -c "$keep" keeper "$3" "$4" </dev/null 2>/dev/null &)" >keeper
"""

_LIST = """\
for directory in "$1"/*.*; do
    [ -d "$directory" ] && echo "${directory##*/} $(cat "$directory/expires" 2>/dev/null)"
done
exit 0
"""


def encoded(script: str) -> bytes:
    """A script as `READER` takes it: one line."""
    return base64.b64encode(script.encode()) + b"\n"


def make(parent: str, id: str, lifetime: float) -> str:
    """Makes a sandbox, a directory in `parent`. Its name has the labels, so they are there as soon as it is."""
    return _with(_MAKE, parent, id, str(math.ceil(lifetime)), end(f"{parent}/{id}", id))


def states(directories: Sequence[str]) -> str:
    """Prints the state of each sandbox: alive, new, ended or gone."""
    return _with(f'{_STATE}for each do state "$each"; done', *directories)


def listing(parent: str) -> str:
    """Prints the id of each sandbox, and when it expires, in seconds since the epoch."""
    return _with(_LIST, parent)


def start(directory: str, cwd: str, env: Mapping[str, str], argv: Sequence[str]) -> str:
    """Runs a command in a sandbox. A `+` on standard output, before the command's own, says that it was alive.

    The shell stays until the end: ssh could not tell a command that a signal ended from a connection that broke.
    """
    exports = (f"export {name}={shlex.quote(value)}" for name, value in env.items())
    return "\n".join(
        (
            f'{_STATE}[ "$(state {shlex.quote(directory)})" = alive ] || exit 3',
            "printf +",
            *exports,
            f"cd -- {shlex.quote(cwd)} || exit 126",
            shlex.join(argv),
            "exit $?",
        )
    )


def end(directory: str, id: str) -> str:
    """Ends every process of a sandbox, then removes its directory. Success if there is no such thing."""
    remove = shlex.join(("rm", "-rf", "--", directory))
    force = shlex.join(("chmod", "-R", "u+rwX", "--", directory))
    return f"{shlex.join(kill_command(id, MARK).argv)} && {{ {remove} || {{ {force}; {remove}; }}; }}"


def _with(script: str, *arguments: str) -> str:
    return f"set -- {shlex.join(arguments)}\n{script}"
