"""The tests of every group, listed for people and scripts: `offload collect` and `offload run --collect-only`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

import click
from attrs import define, field

from ..abc import Test
from ..config.loading import Loaded
from ..events import Bus, ModuleCollected, Stamped, TestDiscovered, Warned
from ..execution import collect
from ..results.accounting import ExitCode
from ..results.sanitize import name_line
from .configured import make_groups, make_provider
from .request import make_request
from .saying import say_json, warn


@define
class Listing:
    """What discovery found.

    Attributes:
        tests: by group, in the order of the configuration and of discovery.
        failed: modules and groups that could not be listed.
    """

    tests: dict[str, list[Test]]
    failed: list[ModuleCollected] = field(factory=list)

    @property
    def count(self) -> int:
        """How many tests there are."""
        return sum(map(len, self.tests.values()))

    @property
    def exit_code(self) -> int:
        """As a run would end: 1 if a module failed to collect, 5 if there are no tests."""
        if self.failed:
            return ExitCode.TESTS_FAILED
        return ExitCode.OK if self.count else ExitCode.NO_TESTS

    def say(self) -> None:
        """Print for each group an empty line, its name, and its tests."""
        for group, tests in self.tests.items():
            click.echo(f"\nGroup '{group}':")
            for test in tests:
                click.echo(f"  {name_line(test.id)}")

    def say_json(self) -> None:
        """Print a list of objects."""
        say_json(
            [
                {
                    "id": test.id,
                    "name": test.id.rpartition("::")[2],
                    "file": test.file,
                    "retry_count": test.retries,
                    "group": group,
                    "schedule_individual": test.individual,
                }
                for group, tests in self.tests.items()
                for test in tests
            ]
        )

    def say_failed(self) -> None:
        """Say on stderr what could not be listed."""
        for module in self.failed:
            details = f"\n{module.details}" if module.details else ""
            click.echo(f"Error: {module.path}: {module.message}{details}", err=True)


async def list_tests(loaded: Loaded, select: Sequence[str] = ()) -> Listing:
    """List the tests of all groups as a run would, where a run would.

    Raises:
        ProviderError: with `discover_in = "sandbox"`, there is none to list them in.
    """
    groups = make_groups(loaded, select)
    listing = Listing({group.name: [] for group in groups})

    def consume(stamped: Stamped) -> None:
        match stamped.event:
            case TestDiscovered(test):
                listing.tests[test.group].append(test)
            case ModuleCollected(failed=True) as module:
                listing.failed.append(module)
            case Warned(message):
                warn(message)

    provider = make_provider(loaded)
    request = make_request(loaded, provider, groups, run_id=f"collect-{secrets.token_hex(4)}")
    await collect(request, Bus(clock=time.monotonic, consumers=[consume]))
    return listing
