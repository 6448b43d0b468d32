"""`report.html`: one file that people open in a browser, made from the journal, with no network and no libraries.

What is above the fold, and all that has to be there without a script, is rendered here; the timeline and the table of
tests are drawn by the page's own script from data that is embedded as JSON. Nothing of it is trusted: the template
escapes, the script sets text and never markup, and the page forbids itself (CSP) all but its own style and script.
"""

from __future__ import annotations

from .page import html_report

__all__ = ["html_report"]
