"""The page as a whole: it opens, shows what tests say as text, reaches nothing, and fits its screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import Open


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens(large: Path, opened: Open, scheme: str) -> None:
    """Verdict, counts and wall time are there, in the theme that the system asks for, without a word on the console."""
    page = opened(large, color_scheme=scheme).page
    assert page.inner_text("h1") == "Some tests failed."
    assert "5,000 tests" in page.inner_text(".counts").replace("\n", " ")
    assert "× the lower bound" in page.inner_text(".stats")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(247, 247, 245)") is (scheme == "light")


def test_what_tests_say_is_text(hostile: Path, opened: Open) -> None:
    """Markup, scripts, escape sequences and separators in ids, messages and output: shown, never acted on."""
    page = opened(hostile).page
    # the data and the page's own script: nothing else, wherever it is opened
    for index in range(page.evaluate("tests.length")):
        page.evaluate("index => testTable.reveal(index)", index)
    assert page.locator("script").count() == 2
    assert page.locator("img, iframe, b[onerror], [onerror], main script").count() == 0
    assert "owned" not in page.title()
    table = page.inner_text("#test-table")
    assert "</script><b>bold</b>&\\u2028" in table
    assert "ValueError: </script><script>document.title = 'owned'</script><img src=x onerror=" in table
    assert "{{ 7 * 7 }}" in table
    assert "[31m" not in table
    assert "\\u202e" in table
    assert not set(table) & set("\x1b\u2028\u2029\u202e")


def test_huge_output_is_cut_and_says_so(hostile: Path, opened: Open) -> None:
    """A test that prints megabytes makes no large file: its beginning and end are there, and how much is not."""
    assert hostile.stat().st_size < 5_000_000
    page = opened(hostile).page
    page.locator(".open", has_text="test_huge").click()
    output = page.locator("pre", has_text="begin<&é").first.inner_text()
    assert "characters left out" in output or "cut by Offload" in output
    assert output.rstrip().endswith("finish")
    assert len(output) < 1_000_000


def test_nothing_else_runs_and_nothing_is_reached(hostile: Path, opened: Open) -> None:
    """The page forbids itself scripts, styles and requests that are not its own, should anything ever get in."""
    found = opened(hostile)
    ran = found.page.evaluate(
        """async () => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            const div = document.createElement("div");
            div.innerHTML = "<p style='color: red' onclick='window.ran = true'>x</p>";
            document.body.append(div);
            div.firstChild.click();
            const reached = await fetch("https://127.0.0.1:9/").then(() => true, () => false);
            return [window.ran ?? false, getComputedStyle(div.firstChild).color, reached];
        }"""
    )
    assert ran[0] is False
    assert ran[1] != "rgb(255, 0, 0)"
    assert ran[2] is False
    assert len(found.requests) == 1
    assert all("Content Security Policy" in each for each in found.said)
    assert len(found.said) >= 4
    found.said.clear()


@pytest.mark.parametrize("width", [320, 390, 768, 1920])
def test_it_fits_its_screen(large: Path, opened: Open, width: int) -> None:
    """Nothing but what scrolls by itself is wider than the screen, with details open as well."""
    page = opened(large, viewport={"width": width, "height": 800}, fragment="#t0").page
    assert page.locator(".details").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_theme_is_kept(large: Path, opened: Open) -> None:
    """The switch goes from the system's to light to dark, the page follows, and remembers."""
    page = opened(large, color_scheme="dark").page
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Theme: system").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    page.reload()
    assert page.get_by_role("button", name="Theme: dark").is_visible()


def test_without_a_script(large: Path, opened: Open) -> None:
    """Where scripts are switched off, verdict, first failures, incidents, slowest tests and sandboxes are there."""
    page = opened(large, java_script_enabled=False).page
    assert page.locator("noscript p").is_visible()
    assert page.locator(".first li").count() == 5
    assert page.locator(".incidents > li").count() == page.locator(".incidents > li:visible").count() > 3
    assert page.locator("#slowest tbody tr").count() == 20
    assert page.locator("#sandboxes tbody tr").count() > 200
