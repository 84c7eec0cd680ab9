"""A timeline holds spans as columns, and exports them in the same bytes everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.execute import execute
from simulator.ideal import IdealDevice, ideal_machine
from simulator.timeline import SPAN_KINDS, Span, Timeline
from simulator.trace import chrome_trace, write_chrome_trace
from simulator.workload import Buffer
from tests.simulator.plans import DataParallel, ParameterServer, job, work

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"

SPANS = st.builds(
    lambda start, length, rank, kind, name: Span(start, start + length, rank, kind, name),
    st.floats(0.0, 1e3),
    st.floats(0.0, 10.0),
    st.integers(0, 3),
    st.sampled_from(SPAN_KINDS),
    st.sampled_from(["forward", "grad", "ä"]),
)


def recorded(outcome):
    assert outcome.timeline is not None
    return outcome.timeline


def two_steps():
    """Return what is run: data parallel on three devices, the last one slow."""
    buckets = (Buffer("bucket0", 4e6), Buffer("bucket1", 2e6))
    works = [
        work("forward", 1e-3),
        work("backward", 1e-3, 1e-3, marks=(("bucket0", 0), ("bucket1", 1)),
             writes=("bucket0", "bucket1")),
        work("update", 5e-4, reads=("bucket0", "bucket1")),
    ]  # fmt: skip
    machine = ideal_machine(3)
    slow = IdealDevice(flops_per_s=0.9e9, name="slow")
    machine = type(machine)("three", (*machine.devices[:2], slow), machine.network)
    return recorded(execute(job(works, buckets, steps=2, buckets=buckets), machine, DataParallel()))


def test_a_run_is_recorded_span_by_span():
    def told(rank, kind):
        return [(s.name, s.start_s, s.end_s) for s in timeline.spans(rank, kind)]

    timeline = two_steps()
    reduce0, reduce1 = 4 * (1e-6 + 4e6 / 3 / 1e9), 4 * (1e-6 + 2e6 / 3 / 1e9)
    slow = 1e-3 / 0.9
    first0, first1 = 2 * slow + reduce0, 3 * slow + reduce1
    assert told(0, "compute")[:2] == [
        ("forward", 0.0, pytest.approx(1e-3)),
        ("backward", pytest.approx(1e-3), pytest.approx(3e-3)),
    ]
    assert told(0, "wait")[:2] == [
        ("bucket1", pytest.approx(3e-3), pytest.approx(3 * slow)),
        ("bucket0", pytest.approx(2e-3), pytest.approx(2 * slow)),
    ]
    assert told(2, "all_reduce")[:2] == [
        ("bucket1", pytest.approx(3 * slow), pytest.approx(first1)),
        ("bucket0", pytest.approx(2 * slow), pytest.approx(first0)),
    ]


@given(st.lists(SPANS, max_size=12))
def test_columns_hold_what_the_spans_say(spans):
    timeline = Timeline.of(spans)
    assert len(timeline) == len(spans)
    assert list(timeline) == spans
    assert timeline.spans() == spans
    assert timeline.spans(rank=1, kind="send") == [
        s for s in spans if (s.rank, s.kind) == (1, "send")
    ]
    totals = timeline.totals_s()
    assert set(totals) == {span.kind for span in spans}
    for kind, total in totals.items():
        expected = sum(span.duration_s for span in spans if span.kind == kind)
        assert total == pytest.approx(expected) == pytest.approx(timeline.total_s(kind))
    assert timeline.total_s("compute", rank=2) == pytest.approx(
        sum(span.duration_s for span in spans if (span.rank, span.kind) == (2, "compute"))
    )


@given(st.lists(SPANS, max_size=6), st.lists(SPANS, max_size=6))
def test_merging_keeps_all_spans_in_the_order_of_their_ends(left, right):
    merged = Timeline.of(left).merged(Timeline.of(right))
    assert (np.diff(merged.end_s) >= 0).all()

    def everything(span):
        return (span.end_s, span.start_s, span.rank, span.kind, span.name)

    assert sorted(merged, key=everything) == sorted([*left, *right], key=everything)


# Export.


def events(text, ph):
    return [event for event in json.loads(text)["traceEvents"] if event["ph"] == ph]


@given(st.lists(SPANS, max_size=12))
def test_no_two_spans_of_a_thread_overlap(spans):
    text = chrome_trace(Timeline.of(spans))
    threads: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for event in events(text, "X"):
        bounds = (event["ts"], event["ts"] + event["dur"])
        threads.setdefault((event["pid"], event["tid"]), []).append(bounds)
    for thread in threads.values():
        for (_, end), (start, _) in zip(sorted(thread), sorted(thread)[1:], strict=False):
            assert start >= end - 1e-6  # a picosecond
    assert len({tid for _, tid in threads}) == len(threads)


def test_spans_become_complete_events_in_microseconds():
    spans = [Span(1e-6, 3.5e-6, 1, "compute", "f"), Span(2e-6, 4e-6, 1, "send", "x")]
    text = chrome_trace(Timeline.of(spans), devices=[7, 9], names={9: "gpu"})
    assert [(e["name"], e["cat"], e["ts"], e["dur"], e["pid"]) for e in events(text, "X")] == [
        ("f", "compute", 1.0, 2.5, 9),
        ("x", "send", 2.0, 2.0, 9),
    ]
    assert [e["args"]["name"] for e in events(text, "M")] == [
        "gpu", "rank 1 computes", "rank 1 communicates",
    ]  # fmt: skip


def test_spans_that_overlap_get_threads_of_their_own():
    spans = [Span(0.0, 2.0, 0, "compute", "a"), Span(1.0, 3.0, 0, "compute", "b"),
             Span(2.0, 4.0, 0, "compute", "c")]  # fmt: skip
    text = chrome_trace(Timeline.of(spans))
    assert [event["tid"] for event in events(text, "X")] == [1, 2, 1]
    assert [e["args"]["name"] for e in events(text, "M")][1:] == [
        "rank 0 computes", "rank 0 computes (2)",
    ]  # fmt: skip


def test_an_empty_timeline_is_a_valid_trace():
    assert json.loads(chrome_trace(Timeline.of([])))["traceEvents"] == []


def test_a_trace_is_written_to_a_file(tmp_path):
    timeline = Timeline.of([Span(0.0, 1.0, 0, "compute", "a")])
    write_chrome_trace(tmp_path / "new" / "trace.json", timeline)
    written = (tmp_path / "new" / "trace.json").read_text(encoding="utf-8")
    assert written == chrome_trace(timeline) + "\n"


def test_the_trace_of_a_run_is_the_golden_one(golden):
    golden(GOLDEN / "data_parallel_trace.json", chrome_trace(two_steps()) + "\n")


def parameter_server_trace():
    machine = ideal_machine(4)
    works = [work("gradient", 1e-3), work("apply", 1e-4)]
    buffers = [Buffer("grad", 1e6), Buffer("params", 1e6)]
    outcome = execute(job(works, buffers, steps=3), machine, ParameterServer())
    return chrome_trace(recorded(outcome)) + "\n"


def test_a_run_gives_the_same_bytes_in_any_process(golden):
    code = (
        "from tests.simulator.test_timeline import parameter_server_trace as t; print(t(), end='')"
    )
    for hash_seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        )
        golden(GOLDEN / "parameter_server_trace.json", done.stdout)
