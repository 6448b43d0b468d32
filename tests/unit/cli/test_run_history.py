"""What a run makes of its `[history]` table."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from offload_core.cli.request import written
from offload_core.cli.run_history import RunHistory
from offload_core.cli.run_options import RunOptions
from offload_core.config.loading import Loaded, load
from offload_core.errors import ConfigError
from offload_core.history import Entry, History, Sample, write_history
from tests.support.synthetic import accounted, ended, found, run_of

CONFIG = '[offload]\n[provider]\ntype = "local"\n[framework]\ntype = "pytest"\n[groups.all]\n'


def loaded(directory: Path, table: str) -> Loaded:
    """A configuration with this at its end, named `ci.toml`."""
    path = directory / "ci.toml"
    path.write_text(CONFIG + table, encoding="utf-8")
    return load(path)


def of(directory: Path, table: str, *, flag: bool = False) -> RunHistory:
    """What there is with such a table."""
    history = RunHistory.of(loaded(directory, table), RunOptions(record_history=flag))
    assert history is not None
    return history


def test_without_the_table_there_is_none(tmp_path: Path) -> None:
    """Nothing is read, recorded, or kept out of images."""
    assert RunHistory.of(loaded(tmp_path, ""), RunOptions()) is None
    assert written(loaded(tmp_path, "")) == (PurePosixPath("test-results"),)


@pytest.mark.parametrize(
    ("table", "flag", "recorded"),
    [
        ("[history]", False, False),
        ("[history]", True, True),
        ('[history]\nrecord_history = "always"', False, True),
        ('[history]\nrecord_history = "flag"\npath = "kept/h.jsonl"\nreservoir_size = 1', True, True),
    ],
)
def test_when_a_run_is_recorded(tmp_path: Path, table: str, flag: bool, recorded: bool) -> None:
    """By the flag or always, where the table says, under the name of the configuration's file."""
    history = of(tmp_path, table, flag=flag)
    written_to = history.record(accounted(*run_of(found("t"), ended("t"))))
    path = tmp_path / ("kept/h.jsonl" if "path" in table else "offload-history.jsonl")
    assert (written_to == path) == path.exists() == recorded
    assert not recorded or path.read_text("utf-8").startswith('{"k":["ci.toml","tests/test_a.py::t"]')


def test_estimates_are_of_this_configuration_else_of_the_last_run(tmp_path: Path) -> None:
    """Another configuration's durations are not these tests'."""
    history = History(tmp_path / "offload-history.jsonl")
    history.put(("ci.toml", "a"), Entry(1, 0, "r", ok=[Sample("r", 1, 3.0)]))
    history.put(("other.toml", "b"), Entry(1, 0, "r", ok=[Sample("r", 1, 4.0)]))
    write_history(history)
    known = of(tmp_path, "[history]").estimates({"a": 1.0, "b": 2.0}, pytest.fail)
    assert dict(known) == {"a": 3.0, "b": 2.0}


def test_a_history_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """The last run's durations serve."""
    (tmp_path / "offload-history.jsonl").mkdir()
    said: list[str] = []
    assert of(tmp_path, "[history]").estimates({"a": 1.0}, said.append) == {"a": 1.0}
    assert len(said) == 1
    assert "could not be read" in said[0]


def test_the_history_is_kept_out_of_images(tmp_path: Path) -> None:
    """A run that records would otherwise change the image of the next."""
    kept_out = (PurePosixPath("test-results"), PurePosixPath("kept/h.jsonl"))
    assert written(loaded(tmp_path, '[history]\npath = "kept/h.jsonl"')) == kept_out


@pytest.mark.parametrize("line", ["reservoir_size = 0", "default_duration_secs = 0", 'path = ""'])
def test_values_that_cannot_be(tmp_path: Path, line: str) -> None:
    """They are refused when the configuration is read."""
    with pytest.raises(ConfigError, match=line.split()[0]):
        loaded(tmp_path, f"[history]\n{line}")
