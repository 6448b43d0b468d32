"""`[history]` in a run: what is known of its tests before, and what is added after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from ..config.loading import Loaded
from ..config.schema import HistoryTable
from ..errors import ReportError
from ..history import RecordedDurations, read_history, record_run
from ..results.accounting import Accounting
from .run_options import RunOptions


@frozen(kw_only=True)
class RunHistory:
    """The history of one configuration. `recording`: whether this run is added to it."""

    path: Path
    table: HistoryTable
    config: str
    recording: bool

    @classmethod
    def of(cls, loaded: Loaded, options: RunOptions) -> RunHistory | None:
        """What the configuration asks for, None if that is nothing."""
        table, path = loaded.config.history, loaded.history_path
        if table is None or path is None:
            return None
        recording = options.record_history or table.record_history == "always"
        return cls(path=path, table=table, config=loaded.path.name, recording=recording)

    def estimates(self, otherwise: Mapping[str, float], say: Callable[[str], None]) -> Mapping[str, float]:
        """Seconds by test id: by the history, else as in `otherwise`. `say` is told what could not be read."""
        try:
            history = read_history(self.path)
        except ReportError as error:
            say(str(error))
            return otherwise
        if history.problems:
            say(f"{history.problem}; estimates come from the rest")
        return RecordedDurations(history, self.config, otherwise, say)

    def record(self, accounting: Accounting) -> Path | None:
        """Add the run, if that was asked for. Returns the file, None if there was nothing to add.

        Raises:
            ReportError: it was not recorded.
        """
        added = self.recording and record_run(self.path, self.config, accounting, self.table.reservoir_size)
        return self.path if added else None
