"""PYTEST_DONT_REWRITE. The part of Offload that runs inside pytest: one file, uploaded and loaded with `-p`.

Standard library only, Python 3.8 and newer, pytest 7.0 and newer. Importing it takes over file descriptors 0 and 1;
without its settings in the environment it does nothing. What it writes and reads is described in `warm.py`.
"""

from __future__ import annotations

import _thread
import collections
import contextlib
import io
import json
import os
import queue
import sys
import time
import traceback
from typing import Any, Dict, Iterable, Iterator, List, Tuple

import pytest

SETTINGS = "OFFLOAD_PYTEST"
HEARTBEAT_SECS = 5.0
TEXT_LIMIT = 1 << 20
MESSAGE_LIMIT = 4000
EVENT_LIMIT = 1 << 24
TESTS_PER_EVENT = 500

# Options that would select, reorder, distribute or stop: Offload decides these.
_OFF = ("distload", "looponfail", "lf", "failedfirst", "newfirst", "stepwise", "stepwise_skip", "usepdb", "trace")
_NEUTRAL: Dict[str, Any] = {
    **dict.fromkeys(_OFF, False),
    **dict.fromkeys(("numprocesses", "cov_fail_under"), None),
    **{"dist": "no", "tx": [], "maxfail": 0},
}
_NEUTRAL_BY_MODE: Dict[str, Dict[str, Any]] = {
    "session": {"markexpr": "", "keyword": "", "deselect": None, "collectonly": False},
    "discover": {"cov_source": []},
}


class Channel:
    """The two pipes to the core.

    Functions of `os` are held in the object: a test may patch the modules, or every global that came from them.
    """

    def __init__(self, token: str) -> None:
        self.marker = token + " "
        self.pid = os.getpid()
        self.lock = _thread.allocate_lock()
        self._write, self._read, self._getpid, self._sleep = os.write, os.read, os.getpid, time.sleep
        self._exit, self._set_blocking = os._exit, os.set_blocking
        self._encode = json.JSONEncoder(separators=(",", ":")).encode
        self.requests, self.out = _out_of_the_way(0), _out_of_the_way(1)
        self._redirect()
        os.register_at_fork(after_in_child=self._forked)

    def _redirect(self) -> None:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        try:
            os.dup2(2, 1)
        except OSError:
            os.dup2(null, 1)
        if null > 2:
            os.close(null)

    def _forked(self) -> None:
        # A child that outlives this process must not hold the pipes open.
        for fd in (self.requests, self.out):
            with contextlib.suppress(OSError):
                os.close(fd)

    def leave_if_forked(self) -> None:
        """End a child that a test forked and that came back from the test: it is not the one that runs tests."""
        if self._getpid() != self.pid:
            self._exit(0)

    def line(self, event: Dict[str, Any]) -> str:
        """One event as a line. Too long even with its texts cut, they are cut again."""
        text = self._encode(event)
        if len(text) > EVENT_LIMIT:
            text = self._encode(_shrunk(event))
        return self.marker + text + "\n"

    def emit(self, event: Dict[str, Any]) -> None:
        """Write one event."""
        self.write(self.line(event))

    def write(self, lines: str) -> None:
        """Write whole lines at once. A forked child writes nothing; without its core this process has no purpose."""
        if self._getpid() != self.pid:
            return
        data = memoryview(lines.encode("ascii"))
        with self.lock:
            while data:
                try:
                    data = data[self._write(self.out, data) :]
                except BlockingIOError:
                    self._set_blocking(self.out, True)
                except OSError:
                    self._exit(70)

    def read_lines(self) -> Iterator[Any]:
        """Requests, until the other side closes."""
        rest = b""
        while True:
            try:
                chunk = self._read(self.requests, 1 << 16)
            except OSError:
                return
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    yield json.loads(line)

    def beat(self) -> None:
        """Say every few seconds that this process is there."""
        line = self.line({"event": "heartbeat"})
        while True:
            self._sleep(HEARTBEAT_SECS)
            self.write(line)


