"""What holds for any program: accounts, bytes, order of ranks, faster hardware."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.actions import Group
from simulator.engine.execute import execute
from simulator.ideal import AlphaBetaStar, IdealDevice
from simulator.protocols import Machine, Placement
from simulator.workload import Buffer
from tests.simulator.plans import By, job, work

RANKS = 4
SPEEDS = st.lists(st.sampled_from([1e9, 0.7e9, 2e9]), min_size=RANKS, max_size=RANKS)
BYTES = st.floats(0.0, 1e8)
SECONDS = st.floats(0.0, 1.0)


@dataclass(frozen=True)
class Deed:
    """Be something that all ranks do together, each its part."""

    kind: str
    seconds: float
    nbytes: float
    shift: int


DEEDS = st.lists(
    st.builds(
        Deed,
        st.sampled_from(["compute", "sleep", "reduce", "pairs", "shift", "overlap", "swap"]),
        SECONDS,
        BYTES,
        st.integers(0, RANKS - 1),
    ),
    max_size=8,
)


def parts(rank, deed):
    """Yield what one rank does of a deed."""
    out, into = Buffer("out", deed.nbytes), Buffer("into", deed.nbytes)
    mine = work("mine", deed.seconds * (rank.id + 1))
    if deed.kind == "compute":
        yield rank.compute(mine)
    elif deed.kind == "sleep":
        yield rank.sleep(deed.seconds * (rank.id + 1))
    elif deed.kind == "reduce":
        yield rank.all_reduce(out)
    elif deed.kind == "pairs":
        yield rank.all_gather(out, Group.of([0, 1] if rank.id < 2 else [2, 3]))
    elif deed.kind == "shift":
        yield rank.send(out, (rank.id + deed.shift) % rank.size)
        yield rank.recv(into, (rank.id - deed.shift) % rank.size)
    elif deed.kind == "overlap":
        reduced = yield rank.start(rank.all_reduce(out))
        yield rank.compute(mine)
        yield rank.wait(reduced)
    else:
        coming = yield rank.start(rank.recv(into, (rank.id + 1) % rank.size))
        going = yield rank.start(rank.send(out, (rank.id - 1) % rank.size))
        computing = yield rank.start(rank.compute(mine))
        yield rank.wait(coming, first=True)
        yield rank.wait(going, computing)


def run(deeds, speeds, bandwidth=1e9, latency=1e-5, order=range(RANKS)):
    """Run the deeds on devices of these speeds, rank i on device `order[i]`."""

    class Placed(By):
        def place(self, machine):
            return Placement(list(order), [1] * RANKS)

    def program(rank, _):
        for deed in deeds:
            yield from parts(rank, deed)

    devices = [IdealDevice(speed, power_w=5.0, idle_w=1.0, name=str(speed)) for speed in speeds]
    machine = Machine("mixed", devices, AlphaBetaStar(latency, bandwidth))
    return execute(job(), machine, Placed(program))


@given(DEEDS, SPEEDS)
def test_the_times_of_a_rank_add_up(deeds, speeds):
    outcome = run(deeds, speeds)
    for rank in outcome.ranks:
        times = (rank.compute_s, rank.communication_s, rank.waiting_s, rank.sleep_s, rank.idle_s)
        assert min(times) >= 0
        assert sum(times) == pytest.approx(outcome.time_s)
        assert rank.end_s <= outcome.time_s


@given(DEEDS, SPEEDS)
def test_a_run_lasts_at_least_as_long_as_any_rank_computes_and_sleeps(deeds, speeds):
    outcome = run(deeds, speeds)
    for rank, speed in zip(outcome.ranks, speeds, strict=True):
        computed = sum(
            d.seconds * (rank.rank + 1) for d in deeds if d.kind in ("compute", "overlap", "swap")
        ) * (1e9 / speed)
        slept = sum(d.seconds * (rank.rank + 1) for d in deeds if d.kind == "sleep")
        assert rank.compute_s == pytest.approx(computed)
        assert rank.sleep_s == pytest.approx(slept)
        assert outcome.time_s >= (computed + slept) * (1 - 1e-9)


@given(DEEDS, SPEEDS)
def test_what_is_sent_is_received(deeds, speeds):
    outcome = run(deeds, speeds)
    moved = [d for d in deeds if d.kind in ("shift", "swap")]
    assert outcome.total("sent_messages") == RANKS * len(moved)
    assert outcome.total("received_messages") == RANKS * len(moved)
    for name in ("sent_bytes", "received_bytes"):
        assert outcome.total(name) == pytest.approx(RANKS * sum(d.nbytes for d in moved))


@given(DEEDS, SPEEDS, st.floats(1.0, 10.0), st.floats(0.0, 1.0))
def test_faster_links_are_never_slower(deeds, speeds, more, less):
    before = run(deeds, speeds)
    after = run(deeds, speeds, bandwidth=1e9 * more, latency=1e-5 * less)
    assert after.time_s <= before.time_s * (1 + 1e-12)


@given(DEEDS, SPEEDS, st.integers(0, RANKS - 1))
def test_a_faster_device_is_never_slower(deeds, speeds, chosen):
    faster = [speed * (1.5 if i == chosen else 1.0) for i, speed in enumerate(speeds)]
    assert run(deeds, faster).time_s <= run(deeds, speeds).time_s * (1 + 1e-12)


@given(DEEDS, st.permutations(range(RANKS)))
def test_equal_devices_permuted_change_nothing(deeds, order):
    speeds = [1e9] * RANKS
    first, second = run(deeds, speeds), run(deeds, speeds, order=order)
    assert first.time_s == second.time_s
    assert first.ranks == second.ranks
    assert first.energy == second.energy


@given(DEEDS, SPEEDS)
def test_energy_is_idle_power_over_all_time_and_busy_power_over_computing(deeds, speeds):
    outcome = run(deeds, speeds)
    assert outcome.energy.components["idle"] == pytest.approx(RANKS * outcome.time_s)
    assert outcome.energy.components["compute"] == pytest.approx(5 * outcome.total("compute_s"))


@given(DEEDS, SPEEDS)
def test_spans_lie_within_the_run_and_add_up_to_the_totals(deeds, speeds):
    outcome = run(deeds, speeds)
    assert outcome.timeline is not None
    for span in outcome.timeline:
        assert 0 <= span.start_s <= span.end_s <= outcome.time_s
    for rank in outcome.ranks:
        assert outcome.timeline.total_s("compute", rank.rank) == pytest.approx(rank.compute_s)
        assert outcome.timeline.total_s("sleep", rank.rank) == pytest.approx(rank.sleep_s)
