"""The engine's clock is SimPy's, and as strict."""

from __future__ import annotations

import math

import pytest
import simpy

from simulator.engine.clock import AFTER_ALL, AT_LAST, Alarm, EngineClock, when
from simulator.errors import InputError


def told(clock, log, name):
    return Alarm(lambda _: log.append((name, clock.now)))


def test_it_serves_simpy_processes():
    log = []

    def process(clock):
        yield clock.timeout(1.0)
        log.append(clock.now)
        result = yield clock.timeout(2.0, value="v") | clock.timeout(9.0)
        log.append((clock.now, list(result.values())))
        with pytest.raises(KeyError):
            yield clock.event().fail(KeyError("k"))

    clock = EngineClock()
    clock.process(process(clock))
    clock.run()
    assert log == [1.0, (3.0, ["v"])]
    assert clock.now == 10.0


def test_it_runs_until_a_time():
    clock = EngineClock()
    clock.run(until=4.0)
    assert clock.now == 4.0


def test_it_runs_until_an_event_and_loses_nothing():
    clock = EngineClock()
    log: list[str] = []
    event = clock.timeout(3.0, value="v")

    def late(_):
        event.callbacks.append(lambda _: log.append("added after run began"))

    when(clock.timeout(1.0), late, clock)
    assert clock.run(until=event) == "v"
    assert clock.now == 3.0
    clock.run()
    assert log == ["added after run began"]


def test_what_happens_at_one_time_goes_by_priority_then_by_order():
    clock = EngineClock()
    log: list[tuple[str, float]] = []
    clock.put(told(clock, log, "last"), 1.0, AT_LAST)
    clock.put(told(clock, log, "after"), 1.0, AFTER_ALL)
    clock.put(told(clock, log, "first"), 1.0)
    when(clock.timeout(1.0), lambda _: log.append(("second", clock.now)), clock)
    clock.put_at(told(clock, log, "third"), 1.0)
    clock.put_at(told(clock, log, "past"), -1.0)
    clock.run()
    names = ["past", "first", "second", "third", "after", "last"]
    assert log == [(name, 0.0 if name == "past" else 1.0) for name in names]


def test_what_has_happened_calls_back_within_the_instant():
    clock = EngineClock()
    log: list[float] = []
    event = clock.timeout(1.0)
    clock.run()
    when(event, lambda _: log.append(clock.now), clock)
    assert log == []
    clock.run()
    assert log == [1.0]


@pytest.mark.parametrize("seconds", [-1e-9, math.nan, math.inf])
def test_durations_are_finite_and_not_negative(seconds):
    clock = EngineClock()
    with pytest.raises(InputError, match="0 or more seconds; got"):
        clock.put(Alarm(print), seconds)
    assert not clock.jump(seconds)


def test_it_goes_forward_at_once_only_when_nothing_is_to_happen():
    clock = EngineClock()
    assert clock.jump(2.0)
    assert clock.now == 2.0
    clock.timeout(5.0)
    assert not clock.jump(1.0)
    clock.run()
    assert clock.now == 7.0


def test_an_empty_clock_says_so():
    with pytest.raises(simpy.core.EmptySchedule):
        EngineClock().step()


def test_a_failed_event_that_nobody_handles_stops_the_clock():
    clock = EngineClock()
    clock.event().fail(RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        clock.run()
