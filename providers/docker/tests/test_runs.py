"""Whole runs of `offload run` in containers of a real engine."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from providers.docker.tests.runs import configure, containers
from tests.docker_engine import Engine
from tests.e2e.project import Project
from tests.support.marks import nightly


def container_of(engine: Engine, name: str) -> str:
    """The id of the container that is a sandbox."""
    return engine.docker("ps", "-q", "--no-trunc", "--filter", f"label=offload.name={name}").stdout.strip()


def sandbox_of(project: Project, test: str) -> str:
    """The sandbox in which a test began last, from the journal; empty before that."""
    begun = [each for each in project.events() if each["event"] == "TestBegan" and test in each["test"]]
    return str(begun[-1]["sandbox"]) if begun else ""


def test_a_suite_over_eight_containers(engine: Engine, project: Project) -> None:
    """Several hundred tests pass in containers that hold the working tree, and no container is left."""
    suite = """
        import os, pathlib, time
        import pytest

        @pytest.mark.parametrize("n", range(60))
        def test_it(n):
            time.sleep(0.05)  # enough work for all eight
            assert pathlib.Path("data.txt").read_text() == "here"
            assert not pathlib.Path("secret.txt").exists()
            assert not pathlib.Path("test-results").exists()
            assert os.getcwd() == os.environ["OFFLOAD_ROOT"] == "/work/project"
    """
    project.write({f"test_{name}.py": suite for name in "abcdefgh"})
    project.write({"data.txt": "here", "secret.txt": "not for the image", ".dockerignore": "# private\nsecret.txt"})
    (project.directory / "data.txt").write_text("here", encoding="utf-8")
    configure(project, [engine], 8)
    (project.directory / "test-results").mkdir()
    ran = project.run()
    assert ran.code == 0, ran.out + ran.err
    assert ran.counts == {"passed": 480}
    assert ran.summary["incidents"] == []
    assert ran.summary["sandboxes"]["created"] == 8
    assert containers(engine) == []


@pytest.mark.parametrize(
    ("how", "reason"),
    [("kill", "exit code 137"), nightly("rm -f", "exit code 137"), nightly("stop -t 5", "exit code 143")],
)
def test_a_container_that_dies_costs_no_test(engine: Engine, project: Project, how: str, reason: str) -> None:
    """Exit code 0, one incident that says how it ended, every test passed, no container left."""
    hold = """
        import pathlib, time
        import pytest

        @pytest.mark.parametrize("n", range(24))
        def test_it(n):
            time.sleep(0.3)
    """
    project.write({"test_a.py": hold})
    configure(project, [engine], 3)
    running = project.start()
    running.wait_for("AttemptFinished", 4)
    running.wait_until(lambda: sandbox_of(project, "test_it"), "a test runs")
    victim = sandbox_of(project, "test_it")
    assert engine.docker(*how.split(), container_of(engine, victim)).returncode == 0
    ran = running.finish()
    assert ran.code == 0, ran.out + ran.err
    assert ran.counts == {"passed": 24}
    (incident,) = ran.summary["incidents"]
    assert (incident["kind"], incident["sandbox"]) == ("sandbox_dead", victim)
    assert reason in incident["reason"]
    assert containers(engine) == []


def test_a_test_that_exhausts_the_memory_is_convicted_alone(engine: Engine, project: Project) -> None:
    """It is the only one that is blamed, and the reason names memory and its limit."""
    greedy = """
        import pytest

        @pytest.mark.parametrize("n", range(12))
        def test_it(n):
            if n == 5:
                assert len([bytearray(b"x" * (64 << 20)) for _ in range(64)])
    """
    project.write({"test_a.py": greedy})
    configure(project, [engine], 2, provider="memory_gb = 0.2")
    ran = project.run()
    assert ran.code == 1, ran.out + ran.err
    assert ran.counts == {"passed": 11, "crashed": 1}
    assert ran.ids("crashed") == {"test_a.py::test_it[5]"}
    assert "out of memory (limit 0.2 GiB)" in ran.message("test_a.py::test_it[5]")
    assert containers(engine) == []


SLEEPS = """
    import time
    import pytest

    @pytest.mark.parametrize("n", range(40))
    def test_it(n):
        time.sleep(0.5)
