"""The tests of every group, listed for people and scripts: `offload collect` and `offload run --collect-only`."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click
from attrs import define, field

from ..abc import Executor, Group, Launch, PrepareRequest, SandboxSpec, Test
from ..discovery import Discovery
from ..events import Bus, ModuleCollected, Stamped, Warned
from ..results.accounting import ExitCode
from .configured import make_framework, make_groups, make_provider
from .saying import warn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..config.loading import Loaded


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

    def text(self) -> Iterator[str]:
        """For each group an empty line, its name, and its tests."""
        for group, tests in self.tests.items():
            yield f"\nGroup '{group}':"
            yield from (f"  {_one_line(test.id)}" for test in tests)

    def json(self) -> str:
        """A list of objects."""
        return json.dumps(
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
            ],
            indent=2,
        )


async def list_tests(loaded: Loaded, select: Sequence[str] = ()) -> Listing:
    """List the tests of all groups as a run would, where a run would.

    Raises:
        ProviderError: with `discover_in = "sandbox"`, there is none to list them in.
    """
    groups = make_groups(loaded, select)
    listing = Listing({group.name: [] for group in groups})

    def consume(stamped: Stamped) -> None:
        match stamped.event:
            case ModuleCollected(failed=True) as module:
                listing.failed.append(module)
            case Warned(message):
                warn([message])

    def found(tests: Sequence[Test]) -> None:
        for test in tests:
            listing.tests[test.group].append(test)

    async with _somewhere(loaded) as (executor, root, scratch):

        def launch(group: Group) -> Launch:
            name = f"discovery-{group.name}"
            env = {"PYTHONHASHSEED": "0", **loaded.config.framework.env, "OFFLOAD_ROOT": str(root)}
            return Launch(name=name, executor=executor, root=root, scratch=scratch / name, env=env)

        discovery = Discovery(
            framework=make_framework(loaded),
            launch=launch,
            bus=Bus(clock=lambda: 0.0, consumers=[consume]),
            found=found,
            at_once=loaded.config.offload.max_parallel_collection,
        )
        await discovery.run(groups)
    return listing


def say_failed(listing: Listing) -> None:
    """Say on stderr what could not be listed."""
    for module in listing.failed:
        details = f"\n{module.details}" if module.details else ""
        click.echo(f"Error: {module.path}: {module.message}{details}", err=True)


@asynccontextmanager
async def _somewhere(loaded: Loaded) -> AsyncIterator[tuple[Executor, PurePosixPath, PurePosixPath]]:
    """What runs the framework's commands, the project's root there, and a scratch directory."""
    if loaded.config.framework.discover_in == "host":
        from ..execution.host import HostExecutor

        with tempfile.TemporaryDirectory(prefix="offload-discovery-") as scratch:
            yield HostExecutor(), PurePosixPath(loaded.project_dir), PurePosixPath(Path(scratch))
        return
    async with _sandbox(loaded) as sandbox:
        yield sandbox, sandbox.root, sandbox.scratch


@asynccontextmanager
async def _sandbox(loaded: Loaded) -> AsyncIterator[Any]:
    from ..retry import RetryPolicy
    from .run_options import written

    config = loaded.config
    provider = make_provider(loaded)
    retry = RetryPolicy(config.retry, provider)
    request = PrepareRequest(context=loaded.project_dir, init=config.offload.sandbox_init_cmd, exclude=written(loaded))
    try:
        image = await retry.call("prepare", lambda: provider.prepare(request), bounded=False)
        spec = SandboxSpec(
            name="discovery",
            run_id=f"collect-{secrets.token_hex(4)}",
            project=loaded.project_dir.name,
            image=image,
            cwd=provider.context.sandbox_root,
            lifetime=config.offload.sandbox_lifetime_secs,
        )
        sandbox = await retry.call("create", lambda: provider.create(spec))
        try:
            yield sandbox
        finally:
            await retry.call("terminate", sandbox.terminate)
    finally:
        await provider.aclose()


def _one_line(test_id: str) -> str:
    from ..results.sanitize import name_line

    return name_line(test_id)