def _out_of_the_way(fd: int) -> int:
    """A duplicate with a high number, out of reach of code that closes the usual ones; not inherited by programs."""
    import fcntl
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    least = 900 if soft == resource.RLIM_INFINITY or soft > 916 else max(3, soft - 16)
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, least)


def _cut(text: str, limit: int = TEXT_LIMIT) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return "{}\n[… cut by Offload: {} characters in all …]\n{}".format(text[:half], len(text), text[-half:])


def _shrunk(value: Any) -> Any:
    if isinstance(value, str):
        return _cut(value, 1 << 14)
    if isinstance(value, dict):
        return {key: item if key == "key" else _shrunk(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shrunk(item) for item in value[:50]]
    return value


def _one_line(text: str) -> str:
    lines = text[: MESSAGE_LIMIT * 2].strip().splitlines()
    return _cut(lines[0], MESSAGE_LIMIT) if lines else ""


def _message(report: Any) -> str:
    """Why a report is not simply passed, in a line."""
    longrepr = report.longrepr
    if hasattr(report, "wasxfail"):
        return _one_line(str(report.wasxfail).replace("reason: ", "", 1))
    if isinstance(longrepr, tuple):
        return _one_line(str(longrepr[2]).replace("Skipped: ", "", 1))
    crash = getattr(longrepr, "reprcrash", None)
    text = crash.message if crash is not None else getattr(longrepr, "errorstring", None)
    if text is None:
        text = str(longrepr)
        last = [line for line in text[-MESSAGE_LIMIT:].splitlines() if line.strip()]
        text = last[-1] if last else ""
        text = text[1:] if text.startswith("E  ") else text  # how pytest marks the lines of an error
    return _one_line(text)


def _text(report: Any) -> str:
    longrepr = report.longrepr
    if longrepr is None:
        return ""
    if isinstance(longrepr, tuple):
        return "{}:{}: {}".format(*longrepr)
    return _cut(report.longreprtext)


def _failure(path: str, message: str, details: str, failed: bool = True) -> Dict[str, Any]:
    """What came of reading a file that failed, or skipped itself."""
    return {"path": path, "failed": failed, "message": message, "details": _cut(details)}


def _neutralize(namespace: Any, mode: str) -> None:
    for table in (_NEUTRAL, _NEUTRAL_BY_MODE[mode]):
        for name, value in table.items():
            if hasattr(namespace, name):
                setattr(namespace, name, value)


# What a test's reports make ------------------------------------------------------------------------------------------


def verdict(reports: Iterable[Any]) -> Dict[str, Any]:
    """The event fields that all reports of one test make: outcome, duration, and what is not empty of the rest."""
    kept: List[Any] = []
    for report in reports:
        if report.outcome == "rerun":  # pytest-rerunfailures: only the last try counts
            kept = []
        else:
            kept.append(report)
    phases = [report for report in kept if not _is_subtest(report)]
    sections = [section for report in kept if _is_subtest(report) for section in report.sections]
    bad = [report for report in kept if report.outcome == "failed"]
    last = phases[-1] if phases else None
    event: Dict[str, Any] = {"outcome": "passed", "duration": sum((report.duration for report in phases), 0.0)}
    if bad:
        event["outcome"] = "failed" if any(report.when == "call" for report in bad) else "error"
        event["message"] = _message(bad[0])
        event["details"] = _joined(bad)
    elif last is None:
        event["outcome"], event["message"] = "error", "pytest reported nothing for this test"
    else:
        _good({report.when: report for report in phases}, event)
    if last is not None and (last.sections or sections):
        event["output"] = [(title, _cut(text)) for title, text in (*last.sections, *sections) if text]
    if last is not None and last.user_properties:
        event["properties"] = [(str(name), _cut(str(value))) for name, value in last.user_properties]
    return event


def _is_subtest(report: Any) -> bool:
    return type(report) is not pytest.TestReport and hasattr(report, "context")


def _good(main: Dict[str, Any], event: Dict[str, Any]) -> None:
    report = main.get("call") or main.get("setup") or main["teardown"]
    expected = hasattr(report, "wasxfail")
    if report.outcome == "skipped":
        event["outcome"] = "xfailed" if expected else "skipped"
        event["message"] = _message(report)
        event["details"] = _text(report)
    elif expected:
        event["outcome"] = "xpassed"
        event["message"] = _message(report)


def _joined(bad: List[Any]) -> str:
    if len(bad) == 1 and bad[0].when == "call" and not hasattr(bad[0], "context"):
        return _text(bad[0])
    parts = []
    for report in bad:
        title = "at " + report.when
        context = getattr(report, "context", None)
        if context is not None:
            given = ", ".join("{}={}".format(*pair) for pair in dict(getattr(context, "kwargs", {})).items())
            title = "in subtest [{}] ({})".format(getattr(context, "msg", None) or "", given)
        parts.append("----- {} -----\n{}".format(title, _text(report)))
    return _cut("\n".join(parts))


# Collection, one file at a time --------------------------------------------------------------------------------------


class _Muted:
    """Stands for `pytest_collection_modifyitems` while directories are collected: it is called for real later."""

    def __init__(self, caller: Any) -> None:
        self._caller = caller
        self.items: List[pytest.Item] = []

    def __call__(self, **arguments: Any) -> List[Any]:
        self.items = list(arguments["items"])
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._caller, name)


