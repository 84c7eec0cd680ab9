"""Export a timeline to the trace event format that Perfetto and Chrome show.

Each device is a process; a rank has a thread for what it computes and one for what it communicates,
and more where spans overlap without one holding the other. Times are in microseconds, exact to the
picosecond. (Trace Event Format, Google, 2016: complete events, `ph` "X", and metadata, "M".)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.files import write_text
from simulator.timeline import Timeline, in_lanes

PICOSECONDS = 1e12


def chrome_trace(
    timeline: Timeline,
    devices: Sequence[int] | Mapping[int, int] | None = None,
    names: Mapping[int, str] | None = None,
) -> str:
    """Return a timeline as a JSON object in the trace event format, one event a line.

    The same timeline gives the same bytes in any process.

    Parameters
    ----------
    timeline : what happened
    devices : by rank, the index of its device; None: each rank has its own
    names : by index, what to call a device; None: "device 0" ...

    >>> from simulator.timeline import Span, Timeline
    >>> timeline = Timeline.of([Span(0.0, 2e-6, 0, "compute", "forward")])
    >>> print(chrome_trace(timeline, names={0: "cpu"}))
    {"displayTimeUnit": "ms", "traceEvents": [
    {"args": {"name": "cpu"}, "name": "process_name", "ph": "M", "pid": 0},
    {"args": {"name": "rank 0 computes"}, "name": "thread_name", "ph": "M", "pid": 0, "tid": 1},
    {"cat": "compute", "dur": 2.0, "name": "forward", "ph": "X", "pid": 0, "tid": 1, "ts": 0.0}
    ]}
    """
    events = [json.dumps(event, sort_keys=True) for event in _events(timeline, devices, names)]
    return '{"displayTimeUnit": "ms", "traceEvents": [\n' + ",\n".join(events) + "\n]}"


def write_chrome_trace(
    path: Path,
    timeline: Timeline,
    devices: Sequence[int] | Mapping[int, int] | None = None,
    names: Mapping[int, str] | None = None,
) -> None:
    """Write `chrome_trace` to a file, whole or not at all; ui.perfetto.dev opens it."""
    write_text(path, chrome_trace(timeline, devices, names) + "\n")


def _events(
    timeline: Timeline,
    devices: Sequence[int] | Mapping[int, int] | None,
    names: Mapping[int, str] | None,
) -> Iterator[dict[str, Any]]:
    placed = in_lanes(timeline)
    pids = {s.rank: s.rank if devices is None else int(devices[s.rank]) for s, _ in placed}
    for pid in sorted(set(pids.values())):
        name = (names or {}).get(pid, f"device {pid}")
        yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}
    lanes = sorted({lane for _, lane in placed})
    tids = {lane: index + 1 for index, lane in enumerate(lanes)}
    for lane in lanes:
        yield {"ph": "M", "name": "thread_name", "pid": pids[lane[0]], "tid": tids[lane],
               "args": {"name": _label(*lane)}}  # fmt: skip
    for span, lane in placed:
        start, end = round(span.start_s * PICOSECONDS), round(span.end_s * PICOSECONDS)
        yield {"ph": "X", "name": span.name, "cat": span.kind, "pid": pids[span.rank],
               "tid": tids[lane], "ts": start / 1e6, "dur": (end - start) / 1e6}  # fmt: skip


def _label(rank: int, communicates: bool, number: int) -> str:
    label = f"rank {rank} {'communicates' if communicates else 'computes'}"
    return f"{label} ({number + 1})" if number else label
