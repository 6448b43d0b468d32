"""The project's own pytest configuration: options that would select, stop or distribute do not get in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pytest
from attrs import evolve

from offload_core.abc import Bye, Collection, Group, Upload
from offload_core.execution.host import HostExecutor
from tests.integration.pytest_framework.harness import GROUP, Suite, has_module, pytest_version
from tests.support.marks import nightly

pytestmark = pytest.mark.versions

SIX = {
    "test_a.py": """
        import pytest

        @pytest.mark.slow
        def test_slow(): ...

        def test_fails():
            assert False

        def test_other(): ...
    """,
    "test_b.py": """
        import pytest

        @pytest.mark.slow
        def test_slow(): ...

        def test_fails():
            assert False

        def test_other(): ...
    """,
}
ALL = {
    f"test_{file}.py::test_{name}": outcome
    for file in "ab"
    for name, outcome in (("slow", "passed"), ("fails", "failed"), ("other", "passed"))
}


@pytest.mark.parametrize(
    ("addopts", "needs", "names"),
    [
        ("-q", "pytest", None),
        nightly("-qq", "pytest", None),
        nightly("-v", "pytest", None),
        ("-x", "pytest", None),
        nightly("--maxfail=1", "pytest", None),
        nightly("--ff", "pytest", None),
        nightly("--lf", "pytest", None),
        ("--nf", "pytest", None),
        nightly("--sw", "pytest", None),
        ("-p no:terminal", "pytest", None),
        nightly("-p no:cacheprovider", "pytest", None),
        ("-p no:warnings -p no:logging -p no:faulthandler", "pytest", None),
        nightly("-p no:capture -p no:doctest", "pytest", None),
        ("--pdb", "pytest", None),
        ("-m slow", "pytest", ("slow",)),
        ("-k 'slow or other'", "pytest", ("slow", "other")),
        nightly("--deselect test_b.py::test_slow", "pytest", None),
        ("--strict-markers --strict-config", "pytest", None),
        nightly("--durations=3 -rA --tb=short", "pytest", None),
        nightly("--junitxml=out.xml", "pytest", None),
        ("-n auto", "xdist", None),
        ("-n 2 --dist loadfile --maxprocesses=2", "xdist", None),
        nightly("-d --tx 2*popen", "xdist", None),
        ("--cov --cov-fail-under=100", "pytest_cov", None),
        ("--cov=. --cov-report=xml -n auto", "pytest_cov", None),
    ],
)
async def test_addopts(suite: Suite, addopts: str, needs: str, names: tuple[str, ...] | None) -> None:
    """Whatever stands in addopts: discovery lists what plain pytest would, and a session runs what it is given."""
    if not has_module(needs) or ("-n " in addopts and not has_module("xdist")):
        pytest.skip(f"no {needs}")
    suite.write({**SIX, "pytest.ini": f"[pytest]\naddopts = {addopts}\nmarkers =\n    slow: slow\n"})
    everything = (await suite.discover(run_args="-o addopts=")).tests
    assert [test.id for test in everything] == list(ALL)
    listed = (await suite.discover()).ids
    if names is not None:
        assert listed == [test_id for test_id in ALL if test_id.endswith(names)]
    elif "deselect" in addopts:
        assert listed == [test_id for test_id in ALL if test_id != "test_b.py::test_slow"]
    else:
        assert listed == list(ALL)
    ran = await suite.run(everything)
    assert ran.outcomes == ALL
    assert ran.events.bye == Bye()


async def test_filters(suite: Suite) -> None:
    """A group's filters select in discovery, and only there."""
    suite.write({**SIX, "pytest.ini": "[pytest]\nmarkers =\n    slow: slow\n"})
    listing = await suite.discover(
        Group(name="g", filters=("-m", "slow", "--deselect", "test_b.py::test_slow"), retries=2)
    )
    assert listing.ids == ["test_a.py::test_slow"]
    (test,) = listing.tests
    assert (test.group, test.retries, test.individual, test.path, test.affinity) == (
        "g",
        2,
        False,
        "test_a.py",
        "test_a.py",
    )
    listing = await suite.discover(Group(name="g", filters=("-k", "slow and not test_a")))
    assert listing.ids == ["test_b.py::test_slow"]
    assert (await suite.run(listing.tests)).outcomes == {"test_b.py::test_slow": "passed"}


async def test_root_elsewhere(suite: Suite) -> None:
    """With the ini file and the root above the directory Offload runs in, ids are the same in both places."""
    suite.write(
        {
            "pytest.ini": "[pytest]\naddopts = -p no:cacheprovider\npython_files = check_*.py\n",
            "part/tests/conftest.py": "import pytest\n@pytest.fixture\ndef value(): return 1\n",
            "part/tests/check_it.py": "def test_it(value): assert value == 1\n",
        }
    )
    suite.root = suite.directory / "part"
    listing = await suite.discover(paths=("tests",))
    assert listing.ids == ["part/tests/check_it.py::test_it"]
    assert (await suite.run(listing.tests, paths=("tests",))).outcomes == {"part/tests/check_it.py::test_it": "passed"}
    selected = await suite.discover(Group(name="g", select=("tests/check_it.py",)), paths=("tests",))
    assert selected.ids == listing.ids