class Collection:
    """One `perform_collect` in which files are found but not read, and what came of reading them later."""

    def __init__(self) -> None:
        self.session: Any = None
        self.deferring = True
        self.files: Dict[str, List[pytest.File]] = {}
        self.loose: List[pytest.Item] = []
        self.failures: Dict[str, Dict[str, Any]] = {}
        self.within: List[str] = []

    def strip_arguments(self, config: pytest.Config) -> None:
        """Keep only the file part of arguments like `file::Class`: files are not read while they are matched."""
        if not any("::" in argument for argument in config.args):
            return
        if getattr(config.option, "pyargs", False):
            raise pytest.UsageError("Offload cannot combine --pyargs with `::`; name the file instead")
        self.within = list(config.args)
        config.args[:] = list(dict.fromkeys(argument.partition("::")[0] for argument in config.args))

    @contextlib.contextmanager
    def directories(self, session: Any) -> Iterator[None]:
        """Around pytest's own collection."""
        self.session = session
        hook = session.config.hook
        caller = hook.pytest_collection_modifyitems
        hook.pytest_collection_modifyitems = muted = _Muted(caller)
        try:
            yield
        finally:
            self.deferring = False
            hook.pytest_collection_modifyitems = caller
            self.loose = muted.items

    def defer(self, collector: Any) -> Any:
        """An empty report for a file, which is kept; None for any other collector."""
        if not self.deferring or not isinstance(collector, pytest.File) or isinstance(collector, pytest.Package):
            return None
        self.files.setdefault(collector.nodeid, []).append(collector)
        return pytest.CollectReport(collector.nodeid, "passed", None, [])

    def reported(self, report: Any) -> None:
        """Remember a collector that failed or skipped itself."""
        if report.outcome != "passed":
            said = ["--- {} ---\n{}".format(title, _cut(text)) for title, text in report.sections]
            details = "\n".join([_text(report), *said])
            failed = report.outcome == "failed"
            self.failures[report.nodeid] = _failure(report.nodeid, _message(report), details, failed)

    def items_of(self, path: str) -> List[pytest.Item]:
        """Read a file: import it, make its items. A failure of any kind is remembered, and is none of the session's."""
        items: List[pytest.Item] = []
        for collector in self.files[path]:
            try:
                for item in self.session.genitems(collector):
                    items.append(item)  # what comes before a failure is kept
            except BaseException as error:  # pytest.exit() or sys.exit() while importing
                message = _one_line("{}: {}".format(type(error).__name__, error))
                self.failures[path] = _failure(path, message, traceback.format_exc())
        return items

    def modified(self, items: List[pytest.Item]) -> List[pytest.Item]:
        """What all `pytest_collection_modifyitems` make of a copy of these items."""
        session, changed = self.session, list(items)
        session.items = changed
        session.config.hook.pytest_collection_modifyitems(session=session, config=session.config, items=changed)
        session.testscollected += len(changed)
        return changed

    def foreign_hook(self) -> bool:
        """Does anything but pytest itself change or select items?"""
        impls = self.session.config.hook.pytest_collection_modifyitems.get_hookimpls()
        return any(not impl.function.__module__.startswith("_pytest.") for impl in impls)


