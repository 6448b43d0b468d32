"""Reports of real and of large runs, opened in a real Chromium. Where there is none they skip; in CI they must run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field

from offload_core.cli import main
from tests.e2e.project import a_project
from tests.support import chromium
from tests.support.large_run import LargeRun

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = r"""
    import pytest

    EVIL = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    EVIL += "\x1b[31mred\x1b[0m \u2028 \u2029 \u202e <!-- &amp; ]]> {{ 7 * 7 }} '\""

    @pytest.mark.parametrize("value", [1], ids=["</script><b>bold</b>&\u2028"])
    def test_id(value): assert value == 2
    def test_message(): raise ValueError(EVIL)
    def test_output():
        print(EVIL)
        assert False
    @pytest.mark.skip(reason=EVIL)
    def test_skipped(): pass
    def test_huge():
        print("begin" + "<&\u00e9" * 1_000_000 + "finish")
        assert False
    def test_flaky(tmp_path_factory):
        import pathlib
        mark = pathlib.Path(__file__).with_name("ran")
        first = not mark.exists()
        mark.touch()
        assert not first
    def test_good(): print("fine")
"""

BOUND_MS = 60_000
"""Ends a test that waits for what does not come; nothing is measured by it."""


@define
class Opened:
    """A page, and what it said and asked for."""

    page: Page
    said: list[str] = field(factory=list)
    requests: list[str] = field(factory=list)

    def ids(self) -> list[str]:
        """The tests in the table, as far as rows are made."""
        return self.page.locator("#test-table .open").all_inner_texts()

    def states(self) -> set[str]:
        """Their states."""
        return set(self.page.locator("#test-table .row .word").all_inner_texts())


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report that `offload run` writes on tests whose ids, messages and output are an attack."""
    with a_project(tmp_path_factory.mktemp("hostile")) as project:
        project.write({"test_a.py": HOSTILE})
        # the sandboxes are the project's own directory, so that the flaky test knows that it has run before
        project.configure(
            provider='isolation = "none"', groups="[groups.all]\nretry_count = 1", rest="[report]\nhtml = true"
        )
        ran = project.run()
        assert ran.counts == {"failed": 4, "flaky": 1, "skipped": 1, "passed": 1}, ran.err
        return ran.results / "report.html"


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on 5,000 tests and 200 sandboxes, made by `offload report`."""
    directory = tmp_path_factory.mktemp("large")
    LargeRun().write(directory)
    assert main(["report", str(directory), "--html"]) == 0
    return directory / "report.html"


@pytest.fixture(scope="session")
def browser(hostile: Path, large: Path) -> Iterator[Browser]:
    """A Chromium; asked for after the reports, because playwright keeps an event loop in this thread."""
    if reason := chromium.missing():
        assert not os.environ.get("CI"), f"CI must have a browser: {reason}"
        pytest.skip(reason)
    with chromium.launched() as launched:
        yield launched


Open = Callable[..., Opened]


def until(page: Page, condition: str) -> None:
    """Wait until an expression holds. (playwright's own wait evaluates text in the page, which forbids that.)"""
    page.evaluate(
        f"""new Promise((done, fail) => {{
            const bound = performance.now() + {BOUND_MS};
            const look = () => {{
                if ({condition}) done();
                else if (performance.now() > bound) fail(new Error({json.dumps("never came: " + condition)}));
                else requestAnimationFrame(look);
            }};
            look();
        }})"""
    )


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Opens a report in a window of its own; to its end it must have said nothing and asked for nothing."""
    contexts = []
    pages: list[Opened] = []

    def opens(report: Path, *, fragment: str = "", **options: Any) -> Opened:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(**options)
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.set_default_timeout(BOUND_MS)
        found.page.on("console", lambda message: found.said.append(message.text))
        found.page.on("pageerror", lambda error: found.said.append(str(error)))
        found.page.on("dialog", lambda dialog: found.said.append(f"dialog: {dialog.message}"))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(report.as_uri() + fragment)
        pages.append(found)
        return found

    yield opens
    for context in contexts:
        context.close()
    for page in pages:
        assert page.said == []
        assert {url.partition("#")[0] for url in page.requests} == {page.requests[0].partition("#")[0]}
