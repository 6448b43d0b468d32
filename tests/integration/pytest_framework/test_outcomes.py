"""Outcomes are those of plain pytest, test by test, in any order, and every result says what pytest says."""

from __future__ import annotations

import random

import pytest

from offload_core.abc import Outcome, TeardownFailed
from tests.integration.pytest_framework.harness import Suite, has_module, pytest_version

pytestmark = pytest.mark.versions

RICH = {
    "pytest.ini": """
        [pytest]
        addopts = --doctest-modules --doctest-glob=*.txt
        xfail_strict = false
        markers =
            slow: slow
    """,
    "conftest.py": """
        import pytest

        stack = []

        @pytest.fixture(scope="session", autouse=True)
        def whole_session():
            stack.append("session")
            yield stack
            assert stack.pop() == "session" and not stack

        def pytest_collection_modifyitems(items):
            for item in items:
                if "slow" in item.keywords:
                    item.add_marker(pytest.mark.skip(reason="slow"))
    """,
    "test_top.py": '''
        import unittest
        import pytest

        def documented():
            """
            >>> 1 + 1
            2
            """

        def wrongly_documented():
            """
            >>> 1 + 1
            3
            """

        @pytest.fixture(scope="module")
        def module_value(whole_session):
            whole_session.append("top")
            yield len(whole_session)
            assert whole_session.pop() == "top"

        @pytest.fixture(scope="class")
        def class_value(module_value, whole_session):
            whole_session.append("class")
            yield len(whole_session)
            assert whole_session.pop() == "class"

        @pytest.fixture
        def function_value(module_value, whole_session):
            whole_session.append("function")
            yield
            assert whole_session.pop() == "function"

        def test_module(module_value):
            assert module_value == 2

        class TestClass:
            def test_one(self, class_value):
                assert class_value == 3

            def test_two(self, class_value, function_value):
                assert class_value == 3

        class TestOther:
            def test_fresh(self, class_value):
                assert class_value == 3

        def test_fails():
            assert [1, 2] == [1, 3]

        @pytest.mark.slow
        def test_slow():
            raise AssertionError

        @pytest.mark.skip(reason="not today")
        def test_skipped(): ...

        def test_skips():
            pytest.skip("later")

        @pytest.mark.xfail(reason="known")
        def test_xfail():
            assert False

        @pytest.mark.xfail(reason="known")
        def test_xpass(): ...

        @pytest.mark.xfail(reason="known", strict=True)
        def test_xpass_strict(): ...

        @pytest.mark.xfail(raises=ValueError)
        def test_xfail_other():
            raise KeyError

        @pytest.mark.xfail(run=False, reason="never")
        def test_not_run():
            raise SystemExit

        @pytest.fixture
        def bad_setup():
            raise RuntimeError("no setup")

        @pytest.fixture
        def bad_teardown():
            yield
            raise RuntimeError("no teardown")

        def test_bad_setup(bad_setup): ...

        def test_bad_teardown(bad_teardown): ...

        def test_bad_call_and_teardown(bad_teardown):
            assert False

        @pytest.mark.xfail
        def test_xfail_in_setup(bad_setup): ...

        def test_unknown_fixture(nothing): ...

        def test_exits():
            raise SystemExit(3)

        class TestUnit(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                cls.shared = []

            def setUp(self):
                self.shared.append(self._testMethodName)

            def test_equal(self):
                self.assertEqual(self.shared[-1], "test_equal")

            def test_unequal(self):
                self.assertEqual(1, 2)

            @unittest.skip("no")
            def test_skipped(self): ...

            @unittest.expectedFailure
            def test_expected(self):
                self.fail()

            @unittest.expectedFailure
            def test_unexpected(self): ...

            def test_subtests(self):
                for number in range(3):
                    with self.subTest(number=number):
                        self.assertNotEqual(number, 1)

        class TestBadUnit(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                raise RuntimeError

            def test_never(self): ...
    ''',
    "package/__init__.py": "",
    "package/conftest.py": """
        import pytest

        log = []

        @pytest.fixture(scope="package", autouse=True)
        def of_package(whole_session):
            assert log == [] or log[-1] == "down"
            log.append("up")
            yield log
            log.append("down")

        @pytest.fixture(params=["a", "b"])
        def letter(request):
            return request.param
    """,
    "package/test_first.py": """
        def test_up(of_package):
            assert of_package[-1] == "up"

        def test_letter(letter):
            assert letter == "a"
    """,
    "package/test_second.py": """
        def test_up(of_package):
            assert of_package[-1] == "up"
    """,
    "package/inner/__init__.py": "",
    "package/inner/conftest.py": """
        import pytest

        @pytest.fixture(autouse=True)
        def always(request):
            request.node.inner = True
    """,
    "package/inner/test_inner.py": """
        import pytest

        def test_autouse(request, of_package):
            assert request.node.inner and of_package[-1] == "up"

        @pytest.mark.parametrize("x", [1, 2, 3])
        @pytest.mark.parametrize("y", ["p q", "r/s"])
        def test_product(x, y):
            assert x != 2
    """,
    "plain/conftest.py": """
        import pytest

        @pytest.fixture(scope="module", params=[0, 1], ids=["zero", "one"])
        def number(request):
            yield request.param

        @pytest.fixture(autouse=True)
        def plainly(request):
            request.node.plainly = True
    """,
    "plain/test_numbers.py": """
        def test_small(number, request):
            assert number < 1 and request.node.plainly

        def test_any(number): ...
    """,
    "plain/test_autouse.py": """
        def test_plainly(request):
            assert request.node.plainly
    """,
    "notes.txt": """
        >>> 2 * 3
        6
    """,
    "test_bad_class.py": """
        class TestX:
            def test_a(self): ...

        def setup_module():
            raise RuntimeError("setup_module")

        def test_b(): ...
    """,
}


