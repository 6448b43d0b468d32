"""`summary.md`: everything worth knowing of a run, and nothing in it that a test's name or output made into markup."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from offload_core.abc import CostEstimate, Outcome
from offload_core.events import ArtefactsCollected, CostEstimated, Event, Incident, IncidentKind, TestNotRun
from offload_core.results.accounting import Accounting
from offload_core.results.markdown import MAX_BYTES, block, code, ranked, summary_markdown
from offload_core.results.summary import summarize
from tests.support.synthetic import accounted, ended, found, run_of

HOSTILE = [
    "`a` ``b`` ```c",
    "```\n# broken out\n",
    "~~~\n<script>alert(1)</script>",
    "</code></summary></details><img src=x onerror=alert(1)>",
    "| a | b |\n|---|---|",
    "[link](javascript:alert(1)) ![image](x) <https://x> www.example.org @somebody #1",
    "line\u2028separator\x0bvertical\x85next\r\n\r\n# heading",
    "\x1b[31mred\x1b]8;;https://x\x07link",
    " ` ",
    "`",
    "``````````",
    "\ud800 half",
    "-->\n\n<!-- ",
    "&lt;b&gt; \\` \\",
]


def page(accounting: Accounting, *, exit_code: int = 1, limit: int = MAX_BYTES) -> str:
    """The page of a run."""
    return "".join(summary_markdown(accounting, summarize(accounting, exit_code, reports={}), limit))


def rendered(text: str) -> str:
    """As GitHub would, before it takes out what is dangerous: HTML in Markdown is let through."""
    html: str = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    return html


def hostile_run(text: str) -> list[Event]:
    """A run in which this text is wherever a sandbox has a say."""
    return run_of(
        found(text),
        found(f"flaky {text}"),
        found(f"not run {text}"),
        ended(text, Outcome.FAILED, text=text, output=[(text, text)]),
        ended(f"flaky {text}", Outcome.FAILED, text=text, again=True),
        ended(f"flaky {text}", number=2),
        TestNotRun(test=f"unit/not run {text}", reason=text),
        Incident(kind=IncidentKind.SANDBOX_DEAD, reason=text, sandbox=text, session=text),
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_breaks_out(text: str) -> None:
    """Rendered, hostile texts are text: the elements are those of the same page with a harmless name."""

    def elements(shown: str) -> list[str]:
        tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(page(accounted(*hostile_run(shown))))
        inside = [child for token in tokens for child in token.children or ()]
        html = [part for token in (*tokens, *inside) if token.type.startswith("html") for part in tags(token.content)]
        return [token.type for token in tokens] + [child.type for child in inside] + html

    def tags(content: str) -> list[str]:
        return [part.split(">")[0] for part in content.split("<")[1:]]

    assert elements(text) == elements("harmless")


@pytest.mark.parametrize("text", HOSTILE)
def test_code_shows_all_of_it(text: str) -> None:
    """A code span and a code block show the text itself, but for control characters."""
    (inline,) = [token for token in MarkdownIt().parse(f"- {code(text)}") if token.type == "inline"]
    assert [child.type for child in inline.children or ()] == ["code_inline"]
    (fence,) = MarkdownIt().parse(block(text))
    assert fence.type == "fence"
    if text.isprintable():
        assert inline.children is not None
        assert inline.children[0].content.strip() == text.strip()
        assert fence.content == f"{text}\n"


def test_what_it_tells() -> None:
    """Verdict, counts, failures with their text, flaky and unrun tests, incidents, cost, files, what to do next."""
    accounting = accounted(
        *hostile_run("x"),
        CostEstimated(sandbox="box-1", seconds=2.0, cost=CostEstimate(0.5, leaves_out="memory")),
        ArtefactsCollected(sandbox="box-1", session="box-1.s1", files=("box-1/box-1.s1/x",), size=1, seconds=1.0),
    )
    html = rendered(page(accounting))
    for said in (
        "Some tests failed.",
        "3 tests: 1 failed, 1 flaky, 1 not run.",
        "FAILED <code>tests/test_a.py::x</code>",
        "assert 1 == 2",
        "<h2>Flaky tests</h2>",
        "<h2>1 test not run</h2>",
        "sandbox x died",
        "Estimated cost: $0.5000, without memory.",
        "1 file of the tests brought",
        "offload run --last-failed",
    ):
        assert said in html, said


def test_a_good_run_is_short() -> None:
    """Nothing is said of what there is not."""
    text = page(accounted(*run_of(found("a"), ended("a"))), exit_code=0)
    assert text.startswith("# ✅ All tests passed!\n")
    assert "failed" not in text
    assert "Flaky" not in text
    assert len(text) < 400


@pytest.mark.parametrize("limit", [0, 300, 5_000, 50_000, MAX_BYTES])
def test_its_size_is_bounded(limit: int) -> None:
    """However much failed, and however long the texts: whole parts up to the limit, and a word on the rest."""
    names = [f"t{number}" for number in range(300)]
    events = [ended(name, Outcome.FAILED, text="ü" * 20_000) for name in names]
    text = page(accounted(*run_of(*map(found, names), *events)), limit=limit)
    size = len(text.encode())
    assert size <= max(limit, 100)
    assert ("no room here" in text) == (limit < MAX_BYTES) or size > limit / 2
    assert text.count("<details>") == text.count("</details>")


def test_ranking() -> None:
    """What says something new comes before what says the same again; among those, errors and crashes come first."""
    outcomes = {
        "a": (Outcome.FAILED, "same"),
        "b": (Outcome.FAILED, "same"),
        "c": (Outcome.FAILED, "other"),
        "d": (Outcome.TIMED_OUT, "late"),
        "e": (Outcome.ERROR, "no import"),
        "f": (Outcome.ERROR, "no import"),
    }
    events = [ended(name, outcome, text=text) for name, (outcome, text) in outcomes.items()]
    order = [record.test.key[-1] for record in ranked(accounted(*run_of(*map(found, outcomes), *events)))]
    assert order == ["e", "d", "a", "c", "f", "b"]
