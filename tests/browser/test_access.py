"""Who has no mouse, or does not see the screen, gets everything too."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Open

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMED = {
    "application", "button", "checkbox", "columnheader", "combobox", "form", "group", "heading", "link", "list",
    "main", "navigation", "region", "searchbox", "table", "textbox",
}  # fmt: skip
"""Roles that tell nobody anything without a name, but for those in `OFTEN_ALONE`."""
OFTEN_ALONE = {"form", "group", "list", "main"}

CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = (colour) => rgb(colour).slice(0, 3).map((part) => part / 255)
        .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const behind = (element) => {
        for (let each = element; each; each = each.parentElement) {
            const colour = getComputedStyle(each).backgroundColor;
            if (rgb(colour)[3] === 255) return colour;
        }
        return "white";
    };
    const weak = [];
    let seen = 0;
    for (const element of document.querySelectorAll("body *:not(script, svg, svg *)")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility({ visibilityProperty: true })) continue;
        seen += 1;
        const [one, two] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
        const ratio = (one + 0.05) / (two + 0.05);
        if (ratio < 4.5) weak.push([element.textContent.slice(0, 40), ratio]);
    }
    return { seen, weak };
}"""


def tree(page: Page) -> list[dict[str, Any]]:
    """What Chromium tells a screen reader: role and name of each node that it does not ignore."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    return [
        {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")}
        for node in nodes
        if not node.get("ignored")
    ]


def focused(page: Page) -> str:
    """The focused element, by what identifies it."""
    return str(page.evaluate("(e => e.id || e.className || e.textContent)(document.activeElement)"))


def tab_to(page: Page, wanted: str, limit: int = 60) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if focused(page) == wanted:
            return
    raise AssertionError(f"Tab never comes to {wanted}")


def test_everything_has_a_name(large: Path, opened: Open) -> None:
    """Every button, link, field, table, chart and heading says what it is; there is one main part and one title."""
    page = opened(large, fragment="#t0").page
    nodes = tree(page)
    roles = [node["role"] for node in nodes]
    assert {"application", "button", "link", "searchbox", "table", "navigation", "banner", "main"} <= set(roles)
    assert [node for node in nodes if node["role"] in NAMED - OFTEN_ALONE and not node["name"].strip()] == []
    assert roles.count("main") == 1
    assert page.locator("h1").count() == 1
    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("[tabindex]:not([tabindex='0'])").count() == 0


def test_headings_skip_no_level(large: Path, opened: Open) -> None:
    """Somebody who goes from heading to heading finds an outline."""
    page = opened(large, fragment="#t0").page
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(large: Path, opened: Open, scheme: str) -> None:
    """Every text stands out from what is behind it by 4.5 to 1, as WCAG 2.2 (1.4.3) asks, with details open as well."""
    page = opened(large, color_scheme=scheme).page
    page.evaluate("index => testTable.reveal(index)", page.evaluate("tests.find(each => each.state === 'flaky').index"))
    found = page.evaluate(CONTRAST)
    assert found["seen"] > 300
    assert found["weak"] == []


def test_states_are_words(large: Path, opened: Open) -> None:
    """No state is told by a colour alone: in the table, the counts and the filters it is a word beside an icon."""
    page = opened(large).page
    assert page.locator("#test-table .row").count() == page.locator("#test-table .row .state .word").count() > 0
    assert page.locator("#states button svg").count() == page.locator("#states button").count() - 1
    assert all(text.strip() for text in page.locator("#legend li").all_inner_texts())


def test_find_a_failure_with_the_keyboard(large: Path, opened: Open) -> None:
    """Skip to the tests, search, filter, open one, read its traceback, close it: no mouse."""
    page = opened(large).page
    page.keyboard.press("Tab")
    assert focused(page) == "skip"
    page.keyboard.press("Enter")
    tab_to(page, "search")
    page.keyboard.type("refund")
    page.locator("#shown", has_text="of 5,000").wait_for()
    tab_to(page, "s-failed")
    page.keyboard.press("Space")
    assert page.locator("#states button[aria-pressed='true']").inner_text().startswith("failed")
    tab_to(page, "open")
    page.keyboard.press("Enter")
    assert page.locator('.open[aria-expanded="true"]').count() == 1
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "PRE":
            break
    assert "AssertionError" in page.evaluate("document.activeElement.textContent")
    page.evaluate("document.querySelector('.open').focus()")
    page.keyboard.press("Enter")
    assert page.locator(".details").count() == 0


def test_the_timeline_with_the_keyboard(large: Path, opened: Open) -> None:
    """Arrows go along a lane and across lanes, N to what is not good, Enter to its details; each step is spoken."""
    page = opened(large).page
    tab_to(page, "scroller")
    spoken = page.locator("#chart-live")
    page.keyboard.press("ArrowRight")
    assert spoken.inner_text().startswith("s1, lane 1 of ")
    first = page.evaluate("timeline.selected.test.id")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("timeline.selected.test.id") != first
    page.keyboard.press("ArrowDown")
    assert spoken.inner_text().startswith("s2, lane 2 of ")
    page.keyboard.press("n")
    assert page.evaluate("timeline.selected.notable")
    page.keyboard.press("+")
    assert page.evaluate("timeline.scale.zoom") == 2
    page.keyboard.press("0")
    assert page.evaluate("timeline.scale.zoom") == 1
    chosen = page.evaluate("timeline.selected.test.id")
    page.keyboard.press("Enter")
    assert page.locator('.open[aria-expanded="true"]').inner_text() == chosen
