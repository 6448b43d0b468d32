"""`offload logs`: what the tests of the last run said."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import click

from ..abc import Attempt, State
from ..errors import ConfigError
from ..ledger import Record
from ..results.directory import JOURNAL
from ..results.last_run import accounting_of
from ..results.sanitize import printable
from .configured import load_configured
from .root import OffloadCommand, settings
from .saying import warn

NO_RESULTS = 1
NOT_ASKED = {"attempt": None, "sandbox": None}
"""All attempts."""


@click.command("logs", cls=OffloadCommand, help="Show results of the last run.")
@click.option("--failures", is_flag=True, help="Only tests that failed, timed out or crashed.")
@click.option("--errors", is_flag=True, help="Only tests that erred. With --failures: either.")
@click.option("--test", "ids", multiple=True, metavar="ID", help="Only this test. Repeatable.")
@click.option("--test-regex", metavar="RE", help="Only tests whose id the expression is found in.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Only the attempt of this number.")
@click.option("--sandbox", metavar="NAME", help="Only attempts in this sandbox, such as s3.")
@click.pass_context
def command(
    ctx: click.Context, /, failures: bool, errors: bool, ids: tuple[str, ...], test_regex: str | None, **only: Any
) -> int:
    """Read the journal of the last run, finished or not. Exit code 1 if there is none."""
    try:
        pattern = re.compile(test_regex or "")
    except re.error as error:
        raise ConfigError(f"Invalid --test-regex pattern {test_regex!r}: {error}") from None
    journal = load_configured(settings(ctx)).output_dir / JOURNAL
    if not journal.exists():
        click.echo(f"No test results found at {journal}; `offload run` writes them", err=True)
        return NO_RESULTS
    wanted = {State.FAILED, State.TIMED_OUT, State.CRASHED} if failures else set[State]()
    wanted |= {State.ERROR} if errors else set()
    notes: list[str] = []
    records = accounting_of(journal, notes).records.values()
    warn(*notes)
    shown = [
        (record, attempts)
        for record in sorted(records, key=lambda record: (record.test.id, record.test.group))
        if (not wanted or record.state in wanted)
        and (not ids or record.test.id in ids)
        and pattern.search(record.test.id)
        and ((attempts := _attempts(record, **only)) or only == NOT_ASKED)
    ]
    if not shown:
        click.echo(f"No matching test results found in {journal}", err=True)
    _say(shown)
    return 0


def _say(shown: Sequence[tuple[Record, Sequence[Attempt]]]) -> None:
    # what a test has printed must not become a command of GitHub Actions
    token = secrets.token_hex(16) if shown and os.environ.get("GITHUB_ACTIONS") == "true" else ""
    if token:
        click.echo(f"::stop-commands::{token}")
    for record, attempts in shown:
        click.echo("\n".join(_told(record, attempts)))
    if token:
        click.echo(f"::{token}::")


def _attempts(record: Record, *, attempt: int | None, sandbox: str | None) -> list[Attempt]:
    """The attempts that were asked for."""
    return [each for each in record.attempts if attempt in (None, each.number) and sandbox in (None, each.sandbox)]


def _told(record: Record, attempts: Sequence[Attempt]) -> Iterable[str]:
    yield f"=== {printable(record.test.id)} [{record.state.name}] ==="
    if record.not_run:
        yield printable(record.not_run)
    for attempt in attempts:
        if len(record.attempts) > 1:
            yield f"--- attempt {attempt.number} [{attempt.outcome.name}], sandbox {printable(attempt.sandbox)} ---"
        yield from map(printable, _said(attempt))
    yield ""


def _said(attempt: Attempt) -> Iterable[str]:
    if attempt.message:
        yield attempt.message
    if attempt.details:
        yield attempt.details
    for section in attempt.output:
        yield f"--- {section.title} ---"
        yield section.text.rstrip("\n")
