"""A warm session: asked for tests in any order, revoked, closed, broken by what tests do; never blamed on others."""

from __future__ import annotations

import asyncio

import pytest

from offload_core.abc import (
    Bye,
    Hello,
    ModuleStarted,
    Outcome,
    TestFinished,
    TestStarted,
)
from offload_core.errors import ConnectionLost
from tests.integration.pytest_framework.harness import Suite, alive, many, pytest_version

TWO_FILES = {
    "conftest.py": """
        import os, pytest

        def note(what):
            with open(os.environ["NOTES"], "a") as out:
                out.write(what + "\\n")

        @pytest.fixture(scope="session", autouse=True)
        def session():
            note("session up")
            yield
            note("session down")

        @pytest.fixture(scope="module", autouse=True)
        def module(request):
            note(request.module.__name__ + " up")
            yield
            note(request.module.__name__ + " down")
    """,
    "test_a.py": "def test_1(): ...\ndef test_2(): ...\ndef test_3(): ...\n",
    "test_b.py": "def test_1(): ...\ndef test_2(): ...\n",
}
GATE = """
    import os, time

    def wait_for(name):
        end = time.monotonic() + 60
        while not os.path.exists(name):
            assert time.monotonic() < end
            time.sleep(0.005)
"""


def notes(suite: Suite) -> list[str]:
    """What the fixtures noted."""
    return (suite.scratch / "notes").read_text().splitlines()


@pytest.fixture
def noting(suite: Suite) -> Suite:
    """A suite whose fixtures note when they come and go."""
    suite.scratch.mkdir()
    suite.write(TWO_FILES)
    suite.env["NOTES"] = str(suite.scratch / "notes")
    return suite


async def test_stays_warm_while_it_waits(noting: Suite) -> None:
    """Between two requests nothing is torn down; shared fixtures go when another module's test comes, or at close."""
    listing = await noting.discover()
    async with noting.open() as live:
        assert isinstance(await live.until(lambda event: True), Hello)
        for test_id in ("test_a.py::test_3", "test_a.py::test_1"):
            await live.session.run([listing[test_id]])
            assert (await live.finished(listing[test_id])).outcome is Outcome.PASSED
            assert notes(noting) == ["session up", "test_a up"]
        await live.session.run([listing["test_b.py::test_2"]])
        await live.finished(listing["test_b.py::test_2"])
        assert notes(noting) == ["session up", "test_a up", "test_a down", "test_b up"]
        await live.session.close()
        assert (await live.rest()).ok
        assert live.bye == Bye()
        assert notes(noting)[-2:] == ["test_b down", "session down"]
        assert [event.path for event in live.of(ModuleStarted)] == ["test_a.py", "test_b.py"]


async def test_events_of_a_test(noting: Suite) -> None:
    """Each test starts once and finishes once, in the order asked for, and a module is announced before its tests."""
    tests = (await noting.discover()).tests[::-1]
    ran = await noting.run(tests)
    told = [event.key for event in ran.events.events if isinstance(event, (TestStarted, TestFinished))]
    assert told == [test.key for test in tests for _ in range(2)]
    assert isinstance(ran.events.events[0], Hello)
    assert "pytest" in ran.events.of(Hello)[0].versions
    assert isinstance(ran.events.events[1], ModuleStarted)


async def test_revoke(suite: Suite) -> None:
    """Revoking returns just what had not started: that never runs, the rest does; it can be asked for again."""
    suite.write(
        {
            "gate.py": GATE,
            "conftest.py": "import sys, os; sys.path.insert(0, os.path.dirname(__file__))",
            "test_a.py": "import gate\ndef test_0(): gate.wait_for('go')\n"
            + "".join(f"def test_{number}(): ...\n" for number in range(1, 6)),
        }
    )
    tests = (await suite.discover()).tests
    async with suite.open() as live:
        await live.session.run(tests)
        await live.until(lambda event: event == TestStarted(tests[0].key))
        assert list(await live.session.revoke([tests[0], tests[2], tests[4]])) == [tests[2], tests[4]]
        assert list(await live.session.revoke([tests[2]])) == []
        await live.session.run([tests[2]])
        (suite.directory / "go").touch()
        await live.finished(tests[2])
        await live.session.close()
        await live.rest()
        assert [event.key for event in live.of(TestFinished)] == [tests[n].key for n in (0, 1, 3, 5, 2)]
        with pytest.raises(ConnectionLost):
            await live.session.revoke(tests)