def _distinct(items: List[Any], changed: List[Any]) -> Iterable[Any]:
    """Each item once, in the first order. By identity: up to pytest 7 its hash is that of an id that hooks change."""
    return {id(item): item for item in (*items, *changed)}.values()


def _warning_filters(config: pytest.Config, hook: Any, when: Any, item: Any = None) -> Any:
    """The project's own, which pytest applies around its own phases, as a context manager."""
    if not config.pluginmanager.hasplugin("warnings"):
        return contextlib.nullcontext()
    from _pytest.warnings import catch_warnings_for_item

    return catch_warnings_for_item(config=config, ihook=hook, when=when, item=item)


@contextlib.contextmanager
def _as_teardown(item: Any) -> Iterator[None]:
    """What pytest has around the teardown phase of `item`: warning filters, capturing, the variable."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_warning_filters(item.config, item.ihook, "runtest", item))
        capture = item.config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            stack.enter_context(capture.item_capture("teardown", item))
        os.environ["PYTEST_CURRENT_TEST"] = item.nodeid.replace("\x00", "(null)") + " (teardown)"
        stack.callback(os.environ.pop, "PYTEST_CURRENT_TEST", None)
        yield


# Discovery -----------------------------------------------------------------------------------------------------------


class Selection:
    """Ids, files and directories that something is narrowed to. Empty narrows nothing."""

    def __init__(self, entries: Iterable[str]) -> None:
        # By file or directory: its absolute path, and what is wanted of it ("" for all) with the entry that says so.
        self.files: Dict[str, Tuple[str, Dict[str, str]]] = {}
        self.used: Dict[str, bool] = {}
        for entry in entries:
            file, separator, rest = entry.partition("::")
            file = os.path.normpath(file) if file else "."
            self.files.setdefault(file, (os.path.realpath(file), {}))[1][separator + rest] = entry
            self.used[entry] = False

    def rests(self, nodeid: str, path: str) -> Any:
        """What is wanted of a file: None for nothing, an empty dict for all, else what must follow the file's name."""
        if not self.files:
            return {}
        real = os.path.realpath(path)
        found: Dict[str, str] = {}
        whole = False
        for file, (absolute, rests) in self.files.items():
            if nodeid == file or real == absolute:
                found.update(rests)
            elif not (nodeid.startswith(file + "/") or real.startswith(absolute.rstrip("/") + "/")):
                continue
            if "" in rests:
                self.used[rests[""]] = whole = True
        return {} if whole else found or None

    def wants(self, nodeid: str, base: str, rests: Dict[str, str]) -> bool:
        """Is an item of the file `base` wanted?"""
        if not rests:
            return True
        rest = nodeid[len(base) :] if nodeid.startswith(base) else "::" + nodeid.partition("::")[2]
        parts = rest.partition("[")[0].split("::")
        for candidate in (rest, *("::".join(parts[:end]) for end in range(len(parts), 0, -1))):
            if candidate in rests:
                self.used[rests[candidate]] = True
                return True
        return False

    def touches(self, nodeid: str) -> bool:
        """May a directory or file contain, or be part of, what is wanted?"""
        return not self.files or any(
            file == "." or nodeid in ("", ".", file) or file.startswith(nodeid + "/") or nodeid.startswith(file + "/")
            for file in self.files
        )

    def unused(self) -> List[str]:
        """Entries that matched nothing."""
        return [entry for entry, used in self.used.items() if not used]


