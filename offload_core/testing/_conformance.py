"""The conformance suite for providers: what the contract asks, checked by behaviour."""

from __future__ import annotations

from ._cancel_checks import CancelChecks
from ._death_checks import DeathChecks
from ._end_checks import EndChecks
from ._exec_checks import ExecChecks
from ._file_checks import FileChecks
from ._kill_checks import KillChecks
from ._life_checks import LifeChecks


# pytest runs the checks of the last base first: what commands do, before how sandboxes die.
class ProviderConformance(EndChecks, CancelChecks, DeathChecks, LifeChecks, FileChecks, KillChecks, ExecChecks):
    """Everything that the core relies on in a provider, as tests for pytest.

    Subclass it in a test module under a name that starts with `Test`, and fill in two methods:

        class TestMyProvider(ProviderConformance):
            def make_provider(self):
                return MyProvider(MyOptions(), Context(name="mine"))

            async def kill_sandbox(self, sandbox):
                ...  # end it as the backend would: kill its process, delete its container

    `make_image`, `patience_secs`, `at_once` and `enforces_lifetime` can be overridden. Each check makes sandboxes of
    its own, of a run of its own, and ends them. Sandboxes need a POSIX `sh` with the usual commands, and `tar` where
    the provider does not override `upload` and `download`.
    """
