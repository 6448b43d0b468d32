"""The timeline: what it shows, and how one looks around in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser.conftest import Open, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

COLOURS = """([x, y]) => {
    const copy = new OffscreenCanvas(9, 9).getContext("2d", { willReadFrequently: true });
    copy.drawImage(timeline.canvas, 4 - x * timeline.ratio, 4 - y * timeline.ratio);
    const { data } = copy.getImageData(0, 0, 9, 9);
    const found = [];
    for (let at = 0; at < data.length; at += 4) found.push(`rgb(${data[at]}, ${data[at + 1]}, ${data[at + 2]})`);
    return found;
}"""


def painted(page: Page, expression: str) -> list[str]:
    """The colours of the pixels around a point, after the next frame."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return list(page.evaluate(COLOURS, page.evaluate(expression)))


def middle_of(page: Page, attempt: str) -> dict[str, Any]:
    """Where on the page an attempt is."""
    place: dict[str, Any] = page.evaluate(
        f"""() => {{
            const attempt = {attempt};
            const box = timeline.canvas.getBoundingClientRect();
            const {{ scale }} = timeline;
            const x = (scale.x(attempt.start) + scale.x(attempt.end)) / 2;
            return {{ x: box.left + x, y: box.top + scale.y(attempt.lane.index) + 1, id: attempt.test.id }};
        }}"""
    )
    return place


def test_failures_and_deaths_are_marked(large: Path, opened: Open) -> None:
    """At the size of the whole run, where a lane is three pixels high, both have a mark in their colour."""
    page = opened(large).page
    page.locator("#scroller").scroll_into_view_if_needed()
    assert page.evaluate("timeline.scale.lane") == 3
    failed = "tests.find(test => test.state === 'failed').deciding"
    here = (
        f"(() => {{ const a = {failed}; return [timeline.scale.x(markTime(a)), timeline.scale.y(a.lane.index)]; }})()"
    )
    assert page.evaluate("timeline.painter.colours.failed") in painted(page, here)
    dead = "lanes.find(lane => lane.how === 'dead')"
    here = f"(() => {{ const l = {dead}; return [timeline.scale.x(l.ended) + 5, timeline.scale.y(l.index)]; }})()"
    assert page.evaluate("timeline.painter.colours.crashed") in painted(page, here)


def test_pointer(large: Path, opened: Open) -> None:
    """A test under the pointer is named, with its outcome and time; a click opens it in the table."""
    page = opened(large).page
    page.locator("#scroller").scroll_into_view_if_needed()
    place = middle_of(page, "tests.find(test => test.state === 'timed_out').deciding")
    page.mouse.move(place["x"], place["y"])
    tip = page.locator("#tip")
    tip.wait_for()
    assert place["id"] in tip.inner_text()
    assert "timed out" in tip.inner_text()
    page.mouse.click(place["x"], place["y"])
    assert page.locator('.open[aria-expanded="true"]').inner_text() == place["id"]


def test_zoom(large: Path, opened: Open) -> None:
    """By the buttons and with the wheel, at the pointer; Fit shows the whole run again."""
    page = opened(large).page
    span = "timeline.scale.seconds(timeline.scale.width) - timeline.scale.seconds(timeline.scale.gutter)"
    whole = page.evaluate(span)
    page.get_by_role("button", name="Zoom in").click()
    assert abs(page.evaluate(span) - whole / 2) < whole / 50
    page.locator("#scroller").scroll_into_view_if_needed()
    failed = "tests.find(test => test.state === 'failed').deciding"
    page.evaluate(f"timeline.bring({failed})")
    place = middle_of(page, failed)
    page.mouse.move(place["x"], place["y"])
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    until(page, "timeline.scale.zoom > 3")
    until(page, "timeline.pending === 0")
    assert abs(middle_of(page, failed)["x"] - place["x"]) < 3
    page.get_by_role("button", name="Fit").click()
    assert abs(page.evaluate(span) - whole) < whole / 50


def test_tall_lanes(large: Path, opened: Open) -> None:
    """Every lane gets its name and room for patterns; the view scrolls."""
    page = opened(large).page
    page.get_by_role("button", name="Tall lanes").click()
    assert page.evaluate("timeline.scale.lane") == 18
    assert page.evaluate("timeline.scroller.scrollHeight") > 3500
    assert page.get_by_role("button", name="Tall lanes").get_attribute("aria-pressed") == "true"


def test_as_a_table(large: Path, opened: Open) -> None:
    """Every attempt in the order of time, for those who do not see the chart."""
    page = opened(large).page
    page.get_by_role("button", name="As a table").click()
    table = page.get_by_role("table", name="Every attempt, in the order in which they began")
    assert table.is_visible()
    assert not page.locator("#chart").is_visible()
    attempts = page.evaluate("timeline.table.items.length")
    assert attempts == page.evaluate("tests.reduce((sum, test) => sum + test.attempts.length, 0)")
    starts = page.evaluate("timeline.table.items.map(attempt => attempt.start)")
    assert starts == sorted(starts)
    page.get_by_role("button", name="As a table").click()
    assert page.locator("#chart").is_visible()


def test_from_the_table_to_the_timeline(large: Path, opened: Open) -> None:
    """An attempt's button shows where it ran; where the same test ran before is marked with it."""
    page = opened(large).page
    flaky = page.evaluate("tests.find(test => test.state === 'flaky').index")
    page.evaluate("index => { location.hash = `t${index}` }", flaky)
    page.get_by_role("button", name="Show on the timeline").first.click()
    assert page.evaluate("timeline.selected.test.index") == flaky
    assert page.locator("#scroller").evaluate("element => element === document.activeElement")
    assert "attempt 2 of 2" in page.inner_text("#tip")