class _Work:
    """What this process is there for."""

    def __init__(self, channel: Channel, settings: Dict[str, Any]) -> None:
        self.channel = channel
        self.settings = settings
        self.mode = settings["mode"]
        self.collection = Collection()


class Discovery(_Work):
    """Lists tests: file by file, or all at once where a hook must see them together."""

    def __init__(self, channel: Channel, settings: Dict[str, Any]) -> None:
        super().__init__(channel, settings)
        self.counts: Dict[str, int] = collections.defaultdict(int)
        self.told: Dict[str, bool] = {}
        # By the identity of an item: its file, and whether it is wanted.
        self.places: Dict[int, Tuple[str, bool]] = {}

    def loop(self, session: Any) -> None:
        """Read every file that is wanted and tell what is in it."""
        asked: Dict[str, Any] = next(self.channel.read_lines(), {})
        self.select = Selection(asked.get("select", ()))
        self.within = Selection(self.collection.within)
        self.tell_failures()
        with _warning_filters(session.config, session.config.hook, "collect"):
            if self.settings["stream"] or not self.collection.foreign_hook():
                for items in self.batches():
                    self.tell(items)
            else:
                self.tell([item for items in self.batches() for item in items])
        self.channel.emit({"event": "unmatched", "select": self.select.unused()})
        self.channel.emit({"event": "bye", "reason": ""})

    def batches(self) -> Iterator[List[Any]]:
        """The items of each file. Which are wanted is decided before any hook may change ids."""
        loose: Dict[str, List[Any]] = {}
        for item in self.collection.loose:
            loose.setdefault(item.nodeid.partition("::")[0], []).append(item)
        for path in (*loose, *self.collection.files):
            collectors: Any = loose.get(path) or self.collection.files[path]
            every = [selection.rests(path, str(collectors[0].path)) for selection in (self.within, self.select)]
            if None in every:
                continue
            items = loose.pop(path) if path in loose else self.collection.items_of(path)
            self.tell_failures()
            within, select = every
            for item in items:
                wanted = self.within.wants(item.nodeid, path, within) and self.select.wants(item.nodeid, path, select)
                self.places[id(item)] = path, wanted
            yield items

    def tell(self, items: List[Any]) -> None:
        """Emit what the hooks leave, in their order; the same id is counted in the order before the hooks."""
        changed = self.collection.modified(items)
        numbers = {}
        for item in _distinct(items, changed):
            numbers[id(item)] = self.counts[item.nodeid]
            self.counts[item.nodeid] += 1
        rows = []
        for item in _distinct(changed, []):  # a hook may list an item twice; one test has one verdict
            path, wanted = self.places.get(id(item), (item.nodeid.partition("::")[0], True))  # or a hook made it
            if wanted:
                file, line, _ = item.location
                rows.append((item.nodeid, numbers[id(item)], path, file, None if line is None else line + 1))
        for start in range(0, len(rows), TESTS_PER_EVENT):
            self.channel.emit({"event": "tests", "tests": rows[start : start + TESTS_PER_EVENT]})

    def tell_failures(self) -> None:
        """Emit collectors that failed or skipped themselves since the last call."""
        for nodeid, failure in self.collection.failures.items():
            if nodeid not in self.told and self.select.touches(nodeid.partition("::")[0]):
                self.told[nodeid] = True
                self.channel.emit(dict(failure, event="collected"))


# Session -------------------------------------------------------------------------------------------------------------


