"""The table of tests: search, filters, order, details, and links that lead into it."""

from __future__ import annotations

from pathlib import Path

from tests.browser.conftest import Open, until


def test_filter_by_state(large: Path, opened: Open) -> None:
    """One state or several; the count says how many of how many; All shows all again."""
    found = opened(large)
    page = found.page
    states = page.get_by_role("group", name="Filter by state")
    failed = page.evaluate("tests.filter(test => test.state === 'failed').length")
    crashed = page.evaluate("tests.filter(test => test.state === 'crashed').length")
    states.get_by_role("button", name="failed", exact=False).first.click()
    assert found.states() == {"failed"}
    assert page.inner_text("#shown") == f"{failed} of 5,000 tests"
    states.get_by_role("button", name="crashed").click()
    assert found.states() == {"failed", "crashed"}
    assert page.inner_text("#shown") == f"{failed + crashed} of 5,000 tests"
    assert states.get_by_role("button", pressed=True).count() == 2
    states.get_by_role("button", name="All").click()
    assert page.inner_text("#shown") == "5,000 tests"


def test_filter_by_sandbox(large: Path, opened: Open) -> None:
    """What ran on a sandbox, whatever else ran it too."""
    page = opened(large).page
    expected = page.evaluate("new Set(lanes[7].attempts.map(attempt => attempt.test)).size")
    page.get_by_label("Sandbox", exact=True).select_option("s8")
    assert page.inner_text("#shown") == f"{expected} of 5,000 tests"


def test_search(large: Path, opened: Open) -> None:
    """All words, in ids and in messages, whatever their case; what matches nothing says so."""
    found = opened(large)
    search = found.page.get_by_label("Search ids and messages")
    search.fill("BILLING usd-1")
    ids = found.ids()
    assert ids
    assert all("billing" in id and "usd-1" in id for id in ids)
    search.fill("test_timeout_secs")
    assert found.states() == {"timed out"}
    search.fill("no such test anywhere")
    assert found.page.get_by_text("Nothing matches.").is_visible()
    assert found.page.inner_text("#shown") == "0 of 5,000 tests"


def test_sort(large: Path, opened: Open) -> None:
    """By the columns' buttons: what is bad comes first, then slowest or quickest, then ids; the header says which."""
    found = opened(large)
    page = found.page
    assert found.states() <= {"failed", "error", "timed out", "crashed", "flaky", "xpassed", "xfailed", "skipped"}
    slowest = page.evaluate("Math.max(...tests.map(test => test.seconds))")
    columns = page.locator("#test-table thead")
    header = columns.get_by_role("columnheader", name="Time")
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert page.evaluate("testTable.table.items[0].seconds") == slowest
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert page.evaluate("testTable.table.items.at(-1).seconds") == slowest
    columns.get_by_role("button", name="Test").click()
    ids = found.ids()
    assert ids == sorted(ids)
    assert header.get_attribute("aria-sort") == "none"


def test_details(hostile: Path, opened: Open) -> None:
    """A failure opens to its attempts, each with its traceback and what was captured, and closes again."""
    page = opened(hostile).page
    row = page.locator(".open", has_text="test_output")
    row.click()
    assert row.get_attribute("aria-expanded") == "true"
    details = page.locator(f"#{row.get_attribute('aria-controls')}")
    assert details.get_by_role("heading", name="Attempt 2 of 2").is_visible()
    assert details.get_by_role("group", name="Traceback").first.inner_text().count("assert False") >= 1
    attempts = details.locator(".attempt").all()
    assert len(attempts) == 2
    for attempt in attempts:
        assert attempt.get_by_role("heading", name="Captured stdout call").first.is_visible()
    row.click()
    assert page.locator(".details").count() == 0


def test_attempts_of_a_flaky_test(hostile: Path, opened: Open) -> None:
    """Both are there, the deciding one first, with their outcomes."""
    page = opened(hostile).page
    page.locator(".open", has_text="test_flaky").click()
    assert [text.split("\n")[0] for text in page.locator(".attempt h3").all_inner_texts()] == [
        "Attempt 2 of 2",
        "Attempt 1 of 2",
    ]
    assert page.locator(".attempt .word").all_inner_texts() == ["passed", "failed, run again"]


def test_links_lead_to_a_test(large: Path, opened: Open) -> None:
    """From what failed first, also if a filter hides the test; the address can be sent to somebody else."""
    page = opened(large).page
    page.get_by_label("Search ids and messages").fill("nothing like it")
    link = page.locator(".first a.test").first
    link.click()
    expanded = page.locator('.open[aria-expanded="true"]')
    assert expanded.inner_text() == link.inner_text()
    assert expanded.evaluate("element => element === document.activeElement")
    again = opened(large, fragment=page.url[page.url.index("#") :]).page
    assert again.locator('.open[aria-expanded="true"]').inner_text() == link.inner_text()


def test_links_lead_to_states(large: Path, opened: Open) -> None:
    """The counts at the top filter, and so does the link to all that failed."""
    found = opened(large)
    found.page.locator(".counts a", has_text="flaky").click()
    assert found.states() == {"flaky"}
    found.page.locator(".first a", has_text="All ").click()
    assert found.states() == {"failed", "error", "timed out", "crashed"}


def test_rows_are_made_when_they_are_needed(large: Path, opened: Open) -> None:
    """Some hundred of 5,000 at first, more while scrolling, and any row when something leads to it."""
    found = opened(large)
    page = found.page
    rows = page.locator("#test-table .row")
    assert 0 < rows.count() < 500
    page.get_by_role("button", name="Show more").scroll_into_view_if_needed()
    until(page, "document.querySelectorAll('#test-table .row').length > 100")
    before = page.evaluate("testTable.table.made")
    page.get_by_role("button", name="Show more").click()
    until(page, f"testTable.table.made > {before}")
    last = page.evaluate("testTable.table.items.at(-1).index")
    page.evaluate("index => { location.hash = `t${index}` }", last)
    page.locator(f"#details-{last}").wait_for()
    assert rows.count() == 5000
