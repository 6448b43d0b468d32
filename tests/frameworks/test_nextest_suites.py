"""Tests of real crates, by nextest alone and by Offload."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from offload_core.events import AttemptFinished
from offload_core.results.journal import read_journal
from offload_core.results.last_run import accounting_of
from tests.frameworks import crates


@pytest.mark.nightly
def test_the_same_verdicts_as_nextest_alone(nextest: Path, tmp_path: Path) -> None:
    """Every test that nextest runs has the same verdict, and there are no others. Both sandboxes work at once."""
    env = crates.environment(nextest)
    crates.unpack(tmp_path, env)
    alone = crates.by_nextest(tmp_path, env)
    assert Counter(id.partition("::")[0].partition(" ")[0] for id in alone) == {"aho-corasick": 163, "strsim": 96}
    crates.run([sys.executable, "-m", "offload_core", "run", "--ci"], tmp_path, env)
    journal = tmp_path / "test-results/events.jsonl"
    records = accounting_of(journal).records.values()
    assert {record.test.id: record.state.value for record in records} == alone
    attempts = [each.event.attempt for each in read_journal(journal) if isinstance(each.event, AttemptFinished)]
    assert len(attempts) == len(alone)
    assert {attempt.sandbox for attempt in attempts} == {"s1", "s2"}
