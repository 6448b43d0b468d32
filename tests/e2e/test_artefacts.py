"""Files that tests wrote are brought: each once, under a name of its own, and nothing that was there before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.project import Project, Ran
from tests.e2e.test_sandbox_death import is_supervisor, kill

COPY = 'isolation = "copy"'


def globs(*patterns: str, more: str = "") -> str:
    """A `[report]` table."""
    return f"[report]\ndownload_globs = {json.dumps(patterns)}\n{more}"


def brought(ran: Ran) -> dict[str, str]:
    """What was brought, by name relative to the output directory: what the journal, summary and directory agree on."""
    told = {file for each in ran.accounting.artefacts for file in each.files}
    assert told == {file for each in ran.summary["artefacts"] for file in each["files"]}
    there = {path: str(path.relative_to(ran.results)) for path in ran.results.rglob("*") if path.is_file()}
    named = {name for name in there.values() if name.split("/")[0] not in ("logs", "sandboxes") and "/" in name}
    assert named == told
    return {name: (ran.results / name).read_text(encoding="utf-8") for name in told}


def by_end(files: dict[str, str]) -> dict[str, str]:
    """Without sandbox and session."""
    return {name.split("/", 2)[2]: text for name, text in files.items()}


WRITES = """
    import os, pathlib
    import pytest
    @pytest.mark.parametrize("n", range(4))
    def test_it(n):
        pathlib.Path("out/deep").mkdir(parents=True, exist_ok=True)
        pathlib.Path(f"out/deep/{n}.txt").write_text(f"made by {n}")
        pathlib.Path(f"out/{n}.log").write_text("not asked for")
        pathlib.Path(os.environ["OFFLOAD_ARTEFACTS"], f"own {n}.txt").write_text(f"own of {n}")
