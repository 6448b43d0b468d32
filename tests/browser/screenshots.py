"""`python -m tests.browser.screenshots DIRECTORY`: the documentation's pictures, of 5,000 tests on 200 sandboxes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from offload_core.cli import main as offload
from tests.support import chromium
from tests.support.large_run import LargeRun

SIZES = {"desktop": (1280, 1420), "narrow": (390, 1420)}
"""Of the window, in pixels."""
DETAILS = "testTable.reveal(tests.find(each => each.state === 'flaky').index)"


def main() -> int:
    """Write `report-<size>-<scheme>.png` for both sizes and both schemes, and one of a test's details."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="offload-screenshots-") as directory:
        LargeRun().write(Path(directory))
        offload(["report", directory, "--html"])
        page = (Path(directory) / "report.html").as_uri()
        with chromium.launched() as browser:
            for size, (width, height) in SIZES.items():
                for scheme in ("light", "dark"):
                    window = browser.new_page(
                        viewport={"width": width, "height": height},
                        color_scheme="dark" if scheme == "dark" else "light",
                    )
                    window.goto(page)
                    window.screenshot(path=target / f"report-{size}-{scheme}.png")
            window = browser.new_page(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
            window.goto(page)
            window.evaluate(DETAILS)
            window.screenshot(path=target / "report-details.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