async def test_ini_elsewhere(suite: Suite) -> None:
    """An ini file named by `-c` in `run_args` holds in both places; ids are relative to its root."""
    suite.write(
        {
            "config/other.ini": "[pytest]\npython_functions = verify*\n",
            "tests/test_it.py": "def verify_it(): ...\ndef test_it(): ...\n",
        }
    )
    options: dict[str, Any] = {"run_args": "-c config/other.ini --rootdir .", "paths": ("tests",)}
    listing = await suite.discover(**options)
    assert listing.ids == ["tests/test_it.py::verify_it"]
    assert (await suite.run(listing.tests, **options)).outcomes == {"tests/test_it.py::verify_it": "passed"}


async def test_paths_with_names(suite: Suite) -> None:
    """A path may name a class or a test: just that is listed, and a session finds it."""
    suite.write(
        {
            "test_a.py": """
            import pytest

            class TestOne:
                def test_1(self): ...
                def test_2(self): ...

            class TestTwo:
                def test_1(self): ...

            @pytest.mark.parametrize("x", [1, 2])
            def test_x(x): ...
            """,
            "sub/test_b.py": "def test_1(): ...\n",
        }
    )
    options: dict[str, Any] = {"paths": ("test_a.py::TestOne", "test_a.py::test_x[2]", "sub")}
    listing = await suite.discover(**options)
    assert sorted(listing.ids) == [
        "sub/test_b.py::test_1",
        "test_a.py::TestOne::test_1",
        "test_a.py::TestOne::test_2",
        "test_a.py::test_x[2]",
    ]
    assert set((await suite.run(listing.tests, **options)).outcomes.values()) == {"passed"}


async def test_pyargs(suite: Suite) -> None:
    """`--pyargs` works for modules and packages."""
    suite.write({"pack/__init__.py": "", "pack/test_a.py": "def test_1(): ...\n"})
    options: dict[str, Any] = {"run_args": "--pyargs", "paths": ("pack",)}
    listing = await suite.discover(**options)
    assert listing.ids == ["pack/test_a.py::test_1"]
    assert (await suite.run(listing.tests, **options)).outcomes == {"pack/test_a.py::test_1": "passed"}


async def test_keep_duplicates(suite: Suite) -> None:
    """A file that is collected twice on purpose has its tests twice, each run."""
    suite.write({"test_a.py": "def test_1(): ...\n"})
    options: dict[str, Any] = {"run_args": "--keep-duplicates", "paths": ("test_a.py", "test_a.py")}
    _, order = suite.plain("--keep-duplicates", "test_a.py", "test_a.py")
    listing = await suite.discover(**options)
    assert listing.ids == order
    assert len({test.key for test in listing.tests}) == len(order)
    assert list((await suite.run(listing.tests, **options)).outcomes.values()) == ["passed"] * len(order)


async def test_private_directories(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache, temporary files and coverage data are in the sandbox's own directory, none in the project."""
    monkeypatch.delenv("COVERAGE_FILE", raising=False)  # this test may itself run in a sandbox
    suite.env.pop("TMPDIR", None)
    suite.write(
        {
            "test_a.py": f"""
            import os, tempfile

            def test_it(request, tmp_path):
                scratch = {str(suite.scratch)!r}
                assert tempfile.gettempdir() == scratch + "/tmp"
                assert str(tmp_path).startswith(scratch)
                assert os.environ["COVERAGE_FILE"].startswith(scratch)
                assert str(request.config.cache.mkdir("mine") if hasattr(request.config.cache, "mkdir") else
                           request.config.cache.makedir("mine")).startswith(scratch)
            """
        }
    )
    ran = await suite.run((await suite.discover()).tests)
    assert ran["test_a.py::test_it"].outcome.good, ran["test_a.py::test_it"].details
    assert not (suite.directory / ".pytest_cache").exists()


async def test_coverage_data(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """With pytest-cov, closing a session writes its coverage data, and discovery measures nothing."""
    monkeypatch.delenv("COVERAGE_FILE", raising=False)  # which Offload sets, if it runs this test
    if not has_module("pytest_cov"):
        pytest.skip("no pytest-cov")
    suite.write({"thing.py": "def one():\n    return 1\n", "pytest.ini": "[pytest]\naddopts = --cov=thing\n"})
    suite.write({"test_a.py": "import thing\ndef test_it(): assert thing.one()\n"})
    tests = (await suite.discover(run_args="-p no:cacheprovider")).tests
    assert not list(suite.scratch.rglob(".coverage*"))
    ran = await suite.run(tests)
    assert ran.outcomes == {"test_a.py::test_it": "passed"}
    assert len(list(suite.scratch.glob("artefacts/*/.coverage"))) == 1


class Counting(HostExecutor):
    """Counts uploads."""

    uploads = 0

    async def upload(self, files: Sequence[Upload]) -> None:
        """One more."""
        self.uploads += 1
        await super().upload(files)


async def test_plugin_is_uploaded_once(suite: Suite) -> None:
    """However many sessions one executor sees, it gets the plugin once."""
    suite.write({"test_a.py": "def test_1(): ...\n"})
    executor = Counting()
    framework = suite.framework()
    launch, everything = suite.launch([], executor), Collection(groups=(GROUP,))
    sessions = await asyncio.gather(*(framework.open(launch, everything) for _ in range(3)))
    for session in sessions:
        await session.kill()
    assert executor.uploads == 1
    other = evolve(launch, scratch=PurePosixPath(suite.scratch / "other"))
    await (await framework.open(other, everything)).kill()
    assert executor.uploads == 2


def test_old_enough() -> None:
    """What is driven here is a pytest that is supported."""
    assert pytest_version() >= (7, 0)
