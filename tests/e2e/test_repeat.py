"""The same small run, again and again."""

from __future__ import annotations

import pytest

from tests.e2e.project import Project

SUITE = """
    import time
    import pytest
    @pytest.mark.parametrize("n", range(10))
    def test_it(n): time.sleep(0.001 * (n % 3))
"""


@pytest.mark.parametrize("times", [5, pytest.param(50, marks=pytest.mark.nightly)])
def test_runs_in_a_row(project: Project, times: int) -> None:
    """30 tests on 3 sandboxes: each time exit code 0, each test passed once, nothing is left of the run."""
    project.write({f"test_{name}.py": SUITE for name in "abc"})
    project.configure(3)
    for _ in range(times):
        ran = project.run()
        assert ran.code == 0, ran.out + ran.err
        assert ran.counts == {"passed": 30}
        assert {len(record.attempts) for record in ran.accounting.records.values()} == {1}
        assert ran.summary["incidents"] == []
        assert ran.summary["sandboxes"]["not_ended_yet"] == 0