class Requests:
    """What the core wants run, filled by a thread of its own."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.lock = _thread.allocate_lock()
        self.tests: Any = collections.deque()
        self.closing = False
        self.wake: Any = queue.SimpleQueue()

    def read(self) -> None:
        """The thread: take requests until the core closes the pipe."""
        for request in self.channel.read_lines():
            if "run" in request:
                with self.lock:
                    self.tests.extend(request["run"])
            elif "revoke" in request:
                self.revoke(set(request["revoke"]), request["n"])
            else:
                break
            self.wake.put(None)
        with self.lock:
            self.closing = True
        self.wake.put(None)

    def revoke(self, keys: Any, number: int) -> None:
        """Take back what has not started, and say what that was."""
        with self.lock:
            gone = [test[0] for test in self.tests if test[0] in keys]
            self.tests = collections.deque(test for test in self.tests if test[0] not in keys)
        self.channel.emit({"event": "revoked", "n": number, "keys": gone})

    def take(self) -> Any:
        """The next test if one is queued, else None."""
        with self.lock:
            return self.tests.popleft() if self.tests and not self.closing else None

    def wait(self) -> Any:
        """The next test, waiting for one; None when the session is to close."""
        while True:
            test = self.take()
            if test is not None or self.closing:
                return test
            self.wake.get()


def _renew(item: Any) -> None:
    """Take from a test what an earlier attempt in this session left on it: its output and its properties."""
    if not hasattr(item, "offload_properties"):
        item.offload_properties = list(item.user_properties)
    item.user_properties[:] = item.offload_properties
    del item._report_sections[:]


class _Next(pytest.Item):
    """Stands for the next test under the same parent, so that nothing shared is torn down before that is known."""

    cls: Any = property(lambda self: getattr(self.parent, "cls", None))
    module: Any = property(lambda self: getattr(self.parent, "module", None))
    fixturenames: Tuple[str, ...] = ()

    def runtest(self) -> None: ...  # never called

    def reportinfo(self) -> Tuple[Any, None, str]:  # never shown
        return self.path, None, self.name


class Session(_Work):
    """Runs the tests it is asked to, in that order, in one pytest session."""

    def __init__(self, channel: Channel, settings: Dict[str, Any]) -> None:
        super().__init__(channel, settings)
        self.requests = Requests(channel)
        self.index: Dict[str, Dict[str, List[Any]]] = {}
        self.reports: List[Any] = []
        self.held = ""
        self.before: Any = None  # (key, item) of the last test that ran
        self.next: Any = None
        self.misses = 0
        self.reason: Any = None

    def loop(self, session: Any) -> None:
        """Until the core closes, or a test ends the session."""
        self.session = session
        self.index[""] = self.indexed(self.collection.loose) if self.collection.loose else {}
        _thread.start_new_thread(self.requests.read, ())
        versions = "pytest {}, Python {}".format(pytest.__version__, sys.version.split()[0])
        self.channel.emit({"event": "hello", "versions": versions})
        reason = ""
        with _quiet_terminal(session.config):
            while not reason:
                test = self.requests.take()
                if test is None:
                    self.release()
                    test = self.requests.wait()
                    if test is None:
                        break
                reason = self.run(*test)
            self.release()
            self.tear_down(None)
        self.reason = reason

    def hold(self, event: Dict[str, Any]) -> None:
        """Keep an event for the next write: a test's end and the next one's start wake the core once."""
        self.held += self.channel.line(event)

    def release(self, more: str = "") -> None:
        """Write what is held."""
        if self.held or more:
            lines, self.held = self.held + more, ""
            self.channel.write(lines)

    def run(self, key: str, nodeid: str, number: int, path: str) -> str:
        """Run one test. Returns why the session must end, if it must."""
        item = self.find(nodeid, number, path)
        if isinstance(item, dict):
            self.hold({"event": "started", "key": key})
            self.hold(dict(item, event="finished", key=key, duration=0.0))
            return ""
        if self.before is not None and self.before[1].parent is not item.parent:
            self.release()
            if reason := self.tear_down(item):
                return reason  # this test has not started: the core runs it in the next session
        if self.next is None or self.next.parent is not item.parent:
            self.next = _Next.from_parent(item.parent, name="next")
        self.release(self.channel.line({"event": "started", "key": key}))
        self.reports = []
        event, reason = self.protocol(item)
        event["event"], event["key"] = "finished", key
        self.hold(event)
        self.before = (key, item)
        self.reports = []
        self.channel.leave_if_forked()
        return reason

    def protocol(self, item: Any) -> Tuple[Dict[str, Any], str]:
        """pytest's own protocol. What escapes it is the test's error, and the end of the session."""
        _renew(item)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=self.next)
        except BaseException as error:
            asked = isinstance(error, (pytest.exit.Exception, KeyboardInterrupt))
            what = "pytest.exit" if isinstance(error, pytest.exit.Exception) else type(error).__name__
            reason = _one_line("{}: {}".format(what, error))
            event = verdict(self.reports)
            event["details"] = _cut(event.get("details", "") + traceback.format_exc())
            event["outcome"] = "error"
            event["message"] = reason if asked else "pytest itself failed: " + reason
            return event, "{} in {}".format(reason, item.nodeid)
        stop = self.session.shouldstop or self.session.shouldfail
        return verdict(self.reports), str(stop) if stop else ""

    def tear_down(self, item: Any) -> str:
        """Tear down what `item` does not share with the test before it; a failure is that test's."""
        if self.before is None:
            return ""
        key, before = self.before
        state = self.session._setupstate
        call = pytest.CallInfo.from_call(lambda: None, "teardown")
        with contextlib.suppress(Exception), _as_teardown(before):
            call = pytest.CallInfo.from_call(lambda: state.teardown_exact(item), "teardown")
        if call.excinfo is None:
            return ""
        report = pytest.TestReport.from_item_and_call(before, call)
        self.channel.emit({"event": "teardown", "key": key, "message": _message(report), "details": _text(report)})
        ends = isinstance(call.excinfo.value, (pytest.exit.Exception, KeyboardInterrupt))
        return "{} after {}".format(_message(report), before.nodeid) if ends else ""

    def find(self, nodeid: str, number: int, path: str) -> Any:
        """The item, or the fields of the event that tells why there is none."""
        path = path if path in self.collection.files else nodeid.partition("::")[0]
        if path not in self.index and path in self.collection.files:
            self.release(self.channel.line({"event": "module", "path": path}))
            with _warning_filters(self.session.config, self.session.config.hook, "collect"):
                self.index[path] = self.indexed(self.collection.items_of(path), path)
        for source in (path, ""):
            found = self.index.get(source, {}).get(nodeid, ())
            if number < len(found):
                return found[number]
        return self.missing(nodeid, path)

    def indexed(self, items: List[Any], path: str = "") -> Dict[str, List[Any]]:
        """Items by id. What the hooks remove is kept: which tests run was decided when they were listed."""
        try:
            changed = self.collection.modified(items)
        except BaseException as error:
            message = "pytest_collection_modifyitems failed on this file: {}: {}".format(type(error).__name__, error)
            self.collection.failures[path] = _failure(path, _one_line(message), traceback.format_exc())
            return {}
        index: Dict[str, List[Any]] = collections.defaultdict(list)
        for item in _distinct(items, changed):
            index[item.nodeid].append(item)
        return dict(index)

    def missing(self, nodeid: str, path: str) -> Dict[str, Any]:
        """Why there is no such item: its collector failed or skipped itself, or the id is not known here."""
        failures = self.collection.failures
        for name in sorted(failures, key=len, reverse=True):
            directory = name[: -len("__init__.py")] if name.endswith("/__init__.py") else name + "/"
            inside = name in ("", ".", path) or nodeid.startswith((name + "::", name + "["))
            if inside or path.startswith(directory):
                failure = failures[name]
                outcome = "error" if failure["failed"] else "skipped"
                return {"outcome": outcome, "message": failure["message"], "details": failure["details"]}
        details = ""
        self.misses += 1
        if self.misses <= 50:  # comparing is slow, and nobody reads more
            import difflib

            known = list(self.index.get(path, ())) or list(self.collection.files)
            near = difflib.get_close_matches(nodeid if path in self.index else path, known[:3000], 3, 0.4)
            details = "The nearest that exist here:\n" + "\n".join(near) if near else ""
        what = "no test with this id in " + path if path in self.index else "no test file " + path
        return {"outcome": "error", "message": _one_line("not found in the sandbox: " + what), "details": details}


