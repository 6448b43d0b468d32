"""The tables of `offload.toml` as frozen attrs classes: the single source of names, types, defaults and their meaning.

A provider's and a framework's own keys are structured into the `Options` class of the plugin. Each field's metadata
holds its documentation; the configuration reference is generated from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal

from attrs import NOTHING, Attribute, field, frozen
from attrs.validators import ge, gt, min_len, optional

from ..abc import LivenessSettings, key, shell_words

DEFAULT_FILE = "offload.toml"


def _inside(instance: object, attribute: Attribute[str], value: str) -> None:
    path = PurePath(value)
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"'{attribute.name}' must name a file in the output directory: {value!r}")


@frozen(kw_only=True)
class OffloadTable:
    """`[offload]`: the run as a whole."""

    max_parallel: int = key(10, "How many sandboxes at most.", validator=ge(1))
    test_timeout_secs: float = key(
        900.0, "A test that runs longer is killed, with its children, and is `timed_out`.", validator=gt(0)
    )
    working_dir: str | None = key(None, "Directory on the host to run in, relative to the configuration file.")
    sandbox_repo_root: str | None = key(None, "The repository's root in a sandbox. Given alone, also the project root.")
    sandbox_project_root: str | None = key(
        None, "The project's root in a sandbox: tests run there, and OFFLOAD_ROOT holds it."
    )
    sandbox_init_cmd: str | None = key(None, "Command run once in the image, as its last layer.")
    post_patch_cmd: str | None = key(
        None,
        "Command run after local changes were laid over a cached image.",
        inert="images are built from the tree as it is: nothing is laid over them",
    )
    hedge: bool = key(
        True,
        "When nothing is left to hand out, run the longest overdue test a second time; the first verdict counts.",
        alias="impatiently_requeue_batches",
    )
    max_parallel_collection: int = key(
        0, "How many groups are discovered at once; 0 for the number of CPUs.", validator=ge(0)
    )
    max_replacements: int | None = key(
        None,
        "How many dead or lost sandboxes are replaced in a run. By default `max_parallel`, at least 8.",
        validator=optional(ge(0)),
    )
    sandbox_lifetime_secs: float = key(
        3600.0, "After this a sandbox ends by itself, even if nobody asks it to.", validator=gt(0)
    )
    runner: str | None = key(None, "The organization's runner that this configuration builds on.")
    secrets: tuple[str, ...] = key((), "Variables whose values never appear in logs, journal or reports.")


@frozen(kw_only=True)
class RetryTable:
    """`[retry]`: how operations on a backend are tried again. Tests are retried by `[groups.NAME] retry_count`."""

    attempts: int = key(3, "How often an operation is tried in all.", validator=ge(1))
    initial_wait_secs: float = key(
        0.5, "The wait before the second try; it doubles from there, with jitter.", validator=ge(0)
    )
    max_wait_secs: float = key(8.0, "No single wait is longer.", validator=ge(0))
    deadline_secs: float = key(180.0, "No new try begins after this, counted from the first.", validator=gt(0))
    call_timeout_secs: float = key(
        60.0, "How long one call may take. Does not apply to building an image.", validator=gt(0)
    )


@frozen(kw_only=True)
class GroupTable:
    """`[groups.NAME]`: a part of the suite with settings of its own."""

    retry_count: int = key(
        0, "How many further attempts a failed test gets, on another sandbox where there is one.", validator=ge(0)
    )
    filters: str = key("", "Words for the framework's own selection, split as a shell would.", validator=shell_words)
    schedule_individual: bool = key(False, "Each test runs in a session of its own, first in line.")


@frozen(kw_only=True)
class ReportTable:
    """`[report]`: what is written after a run."""

    output_dir: str = key("test-results", "Where; relative to the configuration file.")
    junit: bool = key(True, "Write JUnit XML.")
    junit_file: str = key("junit.xml", "Its name in `output_dir`.", validator=_inside)
    html: bool = key(False, "Write a report to open in a browser.")
    html_file: str = key("report.html", "Its name in `output_dir`.", validator=_inside)
    download_globs: tuple[str, ...] = key(
        (),
        "Files to bring from sandboxes into `output_dir`, as patterns relative to the project's root there; `*` also "
        "stands for `/`.",
    )
    download_globs_failure_only: bool = key(False, "Bring them only from sessions in which something failed.")


@frozen(kw_only=True)
class CheckpointTable:
    """`[checkpoint]`: images cached by commit."""

    build_inputs: tuple[str, ...] = key(
        (), "Paths that the image is built from.", inert="image checkpoints are not supported yet"
    )


@frozen(kw_only=True)
class HistoryTable:
    """`[history]`: durations and outcomes kept across runs."""

    record_history: Literal["flag", "always"] = key(
        "flag", "`always` records every run, `flag` those with `--record-history`."
    )
    path: str = key(
        "offload-history.jsonl", "The history file, relative to the configuration file.", validator=min_len(1)
    )
    reservoir_size: int = key(
        20, "Samples kept of a test's good attempts, and as many of its failed ones.", validator=ge(1)
    )
    default_duration_secs: float = key(
        1.0, "How long a test takes of which, and of whose group, nothing is known.", validator=gt(0)
    )


@frozen(kw_only=True)
class ProviderTable:
    """`[provider]`: where sandboxes come from. All other keys are the provider's own `options`."""

    type: str = key(NOTHING, "The provider's name; `offload providers` lists those that are installed.")
    options: Any = field(default=None, metadata={"no_key": True})


@frozen(kw_only=True)
class FrameworkTable:
    """`[framework]`: how tests are listed and run. All other keys are the framework's own `options`."""

    type: str = key(NOTHING, "The framework's name; `offload providers` lists those that are installed.")
    env: Mapping[str, str] = key({}, "Variables for the framework's commands, on the host and in sandboxes.")
    discover_in: Literal["host", "sandbox"] = key("host", "Where tests are listed.")
    options: Any = field(default=None, metadata={"no_key": True})


PLUGIN_TABLES: Mapping[str, type] = {"provider": ProviderTable, "framework": FrameworkTable}
"""Those in which a plugin's keys stand among the core's."""


@frozen(kw_only=True)
class Config:
    """A whole configuration, all layers merged, all values of the right type."""

    offload: OffloadTable
    provider: ProviderTable
    framework: FrameworkTable
    groups: Mapping[str, GroupTable]
    report: ReportTable = ReportTable()
    retry: RetryTable = RetryTable()
    liveness: LivenessSettings = field(factory=LivenessSettings)
    checkpoint: CheckpointTable | None = None
    history: HistoryTable | None = None