async def test_same_as_plain(suite: Suite) -> None:
    """Fixtures of every scope, subdirectories' conftests, unittest, doctests, expected failures: as plain pytest."""
    suite.write(RICH)
    expected, order = suite.plain()
    listing = await suite.discover()
    assert listing.ids == order
    assert len(expected) > 40
    assert (await suite.run(listing.tests)).outcomes == expected


@pytest.mark.parametrize("seed", range(4))
async def test_same_in_any_order(suite: Suite, seed: int) -> None:
    """Modules in any order and interleaved, test by test: the outcomes stay those of plain pytest."""
    suite.write(RICH)
    expected, _ = suite.plain()
    tests = (await suite.discover()).tests
    random.Random(seed).shuffle(tests)
    assert (await suite.run(tests)).outcomes == expected


async def test_subtests(suite: Suite) -> None:
    """A test with a failed subtest has failed, and its details name the subtest; skipped ones change nothing."""
    if pytest_version() < (9, 0) and not (has_module("pytest_subtests") and pytest_version() >= (7, 4)):
        pytest.skip("no subtests fixture that works with this pytest")
    suite.write(
        {
            "test_it.py": """
            import pytest

            def test_some(subtests):
                for number in range(3):
                    with subtests.test(msg="part", number=number):
                        assert number != 1, "not one"

            def test_all(subtests):
                with subtests.test(msg="fine"):
                    pass

            def test_skip(subtests):
                with subtests.test(msg="fine"):
                    pytest.skip("no")
            """
        }
    )
    expected, _ = suite.plain()
    ran = await suite.run((await suite.discover()).tests)
    assert ran.outcomes == expected
    assert ran.outcomes["test_it.py::test_some"] == "failed"
    assert ran.outcomes["test_it.py::test_all"] == "passed"
    failed = ran["test_it.py::test_some"]
    assert "part" in failed.details
    assert "number=1" in failed.details
    assert "not one" in failed.details


async def test_reruns(suite: Suite) -> None:
    """With pytest-rerunfailures only the last try counts."""
    if not has_module("pytest_rerunfailures"):
        pytest.skip("no pytest-rerunfailures")
    suite.write(
        {
            "pytest.ini": "[pytest]\naddopts = --reruns 2",
            "test_it.py": """
            tries = []

            def test_second_time():
                tries.append(1)
                assert len(tries) > 1

            def test_never():
                assert False
            """,
        }
    )
    assert (await suite.run((await suite.discover()).tests)).outcomes == {
        "test_it.py::test_second_time": "passed",
        "test_it.py::test_never": "failed",
    }