class _Sink(io.TextIOBase):
    """A file for progress that nobody reads: every dot would wake up the core."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)


@contextlib.contextmanager
def _quiet_terminal(config: pytest.Config) -> Iterator[None]:
    """No progress while tests run, and no second copy of the failures after them."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    writer: Any = getattr(reporter, "_tw", None)
    if not hasattr(writer, "_file"):
        yield
        return
    file, writer._file = writer._file, _Sink()
    try:
        yield
    finally:
        writer._file = file
        config.option.tbstyle = "no"
        reporter.reportchars = ""


# pytest's hooks ------------------------------------------------------------------------------------------------------


class _WorkerFixtures:
    """What pytest-xdist's fixtures answer in its own workers."""

    @pytest.fixture(scope="session")
    def worker_id(self) -> str:
        """The name of this worker."""
        return "gw{}".format(_work.settings["worker"])

    @pytest.fixture(scope="session")
    def testrun_uid(self) -> str:
        """The same in all workers of a run."""
        return str(_work.settings["run"])


def _start() -> Any:
    raw = os.environ.pop(SETTINGS, None)
    if raw is None:
        return None
    settings = json.loads(raw)
    own = settings["directory"]
    sys.path[:] = [entry for entry in sys.path if entry != own]
    inherited = os.environ.pop("PYTHONPATH", "").split(os.pathsep)
    if own in inherited:
        inherited.remove(own)
    if any(inherited):
        os.environ["PYTHONPATH"] = os.pathsep.join(inherited)
    for name, value in settings["environ"].items():
        os.environ.setdefault(name, value)
    for directory in (os.environ.get("TMPDIR"), os.path.dirname(os.environ.get("COVERAGE_FILE", ""))):
        if directory:
            with contextlib.suppress(OSError):
                os.makedirs(directory, exist_ok=True)
    kind = Discovery if settings["mode"] == "discover" else Session
    work = kind(Channel(settings["token"]), settings)
    # Not threading.Thread: tests may count threads.
    _thread.start_new_thread(work.channel.beat, ())
    return work


