"""Measuring a call with clocks that tests control."""

import math

import pytest

from simulator.errors import InputError
from validation.clean import ENOUGH
from validation.machine_record import MachineRecord, machine_record
from validation.measure import MOST_CALLS, PATIENCE, Effort, measure, repeatability

RECORD = MachineRecord(
    processor="Abacus", cores=2, hardware_threads=2, memory_bytes=None, system="wood",
    software={"torch": "1.0"}, load=None, date="2026-01-02",
)  # fmt: skip


class Clocks:
    """Let each call take the next of some times, and wait in the run queue for a share of it."""

    def __init__(self, times, delay=0.0):
        self.times, self.delay, self.calls, self.now = list(times), delay, 0, 0.0

    def call(self):
        self.now += self.times[self.calls % len(self.times)]
        self.calls += 1

    def wall_s(self):
        return self.now

    def cpu_s(self):
        return self.now

    def delay_s(self):
        return None if self.delay is None else self.now * self.delay


def measured(clocks, threads=1, **effort):
    return measure(clocks.call, name="fake", threads=threads, clocks=clocks, record=RECORD,
                   effort=Effort(**{"warmup": 0, "budget_s": 0.0, **effort}))  # fmt: skip


def test_the_time_is_the_median():
    found = measured(Clocks([9.0, 1.0, 2.0, 3.0]), repeats=3)
    assert (found.time_s, found.times_s, found.calls) == (2.0, (1.0, 2.0, 3.0), 1)


def test_warm_up_calls_do_not_count():
    assert measured(Clocks([50.0, 50.0, 1.0, 1.0, 1.0]), warmup=2, repeats=2).time_s == 1.0


def test_short_calls_are_repeated_within_a_sample():
    found = measured(Clocks([1e-4]), repeats=2)
    assert found.calls == 10
    assert found.time_s == pytest.approx(1e-4)


def test_a_team_needs_longer_samples():
    assert measured(Clocks([1e-4]), threads=2, repeats=2).calls == 50


def test_calls_that_take_no_time_are_repeated_no_more_than_the_limit():
    assert measured(Clocks([0.0, *[1e-9] * 9]), repeats=1).calls == MOST_CALLS


def test_the_budget_buys_further_samples_up_to_the_limit():
    assert len(measured(Clocks([1.0]), repeats=2, budget_s=5.0).times_s) == 5
    assert len(measured(Clocks([1.0]), repeats=2, budget_s=5.0, most=3).times_s) == 3


def test_on_a_busy_machine_clean_samples_are_waited_for_but_not_for_ever():
    found = measured(Clocks([1.0], delay=0.5), threads=2, repeats=2, budget_s=3.0)
    assert len(found.times_s) + found.discarded == 3 * PATIENCE
    assert "too few clean samples" in found.clock


def test_without_statistics_nothing_is_waited_for():
    found = measured(Clocks([1.0], delay=None), threads=2, repeats=2, budget_s=3.0)
    assert len(found.times_s) + found.discarded == 3
    assert "not known" in found.clock


def test_clean_samples_of_a_team_are_kept():
    found = measured(Clocks([1.0]), threads=2, repeats=ENOUGH)
    assert (found.clock, found.discarded) == ("wall, clean samples", 0)


def test_a_measurement_says_what_it_was_made_on():
    found = measured(Clocks([1.0]), repeats=1)
    assert found.machine is RECORD
    assert (found.name, found.threads, found.spread, found.repeatability) == ("fake", 1, None, None)


def test_repeatability_compares_the_halves():
    assert repeatability((1.0, 1.0, 2.0, 2.0)) == pytest.approx(1.0 / 1.5)
    assert repeatability((1.0, 2.0, 3.0)) is None


@pytest.mark.parametrize(
    "wrong",
    [{"warmup": -1}, {"repeats": 0}, {"repeats": 5, "most": 4}, {"budget_s": -1.0},
     {"budget_s": math.inf}, {"budget_s": math.nan}],
)  # fmt: skip
def test_efforts_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError):
        Effort(**wrong)


def test_at_least_one_thread_is_needed():
    with pytest.raises(InputError, match="threads must be at least 1; got 0"):
        measure(lambda: None, threads=0)


def test_the_record_of_a_machine_reads_as_one_line():
    assert RECORD.machine == "Abacus, 2 cores"
    assert RECORD.build == "torch 1.0"
    assert RECORD.as_dict()["software"] == {"torch": "1.0"}


def test_a_machine_that_says_nothing_is_recorded_too(tmp_path):
    record = machine_record(tmp_path)
    assert record.memory_bytes is None
    assert record.processor
