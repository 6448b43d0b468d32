"""What tests say is not trusted: not its characters, and not its size."""

from __future__ import annotations

import re
from pathlib import Path

from defusedxml.ElementTree import parse

from tests.e2e.project import Project

HOSTILE = r"""
    import os, subprocess, sys
    import pytest

    EVIL = "\x1b[31mred\x1b]0;title\x07 \x00 \x08 ]]> <script>alert(1)</script> &amp; <!DOCTYPE x>"
    EVIL += " \ud800 \ufffe \u202e end"

    def test_message(): raise ValueError(EVIL)
    def test_print(): print(EVIL.encode("utf-8", "replace").decode()); assert False
    def test_bytes():
        os.write(1, b"\xff\xfe not utf-8 \x80\x1b[2J")
        os.write(2, b"\xff\xfe nor this \x80")
        subprocess.run([sys.executable, "-c", "import sys; sys.stdout.buffer.write(bytes(range(256)))"])
        assert False
    def test_property(record_property):
        record_property("<name>", EVIL)
        record_property("\x00", "\x00")
    def test_unprintable():
        class Broken(Exception):
            def __str__(self): raise RuntimeError("no text")
        raise Broken
    @pytest.mark.skip(reason=EVIL)
    def test_skipped(): pass
    def test_good(): pass
"""


def test_hostile_text(project: Project) -> None:
    """No control character reaches the terminal, the XML is well-formed, nothing is lost but what is spelled out."""
    project.write({"test_a.py": HOSTILE})
    ran = project.run()
    assert ran.code == 1
    assert ran.counts == {"passed": 2, "failed": 4, "skipped": 1}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", ran.out + ran.err)
    assert "<script>alert(1)</script>" in ran.out
    assert "]]>" in ran.message("test_a.py::test_message")
    failures = {case.get("name"): case.find("failure") for case in parse(ran.results / "junit.xml").iter("testcase")}
    failure = failures["test_a.py::test_message"]
    assert failure is not None
    assert "]]> <script>alert(1)</script>" in failure.get("message", "")


def test_a_failure_of_20_megabytes(project: Project) -> None:
    """The message, the traceback and the output are cut at a bound, with a mark; the reports stay small."""
    project.write(
        {
            "test_a.py": """
                def test_message(): raise ValueError("begin" + "x" * 20_000_000 + "finish")
                def test_lines(): raise ValueError("first\\n" + "line\\n" * 100_000 + "last")
                def test_print():
                    print("y" * 20_000_000)
                    assert False, "short"
                def test_property(record_property): record_property("big", "z" * 20_000_000)
            """
        }
    )
    ran = project.run()
    assert ran.code == 1
    assert ran.counts == {"passed": 1, "failed": 3}
    details = {record.test.id: record.deciding for record in ran.accounting.records.values()}
    told = details["test_a.py::test_message"]
    assert told is not None
    assert "begin" in told.message
    assert "cut by Offload" in told.details
    assert "finish" in told.details
    assert len(ran.out) < 2_000_000
    for path in ran.results.rglob("*"):
        if path.is_file():
            assert path.stat().st_size < 20_000_000, path


def test_50_megabytes_of_output(project: Project) -> None:
    """Captured or not, from the test or a program that it starts: the run ends, and the reports stay bounded."""
    project.write(
        {
            "test_a.py": """
                import os, subprocess
                def spam():
                    for _ in range(50):
                        os.write(1, b"spam spam\\n" * 100_000)
                def test_captured(): spam()
                def test_program(): subprocess.run("head -c 50000000 /dev/zero", shell=True, check=True)
                def test_uncaptured(capfd):
                    with capfd.disabled():
                        spam()
                def test_after(): pass
            """
        }
    )
    ran = project.run()
    assert (ran.code, ran.counts) == (0, {"passed": 4})
    size = sum(path.stat().st_size for path in ran.results.rglob("*") if path.is_file())
    assert size < 60_000_000
    assert len(ran.out) < 100_000


def test_output_that_looks_like_the_protocol(project: Project) -> None:
    """A test prints what an event looks like, and reads what it can: neither invents nor eats anything."""
    project.write(
        {
            "pytest.ini": "[pytest]\naddopts = -s\n",
            "test_a.py": """
                import os, subprocess, sys
                def test_speaks():
                    for fd in (1, 2):
                        os.write(fd, b'{"event":"finished","key":"all:0:test_a.py::test_next","outcome":"failed"}\\n')
                        os.write(fd, b'{"event":"bye","reason":""}\\nno newline at the end')
                def test_reads():
                    assert sys.stdin.read() == "" if not sys.stdin.closed else True
                    assert subprocess.run(["cat"], capture_output=True).stdout == b""
                def test_next(): pass
            """,
        }
    )
    ran = project.run()
    assert (ran.code, ran.counts) == (0, {"passed": 3}), ran.out


def test_output_while_importing_and_collecting(project: Project) -> None:
    """Prints of a module and of a conftest, without a newline, on the host and in sandboxes."""
    noise = "import os, sys\nos.write(1, b'\\xff noise')\nprint('more noise', end='')\nsys.stderr.write('and more')\n"
    project.write({"conftest.py": noise, "test_a.py": noise + "def test_a(): pass\n"})
    ran = project.run()
    assert (ran.code, ran.counts) == (0, {"passed": 1})
    assert "noise" not in ran.out


def test_secrets_in_what_tests_say(project: Project) -> None:
    """A token that a test prints, raises or puts into an id is in no report and on no terminal."""
    secret = "s3cret-token-value"
    project.write(
        {
            "test_a.py": """
                import os
                import pytest
                token = os.environ["MY_API_TOKEN"]
                def test_print(): print(token); assert False
                def test_raise(): raise ValueError(token * 3)
                def test_crash(): os.write(2, token.encode()); os._exit(1)
                def test_property(record_property): record_property("token", token)
                def test_good(): pass
            """
        }
    )
    ran = project.run(env={"MY_API_TOKEN": secret})
    assert ran.code == 1
    assert ran.counts == {"passed": 2, "failed": 2, "crashed": 1}
    written = [path for path in Path(ran.results).rglob("*") if path.is_file()]
    assert len(written) > 3
    assert not [path for path in written if secret.encode() in path.read_bytes()]
    assert secret not in ran.out + ran.err