@pytest.mark.parametrize("how", ["close", "eof"])
async def test_close_drops_the_queue(suite: Suite, how: str) -> None:
    """After `close`, or when the core is gone, the running test ends, the queue is dropped, and a goodbye follows."""
    suite.write(
        {
            "test_a.py": """
            import sys, time

            def test_0():
                requests = sys.modules["offload_pytest_plugin"]._work.requests
                end = time.monotonic() + 60
                while not requests.closing:  # until the plugin has been told
                    assert time.monotonic() < end
                    time.sleep(0.005)

            def test_1(): ...
            """,
        }
    )
    tests = (await suite.discover()).tests
    async with suite.open() as live:
        await live.session.run(tests)
        await live.until(lambda event: event == TestStarted(tests[0].key))
        if how == "close":
            await live.session.close()
            await live.session.close()
        else:
            await live.process.close_stdin()
        await live.rest()
        assert [(event.key, event.message) for event in live.of(TestFinished)] == [(tests[0].key, "")]
        assert live.bye == Bye()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [("pytest.exit('enough')", "pytest.exit: enough"), ("raise KeyboardInterrupt", "KeyboardInterrupt")],
)
@pytest.mark.parametrize("phase", ["call", "setup", "teardown", "module teardown"])
async def test_exit(suite: Suite, statement: str, reason: str, phase: str) -> None:
    """`pytest.exit()` and Ctrl-C are that test's error and the session's end; the rest has not run."""
    scope = "module" if phase == "module teardown" else "function"
    suite.write(
        {
            "test_a.py": f"""
            import pytest

            @pytest.fixture(scope="{scope}")
            def it():
                {statement if phase == "setup" else "pass"}
                yield
                {statement if phase.endswith("teardown") else "pass"}

            def test_1(it):
                {statement if phase == "call" else "pass"}
            """,
            "test_b.py": "def test_2(): ...",
        }
    )
    tests = (await suite.discover()).tests
    ran = await suite.run(tests)
    assert ran.outcomes == {"test_a.py::test_1": "error"}
    assert ran.events.bye is not None
    assert (reason if phase != "module teardown" else reason.rpartition(" ")[2]) in ran.events.bye.reason


async def test_should_stop(suite: Suite) -> None:
    """A plugin that asks pytest to stop is obeyed: the session ends after the test, with the reason."""
    suite.write({"test_a.py": "def test_1(request): request.session.shouldstop = 'no more'\ndef test_2(): ...\n"})
    ran = await suite.run((await suite.discover()).tests)
    assert ran.outcomes == {"test_a.py::test_1": "passed"}
    assert ran.events.bye == Bye("no more")


async def test_hook_fails(suite: Suite) -> None:
    """An exception out of a hook, for plain pytest an internal error, is that test's error, explained."""
    suite.write(
        {
            "conftest.py": "def pytest_runtest_protocol(item):\n    assert item.name != 'test_1', 'hook'",
            "test_a.py": "def test_1(): ...\ndef test_2(): ...\n",
        }
    )
    ran = await suite.run((await suite.discover()).tests)
    assert ran.outcomes == {"test_a.py::test_1": "error"}
    assert "hook" in ran["test_a.py::test_1"].message
    assert "pytest_runtest_protocol" in ran["test_a.py::test_1"].details
    assert ran.events.bye is not None
    assert "hook" in ran.events.bye.reason


@pytest.mark.parametrize(
    ("statement", "code", "signal"),
    [
        ("os._exit(7)", 7, None),
        ("os.kill(os.getpid(), 9)", None, 9),
        ("os.kill(os.getpid(), 11)", None, 11),
    ],
)
async def test_process_dies(suite: Suite, statement: str, code: int | None, signal: int | None) -> None:
    """When the process dies in a test, the events end after that test's start without a goodbye; the exit tells how."""
    suite.write(
        {
            "test_a.py": f"""
            import os

            def test_1(): ...

            def test_2():
                os.write(2, b"last words\\n")
                {statement}

            def test_3(): ...
            """
        }
    )
    tests = (await suite.discover()).tests
    async with suite.open(run_args="-s") as live:
        await live.session.run(tests)
        ended = await live.rest()
        assert live.events[-1] == TestStarted(tests[1].key)
        assert [event.key for event in live.of(TestFinished)] == [tests[0].key]
        assert (ended.code, ended.signal) == (code, signal)
        assert ("last words" if signal != 11 else "Fatal Python error: Segmentation fault") in ended.reason