_work = _start()

if _work is not None:
    _collection: Collection = _work.collection

    def pytest_addoption(parser: pytest.Parser) -> None:
        """`-o cache_dir=…` must be known even if the cache provider is off."""
        with contextlib.suppress(ValueError):
            parser.addini("cache_dir", "Cache directory path", default=".pytest_cache")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(early_config: Any) -> Iterator[None]:
        """Reset options before plugins such as pytest-cov read them."""
        _neutralize(early_config.known_args_namespace, _work.mode)
        yield

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
        """Reset options before anything acts on them; say goodbye when pytest has wholly ended."""
        _neutralize(config.option, _work.mode)
        _collection.strip_arguments(config)
        yield
        if _work.mode == "session" and _work.reason is not None:
            _work.channel.emit({"event": "bye", "reason": _work.reason})

    def pytest_configure(config: pytest.Config) -> None:
        """Answer for xdist's fixtures, if it is there: registered after it, so these come first."""
        if config.pluginmanager.hasplugin("xdist"):
            config.pluginmanager.register(_WorkerFixtures(), "offload-worker-fixtures")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection(session: Any) -> Iterator[None]:
        """Find directories and files, but read none."""
        with _collection.directories(session):
            yield

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(collector: Any) -> Any:
        """Keep files for later."""
        return _collection.defer(collector)

    def pytest_collectreport(report: Any) -> None:
        """Note failures."""
        _collection.reported(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(session: Any) -> bool:
        """List, or run what is asked for."""
        _work.loop(session)
        return True

    if _work.mode == "session":

        def pytest_runtest_logreport(report: Any) -> None:
            """Gather the reports of the test that runs."""
            _work.reports.append(report)