"""


def test_an_engine_that_is_killed_ends_the_run(another: Engine, project: Project) -> None:
    """Exit code 3 and the engine's name; what had finished is kept, and the rest is said not to have run."""
    project.write({"test_a.py": SLEEPS})
    configure(project, [another], 2, rest="[liveness]\nlost_after_secs = 3")
    running = project.start()
    running.wait_for("AttemptFinished", 6)
    another.kill()
    ran = running.finish()
    assert ran.code == 3, ran.out + ran.err
    counts = ran.counts
    assert counts.pop("passed") >= 6
    assert list(counts) == ["not_run"]
    assert another.url in ran.out
    assert ran.incidents("sandbox_lost"), ran.summary["incidents"]


@pytest.mark.nightly
def test_with_two_engines_the_run_completes_on_the_other(engine: Engine, another: Engine, project: Project) -> None:
    """The loss of one engine costs its own sandboxes and no test."""
    project.write({"test_a.py": SLEEPS})
    configure(project, [another, engine], 4, rest="[liveness]\nlost_after_secs = 3")
    running = project.start()
    running.wait_for("AttemptFinished", 6)
    assert containers(another)
    assert containers(engine)
    another.kill()
    ran = running.finish()
    assert ran.code == 0, ran.out + ran.err
    assert ran.counts == {"passed": 40}
    assert {each["kind"] for each in ran.summary["incidents"]} == {"sandbox_lost", "terminate_failed"}
    assert containers(engine) == []


def test_reap_finds_what_a_killed_run_has_left(engine: Engine, project: Project) -> None:
    """After `kill -9` the containers go on; `offload reap --run` ends those of that run, and no others."""
    project.write({"test_a.py": SLEEPS})
    configure(project, [engine], 2)
    running = project.start()
    running.wait_for("AttemptFinished", 2)
    run = next(each["run_id"] for each in project.events() if each["event"] == "RunStarted")
    running.process.kill()
    running.process.wait()
    assert len(containers(engine, "running")) >= 2
    reaped = project.run("--run", run, "--yes", "--json", command="reap")
    assert reaped.code == 0, reaped.err
    assert len(json.loads(reaped.out)["terminated"]) >= 2
    assert containers(engine) == []


@pytest.mark.nightly
def test_containers_of_a_killed_run_end_by_themselves(engine: Engine, project: Project) -> None:
    """When their lifetime is over, the engine has removed them."""
    project.write({"test_a.py": SLEEPS})
    configure(project, [engine], 2, offload="sandbox_lifetime_secs = 8")
    running = project.start()
    running.wait_for("AttemptFinished", 2)
    os.killpg(running.process.pid, signal.SIGKILL)
    running.process.wait()
    assert containers(engine, "running")
    project.wait_until(lambda: not containers(engine), "the engine removes them")


def test_interrupted(engine: Engine, project: Project) -> None:
    """Ctrl-C ends it with exit code 130, reports and no container."""
    project.write({"test_a.py": SLEEPS})
    configure(project, [engine], 2)
    running = project.start()
    running.wait_for("AttemptFinished", 2)
    running.interrupt()
    ran = running.finish()
    assert ran.code == 130
    assert ran.counts["passed"] >= 2
    assert containers(engine) == []


def test_files_of_tests_are_brought(engine: Engine, project: Project) -> None:
    """From the project's root and from the session's own directory, each container's own; not what was in the image."""
    suite = """
        import os, pathlib
        import pytest

        @pytest.mark.parametrize("n", range(4))
        def test_it(n):
            pathlib.Path("out").mkdir(exist_ok=True)
            pathlib.Path(f"out/{n}.txt").write_text(os.environ["HOSTNAME"])
            pathlib.Path(os.environ["OFFLOAD_ARTEFACTS"], f"own {n}.txt").write_text("own")
    """
    project.write({"test_a.py": suite, "test_b.py": suite.replace("range(4)", "range(4, 8)"), "old.txt": "here"})
    configure(project, [engine], 2)
    with (project.directory / "offload.toml").open("a", encoding="utf-8") as config:
        config.write('\n[report]\ndownload_globs = ["*.txt"]\n')
    ran = project.run()
    assert ran.code == 0, ran.out + ran.err
    brought = [Path(file) for each in ran.accounting.artefacts for file in each.files]
    expected = {name for n in range(8) for name in (f"out/{n}.txt", f"own {n}.txt")}
    assert sorted(str(Path(*path.parts[2:])) for path in brought) == sorted(expected)
    hosts = {path.parts[0]: (ran.results / path).read_text() for path in brought if "out" in path.parts}
    assert len(set(hosts.values())) == len(hosts)
    assert "warning" not in ran.err
