"""Discovery lists what plain pytest would run, in its order, file by file; what it cannot list it explains."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import Any, cast

import pytest

from offload_core.abc import CollectionFailed, CollectionSkipped, Group, Severity, Test
from offload_core.errors import DiscoveryError
from tests.integration.pytest_framework.harness import PYTHON, Suite, alive, pytest_version

THREE = {
    "test_a.py": "def test_1(): ...\ndef test_2(): ...\n",
    "sub/test_b.py": "class TestB:\n    def test_1(self): ...\n    def test_2(self): ...\n",
    "sub/test_c.py": "import pytest\n@pytest.mark.parametrize('x', [1, 2])\ndef test_x(x): ...\n",
}
REORDERED = {
    "conftest.py": """
        import pytest

        @pytest.fixture(scope="session", params=["s1", "s2"])
        def per_session(request):
            return request.param

        @pytest.fixture(scope="module", params=["m1", "m2"])
        def per_module(request):
            return request.param

        def pytest_collection_modifyitems(items):
            items.sort(key=lambda item: "late" in item.name)
    """,
    "test_a.py": """
        import pytest

        def test_1(per_module): ...
        def test_late(per_session): ...
        def test_2(per_module): ...

        @pytest.mark.usefixtures("per_session")
        class TestUsing:
            def test_3(self, per_module): ...
            def test_4(self): ...
    """,
    "test_b.py": "def test_5(per_session): ...\ndef test_6(): ...\n",
}


async def test_order_with_a_hook(suite: Suite) -> None:
    """A conftest that changes the items sees all of them, once: order and ids are those of plain pytest."""
    suite.write(REORDERED)
    suite.write(
        {
            "conftest.py": REORDERED["conftest.py"]
            + """
            def pytest_configure(config):
                config.calls = 0

            @pytest.hookimpl(trylast=True)
            def pytest_collection_modifyitems(items, config, session):
                items.sort(key=lambda item: "late" in item.name)
                config.calls += 1
                assert config.calls == 1 and len(items) > 10 and session.items is items
            """
        }
    )
    _, order = suite.plain("--collect-only")
    assert len(order) > 10
    assert (await suite.discover()).ids == order


async def test_order_within_a_file(suite: Suite) -> None:
    """Without such a hook pytest's own reordering is applied file by file, and the set is that of plain pytest."""
    suite.write(REORDERED)
    (suite.directory / "conftest.py").write_text(
        (suite.directory / "conftest.py").read_text().partition("def pytest_collection_modifyitems")[0]
    )
    _, order = suite.plain("--collect-only", "test_a.py")
    _, everything = suite.plain("--collect-only")
    ids = (await suite.discover()).ids
    assert [test_id for test_id in ids if test_id.startswith("test_a")] == order
    assert sorted(ids) == sorted(everything)


async def test_stream_with_a_hook(suite: Suite) -> None:
    """With `stream = true` such a hook sees one file at a time."""
    suite.write(THREE)
    suite.write(
        {"conftest.py": "def pytest_collection_modifyitems(items):\n    assert len({i.fspath for i in items}) == 1\n"}
    )
    assert len((await suite.discover(stream=True)).ids) == 6
    with pytest.raises(DiscoveryError):
        await suite.discover()


async def test_file_by_file(suite: Suite) -> None:
    """A file's tests are handed on before the next file is imported; closing early ends the command."""
    suite.write(
        {
            "test_a.py": "def test_1(): ...\n",
            "test_b.py": """
                import os, time
                open("importing", "w").write(str(os.getpid()))
                end = time.monotonic() + 60
                while not os.path.exists("go") and time.monotonic() < end:
                    time.sleep(0.01)
                def test_2(): ...
            """,
        }
    )
    stream = cast("Any", suite.framework().discover(Group(name="g"), suite.launch([])))
    async with asyncio.timeout(60), aclosing(stream) as found:
        first = await anext(found)
        assert isinstance(first, Test)
        assert first.id == "test_a.py::test_1"
        (suite.directory / "go").touch()
        assert [test.id async for test in found] == ["test_b.py::test_2"]
    (suite.directory / "go").unlink()
    importing = suite.directory / "importing"
    importing.unlink()
    stream = cast("Any", suite.framework().discover(Group(name="g"), suite.launch([])))
    before = asyncio.all_tasks()
    async with asyncio.timeout(60):
        async with aclosing(stream) as found:
            await anext(found)
            while not (pid := importing.read_text() if importing.exists() else ""):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == before
    if sys.platform == "linux":
        assert not alive(int(pid))