async def test_what_a_result_says(suite: Suite) -> None:
    """A result has the message in one line, the traceback, what was captured, properties, a duration, file and line."""
    suite.write(
        {
            "test_it.py": """
            import logging, sys
            import pytest

            def test_it(record_property):
                record_property("size", 3)
                print("to stdout")
                print("to stderr", file=sys.stderr)
                logging.warning("to the log")
                value = 1
                assert value == 2, "first line\\nsecond line"

            def test_skip():
                pytest.skip("not here")

            @pytest.mark.xfail(reason="some day")
            def test_xfail():
                raise ValueError("boom")
            """
        }
    )
    listing = await suite.discover()
    assert (listing.tests[0].file, listing.tests[0].line) == ("test_it.py", 5)
    ran = await suite.run(listing.tests)
    failed = ran["test_it.py::test_it"]
    assert failed.message == "AssertionError: first line"
    assert "value = 1" in failed.details
    assert "second line" in failed.details
    sections = {section.title: section.text for section in failed.output}
    assert "to stdout" in sections["Captured stdout call"]
    assert "to stderr" in sections["Captured stderr call"]
    assert "to the log" in sections["Captured log call"]
    assert failed.properties == (("size", "3"),)
    assert failed.duration > 0
    assert ran["test_it.py::test_skip"].message == "not here"
    assert ran["test_it.py::test_xfail"].message == "some day"
    assert "boom" in ran["test_it.py::test_xfail"].details


async def test_call_and_teardown_both_fail(suite: Suite) -> None:
    """A test that fails in its call and its teardown is `failed`, with both explained; in one phase else, `error`."""
    suite.write(
        {
            "test_it.py": """
            import pytest

            @pytest.fixture
            def bad():
                yield
                raise RuntimeError("in teardown")

            def test_both(bad):
                assert False, "in call"

            def test_teardown(bad): ...
            """
        }
    )
    ran = await suite.run((await suite.discover()).tests)
    both = ran["test_it.py::test_both"]
    assert both.outcome is Outcome.FAILED
    assert "in call" in both.message
    assert "in call" in both.details
    assert "in teardown" in both.details
    assert ran["test_it.py::test_teardown"].outcome is Outcome.ERROR
    assert "in teardown" in ran["test_it.py::test_teardown"].message


async def test_shared_teardown_fails(suite: Suite) -> None:
    """A module's or the session's fixture that fails at its end is blamed on the last test before, not on the next."""
    suite.write(
        {
            "conftest.py": """
            import pytest

            @pytest.fixture(scope="session")
            def of_session():
                yield
                raise RuntimeError("session teardown")
            """,
            "test_a.py": """
            import pytest

            @pytest.fixture(scope="module")
            def of_module():
                yield
                print("on the way out")
                raise RuntimeError("module teardown")

            def test_one(of_module): ...

            def test_two(of_module): ...
            """,
            "test_b.py": "def test_three(of_session): ...\ndef test_four(): ...\n",
        }
    )
    expected, _ = suite.plain()
    ran = await suite.run((await suite.discover()).tests)
    assert ran.outcomes == expected
    first, second = ran.events.of(TeardownFailed)
    assert first.key.endswith("test_a.py::test_two")
    assert "module teardown" in first.message
    assert "of_module" in first.details
    assert second.key.endswith("test_b.py::test_four")
    assert "session teardown" in second.message
    assert ran.events.bye is not None


async def test_warning_filters_hold(suite: Suite) -> None:
    """`filterwarnings = error` holds while a file is imported and while shared fixtures are torn down."""
    suite.write(
        {
            "pytest.ini": "[pytest]\nfilterwarnings = error\n",
            "test_a.py": """
            import warnings
            import pytest

            @pytest.fixture(scope="module")
            def late():
                yield
                warnings.warn("too late")

            def test_it(late): ...
            """,
            "test_b.py": "def test_it(): ...\n",
            "test_c.py": "import warnings\nwarnings.warn('at import')\ndef test_it(): ...\n",
        }
    )
    listing = await suite.discover()
    assert listing.ids == ["test_a.py::test_it", "test_b.py::test_it"]
    assert [module.path for module in listing.modules] == ["test_c.py"]
    ran = await suite.run(listing.tests)
    assert ran.outcomes == {"test_a.py::test_it": "error", "test_b.py::test_it": "passed"}
