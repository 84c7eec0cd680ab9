"""Clean samples: which timings count on a machine that others use too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.clean import (
    DELAY_LIMIT,
    ENOUGH,
    Sample,
    SystemClocks,
    calm,
    enough,
    keep,
    relative_spread,
    run_delay_s,
    take,
)


class FakeClocks:
    """Move by so much at each call of `tick`."""

    def __init__(self, wall=1.0, cpu=0.9, delay=0.0):
        self.steps, self.now = (wall, cpu, delay), [0.0, 0.0, 0.0]

    def tick(self):
        self.now = [now + (step or 0.0) for now, step in zip(self.now, self.steps, strict=True)]

    def wall_s(self):
        return self.now[0]

    def cpu_s(self):
        return self.now[1]

    def delay_s(self):
        return None if self.steps[2] is None else self.now[2]


def thread(folder, number, text):
    (folder / str(number)).mkdir(parents=True)
    if text is not None:
        (folder / str(number) / "schedstat").write_text(text)


def samples(*pairs):
    return [Sample(wall, wall, delay) for wall, delay in pairs]


def test_the_delay_is_that_of_all_threads(tmp_path):
    thread(tmp_path, 1, "500 2000000000 7\n")
    thread(tmp_path, 2, "500 1000000000 7\n")
    assert run_delay_s(tmp_path) == 3.0


@pytest.mark.parametrize("text", [None, "", "500"])
def test_a_kernel_without_statistics_gives_no_delay(tmp_path, text):
    thread(tmp_path, 1, text)
    assert run_delay_s(tmp_path) is None


def test_another_system_gives_no_delay(tmp_path):
    assert run_delay_s(tmp_path / "missing") is None
    assert run_delay_s(tmp_path) is None


def test_a_sample_is_per_call():
    clocks = FakeClocks(wall=1.0, cpu=0.5, delay=0.1)
    taken = take(clocks.tick, 4, clocks, threads=2)
    assert (taken.wall_s, taken.cpu_s) == (1.0, 0.5)
    assert taken.delay_s == pytest.approx(0.1)


def test_on_one_thread_the_delay_is_not_asked_for():
    clocks = FakeClocks(delay=0.1)
    assert take(clocks.tick, 1, clocks, threads=1).delay_s is None


def test_without_statistics_a_sample_has_no_delay():
    clocks = FakeClocks(delay=None)
    assert take(clocks.tick, 1, clocks, threads=2).delay_s is None


@pytest.mark.parametrize(
    ("delay", "clean"), [(0.0, True), (DELAY_LIMIT, True), (0.021, False), (None, False)]
)
def test_a_sample_is_clean_if_it_hardly_waited(delay, clean):
    assert Sample(1.0, 1.0, delay).clean is clean


def test_on_one_thread_processor_time_counts_whatever_the_wall_says():
    kept = keep([Sample(9.0, 1.0), Sample(1.5, 1.1)], threads=1)
    assert (kept.times_s, kept.clock, kept.discarded) == ((1.0, 1.1), "thread cpu time", 0)


def test_on_more_threads_only_clean_samples_count():
    kept = keep(samples(*[(1.0, 0.0)] * ENOUGH, (7.0, 3.0)), threads=2)
    assert kept.times_s == (1.0,) * ENOUGH
    assert (kept.clock, kept.discarded) == ("wall, clean samples", 1)


def test_with_too_few_clean_samples_the_fastest_quarter_counts_and_this_is_said():
    kept = keep(samples((4.0, 1.0), (1.0, 0.5), (3.0, 1.0), (2.0, 1.0)), threads=2)
    assert (kept.times_s, kept.discarded) == ((1.0,), 3)
    assert "too few clean samples" in kept.clock


def test_without_statistics_the_fastest_quarter_counts_and_this_is_said():
    kept = keep(samples((4.0, None), (1.0, None), (3.0, None), (2.0, None)), threads=2)
    assert kept.times_s == (1.0,)
    assert "not known" in kept.clock


def test_one_sample_is_better_than_none():
    assert keep(samples((1.0, 0.9)), threads=2).times_s == (1.0,)


def test_enough_is_a_few_clean_samples_of_a_team():
    assert enough(samples(*[(1.0, 0.0)] * ENOUGH), threads=2)
    assert not enough(samples(*[(1.0, 0.0)] * (ENOUGH - 1)), threads=2)
    assert enough([], threads=1)


def test_calm_runs_are_those_that_hardly_waited():
    assert calm([1.0] * 4, [0.0, 0.5, 0.01, 0.02]) == [0, 2, 3]


def test_where_all_runs_waited_the_quarter_that_waited_least_is_calm():
    assert calm([1.0] * 4, [0.4, 0.1, 0.3, 0.2]) == [1]


def test_where_waiting_is_not_known_all_runs_are_calm():
    assert calm([1.0, 1.0], [None, 0.5]) == [0, 1]


def test_spread_is_the_quartiles_distance_over_the_median():
    assert relative_spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert relative_spread([1.0]) is None


TIMES = st.lists(
    st.builds(Sample, st.floats(1e-6, 10), st.floats(1e-6, 10), st.none() | st.floats(0, 10)),
    min_size=1, max_size=40,
)  # fmt: skip


@given(TIMES, st.integers(1, 4))
def test_what_is_kept_and_discarded_adds_up(taken, threads):
    kept = keep(taken, threads)
    assert len(kept.times_s) + kept.discarded == len(taken)
    assert kept.times_s


def test_the_systems_clocks_go_forward():
    clocks = SystemClocks()
    before = clocks.wall_s(), clocks.cpu_s()
    sum(range(10_000))
    assert clocks.wall_s() > before[0]
    assert clocks.cpu_s() >= before[1]