async def test_modules_that_do_not_collect(suite: Suite) -> None:
    """A module that fails or skips itself is one result named after it, with the reason; the rest is listed."""
    suite.write(
        {
            "test_a.py": "def test_1(): ...\n",
            "test_b.py": "import nowhere_at_all\n",
            "test_c.py": "import pytest\npytest.skip('not on mondays', allow_module_level=True)\n",
            "test_d.py": "def test_2(:\n",
            "test_e.py": "raise SystemExit(3)\n",
            "test_f.py": "import pytest\npytest.exit('out')\n",
            "test_g.py": "import pytest\n@pytest.mark.parametrize('x', 5)\ndef test_p(x): ...\n",
            "test_h.py": "print('said while importing')\nraise RuntimeError\n",
            "test_i.py": "def test_3(): ...\n",
        }
    )
    listing = await suite.discover()
    assert listing.ids == ["test_a.py::test_1", "test_i.py::test_3"]
    failed = {each.path: each for each in listing.modules if isinstance(each, CollectionFailed)}
    assert sorted(failed) == [f"test_{letter}.py" for letter in "bdefgh"]
    assert "nowhere_at_all" in failed["test_b.py"].message + failed["test_b.py"].details
    assert "SyntaxError" in failed["test_d.py"].details
    assert "said while importing" in failed["test_h.py"].details
    (skipped,) = (each for each in listing.modules if isinstance(each, CollectionSkipped))
    assert (skipped.path, skipped.message) == ("test_c.py", "not on mondays")


async def test_directory_that_does_not_collect(suite: Suite) -> None:
    """A broken conftest in a subdirectory: from pytest 8 one result named after the directory; before, the whole."""
    suite.write(THREE)
    suite.write({"sub/conftest.py": "raise RuntimeError('broken')\n"})
    if pytest_version() < (8, 0):
        with pytest.raises(DiscoveryError, match="broken"):
            await suite.discover()
        return
    listing = await suite.discover()
    assert listing.ids == ["test_a.py::test_1", "test_a.py::test_2"]
    (failed,) = listing.modules
    assert failed.path == "sub"
    assert "broken" in failed.details


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (("test_a.py",), ["test_a.py::test_1", "test_a.py::test_2"]),
        (("./test_a.py::test_2",), ["test_a.py::test_2"]),
        (
            ("sub/",),
            [
                f"sub/test_{rest}"
                for rest in ("b.py::TestB::test_1", "b.py::TestB::test_2", "c.py::test_x[1]", "c.py::test_x[2]")
            ],
        ),
        (("sub/test_b.py::TestB",), ["sub/test_b.py::TestB::test_1", "sub/test_b.py::TestB::test_2"]),
        (("sub/test_c.py::test_x",), ["sub/test_c.py::test_x[1]", "sub/test_c.py::test_x[2]"]),
        (("sub/test_c.py::test_x[2]", "test_a.py::test_1"), ["sub/test_c.py::test_x[2]", "test_a.py::test_1"]),
        (
            ("sub/test_b.py::TestB::test_1", "sub/test_b.py"),
            ["sub/test_b.py::TestB::test_1", "sub/test_b.py::TestB::test_2"],
        ),
        ((".",), None),
    ],
)
async def test_select(suite: Suite, select: tuple[str, ...], expected: list[str] | None) -> None:
    """Ids, files, classes and directories narrow the run; files that are not selected are not imported."""
    suite.write(THREE)
    if expected is not None:
        suite.write({"test_never.py": "raise RuntimeError\n"})
    listing = await suite.discover(Group(name="g", select=select))
    _, order = suite.plain("--collect-only")
    assert listing.ids == [test_id for test_id in order if expected is None or test_id in expected]
    assert listing.ids
    assert listing.modules == []


async def test_select_many(suite: Suite) -> None:
    """More ids than fit into a command line or an environment variable can be selected."""
    suite.write({"test_a.py": "import pytest\n@pytest.mark.parametrize('x', range(5000))\ndef test_x(x): ...\n"})
    everything = (await suite.discover()).ids
    wanted = everything[::2] + [f"test_a.py::test_gone[{'x' * 100}{number}]" for number in range(2000)]
    listing = await suite.discover(Group(name="g", select=tuple(wanted)))
    assert listing.ids == everything[::2]
    assert sum("test_gone" in line for line in listing.log) == 2000


async def test_select_nothing(suite: Suite) -> None:
    """What matches nothing is said in the log, and is no error."""
    suite.write(THREE)
    listing = await suite.discover(Group(name="g", select=("test_a.py::test_9", "nowhere")))
    assert listing.found == []
    said = "\n".join(listing.log)
    assert "test_a.py::test_9" in said
    assert "nowhere" in said


