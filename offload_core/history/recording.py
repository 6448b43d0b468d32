"""What a run adds to the history."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ..abc import Attempt, Outcome
from ..results.accounting import Accounting
from .entry import LONGEST_SECS, Entry, Key, Sample
from .file import locked, read_history, write_history
from .reservoir import kept

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NAME_LENGTH = 4
_TELL_NOTHING = (Outcome.SKIPPED, Outcome.LOST)


def record_run(path: Path, config: str, accounting: Accounting, size: int) -> bool:
    """Add the attempts of a run, finished or not, to the history at `path`. Returns whether there were any.

    Skipped tests are not recorded, nor attempts that infrastructure ended, nor modules that did not collect: they tell
    nothing of how long a test takes, or how often it fails.

    Args:
        config: the name of the configuration's file, without its directory.
        size: how many samples are kept of a test's good attempts, and of its bad ones.

    Raises:
        ReportError: the history could not be read whole, or not be written; it is as it was.
    """
    added = _added(accounting, config)
    if not added:
        return False
    run = short_name(accounting.started.run_id if accounting.started else "")
    epoch = accounting.started.epoch if accounting.started else 0.0
    with locked(path):
        history = read_history(path)
        for key, attempts in () if history.problems else added.items():
            entry = history.entry(key)
            _add(entry, [(_sample(run, epoch, each), each.outcome.bad) for each in attempts], size)
            entry.last_run = run
            history.put(key, entry)
        write_history(history)
    return True


def short_name(run_id: str) -> str:
    """Four letters and digits that stand for a run in its samples."""
    number = int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8])
    digits = []
    for _ in range(_NAME_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(digits)


def _added(accounting: Accounting, config: str) -> dict[Key, list[Attempt]]:
    """The attempts that tell something, by test; one id in several groups is one test here."""
    found: dict[Key, list[Attempt]] = {}
    for record in accounting.records.values():
        attempts = [each for each in record.attempts if each.sandbox and each.outcome not in _TELL_NOTHING]
        if attempts:
            found.setdefault((config, record.test.id), []).extend(attempts)
    return found


def _sample(run: str, epoch: float, attempt: Attempt) -> Sample:
    secs = min(max(attempt.duration, 0.0), LONGEST_SECS)
    return Sample(run, int(1000 * (epoch + attempt.start)), float(f"{secs:.4g}"))


def _add(entry: Entry, samples: Iterable[tuple[Sample, bool]], size: int) -> None:
    taken = {sample.at for sample in (*entry.ok, *entry.fail)}
    for sample, bad in samples:
        while sample.at in taken:  # other versions know samples by their time alone
            sample = sample._replace(at=sample.at + 1)
        taken.add(sample.at)
        (entry.fail if bad else entry.ok).append(sample)
        entry.attempts += 1
        entry.failures += bad
    entry.ok = kept(entry.ok, size)
    entry.fail = kept(entry.fail, size)
