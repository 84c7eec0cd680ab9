"""The interval of a run: errors of devices and of the network, by their shares of the time."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pytest

from simulator.check_plan import training_step
from simulator.ideal import AlphaBetaStar, IdealDevice
from simulator.intervals import combined
from simulator.ops import FloatArray, Graph
from simulator.protocols import Calibrated, CalibratedNetwork, Clock, Machine, OpenDevice
from simulator.simulate import simulate
from simulator.source import Source
from simulator.workload import Pattern, Workload
from workloads.plans import Communicate, DataParallel, Single

DEVICE_RATIO, NETWORK_RATIO = (0.8, 1.25), (0.5, 2.0)


@dataclass(frozen=True)
class JudgedDevice:
    flops_per_s: float = 1e6
    ratio: tuple[float, float] | None = DEVICE_RATIO

    name, max_threads, memory_bytes = "judged", 1, None
    sources = ()
    resources = ()

    def times_s(self, graph: Graph, threads: int) -> FloatArray:
        return IdealDevice(self.flops_per_s).times_s(graph, threads)

    def open(self, clock: Clock) -> OpenDevice:
        return IdealDevice(self.flops_per_s).open(clock)

    def scaled(self, resource: str, factor: float) -> JudgedDevice:
        return self

    def drawn(self, seed: int) -> JudgedDevice:
        return self

    def error_ratio(self, graph: Graph) -> tuple[float, float] | None:
        return self.ratio

    def power_w(self, threads: int) -> None:
        return None

    def breakdown_s(self, graph: Graph, threads: int) -> dict[str, FloatArray]:
        return {"compute": self.times_s(graph, threads), "overhead": 0 * graph.flops}


@dataclass(frozen=True)
class JudgedStar(AlphaBetaStar):
    ratio: tuple[float, float] | None = NETWORK_RATIO

    sources = (Source("a stopwatch", kind="measured"),)
    resources = ()
    notes = ("nobody paid for the switch",)

    def scaled(self, resource: str, factor: float) -> JudgedStar:
        return self

    def drawn(self, seed: int) -> JudgedStar:
        return self

    def error_ratio(self, kinds: Collection[str]) -> tuple[float, float] | None:
        assert kinds
        return self.ratio

    def algorithm(self, kind: str, nbytes: float, devices: Sequence[int]) -> str:
        return f"hand, {len(devices)} devices"


STEP = training_step()


def machine(bandwidth=1e9, device=DEVICE_RATIO, network=NETWORK_RATIO):
    judged = JudgedDevice(1e6, ratio=device)
    return Machine("judged", [judged] * 4, JudgedStar(1e-6, bandwidth, ratio=network))


def ratio(run):
    return tuple(end / run.step_time_s for end in run.interval)


def test_the_parts_of_machines_say_how_wrong_they_are():
    assert isinstance(JudgedDevice(), Calibrated)
    assert isinstance(JudgedStar(0, 1), CalibratedNetwork)


def test_one_device_errs_as_it_says():
    assert ratio(simulate(STEP, machine(), Single())) == pytest.approx(DEVICE_RATIO)


def test_a_pattern_errs_as_the_network_says():
    step = Workload(name="sum", parameters={}, graph=Graph.of([]), samples=1,
                    pattern=Pattern("all_reduce", 1e6))  # fmt: skip
    run = simulate(step, machine(), Communicate())
    assert ratio(run) == pytest.approx(NETWORK_RATIO)
    assert "all_reduce by hand, 4 devices" in run.notes


@pytest.mark.parametrize("bandwidth", [1e7, 1e8, 1e9, 1e12])
def test_shares_of_the_time_weigh_the_errors_whose_widths_add_up_as_squares(bandwidth):
    run = simulate(STEP, machine(bandwidth), DataParallel())
    parts = [(run.compute_share, DEVICE_RATIO), (run.communication_share, NETWORK_RATIO)]
    widths = [share * math.log(high) for share, (_, high) in parts]
    total = run.compute_share + run.communication_share
    assert ratio(run)[1] == pytest.approx(math.exp(math.hypot(*widths) / total))


@pytest.mark.parametrize("unknown", ["device", "network"])
def test_nothing_is_known_where_one_error_is_unknown(unknown):
    assert simulate(STEP, machine(**{unknown: None}), DataParallel()).interval is None


def test_the_networks_error_does_not_count_where_nothing_is_communicated():
    assert simulate(STEP, machine(network=None), Single()).interval is not None


def test_a_network_tells_its_sources_and_what_to_know():
    run = simulate(STEP, machine(), DataParallel())
    assert "nobody paid for the switch" in run.notes
    assert Source("a stopwatch", kind="measured") in run.sources


def test_no_parts_have_no_interval():
    assert combined([]) is None
