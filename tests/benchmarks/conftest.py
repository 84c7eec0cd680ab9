"""Collect what benchmarks measure and print it as one table: `make bench`."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

FIGURE = "benchmark figure"


@pytest.fixture
def report(record_property) -> Callable[[str, float, str], None]:
    """Add a row to the table: what was measured, its value, and the target it is meant to meet.

    `report("engine: computes over bare timeouts", 0.78, ">= 0.6")`; nothing fails on a clock.
    """
    return lambda name, value, target: record_property(FIGURE, (name, value, target))


@pytest.fixture
def cpu_s(benchmark) -> Callable[..., float]:
    """Return the least CPU time of calls of a function, seconds; pytest-benchmark sees them too."""

    def least(function: Callable[[], object], rounds: int = 5) -> float:
        times = []
        for _ in range(rounds):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
        if benchmark.stats is None:
            benchmark.pedantic(function, rounds=2)
        return min(times)

    return least


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.getreports("passed")
    rows = [value for r in reports for name, value in r.user_properties if name == FIGURE]
    if rows:
        width = max(len(name) for name, _, _ in rows)
        terminalreporter.section("measured against targets")
        terminalreporter.write_line(f"{'':{width}}  {'measured':>10}  target")
        for name, value, target in rows:
            terminalreporter.write_line(f"{name:{width}}  {value:10.3g}  {target}")