"""
EXPECTED = {f"out/deep/{n}.txt": f"made by {n}" for n in range(4)} | {f"own {n}.txt": f"own of {n}" for n in range(4)}


@pytest.mark.parametrize("provider", ["", COPY], ids=["shared", "copy"])
def test_files_are_brought_once(project: Project, provider: str) -> None:
    """What matches and was written in this run, from the project and the session's own directory; a second run
    brings it again, without what the first left.
    """
    project.write({"test_a.py": WRITES, "out/deep/old.txt": "from before"})
    project.configure(provider=provider, rest=globs("**/*.txt"))
    for _ in range(2):
        ran = project.run()
        assert ran.code == 0, ran.err
        assert "warning" not in ran.err
        files = brought(ran)
        assert by_end(files) == EXPECTED
        assert len(files) == len(EXPECTED)
        for each in ran.accounting.artefacts:
            assert all(file.split("/")[:2] == [each.sandbox, each.session] for file in each.files)
            assert each.size == sum(len(files[file]) for file in each.files)


def test_only_what_the_session_wrote(project: Project) -> None:
    """Each session of a sandbox brings its own, not what the one before left there."""
    project.write({"test_a.py": WRITES})
    project.configure(1, provider=COPY, groups="[groups.all]\nschedule_individual = true", rest=globs("*.txt"))
    ran = project.run()
    assert ran.code == 0, ran.err
    files = brought(ran)
    assert by_end(files) == EXPECTED
    assert len(files) == len(EXPECTED)
    assert len({name.split("/")[1] for name in files}) == 4


def test_failure_only(project: Project) -> None:
    """Of sessions in which nothing failed, nothing is brought, if that is asked for."""
    project.write(
        {
            "test_a.py": """
                import pathlib
                import pytest
                @pytest.mark.parametrize("n", range(3))
                def test_it(n):
                    pathlib.Path(f"{n}.txt").touch()
                    assert n != 1
            """
        }
    )
    individual = "[groups.all]\nschedule_individual = true"
    rest = globs("*.txt", more="download_globs_failure_only = true")
    project.configure(1, provider=COPY, groups=individual, rest=rest)
    ran = project.run()
    assert ran.code == 1
    assert set(by_end(brought(ran))) == {"1.txt"}


def test_a_session_that_did_not_end_well(project: Project) -> None:
    """A test that is killed for its time, and one that ends its process: what they wrote is brought all the same."""
    project.write(
        {
            "test_a.py": """
                import os, pathlib, threading
                def test_slow():
                    pathlib.Path("slow.txt").write_text("before it hung")
                    threading.Event().wait()
                def test_crash():
                    pathlib.Path("crash.txt").write_text("before it went")
                    os._exit(1)
            """
        }
    )
    rest = globs("*.txt", more="download_globs_failure_only = true")
    project.configure(offload="test_timeout_secs = 5", provider=COPY, rest=rest)
    ran = project.run()
    assert ran.counts == {"timed_out": 1, "crashed": 1}
    files = brought(ran)
    assert by_end(files) == {"slow.txt": "before it hung", "crash.txt": "before it went"}
    assert sum(name.endswith("crash.txt") for name in files) == 2, "it ran twice"


def test_a_sandbox_that_died_is_not_asked(project: Project) -> None:
    """Its files are gone, its tests run elsewhere, and what they write there is brought; no warning, no failure."""
    project.write(
        {
            "test_a.py": """
                import os, pathlib, time
                import pytest
                @pytest.mark.parametrize("n", range(12))
                def test_it(n):
                    pathlib.Path(f"{n}.txt").write_text("here")
                    meet = pathlib.Path(os.environ["MEET"])
                    if n == 5 and not (meet / "go").exists():
                        (meet / "tmp").write_text(os.environ["OFFLOAD_SANDBOX"])
                        (meet / "tmp").rename(meet / "victim")
                        while not (meet / "go").exists():
                            time.sleep(0.01)
            """
        }
    )
    project.configure(provider=COPY, rest=globs("*.txt"))
    meet = project.temporary.parent / "meet"
    meet.mkdir()
    running = project.start(env={"MEET": str(meet)})
    running.wait_until((meet / "victim").exists, "the victim runs")
    victim = (meet / "victim").read_text(encoding="utf-8")
    kill(filter(is_supervisor, project.sandbox_processes()[victim]))
    running.wait_for("Incident", kind="sandbox_dead")
    (meet / "go").touch()
    ran = running.finish()
    assert ran.code == 0, ran.out
    (incident,) = ran.summary["incidents"]
    files = brought(ran)
    assert not [name for name in files if name.startswith(f"{incident['sandbox']}/")]
    assert "5.txt" in by_end(files)
    assert "warning" not in ran.err


@pytest.mark.parametrize("output", ["test-results", "."])
def test_files_of_the_run_itself_stay_out(project: Project, output: str) -> None:
    """Sandboxes that see the output directory do not bring what the run writes there, nor what was brought."""
    project.write({"test_a.py": WRITES})
    rest = f'[report]\noutput_dir = "{output}"\ndownload_globs = ["*"]\n'
    project.configure(groups="[groups.all]\nschedule_individual = true", rest=rest)
    ran = project.run()
    assert ran.code == 0, ran.err
    events: list[dict[str, Any]] = [
        json.loads(line) for line in Path(project.directory, output, "events.jsonl").read_text().splitlines()
    ]
    names = [
        file.split("/", 2)[2] for each in events if each["event"] == "ArtefactsCollected" for file in each["files"]
    ]
    expected = {*EXPECTED, *(f"out/{n}.log" for n in range(4))}
    assert {name for name in names if ".pyc" not in name} == expected
    assert len(names) == len(set(names))


def test_what_is_in_the_way_is_not_overwritten(project: Project) -> None:
    """A file of the user's own that has the name stays as it is."""
    project.write({"test_a.py": WRITES, "test-results/s1/s1.1/own 0.txt": "mine"})
    project.configure(1, rest=globs("own*"))
    ran = project.run()
    assert ran.code == 0, ran.err
    assert (ran.results / "s1/s1.1/own 0.txt").read_text() == "mine"
    assert (ran.results / "s1/s1.1/own 0.txt~1").read_text() == "own of 0"


