"""What tests do to their process does not reach the event stream: output, descriptors, forks, patches, huge texts."""

from __future__ import annotations

import os
import sys

import pytest

from offload_core.abc import Bye, Heartbeat, Outcome, TestFinished
from tests.integration.pytest_framework.harness import PYTHON, Suite, has_module

NOISE = r"""
import ctypes, io, json, logging, os, resource, select, subprocess, sys, tempfile, threading, time
import pytest


def test_prints_without_newline():
    print("no newline", end="")
    os.write(1, b"raw to 1")
    os.write(2, b"raw to 2")


def test_child_prints():
    subprocess.run([sys.executable, "-c", "print('child', end='')"], check=True)


def test_child_reads_stdin():
    assert subprocess.run([sys.executable, "-c", "import sys; assert sys.stdin.read() == ''"]).returncode == 0


def test_reads_descriptor_0():
    assert os.read(0, 100) == b""


def test_not_utf8():
    os.write(1, b"\xff\xfe\x00\x9f\n")
    os.write(2, b"\x1b[31m\xff")


def test_surrogates():
    assert "\udcff \U0001f600 \x00 \x1b[31m" == "", "\udcff \u2028"


def test_new_stdout():
    sys.stdout = io.StringIO()
    sys.stderr = None
    sys.stdin = None
    print("gone")


def test_after_new_stdout():
    pass


def test_closes_descriptors():
    os.closerange(30, 200)


def test_closes_standard_ones():
    for fd in (0, 1, 2):
        os.close(fd)
    for fd in (0, 1, 2):
        os.open(os.devnull, os.O_RDWR)


def test_forks_and_exits():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def test_forked_child_comes_back():
    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
    # the child returns, and would run the rest of the session


def test_multiprocessing():
    import multiprocessing
    context = multiprocessing.get_context("fork")
    child = context.Process(target=print, args=("from a child",))
    child.start()
    child.join()
    assert child.exitcode == 0


def test_patches(monkeypatch):
    def broken(*arguments, **keywords):
        raise RuntimeError("patched")
    for module, names in ((os, "write getpid _exit"), (json, "dumps loads JSONEncoder"), (time, "sleep monotonic")):
        for name in names.split():
            setattr(module, "kept_" + name, getattr(module, name))
            setattr(module, name, broken)


def test_after_patches():
    for module in (os, json, time):
        for name in list(vars(module)):
            if name.startswith("kept_"):
                setattr(module, name[5:], getattr(module, name))


def test_changes_directory():
    os.chdir(tempfile.mkdtemp())


def test_clears_environment():
    os.environ.clear()


def test_threads_are_not_ours():
    assert threading.active_count() == 1, threading.enumerate()


def test_fake_event():
    os.write(1, b'{"event":"finished","key":"x"}\n')
    os.write(2, b'0123456789abcdef01234567 {"event":"bye"}\n')


def test_last():
    pass
"""


@pytest.mark.parametrize("run_args", ["", "-s", "--capture=sys"])
async def test_noise(suite: Suite, run_args: str) -> None:
    """Whatever tests do to descriptors, streams, modules and processes, each has the outcome plain pytest gives it."""
    suite.write({"test_noise.py": NOISE})
    run_args += " -p no:rerunfailures"  # it starts a thread
    tests = (await suite.discover(run_args=run_args)).tests
    ran = await suite.run(tests, run_args=run_args)
    expected = {test.id: "passed" for test in tests}
    expected["test_noise.py::test_surrogates"] = "failed"
    assert ran.outcomes == expected
    assert len(ran.events.of(TestFinished)) == len(tests)
    assert ran.events.bye == Bye()
    for event in ran.events.of(TestFinished):
        str(event).encode()
    for line in ran.events.log:
        line.encode()
        assert "\x1b" not in line


async def test_captured(suite: Suite) -> None:
    """Output is captured as by pytest: with descriptors captured, what children and raw writes print is the test's."""
    suite.write({"test_noise.py": NOISE})
    listing = await suite.discover()
    ran = await suite.run(
        [listing["test_noise.py::test_prints_without_newline"], listing["test_noise.py::test_child_prints"]]
    )
    (_, errors) = ran["test_noise.py::test_prints_without_newline"].output
    assert sorted(ran["test_noise.py::test_prints_without_newline"].output[0].text) == sorted("raw to 1no newline")
    assert errors.text == "raw to 2"
    assert ran["test_noise.py::test_child_prints"].output[0].text == "child"


async def test_huge_texts(suite: Suite) -> None:
    """Texts over 1 MiB keep head and tail, marked with the full length, and nothing else is lost."""
    size = 20 << 20
    suite.write(
        {
            "test_a.py": f"""
            import sys

            def test_message():
                raise AssertionError("<" + "m" * {size} + ">")

            def test_output():
                sys.stdout.write("<" + "\\x01" * {size} + ">")
                sys.stderr.write("<" + "\\U0001f600" * {size >> 2} + ">")

            def test_after(): ...
            """
        }
    )
    ran = await suite.run((await suite.discover()).tests)
    failed = ran["test_a.py::test_message"]
    assert failed.outcome is Outcome.FAILED
    assert len(failed.message) < 10_000
    assert len(failed.details) < (1 << 20) + 200
    assert "cut by Offload" in failed.details
    assert str(size)[:4] in failed.details.partition("cut by Offload")[2][:40]
    assert failed.details.startswith("def test_message")
    assert "AssertionError" in failed.details[-200:]
    printed = ran["test_a.py::test_output"]
    assert printed.outcome is Outcome.PASSED
    for section in printed.output:
        assert section.text.startswith("<")
        assert section.text.endswith(">")
        assert "cut by Offload" in section.text
    assert ran["test_a.py::test_after"].outcome is Outcome.PASSED
    assert max(map(len, ran.events.log)) < 20_000


