"""The rules of Chrome's Trace Event Format, as far as Offload's traces use it."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

METADATA = {"process_name", "process_sort_index", "thread_name"}


def check_trace(text: str, *, until: float | None = None) -> list[dict[str, Any]]:
    """The events of a trace that keeps the rules.

    It is a JSON array; every event has a name, a phase, a process and a lane; times are microseconds, none negative
    and none after `until` (seconds); the spans of a lane nest; every lane with a span and its process have names.
    """
    events: list[dict[str, Any]] = json.loads(text)
    assert isinstance(events, list)
    named: set[tuple[str, int, int]] = set()
    lanes: dict[tuple[int, int], list[tuple[float, float, str]]] = defaultdict(list)
    for event in events:
        assert isinstance(event["name"], str), event
        assert event["name"], event
        assert isinstance(event["pid"], int), event
        assert isinstance(event["tid"], int), event
        assert isinstance(event["args"], dict), event
        assert event["ts"] >= 0, event
        match event["ph"]:
            case "M":
                assert event["name"] in METADATA, event
                named.add((event["name"], event["pid"], event["tid"]))
            case "X":
                assert event["dur"] >= 0, event
                lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"], event["name"]))
            case "i":
                assert event["s"] in ("g", "p", "t"), event
                lanes[event["pid"], -1].append((event["ts"], event["ts"], event["name"]))
            case other:
                raise AssertionError(f"a phase that is not used: {other}")
        if until is not None:
            assert event["ts"] + event.get("dur", 0) <= round(until * 1e6), event
    for (pid, lane), spans in lanes.items():
        assert ("process_name", pid, 0) in named, (pid, spans[0])
        assert lane < 0 or ("thread_name", pid, lane) in named, (pid, lane, spans[0])
        if lane >= 0:
            _check_nesting(spans)
    return events


def _check_nesting(spans: list[tuple[float, float, str]]) -> None:
    around: list[tuple[float, float, str]] = []
    for span in sorted(spans, key=lambda each: (each[0], -each[1])):
        while around and around[-1][1] <= span[0]:
            around.pop()
        assert not around or span[1] <= around[-1][1], (around[-1], span)
        around.append(span)