async def test_no_tests(suite: Suite) -> None:
    """A project without tests, or a filter that leaves none, is an empty list and no error."""
    assert (await suite.discover()).found == []
    suite.write(THREE)
    assert (await suite.discover(Group(name="g", filters=("-k", "nothing_like_it")))).found == []


async def test_items_without_a_file(suite: Suite) -> None:
    """Tests that a plugin makes outside of any file are listed and run too."""
    if pytest_version() < (8, 0):
        pytest.skip("directories are no collectors before pytest 8")
    suite.write(
        {
            "conftest.py": """
            import pytest

            class Odd(pytest.Item):
                def runtest(self): ...

                def reportinfo(self):
                    return self.path, None, "odd"

            class Folder(pytest.Directory):
                def collect(self):
                    yield Odd.from_parent(self, name="odd")

            def pytest_collect_directory(path, parent):
                if path.name == "odd":
                    return Folder.from_parent(parent, path=path)
            """,
            "odd/x": "",
            "test_a.py": "def test_1(): ...\n",
        }
    )
    _, order = suite.plain()
    listing = await suite.discover()
    assert sorted(listing.ids) == sorted(order) == ["odd::odd", "test_a.py::test_1"]
    assert set((await suite.run(listing.tests)).outcomes.values()) == {"passed"}


@pytest.mark.parametrize(
    ("options", "filters", "words"),
    [
        ({}, ("-m", "not ("), ["-m", "Wrong expression", "filters"]),
        ({}, ("--nope",), ["--nope", "exit code 4", "filters"]),
        ({"paths": ("absent",)}, (), ["absent", "paths"]),
        ({"command": "/no/such/python -m pytest"}, (), ["/no/such/python", "command"]),
        ({"command": f"{PYTHON} -S -m no_such_module"}, (), ["no_such_module", "exit code 1"]),
        ({"command": f"{PYTHON} -I -S -m pytest"}, (), ["No module named pytest", "Install pytest"]),
        ({"command": f"{PYTHON} -E -m pytest"}, (), ["PYTHONPATH"]),
        ({"command": f"{PYTHON} -c 'import os; os.kill(os.getpid(), 9)'"}, (), ["SIGKILL"]),
    ],
)
async def test_cannot_list(suite: Suite, options: dict[str, Any], filters: tuple[str, ...], words: list[str]) -> None:
    """A command that cannot list is an error with the command, how it ended, its last lines, and what to do."""
    suite.write(THREE)
    with pytest.raises(DiscoveryError) as caught:
        await suite.discover(Group(name="g", filters=filters), **options)
    for word in words:
        assert word in str(caught.value)
    assert "'g'" in str(caught.value)
    assert len(str(caught.value)) < 10_000


async def test_broken_conftest(suite: Suite) -> None:
    """A conftest at the root that does not import ends the listing, with its traceback."""
    suite.write(THREE)
    suite.write({"conftest.py": "import a_missing_thing\n"})
    with pytest.raises(DiscoveryError, match="a_missing_thing"):
        await suite.discover()


async def test_dies_while_listing(suite: Suite) -> None:
    """When the process dies half-way, what was listed stands, and the error tells how it died."""
    suite.write(THREE)
    suite.write({"tub/test_z.py": "import os\nos._exit(11)\n"})
    stream = suite.framework().discover(Group(name="g"), suite.launch([]))
    for _ in range(6):
        assert isinstance(await anext(stream), Test)
    with pytest.raises(DiscoveryError, match="exit code 11"):
        await anext(stream)


@pytest.mark.parametrize(
    ("command", "severity", "words"),
    [
        (f"{PYTHON} -m pytest", Severity.OK, "pytest "),
        ("/no/such/thing", Severity.ERROR, "/no/such/thing"),
        (f"{PYTHON} -I -S -m pytest", Severity.ERROR, "No module named pytest"),
        (f"{PYTHON} -c 'print(1)'", Severity.ERROR, "does not look like pytest"),
        ("echo pytest 6.2.5", Severity.ERROR, "too old"),
    ],
)
async def test_check(suite: Suite, command: str, severity: Severity, words: str) -> None:
    """`check` names the version, or what is wrong and what to do about it."""
    health = await suite.framework(command=command).check(suite.launch([]))
    (finding,) = health.findings
    assert finding.severity is severity
    assert words in finding.what
    assert bool(finding.remedy) == (severity is Severity.ERROR)