async def test_process_dies_beside_a_child(suite: Suite) -> None:
    """A forked child that lives on does not hide the death of the process."""
    suite.write(
        {
            "test_a.py": """
            import os, time

            def test_1():
                if os.fork() == 0:
                    time.sleep(100)
                os._exit(3)
            """
        }
    )
    tests = (await suite.discover()).tests
    async with suite.open() as live:
        await live.session.run(tests)
        assert (await live.rest()).code == 3
        assert live.bye is None


async def test_import_dies(suite: Suite) -> None:
    """When importing a module ends the process, that module's announcement is the last event."""
    suite.write(
        {
            "test_a.py": "def test_1(): ...\n",
            "test_b.py": "import os\nif os.path.exists('armed'): os._exit(9)\ndef test_2(): ...\n",
        }
    )
    tests = (await suite.discover()).tests
    (suite.directory / "armed").touch()
    async with suite.open() as live:
        await live.session.run(tests)
        assert (await live.rest()).code == 9
        assert live.events[-1] == ModuleStarted("test_b.py")
        assert [event.key for event in live.of(TestFinished)] == [tests[0].key]


@pytest.mark.parametrize(
    ("armed", "outcome", "words"),
    [
        ("import nowhere", Outcome.ERROR, "nowhere"),
        ("raise SystemExit(1)", Outcome.ERROR, "SystemExit"),
        ("pytest.exit('bye')", Outcome.ERROR, "bye"),
        ("raise KeyboardInterrupt", Outcome.ERROR, "KeyboardInterrupt"),
        ("pytest.skip('not here', allow_module_level=True)", Outcome.SKIPPED, "not here"),
    ],
)
async def test_import_fails(suite: Suite, armed: str, outcome: Outcome, words: str) -> None:
    """A module that does not import in the sandbox, or skips itself there: each of its tests says so, others run."""
    suite.write(
        {
            "test_a.py": f"""
            import os, pytest
            if os.path.exists("armed"): {armed}
            def test_1(): ...
            def test_2(): ...
            """,
            "test_b.py": "def test_3(): ...\n",
        }
    )
    tests = (await suite.discover()).tests
    (suite.directory / "armed").touch()
    ran = await suite.run([tests[0], tests[2], tests[1]])
    assert ran.outcomes["test_b.py::test_3"] == "passed"
    for test_id in ("test_a.py::test_1", "test_a.py::test_2"):
        assert ran[test_id].outcome is outcome
        assert words in ran[test_id].message + ran[test_id].details
    assert ran.events.bye == Bye()


async def test_directory_fails(suite: Suite) -> None:
    """A conftest that does not import in the sandbox is the error of the tests below it, up to pytest 7 of all."""
    suite.write(
        {
            "sub/conftest.py": "import os\nif os.path.exists('armed'): raise RuntimeError('broken conftest')\n",
            "sub/test_a.py": "def test_1(): ...\n",
            "test_b.py": "def test_2(): ...\n",
        }
    )
    tests = (await suite.discover()).tests
    (suite.directory / "armed").touch()
    ran = await suite.run(tests)
    assert ran["sub/test_a.py::test_1"].outcome is Outcome.ERROR
    assert "broken conftest" in ran["sub/test_a.py::test_1"].details
    assert ran["test_b.py::test_2"].outcome is (Outcome.PASSED if pytest_version() >= (8, 0) else Outcome.ERROR)
    assert ran.events.bye == Bye()


async def test_unknown_ids(suite: Suite) -> None:
    """An id that does not exist in the sandbox is an error that names the nearest ids; others run."""
    suite.write({"test_a.py": "def test_first(): ...\ndef test_second(): ...\n"})
    tests = (await suite.discover()).tests
    near = many(tests, "test_a.py::test_frist")
    nowhere = many(tests, "test_aa.py::test_first")
    ran = await suite.run([near, nowhere, *tests])
    assert ran.outcomes["test_a.py::test_second"] == "passed"
    assert ran[near.id].outcome is Outcome.ERROR
    assert "test_a.py::test_first" in ran[near.id].details
    assert ran[nowhere.id].outcome is Outcome.ERROR
    assert "test_a.py" in ran[nowhere.id].details