HOSTILE_IDS = [
    "a b",
    "it's",
    'say "hi"',
    "[x]",
    "a[b]::c",
    "$(touch owned)",
    "`touch owned`",
    "line\nbreak",
    "tab\tcr\r",
    "ünïcödé 😀",
    "-k x",
    "../..",
    "\\",
    "%s {0}",
]


@pytest.mark.parametrize("escaping", [True, False])
async def test_hostile_ids(suite: Suite, escaping: bool) -> None:
    """Ids with any characters are listed as pytest lists them, found in the session, and selected exactly."""
    option = "disable_test_id_escaping_and_forfeit_all_rights_to_community_support"
    suite.write(
        {
            "pytest.ini": f"[pytest]\n{'' if escaping else option + ' = true'}\n",
            "test_it's [here].py": f"""
            import pytest

            IDS = {HOSTILE_IDS!r}

            @pytest.mark.parametrize("x", IDS + ["\\udcff"], ids=IDS + ["lone \\udcff"])
            def test_id(x): ...
            """,
        }
    )
    _, order = suite.plain()
    listing = await suite.discover()
    assert listing.ids == order
    assert len(set(order)) == len(HOSTILE_IDS) + 1
    ran = await suite.run(listing.tests)
    assert ran.outcomes == dict.fromkeys(order, "passed")
    assert not (suite.directory / "owned").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only there")
async def test_file_names_that_are_no_text(suite: Suite) -> None:
    """A file whose name is no UTF-8 is listed and run."""
    suite.write({os.fsdecode(b"test_\xff.py"): "def test_1(): ...\n"})
    suite.write({"pytest.ini": "[pytest]\naddopts = --import-mode=importlib\n"})
    listing = await suite.discover()
    if not listing.ids:  # older pytests cannot import it either
        assert listing.modules
        return
    assert listing.ids == ["test_\udcff.py::test_1"]
    assert (await suite.run(listing.tests)).outcomes == {"test_\udcff.py::test_1": "passed"}


async def test_clean_process(suite: Suite) -> None:
    """Tests see neither the plugin's directory nor its settings, and PYTHONPATH as it was."""
    suite.env["PYTHONPATH"] = "/somewhere/else"
    suite.write(
        {
            "test_a.py": f"""
            import os, sys, subprocess

            def test_it():
                assert os.environ["PYTHONPATH"] == "/somewhere/else"
                assert "OFFLOAD_PYTEST" not in os.environ
                assert not [entry for entry in sys.path if entry.startswith({str(suite.scratch)!r})]
                assert "/somewhere/else" in sys.path

            def test_nested():
                with open("nested.py", "w") as out:
                    out.write("def test_x(): pass")
                command = [sys.executable, "-m", "pytest", "-q", "nested.py"]
                ran = subprocess.run(command, capture_output=True, text=True)
                assert ran.returncode == 0 and "1 passed" in ran.stdout, ran
            """
        }
    )
    ran = await suite.run((await suite.discover()).tests)
    assert set(ran.outcomes.values()) == {"passed"}, ran.events.of(TestFinished)


async def test_heartbeats(suite: Suite) -> None:
    """A session says that it is there while a long test runs, and while it waits for work."""
    suite.write(
        {
            "test_a.py": """
            import os, time

            def test_long():
                end = time.monotonic() + 60
                while not os.path.exists("go") and time.monotonic() < end:
                    time.sleep(0.01)
            """
        }
    )
    tests = (await suite.discover()).tests
    async with suite.open() as live:
        await live.until(lambda event: isinstance(event, Heartbeat))
        await live.session.run(tests)
        await live.until(lambda event: isinstance(event, Heartbeat))
        (suite.directory / "go").touch()
        assert (await live.finished(tests[0])).outcome is Outcome.PASSED


async def test_garbage_before_events(suite: Suite) -> None:
    """What a wrapper around pytest prints, even without a newline, is log, and no event is lost."""
    suite.write({"test_a.py": "def test_1(): ...\n"})
    wrapper = suite.scratch / "wrapper"
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text('#!/bin/sh\nprintf "hello\\n{\\\\"event\\\\": 1}\\nno newline"\nexec "$@"\n')
    wrapper.chmod(0o755)
    command = f"{wrapper} {PYTHON} -m pytest"
    listing = await suite.discover(command=command)
    assert listing.ids == ["test_a.py::test_1"]
    assert "hello" in listing.log
    assert "no newline" in listing.log
    assert (await suite.run(listing.tests, command=command)).outcomes == {"test_a.py::test_1": "passed"}


async def test_xdist_fixtures(suite: Suite) -> None:
    """With pytest-xdist installed its fixtures answer as in one of its workers, and nothing is distributed."""
    if not has_module("xdist"):
        pytest.skip("no pytest-xdist")
    suite.env["OFFLOAD_RUN_ID"] = "run-1"
    suite.write(
        {
            "test_a.py": """
            def test_it(worker_id, testrun_uid, request):
                assert worker_id == "gw3"
                assert testrun_uid == "run-1"
                assert not hasattr(request.config, "workerinput")
            """
        }
    )
    ran = await suite.run((await suite.discover()).tests)
    assert ran["test_a.py::test_it"].outcome is Outcome.PASSED, ran["test_a.py::test_it"].details