def test_a_file_where_another_needs_a_directory(project: Project) -> None:
    """Both are brought and recorded: the directory of the second gets a number."""
    code = """
        import os, pathlib
        def test_it():
            pathlib.Path("x.log").write_text("below the root")
            own = pathlib.Path(os.environ["OFFLOAD_ARTEFACTS"], "x.log")
            own.mkdir()
            (own / "in.log").write_text("own")
    """
    project.write({"test_a.py": code})
    project.configure(1, rest=globs("*.log"))
    ran = project.run()
    assert by_end(brought(ran)) == {"x.log": "below the root", "x.log~1/in.log": "own"}
    assert "warning" not in ran.err


def test_what_cannot_be_brought_is_a_warning(project: Project) -> None:
    """No `tar` in the sandbox, a pattern that cannot match: said once, and no test is worse for it."""
    project.write({"test_a.py": WRITES, "bin/tar": "#!/bin/sh\necho no tar for you >&2\nexit 1\n"})
    (project.directory / "bin/tar").chmod(0o755)
    path = f"{project.directory}/bin:{project.environment['PATH']}"
    project.configure(provider=f"env = {{ PATH = {json.dumps(path)} }}", rest=globs("*.txt", "/etc/passwd"))
    ran = project.run()
    assert ran.code == 0
    assert ran.counts == {"passed": 4}
    assert brought(ran) == {}
    assert ran.err.count("no tar for you") == 1
    assert "'/etc/passwd' matches nothing" in ran.err


def test_many_files_with_odd_names(project: Project) -> None:
    """More than one command line holds, with names that a shell, a terminal or a manifest would stumble over; the
    next run removes them.
    """
    project.write(
        {
            "test_a.py": r"""
                import os, pathlib
                def test_it():
                    own = pathlib.Path(os.environ["OFFLOAD_ARTEFACTS"], "sub dir")
                    own.mkdir()
                    for n in range(2500):
                        (own / f"{'long name ' * 6}{n}").touch()
                    for odd in ("-rf", "quote'\"", "$(touch x)", "new\nline", "tab\t", "\x1b[31m", "ümläut", "*"):
                        (own / odd).write_text(odd)
                    os.symlink("/etc/passwd", own / "link")
            """
        }
    )
    project.configure(1, rest=globs("sub dir/*"))
    ran = project.run()
    assert ran.code == 0, ran.err
    files = by_end(brought(ran))
    assert len(files) == 2508
    odd = {name.removeprefix("sub dir/") for name in files if "long name" not in name}
    assert odd == {"-rf", "quote'\"", "$(touch x)", "new_line", "tab_", "_[31m", "ümläut", "*"}
    assert files["sub dir/new_line"] == "new\nline"
    project.write({"test_a.py": "def test_it(): pass"})
    assert project.run().code == 0
    assert not (ran.results / "s1").exists()


def test_a_session_whose_test_is_decided_elsewhere(project: Project) -> None:
    """It is let to its end, so that it leaves what it ran before."""
    project.write(
        {
            "conftest.py": """
                import os, pathlib
                def pytest_sessionfinish():
                    if own := os.environ.get("OFFLOAD_ARTEFACTS"):
                        pathlib.Path(own, "end.txt").touch()
            """,
            "test_a.py": """
                import pathlib, time
                def test_quick(): pass
                def test_slow():
                    try:
                        pathlib.Path("first").touch(exist_ok=False)
                    except FileExistsError:
                        pathlib.Path("second").touch()
                    else:
                        while not pathlib.Path("second").exists():
                            time.sleep(0.01)
                        time.sleep(1)
            """,
        }
    )
    project.configure(rest=globs("end.txt"))
    ran = project.run()
    assert ran.code == 0, ran.err
    assert ran.counts == {"passed": 2}
    assert ran.summary["incidents"] == []
    assert len([each for each in project.events() if each["event"] == "AttemptDropped"]) == 1
    assert len(brought(ran)) == 2
