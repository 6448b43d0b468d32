"""`offload report`: every report of a run, made again from its journal alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from ..errors import ConfigError, ReportError, os_error_as
from ..results.directory import JOURNAL, OutputDirectory, replace_file
from ..results.rebuilt import FORMATS, Format, Rebuilt
from .configured import load_configured
from .root import OffloadCommand, Settings, settings
from .saying import warn

HELP = """Write the reports of a run again, from its journal (events.jsonl) alone.

RUN_DIR is the directory that the run wrote to, or a journal; by default the one that the configuration names. Without
an option that says which, all reports are written, to where the run writes them. For a journal of another name than
events.jsonl, as events.previous.jsonl, -o has to say where: the reports beside it may be another run's.
"""


@click.command("report", cls=OffloadCommand, help=HELP)
@click.argument("run_dir", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="FILE", help="Write the one report here instead; `-` for standard output.")
@click.option("--html", is_flag=True, help="A page to open in a browser.")
@click.option("--junit", is_flag=True, help="JUnit XML, for CI.")
@click.option("--trace", is_flag=True, help="A trace that Perfetto opens.")
@click.option("--markdown", is_flag=True, help="summary.md, a page for people.")
@click.option("--summary", is_flag=True, help="summary.json, for scripts.")
@click.pass_context
def command(ctx: click.Context, /, run_dir: Path | None, output: str | None, **asked: bool) -> int:
    """Rebuild what was asked for, and say where it is."""
    wanted = [name for name in FORMATS if asked.get(name)]
    if output is not None and not wanted:
        wanted = ["html"]
    if output is not None and len(wanted) > 1:
        raise click.UsageError("-o takes one report: name one of " + ", ".join(f"--{name}" for name in FORMATS))
    journal, names = _located(run_dir, settings(ctx))
    if not journal.exists():
        raise ConfigError(f"there is no journal at {journal}; `offload run` writes it")
    notes: list[str] = []
    rebuilt = Rebuilt.of(journal, names, notes)
    warn(*notes)
    if output is None:
        _write_beside(rebuilt, wanted or list(FORMATS))
    else:
        _write_to(output, FORMATS[wanted[0]], rebuilt)
    return 0


def _located(run_dir: Path | None, common: Settings) -> tuple[Path, Mapping[str, str]]:
    """The journal, and the names that the configuration gives to reports, where there is one to ask."""
    if run_dir is None:
        loaded = load_configured(common)
        report = loaded.config.report
        return loaded.output_dir / JOURNAL, {"junit": report.junit_file, "html": report.html_file}
    return (run_dir / JOURNAL if run_dir.is_dir() else run_dir).absolute(), {}


def _write_beside(rebuilt: Rebuilt, wanted: Iterable[str]) -> None:
    """Into the run's own directory, where the next run removes them as it does its own."""
    if rebuilt.journal.name != JOURNAL:
        raise click.UsageError(
            f"the reports beside {rebuilt.journal} may be another run's: name one report and say with -o where it goes"
        )
    with OutputDirectory(rebuilt.journal.parent) as directory:
        for name in wanted:
            click.echo(directory.write(rebuilt.names[name], FORMATS[name].make(rebuilt)))
        warn(*directory.notes)


def _write_to(output: str, format: Format, rebuilt: Rebuilt) -> None:
    chunks: Any = format.make(rebuilt)
    if output == "-":
        for chunk in chunks:
            click.echo(chunk.encode(errors="backslashreplace"), nl=False)
        return
    path = Path(output)
    special = path.exists() and not path.is_file()  # asked before links are resolved: those to pipes lead nowhere
    with os_error_as(ReportError, f"{output} could not be written"):
        if special:
            with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as out:
                out.writelines(chunks)
        else:
            replace_file(path.resolve(), chunks)
    if not special:  # it may be the standard output
        click.echo(output)
