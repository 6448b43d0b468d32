"""What a CI job gets to see of a run in which a sandbox is killed and a test fails."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.project import Project
from tests.e2e.test_sandbox_death import is_supervisor, kill, start

FAILS = """
    import pytest
    @pytest.mark.parametrize("text", ["::error::forged", "<b>bold</b> `code`\\n\\n# heading"])
    def test_hostile(text):
        print(text)
        assert not text
"""


def test_a_step_of_github_actions(project: Project, tmp_path: Path) -> None:
    """Annotations for the failures and the death, a step summary that is `summary.md`; costs, where there are none,
    are said not to be known.
    """
    project.write({"test_b.py": FAILS})
    step = tmp_path / "step summary.md"
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(step),
        "GITHUB_WORKSPACE": str(project.directory.parent),
    }
    project.environment.update(environ)
    running, sandbox = start(project, 7, arguments=("--show-estimated-cost",))
    kill(filter(is_supervisor, project.sandbox_processes()[sandbox]))
    (project.directory / "go").touch()
    ran = running.finish()
    assert ran.code == 1
    assert ran.counts == {"passed": 24, "failed": 2}
    first, *printed = ran.out.splitlines()
    token = first.removeprefix("::stop-commands::")
    commands = printed[printed.index(f"::{token}::") + 1 :]
    assert [line.split(" ")[0] for line in commands] == ["::error", "::error", "::warning"]
    assert all(re.match(r"::error file=project/test_b\.py,line=\d,title=FAILED ", line) for line in commands[:2])
    assert "title=Infrastructure::sandbox" in commands[2]
    page = (ran.results / "summary.md").read_text(encoding="utf-8")
    assert step.read_text(encoding="utf-8") == page
    assert page.count("<details>") == 2
    assert "&lt;b&gt;bold" in page
    assert ran.summary["cost"] is None
    assert "the provider states no price" in ran.err
    assert ran.summary["reports"]["markdown"] == str(ran.results / "summary.md")
