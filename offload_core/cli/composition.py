"""Puts a run together: the configuration and the command line become a request, and events become reports."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Mapping

from attrs import define, evolve, field

from .. import __version__
from ..abc import Group
from ..config.loading import Loaded
from ..config.schema import HistoryTable
from ..config.secrets import redactor, secret_values
from ..errors import ConfigError, OffloadError
from ..events import Bus, PrepareProgress, RunFinished, RunStarted, Stamped, TestBegan, Warned
from ..execution import ArtefactRequest, StopRequest, execute
from ..frameworks.selection import is_asked
from ..results.accounting import ExitCode, exit_code
from ..results.console import ConsoleOptions
from ..results.directory import OutputDirectory
from ..results.last_run import LastRun, read_last_run
from ..results.reporter import Reporter
from .configured import make_groups, make_provider
from .interruption import interruptible
from .request import make_request
from .revision import Revision, start_looking
from .run_history import RunHistory
from .run_options import RunOptions

DEFAULT_SANDBOXES_HINT = 2


def run(loaded: Loaded, options: RunOptions) -> int:
    """Run the tests and write the reports. Returns the exit code.

    Raises:
        ConfigError: something asked for cannot be; nothing has been run.
        OffloadError: the run broke in a way that it does not know how to report.
    """
    options.check(loaded)
    looking = start_looking(loaded.project_dir)
    environ = {**os.environ, **options.variables}
    hidden = secret_values(loaded.config, os.environ, environ)
    with OutputDirectory(loaded.output_dir) as directory:
        last = read_last_run(directory.path, loaded.config.report.junit_file)
        groups = _groups(loaded, options, last)
        if not groups:
            print(f"The last run, in {loaded.output_dir}, left nothing to run again.")
            return ExitCode.OK
        with Reporter(
            directory,
            loaded.config.report,
            console=ConsoleOptions(ci=options.ci, color=options.color),
            redact=redactor(hidden) if hidden else None,
            trace=options.trace,
            show_cost=options.show_estimated_cost,
            project_dir=loaded.project_dir,
        ) as reporter:
            return _Composed(loaded, options, last, groups, reporter, directory).run(looking.result())


def _groups(loaded: Loaded, options: RunOptions, last: LastRun) -> tuple[Group, ...]:
    """The groups to run, narrowed to what was asked for."""
    groups = make_groups(loaded, options.tests)
    if not options.last_failed:
        return groups
    if not last.durations and not last.failed:
        raise ConfigError(f"--last-failed: {loaded.output_dir} tells of no run; run without it first")
    narrowed = []
    for group in groups:
        failed = last.failed_in(group.name)
        if f"group {group.name}" in failed:  # it could not be listed: all of it is left to do
            narrowed.append(group)
        elif wanted := [
            id for id in failed if not options.tests or is_asked(id, id, options.tests, loaded.project_dir)
        ]:
            narrowed.append(evolve(group, select=tuple(wanted)))
    return tuple(narrowed)


def _hash_seed() -> int:
    """One seed for all of a run: ids can depend on it. A number that the user set is kept."""
    given = os.environ.get("PYTHONHASHSEED", "")
    return int(given) if given.isdecimal() else secrets.randbelow(2**32 - 1) + 1


@define
class _Composed:
    """One run, put together."""

    loaded: Loaded
    options: RunOptions
    last: LastRun
    groups: tuple[Group, ...]
    reporter: Reporter
    directory: OutputDirectory
    run_id: str = field(factory=lambda: f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}")
    hash_seed: int = field(factory=_hash_seed)

    @property
    def history(self) -> RunHistory | None:
        """What `[history]` asks for."""
        return RunHistory.of(self.loaded, self.options)

    def run(self, revision: Revision) -> int:
        began = time.monotonic()
        bus = Bus(clock=lambda: time.monotonic() - began, consumers=[self.reporter.consumer])
        if self.options.verbose:
            bus.consumers.append(self._name_begun)
        stop = StopRequest()
        reason, broken = "", None
        try:
            asyncio.run(interruptible(self._execute(bus, revision, stop), stop))
            code = self._exit_code(stop.signal)
        except OffloadError as error:
            reason, code = str(error), self._broken_code()
        except Exception as error:  # a defect: what was learned until here is still reported
            reason, code, broken = f"{type(error).__name__}: {error}", self._broken_code(), error
        unmatched = self._unmatched()
        for asked in unmatched:
            bus.emit(Warned(f"no test matches {asked!r}"))
        if unmatched and code in (ExitCode.OK, ExitCode.FLAKY, ExitCode.NO_TESTS):
            # what was asked for was not run: a typing error must not look like a success
            reason, code = f"no test matches {', '.join(map(repr, unmatched))}", ExitCode.USAGE
        bus.emit(RunFinished(exit_code=code, reason=reason))
        history = self.history
        also = {"history": lambda: history.record(self.reporter.accounting)} if history else {}
        final = self.reporter.finish(code, also)
        if broken is not None:
            raise broken
        return final

    def _name_begun(self, stamped: Stamped) -> None:
        """A consumer that says which test begins (`-v`)."""
        records = self.reporter.accounting.records
        if isinstance(stamped.event, TestBegan) and (record := records.get(stamped.event.test)):
            print(f"Running: {record.test.id}")

    async def _execute(self, bus: Bus, revision: Revision, stop: StopRequest) -> None:
        bus.emit(self._started(revision))  # here, where signals are waited for already

        def say(message: str) -> None:
            bus.emit(Warned(message))

        provider = make_provider(self.loaded, say)
        for message in (*self.loaded.warnings, *self.last.notes, *self.options.warnings(provider)):
            say(message)
        known: Mapping[str, float] = self.last.durations
        if self.history is not None:
            known = self.history.estimates(known, say)
        request = make_request(
            self.loaded,
            provider,
            self.groups,
            run_id=self.run_id,
            prepare=self.options.prepare_request(self.loaded, lambda line: bus.emit(PrepareProgress(line))),
            env=self.options.variables,
            hash_seed=self.hash_seed,
            fail_fast=self.options.fail_fast,
            estimates=known,
            default_duration_secs=(self.loaded.config.history or HistoryTable()).default_duration_secs,
            sandboxes_hint=self.last.sandboxes or DEFAULT_SANDBOXES_HINT,
            artefacts=self._artefacts(),
        )
        await execute(request, bus, stop)

    def _artefacts(self) -> ArtefactRequest | None:
        report = self.loaded.config.report
        if not report.download_globs:
            return None
        return ArtefactRequest(
            globs=report.download_globs,
            failure_only=report.download_globs_failure_only,
            output_dir=self.directory.path.resolve(),
            claim=self.directory.claim,
            owns=self.directory.owns,
        )

    def _exit_code(self, signal: int) -> int:
        if signal:
            return 128 + signal
        return exit_code(
            self.reporter.accounting, flaky=self.options.flaky_result or "", no_tests=self.options.no_tests or ""
        )

    def _broken_code(self) -> int:
        """What a run ends with that could not be brought to its end: failures are failures all the same."""
        code = self._exit_code(0)
        return code if code == ExitCode.TESTS_FAILED else ExitCode.INFRASTRUCTURE

    def _started(self, revision: Revision) -> RunStarted:
        config = self.loaded.config
        return RunStarted(
            offload=__version__,
            run_id=self.run_id,
            epoch=time.time(),
            argv=self.options.argv,
            provider=config.provider.type,
            framework=config.framework.type,
            max_parallel=config.offload.max_parallel,
            config_path=str(self.loaded.path),
            config_hash=self.loaded.hash,
            commit=revision.commit,
            dirty_hash=revision.dirty_hash,
            hash_seed=self.hash_seed,
            groups=tuple(group.name for group in self.groups),
        )

    def _unmatched(self) -> list[str]:
        """The ids and paths on the command line that stand for nothing."""
        tests = [record.test for record in self.reporter.accounting.records.values()]
        root = self.loaded.project_dir
        return [
            each for each in self.options.tests if not any(is_asked(test.id, test.path, [each], root) for test in tests)
        ]
