"""nextest: the tests of Rust crates, each in a process of its own, many of them per `cargo nextest run`."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from typing_extensions import override

from ...abc import CollectionFailed, Discovered, Group, Launch, Test, key, shell_words
from ...errors import DiscoveryError
from ..batch import Batch, BatchFramework
from ..selection import is_selected
from ..tool import ListingFailed, Needed, listing
from .catalogue import event_name, suites, targets, tests
from .process import BUILD_FAILED, run

_NEEDED = Needed(
    name="cargo-nextest",
    pattern=r"cargo-nextest (\d+)\.(\d+)\.(\d+)",
    oldest=(0, 9, 103),  # the first one that tells a result when it has it, and not at the end
    install="install cargo-nextest there: https://nexte.st/docs/installation",
)

_IGNORED_WORDS = ("--run-ignored", "--ignored", "--include-ignored")
"""A group's filters may say for themselves which of the ignored tests they want."""


@frozen(kw_only=True)
class NextestOptions:
    """`[framework] type = "nextest"`."""

    command: str = key(
        "cargo nextest",
        "How nextest is started, split as a shell would: `cargo +nightly nextest`, for instance.",
        validator=shell_words,
    )
    package: str | None = key(None, "The package whose tests are run; by default those that cargo takes there.")
    features: tuple[str, ...] = key((), "Features to build with.")
    bin: str | None = key(None, "The program whose own tests are run, and no others.")
    include_ignored: bool = key(False, "Also run the tests that are marked `#[ignore]`; else they are skipped.")
    args: str = key(
        "",
        "More arguments for nextest, to list tests and to run them alike, split as a shell would: `--workspace`, "
        "`--release`, `--profile ci`.",
        validator=shell_words,
    )
    run_args: str = key(
        "",
        "More arguments for `nextest run` alone, split as a shell would: `--test-threads 2`, `--retries 1`.",
        validator=shell_words,
    )
    test_id_format: str = key(
        "{classname} {name}", "Accepted for older configurations.", inert="ids are the binary's id and the test's name"
    )


class Nextest(BatchFramework[NextestOptions]):
    """Lists and runs tests with cargo-nextest 0.9.103 and newer."""

    Options = NextestOptions
    needed = _NEEDED
    max_id_chars = 200_000  # the arguments of a program may have some MiB, with its environment

    @classmethod
    @override
    def guess_options(cls, directory: Path) -> dict[str, Any]:
        """All members of a workspace, also where its root is a package, which cargo alone would take."""
        try:
            manifest = tomllib.loads((directory / "Cargo.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        members = manifest.get("workspace", {}).get("members")
        return {"args": "--workspace"} if members and "package" in manifest else {}

    @override
    def version_command(self) -> Sequence[str]:
        return (*shlex.split(self.options.command), "--version")

    @override
    async def discover(self, group: Group, launch: Launch) -> AsyncIterator[Discovered]:
        """Build the tests and list them all at once; if that does not build, one target after the other."""
        alone: Mapping[str, str] = {}
        try:
            for found in await self._listed(group, launch):
                yield found
        except ListingFailed as error:
            if "no such command" in str(error):
                raise DiscoveryError(f"{error}\n  {_NEEDED.install}") from error
            alone = await self._targets(launch) if error.ended.code == BUILD_FAILED else {}
            if len(alone) < 2:
                raise
        for target, binaries in alone.items():
            try:
                for found in await self._listed(group, launch, target):
                    yield found
            except ListingFailed as error:
                if _is_selected(group, launch, binaries):
                    yield CollectionFailed(path=binaries, message="it does not build", details=str(error))

    @override
    async def run_batch(self, batch: Batch) -> None:
        """Run first what nextest's events can tell apart, then what they could not have."""
        rounds: list[dict[str, Test]] = []
        for test in batch.left.values():
            name = event_name(test)
            into = next((each for each in rounds if name not in each), None)
            if into is None:
                rounds.append(into := {})
            into[name] = test
        for each in rounds:
            await run(batch, each, self.command("run"), shlex.split(self.options.run_args))

    def command(self, subcommand: str, *words: str) -> tuple[str, ...]:
        """`cargo nextest SUBCOMMAND` as it is configured."""
        options = self.options
        build = [
            *(("--package", options.package) if options.package is not None else ()),
            *(("--features", ",".join(options.features)) if options.features else ()),
            *(("--bin", options.bin) if options.bin is not None else ()),
        ]
        return (*shlex.split(options.command), subcommand, *build, *shlex.split(options.args), *words)

    async def _listed(self, group: Group, launch: Launch, *words: str) -> list[Discovered]:
        # Listed with all others, an ignored test tells whether the group's filters select it.
        own = () if any(word.startswith(_IGNORED_WORDS) for word in group.filters) else ("--run-ignored", "all")
        argv = self.command("list", *words, "--message-format", "json", "--color", "never", *own, *group.filters)
        skips = bool(own) and not self.options.include_ignored
        lines = [line async for line in listing(launch, argv, f"the tests of group '{group.name}'")]
        try:
            listed = [found for suite in suites(b"\n".join(lines)) for found in tests(group, suite, skips)]
        except ValueError as error:
            raise DiscoveryError(f"`{shlex.join(argv)}` printed something else: {error}") from error
        return [found for found in listed if _is_selected(group, launch, getattr(found, "id", found.path))]

    async def _targets(self, launch: Launch) -> Mapping[str, str]:
        """What can be built one by one, as `targets` tells it; empty if cargo does not tell."""
        cargo = shlex.split(self.options.command)[:-1]
        argv = (*cargo, "metadata", "--no-deps", "--format-version", "1")
        try:
            return targets(b"\n".join([line async for line in listing(launch, argv, "the packages")]))
        except (DiscoveryError, ValueError) as error:
            launch.log(f"{error}")
            return {}


def _is_selected(group: Group, launch: Launch, path: str) -> bool:
    return is_selected(group, launch, path, path.partition(" ")[0])  # no package's or target's name has a space