async def test_one_id_many_times(suite: Suite) -> None:
    """Tests that share an id are different tests: each runs, whatever the order they are asked for in."""
    suite.write(
        {
            "conftest.py": """
            import pytest

            class Twice(pytest.Item):
                def runtest(self):
                    assert self.number != 1, self.number

                def reportinfo(self):
                    return self.path, 0, "twice"

            class File(pytest.File):
                def collect(self):
                    for number in range(3):
                        item = Twice.from_parent(self, name="same")
                        item.number = number
                        yield item

            def pytest_collect_file(file_path, parent):
                if file_path.suffix == ".yaml":
                    return File.from_parent(parent, path=file_path)
            """,
            "data.yaml": "",
            "test_it.py": '"""\n>>> 1\n1\n"""\ndef test_it(): ...\n',
        }
    )
    listing = await suite.discover(run_args="--doctest-modules")
    tests = listing.tests
    assert len({test.key for test in tests}) == len(tests)
    assert [test.id for test in tests].count("data.yaml::same") == 3
    ran = await suite.run(tests[::-1], run_args="--doctest-modules")
    by_key = {event.key: event.outcome.value for event in ran.events.of(TestFinished)}
    assert [by_key[test.key] for test in tests if test.id == "data.yaml::same"] == ["passed", "failed", "passed"]
    assert sorted(by_key.values()) == ["failed", *["passed"] * (len(tests) - 1)]


async def test_removed_items_stay(suite: Suite) -> None:
    """What a conftest's hook removes when it sees one file is kept; the marks that it adds hold; new ids are found."""
    suite.write(
        {
            "conftest.py": """
            import os, pytest

            def pytest_collection_modifyitems(items):
                for item in items:
                    item._nodeid = item.nodeid.replace("old", "new") if hasattr(item, "_nodeid") else item.nodeid
                    if item.name == "test_marked":
                        item.add_marker(pytest.mark.skip(reason="marked"))
                if os.path.exists("armed"):
                    del items[:]
            """,
            "test_a.py": "def test_kept(): ...\ndef test_marked(): assert False\ndef test_old(): ...\n",
        }
    )
    tests = (await suite.discover()).tests
    (suite.directory / "armed").touch()
    ran = await suite.run(tests)
    assert list(ran.outcomes.values()) == ["passed", "skipped", "passed"]


async def test_hook_fails_on_one_file(suite: Suite) -> None:
    """A `pytest_collection_modifyitems` that fails in the sandbox makes its file's tests errors that say so."""
    suite.write(
        {
            "conftest.py": """
            import os

            def pytest_collection_modifyitems(items):
                if os.path.exists("armed"):
                    raise LookupError("not all here")
            """,
            "test_a.py": "def test_1(): ...\n",
        }
    )
    tests = (await suite.discover()).tests
    (suite.directory / "armed").touch()
    ran = await suite.run(tests)
    assert ran["test_a.py::test_1"].outcome is Outcome.ERROR
    assert "not all here" in ran["test_a.py::test_1"].message
    assert ran.events.bye == Bye()


async def test_kill(suite: Suite) -> None:
    """`kill` ends the process and what it started at once, keeps what was said before, and can be called twice."""
    suite.write(
        {
            "test_a.py": """
            import subprocess, sys, time

            def test_0(): ...

            def test_1():
                child = subprocess.Popen(
                    [sys.executable, "-c", "import os, time; os.setsid(); open('up', 'w').close(); time.sleep(1000)"],
                    start_new_session=False, preexec_fn=None,
                )
                open("pid", "w").write(str(child.pid))
                time.sleep(1000)
            """
        }
    )
    tests = (await suite.discover()).tests
    async with suite.open() as live:
        await live.session.run(tests)
        await live.until(lambda event: event == TestStarted(tests[1].key))
        async with asyncio.timeout(60):
            while not (suite.directory / "up").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await live.session.kill()
        await live.session.kill()
        ended = await live.rest()
        assert ended.signal == 9
        assert live.bye is None
        pid = int((suite.directory / "pid").read_text())
        assert not alive(pid)


async def test_does_not_start(suite: Suite) -> None:
    """A session whose pytest refuses to start ends without `Hello`; its exit has the last words."""
    suite.write({"test_a.py": "def test_1(): ...\n"})
    async with suite.open(run_args="--no-such-option") as live:
        ended = await live.rest()
        assert live.events == []
        assert ended.code == 4
        assert "--no-such-option" in ended.reason


async def test_cancelled_waits_lose_nothing(noting: Suite) -> None:
    """An event whose wait was cancelled comes with the next wait."""
    tests = (await noting.discover()).tests
    async with noting.open() as live:
        for _ in range(20):
            waiting = asyncio.ensure_future(anext(live.session.events))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
        await live.session.run(tests)
        await live.finished(tests[-1])
        await live.session.close()
        await live.rest()
        assert isinstance(live.events[0], Hello)
        assert len(live.of(TestFinished)) == len(tests)
