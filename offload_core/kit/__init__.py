"""Tools for authors of providers and frameworks. They know the contracts and nothing else of Offload."""

from ._archive import (
    CACHES as CACHES,
    MAX_UNPACKED_BYTES as MAX_UNPACKED_BYTES,
    Member as Member,
    members as members,
    pack as pack,
    portable as portable,
    unpack as unpack,
)
from ._junit import JUnitCase as JUnitCase, NotJUnit as NotJUnit, read_junit as read_junit
from ._launcher import kill_command as kill_command, launched as launched, without_launcher as without_launcher
from ._local import (
    ClientProcess as ClientProcess,
    HostProcess as HostProcess,
    PipedProcess as PipedProcess,
    inherited_environment as inherited_environment,
)
from ._naming import check_alive as check_alive, naming as naming
from ._pipes import PipeReader as PipeReader, Pipes as Pipes, PipeWriter as PipeWriter, open_pipes as open_pipes
from ._shell import (
    ShellProcess as ShellProcess,
    ShellSandbox as ShellSandbox,
    kill_marked as kill_marked,
    run_command as run_command,
)
from ._tasks import (
    END_SECS as END_SECS,
    BackgroundTasks as BackgroundTasks,
    cancelled as cancelled,
    race as race,
    settle as settle,
)
from ._text import cut as cut, spelled as spelled, xml_legal as xml_legal
